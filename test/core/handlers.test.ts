// What the embedding program's own code may do in the middle of things: throw, answer rubbish, part with a client.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBroker } from 'atollmq'
import { ManualClock } from 'atollmq/testing'
import { withBroker } from '../kit/broker.ts'
import { RawClient } from '../kit/raw-client.ts'
import { auth, connect, P, publish, subscribe } from '../kit/wire.ts'

test('a listener of sessionEnded that throws harms nobody', () =>
  withBroker({}, async (broker) => {
    broker.library!.on('sessionEnded', () => {
      throw new Error('of the embedding program')
    })
    const first = await broker.client()
    await first.disconnect()
    const second = await broker.client()
    await second.fence()
  }))

test('a client that is parted with in the middle of its SUBSCRIBE leaves no Subscription', () =>
  withBroker({}, async (broker) => {
    const library = broker.library!
    library.on('subscribed', ({ clientId }) => {
      library.disconnectClient(clientId)
    })
    const client = await broker.client()
    const filters = ['a', 'b/#', '$share/group/c'].map((filter) => ({ filter, qos: 0 as const }))
    client.send(subscribe({ level: 5, packetId: 1, filters }))
    await client.expectDisconnect(0x98)
    assert.equal(library.counters.subscriptions, 0)
  }))

for (const answer of [{ status: 'denied' }, {}, undefined, true]) {
  test(`enhanced authentication: the answer ${JSON.stringify(answer)} lets nobody in`, () =>
    withBroker({ hooks: { enhancedAuthenticators: [{ method: 'M', step: () => answer }] } }, async (broker) => {
      const client = await broker.connect()
      client.sendConnect({ properties: [[P.authenticationMethod, 'M']] })
      await client.expectRefused(answer === undefined || answer === true ? null : 0x87)
    }))
}

test('a re-authentication that breaks ends with a reason that DISCONNECT has', () => {
  const step = ({ data }: { data: Buffer | null }) =>
    data === null ? { status: 'success' } : Promise.reject(new Error('the directory is away'))
  return withBroker({ hooks: { enhancedAuthenticators: [{ method: 'M', step }] } }, async (broker) => {
    const client = await broker.connect()
    await client.handshake({ properties: [[P.authenticationMethod, 'M']] })
    const properties: [number, string][] = [
      [P.authenticationMethod, 'M'],
      [P.authenticationData, 'x'],
    ]
    client.send(auth({ reasonCode: 0x19, properties }))
    await client.expectDisconnect(0x80)
  })
})

test('a second CONNECT, of an unknown version, ends with a reason that DISCONNECT has', () =>
  withBroker({}, async (broker) => {
    const client = await broker.client()
    const second = connect({ level: 5, clientId: 'x' })
    second[8] = 9
    client.send(second)
    await client.expectDisconnect(0x82)
  }))

test('onPublish decides on a Will, too', () => {
  const seen: string[] = []
  const onPublish = (client: { clientId: string } | null, { topic }: { topic: string }) => {
    seen.push(`${client?.clientId} ${topic}`)
    return topic !== 'forbidden'
  }
  return withBroker({ hooks: { onPublish } }, async (broker) => {
    const watcher = await broker.client()
    await watcher.subscribe(['#'])
    for (const topic of ['forbidden', 'allowed']) {
      const client = await broker.client({ clientId: `c-${topic}`, will: { topic, payload: 'gone' } })
      client.destroy()
    }
    assert.equal((await watcher.expect('PUBLISH')).topic, 'allowed')
    while (seen.length < 2) await watcher.fence()
    await watcher.expectNothing()
    assert.deepEqual(seen.sort(), ['c-allowed allowed', 'c-forbidden forbidden'])
  })
})

test('an in-process client cannot send a topic alias into the connections of others', () =>
  withBroker({}, async (broker) => {
    const local = broker.library!.client('local')
    await assert.rejects(local.publish('t', 'x', { properties: { topicAlias: 5 } }), /topic alias/)
  }))

test('a hook that never answers is a refusal after half a minute, and a client that is gone is noticed', async (t) => {
  const clock = new ManualClock()
  const broker = createBroker({ features: { sysInterval: 0 }, listeners: { tcp: 'tcp://127.0.0.1:0' } }, { clock })
  let asked = 0
  let answer = (_isAllowed: boolean) => {}
  broker.use({
    authorize: ({ topic }) => {
      if (topic !== 'slow') return true
      asked++
      return new Promise((resolve) => {
        answer = resolve
      })
    },
  })
  await broker.start()
  t.after(() => broker.stop())
  const address = { port: Number(new URL(broker.listeners[0].address).port) }
  const client = await RawClient.connect(address)
  await client.handshake()
  client.send(publish({ level: 5, topic: 'slow', qos: 1, packetId: 1 }))
  client.send(publish({ level: 5, topic: 'quick', qos: 1, packetId: 2 }))
  while (asked < 1) await new Promise((resolve) => setImmediate(resolve))
  clock.advance(29_000)
  assert.equal(client.unread.length, 0)
  clock.advance(2000)
  const [first, second] = [await client.expect('PUBACK'), await client.expect('PUBACK')]
  assert.deepEqual([first.packetId, first.reasonCode, second.packetId], [1, 0x83, 2])
  // Too late: that message has been answered.
  answer(true)
  await client.expectNothing()
  client.send(subscribe({ level: 5, packetId: 3, filters: [{ filter: 'slow', qos: 0 }] }))
  while (asked < 2) await new Promise((resolve) => setImmediate(resolve))
  client.destroy()
  clock.advance(31_000)
  while (broker.connectedClients > 0) await new Promise((resolve) => setImmediate(resolve))
})
