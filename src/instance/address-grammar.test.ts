import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSystemClock } from '../base/clock.ts'
import { bindUnixSocket } from '../transport/unix-socket.ts'
import { addressGrammar } from './address-grammar.ts'

test('a socket can be made in a folder of as many bytes as the grammar says, and in none longer', async (context) => {
  const { platform } = process
  const base = mkdtempSync(join(tmpdir(), 'a'))
  context.after(() => rmSync(base, { recursive: true }))
  const { socketFolderLimitBytes } = addressGrammar(platform)
  const bind = async (bytes: number) => {
    const folder = join(base, 'x'.repeat(bytes - base.length - 1))
    mkdirSync(folder)
    const server = createServer()
    const options = { path: join(folder, 's'), mode: 0o600, uid: null, gid: null, backlog: 1, runDir: null, platform }
    const socket = await bindUnixSocket(server, { ...options, clock: createSystemClock(), key: 'k', onNotice() {} })
    socket.remove()
    server.close()
  }
  await bind(socketFolderLimitBytes)
  await assert.rejects(bind(socketFolderLimitBytes + 1), { code: 'socket-path-too-long' })
})
