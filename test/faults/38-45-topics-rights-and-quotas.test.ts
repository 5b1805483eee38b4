// Rows 38 to 45 of the table of faults: topics and filters out of bounds, rights that are missing or taken away, quotas.
// Each test also looks at a neighbour, who must notice nothing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import type { RawClient } from '../kit/raw-client.ts'
import { variantTest } from '../kit/variants.ts'
import { P, type Property, puback, publish, pubrec, subscribe, unsubscribe } from '../kit/wire.ts'

const deep = '/'.repeat(65_000)

async function assertServed(neighbour: RawClient): Promise<void> {
  neighbour.send(publish({ level: neighbour.level, topic: 'neighbour', payload: 'still here' }))
  assert.equal((await neighbour.expect('PUBLISH')).payload.toString(), 'still here')
}

async function subscribed(client: () => Promise<RawClient>): Promise<RawClient> {
  const neighbour = await client()
  await neighbour.subscribe(['neighbour'])
  return neighbour
}

variantTest('fault 38: a topic of 65 000 levels', {}, async ({ client, connect, level }) => {
  const neighbour = await subscribed(client)
  for (const qos of [0, 1, 2]) {
    const bad = await client()
    bad.send(publish({ level, topic: deep, payload: 'x', qos, packetId: qos ? 1 : undefined }))
    if (level !== 5) {
      await bad.expectClosed()
      continue
    }
    const answer = await bad.receive()
    assert.ok('reasonCode' in answer && answer.reasonCode === 0x90, JSON.stringify(answer))
    if (answer.type === 'DISCONNECT') await bad.expectClosed()
    else assert.equal(answer.type, qos === 1 ? 'PUBACK' : 'PUBREC')
  }
  if (level === 5) {
    const will = await connect()
    will.sendConnect({ will: { topic: deep } })
    await will.expectRefused(0x90)
  }
  await assertServed(neighbour)
})

variantTest('fault 38: filters of 65 000 levels', { levels: [4, 5] }, async ({ client, level }) => {
  const neighbour = await subscribed(client)
  const bad = await client()
  const refused = level === 5 ? 0x8f : 0x80
  for (const filter of [deep, `${'+/'.repeat(32_000)}+`, `${'+/'.repeat(32_000)}#`, `$share/g/${deep.slice(9)}`]) {
    assert.deepEqual(await bad.subscribe([filter, 'fine']), [refused, 0])
    bad.send(unsubscribe({ level, packetId: 7, filters: [filter] }))
    await bad.expect('UNSUBACK')
  }
  await assertServed(neighbour)
})

test('fault 38: 10 000 user properties pass if they fit, and not if they do not', () =>
  withBroker({ listener: { maxPacketSize: 200_000 } }, async (broker) => {
    const neighbour = await subscribed(() => broker.client())
    const many: Property[] = Array.from({ length: 10_000 }, (_, index) => [P.userProperty, [`k${index}`, 'v']])
    const subscriber = await broker.client()
    await subscriber.subscribe(['t'])
    const publisher = await broker.client()
    await publisher.publish({ topic: 't', payload: 'x', properties: many })
    assert.deepEqual((await subscriber.expect('PUBLISH')).properties, many)
    publisher.send(publish({ topic: 't', payload: 'x', properties: [...many, ...many] }))
    await publisher.expectDisconnect(0x95)
    await subscriber.expectNothing()
    await assertServed(neighbour)
  }))

const noPublish = {
  authorize: ({ action, topic }: { action: string; topic: string }) => action !== 'publish' || !topic.startsWith('no/'),
}

variantTest('fault 39: PUBLISH without the right to', { broker: { hooks: noPublish } }, async ({ client, level }) => {
  const watcher = await client()
  await watcher.subscribe(['#'])
  const publisher = await client()
  const denied = level === 5 ? 0x87 : 0
  for (const qos of [0, 1, 2]) {
    const code = await publisher.publish({ topic: 'no/1', qos, payload: 'x', retain: true })
    assert.equal(code, qos === 0 ? 0 : denied)
  }
  await watcher.expectNothing()
  const late = await client()
  await late.subscribe(['no/1'])
  await late.expectNothing() // nor was it retained
  await publisher.publish({ topic: 'yes', payload: 'x' })
  assert.equal((await watcher.expect('PUBLISH')).topic, 'yes')
})

variantTest(
  'fault 39: with `deniedPublish: disconnect` a 3.x client is cut off',
  { levels: [3, 4], broker: { hooks: noPublish, auth: { deniedPublish: 'disconnect' } } },
  async ({ client, level }) => {
    const watcher = await client()
    await watcher.subscribe(['#'])
    for (const qos of [0, 1, 2]) {
      const bad = await client()
      bad.send(publish({ level, topic: 'no/1', payload: 'x', qos, packetId: qos ? 1 : undefined }))
      await bad.expectClosed()
    }
    await watcher.expectNothing()
  },
)

variantTest('fault 39: nobody writes to $SYS or $CONTROL', {}, async ({ client, level }) => {
  const watcher = await client()
  await watcher.subscribe(['$SYS/#', '$CONTROL/#'])
  const publisher = await client()
  for (const topic of ['$SYS/broker/version', '$SYS', '$CONTROL/x']) {
    for (const qos of [0, 1, 2]) {
      const code = await publisher.publish({ topic, qos, payload: 'forged', retain: true })
      assert.equal(code, qos > 0 && level === 5 ? 0x87 : 0)
    }
  }
  await watcher.expectNothing()
})

variantTest('fault 40: a message over the Maximum Packet Size of a subscriber', { levels: [5] }, async ({ client }) => {
  const small = await client({
    properties: [
      [P.maximumPacketSize, 200],
      [P.receiveMaximum, 2],
    ],
  })
  await small.subscribe([{ filter: '#', qos: 2 }])
  const wide = await client()
  await wide.subscribe(['#'])
  const publisher = await client()
  const big = Buffer.alloc(300, 'b')
  for (const qos of [0, 1, 2, 1, 2]) await publisher.publish({ topic: 't', qos, payload: big })
  await publisher.publish({ topic: 't', qos: 0, payload: 'x', properties: [[P.userProperty, ['k', 'v'.repeat(300)]]] })
  for (const payload of ['one', 'two']) await publisher.publish({ topic: 't', qos: 1, payload })
  for (const payload of ['one', 'two']) {
    const message = await small.expect('PUBLISH') // the big ones took no place in the window
    assert.equal(message.payload.toString(), payload)
    small.send(puback({ packetId: message.packetId! }))
  }
  await small.expectNothing()
  for (let count = 0; count < 8; count++) await wide.expect('PUBLISH')
})

variantTest('fault 40: retained and queued messages as well', { levels: [5] }, async ({ client }) => {
  const publisher = await client()
  await publisher.publish({ topic: 'r/big', payload: Buffer.alloc(300), retain: true })
  await publisher.publish({ topic: 'r/small', payload: 'fits', retain: true })
  const keep = (size: number) => ({
    clientId: 'a',
    cleanStart: false,
    properties: [
      [P.sessionExpiryInterval, 60],
      [P.maximumPacketSize, size],
    ] as Property[],
  })
  const before = await client(keep(200))
  await before.subscribe([{ filter: 'r/#', qos: 1 }])
  assert.equal((await before.expect('PUBLISH')).topic, 'r/small')
  await before.expectNothing()
  await before.disconnect()
  await publisher.publish({ topic: 'r/queued', qos: 1, payload: Buffer.alloc(300) })
  await publisher.publish({ topic: 'r/queued', qos: 1, payload: 'fits' })
  const after = await client(keep(100))
  const message = await after.expect('PUBLISH')
  assert.equal(message.payload.toString(), 'fits')
  after.send(puback({ packetId: message.packetId! }))
  await after.expectNothing()
})

variantTest('fault 41: filters that are none, among good ones', { levels: [4, 5] }, async ({ client, level }) => {
  const refused = level === 5 ? 0x8f : 0x80
  const subscriber = await client()
  await subscriber.subscribe(['neighbour'])
  const filters = ['a/#/b', 'a+', '']
  assert.deepEqual(
    await subscriber.subscribe(filters.flatMap((filter) => [filter, 'good/+'])),
    filters.flatMap(() => [refused, 0]),
  )
  await assertServed(subscriber)
  for (const filter of ['$share/x', '$share//a', '$share/a+/b', '$share/g/a/#/b']) {
    const bad = await client()
    bad.send(subscribe({ level, packetId: 1, filters: [{ filter: 'good' }, { filter }] }))
    const answer = await bad.receive()
    if (answer.type === 'SUBACK') assert.deepEqual(answer.reasonCodes, [0, refused], filter)
    else assert.ok(answer.type === 'DISCONNECT' && answer.reasonCode === 0x82, filter)
  }
  await assertServed(subscriber)
})

variantTest(
  'fault 42: No Local on a shared subscription, Subscription Identifier 0',
  { levels: [5] },
  async ({ client }) => {
    const neighbour = await subscribed(client)
    for (const bytes of [
      subscribe({ packetId: 1, filters: [{ filter: 'ok' }, { filter: '$share/g/t', noLocal: true }] }),
      subscribe({ packetId: 1, filters: [{ filter: 'ok' }], properties: [[P.subscriptionIdentifier, 0]] }),
    ]) {
      const bad = await client()
      bad.send(bytes)
      await bad.expectDisconnect(0x82)
    }
    await assertServed(neighbour)
  },
)

variantTest('fault 43: SUBSCRIBE and UNSUBSCRIBE with nothing or nonsense in them', {}, async ({ client, level }) => {
  const neighbour = await subscribed(client)
  const cases: [Buffer, number][] = [
    [subscribe({ level, packetId: 1, filters: [] }), 0x82],
    [unsubscribe({ level, packetId: 1, filters: [] }), 0x82],
    [subscribe({ level, packetId: 1, filters: [{ filter: 'a', qos: 3 }] }), 0x82],
  ]
  if (level === 5) {
    cases.push([subscribe({ packetId: 1, filters: [{ filter: 'a', retainHandling: 3 }] }), 0x82])
    cases.push([subscribe({ packetId: 1, filters: [{ filter: 'a', options: 0x40 }] }), 0x81])
    cases.push([subscribe({ packetId: 1, filters: [{ filter: 'a', options: 0x80 }] }), 0x81])
  }
  for (const [bytes, reasonCode] of cases) {
    const bad = await client()
    bad.send(bytes)
    await bad.expectDisconnect(reasonCode)
  }
  await assertServed(neighbour)
})

test('fault 44: 100 000 filters in one packet, most of them over the quota', () =>
  withBroker({ limits: { subscriptionsPerClient: 1000 } }, async (broker) => {
    const neighbour = await subscribed(() => broker.client())
    for (const level of [4, 5] as const) {
      const greedy = await broker.client({}, { level, transport: 'unix' })
      const filters = Array.from({ length: 100_000 }, (_, index) => index.toString(36))
      const codes = await greedy.subscribe(filters)
      const over = level === 5 ? 0x97 : 0x80
      assert.deepEqual(
        codes,
        filters.map((_, index) => (index < 1000 ? 0 : over)),
      )
      assert.deepEqual(await greedy.subscribe(['0', 'new']), [0, over], 'to replace is always possible')
      await greedy.unsubscribe(['1'])
      assert.deepEqual(await greedy.subscribe(['new']), [0])
      await assertServed(neighbour)
    }
  }))

test('fault 45: rights taken away while the client is connected or away', async () => {
  let isAllowed = true
  const authorize = ({ action, topic }: { action: string; topic: string }): boolean =>
    isAllowed || action === 'publish' || !topic.startsWith('secret')
  await withBroker({ hooks: { authorize } }, async (broker) => {
    const keep = (clientId: string) => ({
      clientId,
      cleanStart: false,
      properties: [[P.sessionExpiryInterval, 60]] as Property[],
    })
    const online = await broker.client(keep('online'))
    const sleeper = await broker.client(keep('sleeper'))
    const shut = await broker.client({ properties: [[P.receiveMaximum, 1]] })
    for (const client of [online, sleeper, shut]) {
      await client.subscribe([
        { filter: 'secret/#', qos: 1 },
        { filter: 'open/#', qos: 1 },
      ])
    }
    await sleeper.disconnect()
    const publisher = await broker.client()
    const send = (topic: string) => publisher.publish({ topic, qos: 1, payload: topic, retain: true })
    for (const topic of ['open/1', 'secret/1', 'open/2']) await send(topic)
    const acknowledge = async (client: RawClient, topic: string): Promise<void> => {
      const message = await client.expect('PUBLISH')
      assert.equal(message.topic, topic)
      client.send(puback({ packetId: message.packetId! }))
    }
    for (const topic of ['open/1', 'secret/1', 'open/2']) await acknowledge(online, topic)
    const first = await shut.expect('PUBLISH') // its window is shut, the other two wait for it
    isAllowed = false
    broker.library?.rightsChanged()
    await send('secret/2')
    await send('open/3')
    await acknowledge(online, 'open/3')
    await online.expectNothing()
    shut.send(puback({ packetId: first.packetId! }))
    for (const topic of ['open/2', 'open/3']) await acknowledge(shut, topic)
    await shut.expectNothing()
    const awake = await broker.client(keep('sleeper'))
    for (const topic of ['open/1', 'open/2', 'open/3']) await acknowledge(awake, topic)
    await awake.expectNothing()
    const late = await broker.client()
    assert.deepEqual(await late.subscribe(['secret/#']), [0x87])
    await late.subscribe(['#']) // may be asked for, but brings only what is allowed
    const seen = [await late.expect('PUBLISH'), await late.expect('PUBLISH'), await late.expect('PUBLISH')]
    assert.deepEqual(seen.map(({ topic }) => topic).sort(), ['open/1', 'open/2', 'open/3'])
    await late.expectNothing()
  })
})

variantTest('a subscriber that acknowledges nonsense harms only itself', { levels: [5] }, async ({ client }) => {
  const neighbour = await subscribed(client)
  const bad = await client()
  await bad.subscribe([{ filter: 't', qos: 2 }])
  await (await client()).publish({ topic: 't', qos: 2, payload: 'x' })
  const message = await bad.expect('PUBLISH')
  bad.send(puback({ packetId: message.packetId! }))
  await bad.expectDisconnect(0x82)
  const other = await client()
  other.send(puback({ packetId: 99 }), pubrec({ packetId: 98, reasonCode: 0x80 }))
  await other.expectNothing()
  await assertServed(neighbour)
})
