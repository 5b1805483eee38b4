// Answers wait for what they promise, and for nothing else.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createBroker } from 'atollmq'
import { RawClient } from '../kit/raw-client.ts'
import { P } from '../kit/wire.ts'

test('an answer that a hook delays does not wait for what others had stored meanwhile', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'atoll-'))
  const path = join(dataDir, 'x.sock')
  const broker = createBroker({ durability: 'os', listeners: { local: `unix://${path}` } }, { dataDir })
  let answer = () => {}
  broker.use({
    onPublish: (_client, { topic }) =>
      topic === 'slow' ? new Promise((resolve) => (answer = () => resolve(true))) : true,
  })
  await broker.start()
  const clients: RawClient[] = []
  const connect = async (options: Parameters<RawClient['handshake']>[0]) => {
    const client = await RawClient.connect({ path }, { level: 5 })
    clients.push(client)
    await client.handshake(options)
    return client
  }
  try {
    const kept = await connect({ clientId: 'kept', properties: [[P.sessionExpiryInterval, 60]] })
    await kept.subscribe(['kept'], { qos: 1 })
    const slow = await connect({ clientId: 'slow' })
    const acknowledged = slow.publish({ topic: 'slow', qos: 1 })
    // Stored and acknowledged while the other one waits for its hook.
    const other = await connect({ clientId: 'other' })
    assert.equal(await other.publish({ topic: 'kept', qos: 1, payload: 'x' }), 0)
    answer()
    assert.equal(await acknowledged, 0x10)
  } finally {
    for (const client of clients) client.destroy()
    await broker.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
})
