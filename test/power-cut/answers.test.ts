// Answers that need no change of their own wait for the change that they rely on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AtollBroker, createBroker } from 'atollmq'
import { createMemoryPair, FaultDisk } from 'atollmq/testing'
import { RawClient } from '../kit/raw-client.ts'
import { type ConnectOptions, disconnect, P, publish } from '../kit/wire.ts'

const turns = async (count: number): Promise<void> => {
  for (; count > 0; count--) await new Promise<void>((resolve) => setImmediate(resolve))
}

interface HeldDisk {
  broker: AtollBroker
  disk: FaultDisk
  connect(options: ConnectOptions): Promise<RawClient>
}

/** A broker on a disk whose writes can be held back. */
async function withDisk(body: (held: HeldDisk) => Promise<void>): Promise<void> {
  const disk = new FaultDisk()
  const broker = createBroker({ durability: 'fsync', listeners: {}, gracePeriod: 0 }, { disk })
  await broker.start()
  const clients: RawClient[] = []
  const connect = async (options: ConnectOptions): Promise<RawClient> => {
    const [far, near] = createMemoryPair()
    broker.accept(far)
    const client = RawClient.over(near, 5)
    clients.push(client)
    client.sendConnect(options)
    return client
  }
  try {
    await body({ broker, disk, connect })
    for (const client of clients) client.destroy()
  } finally {
    disk.release()
    await broker.stop()
  }
}

test('clearing a retained message that another has cleared is acknowledged when that is stored', () =>
  withDisk(async ({ disk, connect }) => {
    const one = await connect({ clientId: 'one' })
    const other = await connect({ clientId: 'other' })
    await one.expect('CONNACK')
    await other.expect('CONNACK')
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
  }))

test('a client that asks for nothing to be kept hears that its Session is new when the end of an older one is stored', () =>
  withDisk(async ({ disk, connect }) => {
    const before = await connect({ clientId: 'a', properties: [[P.sessionExpiryInterval, 100]] })
    await before.expect('CONNACK')
    disk.hold()
    before.send(disconnect({ level: 5, reasonCode: 0, properties: [[P.sessionExpiryInterval, 0]] }))
    await turns(10)
    const after = await connect({ clientId: 'a', cleanStart: true })
    await turns(10)
    assert.equal(after.unread.length, 0, 'told of a new Session, and a power cut now would bring the older one back')
    disk.release()
    assert.equal((await after.expect('CONNACK')).sessionPresent, false)
  }))

test('what an in-process client publishes with QoS 1 resolves when it is stored for those who are away', () =>
  withDisk(async ({ broker, disk, connect }) => {
    const away = await connect({ clientId: 'away', properties: [[P.sessionExpiryInterval, 100]] })
    await away.expect('CONNACK')
    await away.subscribe([{ filter: 't', qos: 1 }])
    await away.disconnect()
    const client = broker.client('program')
    disk.hold()
    let isStored = false
    const published = client.publish('t', 'x', { qos: 1 }).then(() => {
      isStored = true
    })
    await client.publish('elsewhere', 'x', { qos: 1 })
    await client.publish('t', 'x', { qos: 0 })
    await turns(10)
    assert.equal(isStored, false)
    disk.release()
    await published
    disk.hold()
    const late = assert.rejects(client.publish('t', 'x', { qos: 1 }), /closed before that was stored/)
    await turns(10)
    await client.close()
    await late
  }))

test('a Will that its publisher may publish when somebody has thought about it is not lost by a power cut meanwhile', async () => {
  const disk = new FaultDisk()
  const start = async (authorize: () => Promise<boolean> | boolean): Promise<AtollBroker> => {
    const broker = createBroker({ durability: 'fsync', listeners: {}, gracePeriod: 0 }, { disk })
    broker.use({ authorize })
    await broker.start()
    return broker
  }
  const connect = async (broker: AtollBroker, options: ConnectOptions): Promise<RawClient> => {
    const [far, near] = createMemoryPair()
    broker.accept(far)
    const client = RawClient.over(near, 5)
    await client.handshake({ ...options, properties: [[P.sessionExpiryInterval, 100]] })
    return client
  }
  let isThinking = false
  const thoughtful = await start(() => (isThinking ? new Promise(() => {}) : true))
  const heir = await connect(thoughtful, { clientId: 'heir' })
  await heir.subscribe([{ filter: 'gone', qos: 1 }])
  const dying = await connect(thoughtful, { clientId: 'dying', will: { topic: 'gone', payload: 'x', qos: 1 } })
  isThinking = true
  dying.destroy()
  await turns(20)
  heir.destroy()
  await turns(20)
  disk.cutPower()
  void thoughtful.stop().catch(() => {})

  const again = await start(() => true)
  const back = await connect(again, { clientId: 'heir', cleanStart: false })
  assert.equal((await back.expect('PUBLISH')).payload.toString(), 'x')
  back.destroy()
  await again.stop()
})
