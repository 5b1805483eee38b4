import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { AdminClient } from './admin-client.ts'
import { followWork } from './follow-work.ts'

/** Answers each question after the progress in the same way. */
async function daemonThatSays(t: TestContext, status: number, answer: unknown, onAsked: () => void) {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-follow-'))
  const socketPath = join(folder, 'admin.sock')
  const server = createServer((request, response) => {
    assert.equal(request.url, '/api/v1/fleet/progress')
    response.writeHead(status).end(JSON.stringify(answer))
    onAsked()
  })
  server.listen(socketPath)
  await once(server, 'listening')
  t.after(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  return new AdminClient(socketPath)
}

/** What is shown until it was asked for twice. */
async function shownOf(
  t: TestContext,
  status: number,
  answer: unknown,
  isFailing = false,
): Promise<(number | 'end')[]> {
  const shown: (number | 'end')[] = []
  let asked = 0
  let settle = () => {}
  const made = new Promise<string>((resolve, reject) => {
    settle = () => (isFailing ? reject(new Error('it failed')) : resolve('made'))
  })
  const admin = await daemonThatSays(t, status, answer, () => {
    if (++asked === 3) settle()
  })
  const progress = { show: (share: number) => void shown.push(share), end: () => void shown.push('end') }
  const followed = followWork(admin, 'copy', made, progress)
  if (isFailing) await assert.rejects(followed, /it failed/)
  else assert.equal(await followed, 'made')
  return shown
}

const others = { operation: 'instances.clone', instance: 'other', share: 0.9 }

test('what an answer waits for is shown until it is there, and so until it fails', async (t) => {
  const answer = [others, { operation: 'instances.clone', instance: 'copy', share: 0.25 }]
  for (const isFailing of [false, true]) {
    const shown = await shownOf(t, 200, answer, isFailing)
    assert.deepEqual(shown.slice(0, 2), [0.25, 0.25])
    assert.equal(shown.indexOf('end'), shown.length - 1)
  }
})

test('nothing is shown when nobody knows', async (t) => {
  assert.deepEqual(await shownOf(t, 200, [others]), ['end'])
  assert.deepEqual(await shownOf(t, 404, { code: 'no-such-address', detail: '', key: null, fix: null }), ['end'])
})
