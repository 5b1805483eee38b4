import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { test } from 'node:test'
import { createSystemClock } from './clock.ts'

const standStill = (durationMs: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs)

/** Ticks, and what is read from a socket, in their order. */
async function listen(t: { after(end: () => void): void }, periodMs: number) {
  const heard: string[] = []
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as { port: number }).port, '127.0.0.1')
  const [socket] = await once(server, 'connection')
  socket.on('data', (data: Buffer) => heard.push(data.toString()))
  let sawTick = () => {}
  const ticked = () => new Promise<void>((resolve) => (sawTick = resolve))
  const stop = createSystemClock().every(periodMs, () => {
    heard.push('tick')
    sawTick()
  })
  t.after(() => {
    stop()
    client.destroy()
    server.close()
  })
  return { heard, client, ticked, stop }
}

test('after a standstill what waits in the sockets is read before anything is due', async (t) => {
  const { heard, client, ticked } = await listen(t, 200)
  client.write('early')
  standStill(1500)
  await ticked()
  await ticked()
  assert.deepEqual(heard, ['early', 'tick', 'tick'])
})

test('a clock that is stopped after a standstill ticks no more', async (t) => {
  const { heard, stop } = await listen(t, 100)
  standStill(1200)
  await new Promise((resolve) => setTimeout(resolve, 100))
  stop()
  await new Promise((resolve) => setTimeout(resolve, 1200))
  assert.deepEqual(heard, [])
})
