// Readers that go away before the end, of the printing alone and of a dump of an instance that runs.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Running } from './run-command.test.ts'

const row = { kind: 'message', payload: 'x'.repeat(200) }

/** Takes a little and goes; what is printed has no end, so that only this can end it. */
async function assertEndsWithItsReader(test: TestContext, printing: Running): Promise<string> {
  test.after(() => printing.child.kill('SIGKILL'))
  await printing.saw('\n')
  printing.child.stdout!.destroy()
  const { code, stderr } = await printing.ended()
  assert.equal(code, 0, stderr)
  return stderr
}

test('rows are asked for no more when their reader has gone', { timeout: 60_000 }, async (t) => {
  const script = `
    import { printJsonLines } from ${JSON.stringify(pathToFileURL(join(import.meta.dirname, 'print-json-lines.js')))}
    process.stdout.on('error', () => {})
    async function* rows() {
      try {
        for (;;) yield ${JSON.stringify(row)}
      } finally {
        process.stderr.write('let go')
      }
    }
    await printJsonLines(rows(), 0)`
  const printing = new Running(['--input-type=module', '-e', script], {}, null)
  assert.equal(await assertEndsWithItsReader(t, printing), 'let go')
})

test('a dump of an instance that runs asks for no more pages when its reader has gone', {
  timeout: 60_000,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-dump-'))
  const daemon = createServer((request, response) => {
    const items = Array.from({ length: 1000 }, () => row)
    const answers: Record<string, unknown> = {
      'GET /api/v1/instances': [{ name: 'plant' }],
      'GET /api/v1/instances/plant': { phase: 'ready', config: {} },
      'POST /api/v1/instances/plant/store/dump': { items, cursor: 'more' },
    }
    request.resume()
    response.end(JSON.stringify(answers[`${request.method} ${request.url}`]))
  })
  t.after(async () => {
    daemon.close()
    await once(daemon, 'close')
    rmSync(folder, { recursive: true })
  })
  const socketPath = join(folder, 'admin.sock')
  daemon.listen(socketPath)
  await once(daemon, 'listening')
  const main = join(import.meta.dirname, 'main.js')
  const dump = new Running([main, 'store', 'dump'], { HOME: folder, ATOLL_ADMIN: `unix://${socketPath}` }, null)
  assert.equal(await assertEndsWithItsReader(t, dump), '')
})
