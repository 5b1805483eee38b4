// A client that gives up waiting for CONNACK and comes again, while the disk is slow: the last one to come has the Session.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createBroker } from 'atollmq'
import { createMemoryPair, FaultDisk } from 'atollmq/testing'
import { RawClient } from '../kit/raw-client.ts'
import { type ConnectOptions, P } from '../kit/wire.ts'

const turns = async (count: number): Promise<void> => {
  for (; count > 0; count--) await new Promise<void>((resolve) => setImmediate(resolve))
}

async function start(t: TestContext) {
  const disk = new FaultDisk()
  const broker = createBroker({ durability: 'fsync', listeners: {}, gracePeriod: 0 }, { disk })
  await broker.start()
  t.after(async () => {
    disk.release()
    await broker.stop()
  })
  const connect = (): RawClient => {
    const [far, near] = createMemoryPair()
    broker.accept(far)
    const client = RawClient.over(near, 5)
    t.after(() => client.destroy())
    return client
  }
  const observer = connect()
  await observer.handshake({ clientId: 'observer' })
  await observer.subscribe(['will'], { qos: 1 })
  return { disk, connect, observer }
}

const kept = (payload: string): ConnectOptions => ({
  clientId: 'kept',
  cleanStart: false,
  properties: [[P.sessionExpiryInterval, 1]],
  will: { topic: 'will', payload },
})

test('a connection that ended before CONNACK does not end the Session of the one that came after it', async (t) => {
  const { disk, connect, observer } = await start(t)
  disk.hold()
  const first = connect()
  first.sendConnect(kept('of the first'))
  await turns(10)
  first.destroy()
  await turns(10)
  const second = connect()
  second.sendConnect(kept('of the second'))
  await turns(10)
  disk.release()
  const connack = await second.expect('CONNACK')
  assert.deepEqual([connack.reasonCode, connack.sessionPresent], [0, true])
  await second.subscribe(['t'], { qos: 1 })
  // Longer than the Session lasts without a connection.
  await new Promise((resolve) => setTimeout(resolve, 1500))
  await observer.expectNothing()
  await observer.publish({ topic: 't', qos: 1, payload: 'x' })
  assert.equal((await second.expect('PUBLISH')).payload.toString(), 'x')
  second.destroy()
  assert.equal((await observer.expect('PUBLISH')).payload.toString(), 'of the second')
})

test('of two connections that wait for CONNACK the later has the Session, with its own Will', async (t) => {
  const { disk, connect, observer } = await start(t)
  disk.hold()
  const first = connect()
  first.sendConnect(kept('of the first'))
  await turns(10)
  const second = connect()
  second.sendConnect(kept('of the second'))
  await turns(10)
  disk.release()
  assert.equal((await second.expect('CONNACK')).reasonCode, 0)
  const refusal = await first.expect('CONNACK')
  assert.equal(refusal.reasonCode, 0x89)
  await second.subscribe(['t'], { qos: 1 })
  second.destroy()
  assert.equal((await observer.expect('PUBLISH')).payload.toString(), 'of the second')
})
