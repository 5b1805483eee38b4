import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { atoll } from './run-command.test.ts'

/** Does one thing after the other with those who connect, the last one with all others; null lets go of the socket. */
async function daemonThat(t: TestContext, ...acts: (((socket: Socket) => void) | null)[]): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-stop-'))
  const path = join(folder, 'admin.sock')
  let next = 0
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    const act = acts[Math.min(next++, acts.length - 1)]
    if (act !== null) act(socket)
    if (acts[next] === null) server.close()
  })
  server.listen(path)
  await once(server, 'listening')
  t.after(() => {
    server.close()
    rmSync(folder, { recursive: true })
  })
  return `unix://${path}`
}

/** With the request unread, so that it is told as a reset. */
const cutOff = (socket: Socket) => {
  socket.pause()
  setTimeout(() => socket.destroy(), 20)
}
const answer = (socket: Socket) => {
  socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{"pid":7}'))
}

test('stop succeeds when the daemon cuts off while it ends', async (t) => {
  const admin = await daemonThat(t, answer, cutOff, cutOff, null)
  const { code, stdout, stderr } = await atoll(['stop', '--admin', admin])
  assert.deepEqual([code, stdout, stderr], [0, 'stopped pid 7\n', ''])
})

test('stop succeeds when the daemon was ending already and could not hear it', async (t) => {
  const admin = await daemonThat(t, cutOff, null)
  const { code, stdout, stderr } = await atoll(['stop', '--admin', admin])
  assert.deepEqual([code, stdout, stderr], [0, 'stopped\n', ''])
})

test('stop fails when a daemon that goes on never hears it, and when there is none', async (t) => {
  const deaf = await atoll(['stop', '--admin', await daemonThat(t, cutOff)])
  assert.equal(deaf.code, 1)
  assert.match(deaf.stderr, /has too many connections/)
  const missing = await atoll(['stop', '--admin', 'unix:///nonexistent/admin.sock'])
  assert.equal(missing.code, 4)
})
