// Row 63 of the table of faults: newlines and escape sequences in what a client says of itself, looked for in the log of
// the daemon, which runs as a process of its own.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { RawClient } from '../kit/raw-client.ts'
import { publish, subscribe } from '../kit/wire.ts'

const command = fileURLToPath(new URL('cli/main.js', import.meta.resolve('atollmq')))
const evil = 'a\u000a{"level":"error","message":"FORGED"}\u000d\u001b[31mFORGED\u009b\u2028FORGED'

async function connectWhenReady(path: string, daemon: ChildProcess): Promise<RawClient> {
  const endAtMs = performance.now() + 10_000
  for (;;) {
    try {
      return await RawClient.connect({ path })
    } catch (error) {
      if (daemon.exitCode !== null || performance.now() > endAtMs) throw error
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
}

for (const format of ['json', 'text']) {
  test(`fault 63: nothing that a client says begins a line of the ${format} log or reaches the terminal raw`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'atoll-'))
    const socketPath = join(folder, 'x.sock')
    const configPath = join(folder, 'atoll.yaml')
    const folders = `runDir: ${folder}/run\ndataDir: ${folder}/data\n`
    await writeFile(
      configPath,
      `${folders}listeners:\n  local: unix://${socketPath}\nlog: { level: trace, format: ${format} }\n`,
    )
    const daemon = spawn(process.execPath, [command, 'start', '-c', configPath], { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [daemon.stdout, daemon.stderr]) stream.on('data', (chunk) => (output += chunk))
    try {
      const client = await connectWhenReady(socketPath, daemon)
      client.sendConnect({ clientId: evil, username: evil, password: evil, will: { topic: evil, payload: evil } })
      const answer = await client.receive()
      if (answer.type === 'CONNACK' && answer.reasonCode === 0) {
        client.send(subscribe({ packetId: 1, filters: [{ filter: evil }, { filter: `${evil}/#/x` }] }))
        await client.expect('SUBACK')
        client.send(publish({ topic: evil, payload: evil }), publish({ topic: `${evil}+`, payload: evil }))
        while (!client.isClosed) await client.receive().catch(() => {})
      }
      for (const [level, clientId] of [
        [4, `x${evil}`],
        [3, 'short'],
      ] as const) {
        const other = await RawClient.connect({ path: socketPath }, { level })
        await other.handshake({ clientId, username: evil })
        other.send(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]))
        await other.expectClosed()
      }
      const garbage = await RawClient.connect({ path: socketPath })
      garbage.send(Buffer.from(`GET /${evil} HTTP/1.1\r\n\r\n`))
      await garbage.expectClosed()
    } finally {
      daemon.kill('SIGTERM')
      if (daemon.exitCode === null) await once(daemon, 'close')
      await rm(folder, { recursive: true, force: true })
    }
    const lines = output.split('\n').filter((line) => line !== '')
    assert.ok(lines.length > 0, 'something was logged')
    assert.equal(
      /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029]/.exec(output),
      null,
      'control characters in the log',
    )
    for (const line of lines) {
      assert.ok(!/^[^a-z0-9{]*(\{"level":"error","message":"FORGED"|FORGED)/.test(line), line)
      if (format === 'json' && line.startsWith('{')) assert.notEqual(JSON.parse(line).message, 'FORGED')
    }
    assert.equal(daemon.signalCode, null, 'the daemon ended in order')
    assert.equal(daemon.exitCode, 0)
  })
}
