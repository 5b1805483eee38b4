// Answers that need no change of their own wait for the change that they rely on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBroker } from 'atollmq'
import { createMemoryPair, FaultDisk } from 'atollmq/testing'
import { RawClient } from '../kit/raw-client.ts'
import { publish } from '../kit/wire.ts'

const turns = async (count: number): Promise<void> => {
  for (; count > 0; count--) await new Promise<void>((resolve) => setImmediate(resolve))
}

test('clearing a retained message that another has cleared is acknowledged when that is stored', async () => {
  const disk = new FaultDisk()
  const broker = createBroker({ durability: 'fsync', listeners: {}, gracePeriod: 0 }, { disk })
  await broker.start()
  const connect = async (clientId: string): Promise<RawClient> => {
    const [far, near] = createMemoryPair()
    broker.accept(far)
    const client = RawClient.over(near, 5)
    await client.handshake({ clientId })
    return client
  }
  try {
    const one = await connect('one')
    const other = await connect('other')
    assert.ok((await one.publish({ topic: 't', payload: 'x', qos: 1, retain: true })) < 0x80)
    disk.hold()
    const clearing = publish({ topic: 't', payload: '', qos: 1, retain: true, packetId: 9 })
    one.send(clearing)
    await turns(10)
    other.send(clearing)
    await turns(10)
    assert.equal(one.unread.length, 0)
    assert.equal(other.unread.length, 0, 'acknowledged, and a power cut now would bring it back')
    disk.release()
    await one.expect('PUBACK')
    await other.expect('PUBACK')
    one.destroy()
    other.destroy()
  } finally {
    disk.release()
    await broker.stop()
  }
})
