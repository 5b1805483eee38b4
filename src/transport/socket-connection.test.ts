import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Peer } from '../base/peer.ts'
import { Loop, slabBytes } from './loop.ts'
import { SocketConnection } from './socket-connection.ts'
import { takeHandle } from './stream-handle.ts'

const peer = { transport: 'unix', address: 'x', port: null, pid: null, uid: null, gid: null, label: 'x' } as Peer
const floodBytes = 100 * slabBytes
const flood = `const s = require('net').connect(process.argv[1]); s.end(Buffer.alloc(${floodBytes}))`

test('a connection that always has more to read leaves the others their turn', { timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-socket-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'x.sock')
  const loop = new Loop()
  const fullReads: number[] = [0]
  let received = 0
  const server = createServer({ pauseOnConnect: true }).listen(path)
  t.after(() => server.close())
  const closed = new Promise<Error | null>((resolve) => {
    server.once('connection', (socket) => {
      new SocketConnection(takeHandle(socket)!, peer, loop, () => {}).start({
        received(_buffer, start, end) {
          received += end - start
          if (fullReads.at(-1) === 0) setImmediate(() => fullReads.push(0))
          if (end - start === slabBytes) fullReads[fullReads.length - 1]++
          // The other process fills up meanwhile what has been read.
          for (const untilMs = performance.now() + 2; performance.now() < untilMs; );
        },
        drained() {},
        closed: resolve,
      })
    })
  })
  const child = spawn(process.execPath, ['-e', flood, path], { stdio: 'inherit' })
  t.after(() => child.kill('SIGKILL'))
  assert.equal(await closed, null)
  assert.equal(received, floodBytes)
  assert.ok(Math.max(...fullReads) <= 2, `full reads per turn: ${fullReads}`)
})
