// SUBSCRIBE and SUBACK, chapters 3.8 and 3.9, seen from outside: what is granted, what is refused, what ends the connection.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { variantTest } from '../kit/variants.ts'
import { P, properties, property, puback, publish, subscribe } from '../kit/wire.ts'

const invalidUtf8 = Buffer.from([0x61, 0xc3, 0x28])

variantTest(
  '[MQTT-3.8.1-1] SUBSCRIBE with other fixed header flags than 0010 ends the connection',
  { levels: [4, 5] },
  async (context) => {
    for (const fixedFlags of [0, 1, 3, 6, 10, 15]) {
      const client = await context.client()
      client.send(subscribe({ level: context.level, packetId: 1, filters: [{ filter: 'a' }], fixedFlags }))
      await client.expectDisconnect(0x81)
    }
  },
)

variantTest('[MQTT-3.8.3-1] a filter that is not UTF-8 ends the connection', {}, async ({ client, level }) => {
  const bad = await client()
  bad.send(subscribe({ level, packetId: 1, filters: [{ filter: 'ok' }, { filter: invalidUtf8 }] }))
  await bad.expectDisconnect(0x81)
})

variantTest('[MQTT-3.8.3-2] SUBSCRIBE without a filter ends the connection', {}, async ({ client, level }) => {
  const bad = await client()
  bad.send(subscribe({ level, packetId: 1, filters: [] }))
  await bad.expectDisconnect(0x82)
})

variantTest('SUBSCRIBE with packet identifier 0 ends the connection', {}, async ({ client, level }) => {
  const bad = await client()
  bad.send(subscribe({ level, packetId: 0, filters: [{ filter: 'a' }] }))
  await bad.expectDisconnect(0x82)
})

variantTest(
  '[MQTT-3.8.3-3] No Local: own messages stay away, those of others arrive',
  { levels: [5] },
  async ({ client }) => {
    const own = await client()
    const other = await client()
    await own.subscribe([{ filter: 'chat/#', noLocal: true }, 'echo'])
    await own.publish({ topic: 'chat/1', payload: 'mine' })
    await other.publish({ topic: 'chat/1', payload: 'theirs' })
    const message = await own.expect('PUBLISH')
    assert.equal(message.payload.toString(), 'theirs')
    own.send(publish({ topic: 'echo', payload: 'mine' }))
    assert.equal((await own.expect('PUBLISH')).payload.toString(), 'mine', 'a subscription without No Local echoes')
    await own.expectNothing()
  },
)

variantTest(
  '[MQTT-3.8.3-3] No Local goes by the client identifier, also for messages that were queued',
  { levels: [5] },
  async ({ client }) => {
    const keep = { clientId: 'same', properties: [[P.sessionExpiryInterval, 60] as [number, number]] }
    const first = await client(keep)
    await first.subscribe([{ filter: 't', qos: 1, noLocal: true }])
    await first.disconnect()
    const other = await client()
    await other.publish({ topic: 't', qos: 1, payload: 'theirs' })
    const second = await client({ ...keep, cleanStart: false })
    const message = await second.expect('PUBLISH')
    assert.equal(message.payload.toString(), 'theirs')
    second.send(puback({ packetId: message.packetId! }))
    await second.publish({ topic: 't', qos: 1, payload: 'mine' })
    await second.expectNothing()
  },
)

variantTest(
  '[MQTT-3.8.3-4] No Local on a shared subscription ends the connection',
  { levels: [5] },
  async ({ client }) => {
    const bad = await client()
    bad.send(subscribe({ packetId: 1, filters: [{ filter: '$share/group/t', noLocal: true }] }))
    await bad.expectDisconnect(0x82)
  },
)

variantTest(
  '[MQTT-3.8.3-5] reserved bits of the subscription options end the connection',
  { levels: [4, 5] },
  async ({ client, level }) => {
    for (const options of level === 5 ? [0x40, 0x80, 0xc0] : [0x04, 0x08, 0x10, 0x20, 0x40, 0x80]) {
      const bad = await client()
      bad.send(subscribe({ level, packetId: 1, filters: [{ filter: 'a', options }] }))
      await bad.expectDisconnect(0x81)
    }
  },
)

variantTest('a subscription with QoS 3 ends the connection', {}, async ({ client, level }) => {
  const bad = await client()
  bad.send(subscribe({ level, packetId: 1, filters: [{ filter: 'a', options: 3 }] }))
  await bad.expectDisconnect(0x82)
})

variantTest('Retain Handling 3 ends the connection', { levels: [5] }, async ({ client }) => {
  const bad = await client()
  bad.send(subscribe({ packetId: 1, filters: [{ filter: 'a', retainHandling: 3 }] }))
  await bad.expectDisconnect(0x82)
})

variantTest('Subscription Identifier 0 or given twice ends the connection', { levels: [5] }, async ({ client }) => {
  for (const list of [
    [[P.subscriptionIdentifier, 0]],
    [
      [P.subscriptionIdentifier, 1],
      [P.subscriptionIdentifier, 2],
    ],
  ]) {
    const bad = await client()
    bad.send(subscribe({ packetId: 1, filters: [{ filter: 'a' }], properties: list as [number, number][] }))
    await bad.expectDisconnect(0x82)
  }
})

variantTest(
  '[MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-2.2.1-6] SUBACK answers each SUBSCRIBE under its packet identifier',
  {},
  async ({ client, level }) => {
    const subscriber = await client()
    for (const packetId of [1, 77, 65535, 77]) {
      subscriber.send(subscribe({ level, packetId, filters: [{ filter: `a/${packetId}`, qos: 1 }] }))
    }
    for (const packetId of [1, 77, 65535, 77]) {
      const suback = await subscriber.expect('SUBACK')
      assert.equal(suback.packetId, packetId)
      assert.deepEqual(suback.reasonCodes, [1])
    }
  },
)

variantTest('[MQTT-3.8.4-3] the same filter again replaces the subscription', {}, async ({ client, level }) => {
  const subscriber = await client()
  const publisher = await client()
  await subscriber.subscribe([{ filter: 'r/+', qos: 0 }])
  await subscriber.subscribe([{ filter: 'r/+', qos: 1 }])
  await publisher.publish({ topic: 'r/1', qos: 1, payload: 'x' })
  const message = await subscriber.expect('PUBLISH')
  assert.equal(message.qos, 1, 'the later QoS holds')
  subscriber.send(puback({ level, packetId: message.packetId! }))
  await subscriber.expectNothing() // one copy: there is one subscription
  await subscriber.unsubscribe(['r/+'])
  await publisher.publish({ topic: 'r/1', qos: 1, payload: 'y' })
  await subscriber.expectNothing()
})

variantTest(
  '[MQTT-3.8.4-3] a replacement takes over identifier and options as well',
  { levels: [5] },
  async ({ client }) => {
    const subscriber = await client()
    await subscriber.subscribe([{ filter: 't', noLocal: true }], { properties: [[P.subscriptionIdentifier, 1]] })
    await subscriber.subscribe([{ filter: 't', retainAsPublished: true }], {
      properties: [[P.subscriptionIdentifier, 2]],
    })
    subscriber.send(publish({ topic: 't', payload: 'x', retain: true }))
    const message = await subscriber.expect('PUBLISH')
    assert.equal(message.retain, true)
    assert.deepEqual(properties(message, P.subscriptionIdentifier), [2])
    await subscriber.subscribe([{ filter: 't', retainHandling: 2 }])
    subscriber.send(publish({ topic: 't', payload: 'y', retain: true }))
    const last = await subscriber.expect('PUBLISH')
    assert.equal(last.retain, false)
    assert.deepEqual(properties(last, P.subscriptionIdentifier), [], 'a replacement without identifier has none')
  },
)

variantTest('[MQTT-3.8.4-4] a replacement brings the retained messages again', {}, async ({ client }) => {
  const publisher = await client()
  await publisher.publish({ topic: 'r/1', payload: 'kept', retain: true })
  const subscriber = await client()
  for (let round = 0; round < 3; round++) {
    await subscriber.subscribe(['r/+'])
    const message = await subscriber.expect('PUBLISH')
    assert.equal(message.payload.toString(), 'kept')
    assert.equal(message.retain, true)
  }
  await subscriber.expectNothing()
})

variantTest('[MQTT-3.8.4-4] no message is lost while a subscription is replaced', {}, async ({ client, level }) => {
  const subscriber = await client()
  const publisher = await client()
  await subscriber.subscribe([{ filter: 'n/#', qos: 0 }])
  for (let number = 0; number < 200; number++) {
    publisher.send(publish({ level, topic: 'n/1', payload: String(number) }))
    if (number % 10 === 0) subscriber.send(subscribe({ level, packetId: 1 + number, filters: [{ filter: 'n/#' }] }))
    if (number % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const seen: number[] = []
  while (seen.length < 200) {
    const packet = await subscriber.receive()
    if (packet.type === 'PUBLISH') seen.push(Number(packet.payload.toString()))
  }
  assert.deepEqual(seen, [...Array(200).keys()])
})

variantTest(
  '[MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] several filters: one SUBACK, codes in their order',
  {},
  async ({ client, level }) => {
    const subscriber = await client()
    const filters = [
      { filter: 'a', qos: 2 },
      { filter: 'bad/#/filter', qos: 2 },
      { filter: 'b/+', qos: 0 },
      { filter: 'c/#', qos: 1 },
      { filter: 'a', qos: 0 },
    ]
    const refused = level === 5 ? 0x8f : 0x80
    if (level === 3) filters.splice(1, 1) // 3.1 knows no refusal in SUBACK
    const expected = level === 3 ? [2, 0, 1, 0] : [2, refused, 0, 1, 0]
    assert.deepEqual(await subscriber.subscribe(filters), expected)
    await subscriber.expectNothing()
    const publisher = await client()
    await publisher.publish({ topic: 'a', qos: 2, payload: 'last one wins' })
    assert.equal((await subscriber.expect('PUBLISH')).qos, 0)
    await publisher.publish({ topic: 'c/d', qos: 2, payload: 'x' })
    assert.equal((await subscriber.expect('PUBLISH')).qos, 1)
  },
)

variantTest(
  '[MQTT-3.8.4-8] [MQTT-3.8.4-7] a message arrives at the lower of both QoS',
  {},
  async ({ client, level, broker, transport }) => {
    for (const granted of [0, 1, 2]) {
      const subscriber = await client()
      assert.deepEqual(await subscriber.subscribe([{ filter: `q/${granted}`, qos: granted }]), [granted])
      for (const qos of [0, 1, 2]) {
        const publisher = await broker.client({}, { level, transport })
        await publisher.publish({ topic: `q/${granted}`, qos, payload: `${qos}` })
        const message = await subscriber.expect('PUBLISH')
        assert.equal(message.payload.toString(), `${qos}`)
        assert.equal(message.qos, Math.min(qos, granted))
      }
    }
  },
)

variantTest('[MQTT-3.8.4-8] the same holds for retained messages', {}, async ({ client }) => {
  const publisher = await client()
  for (const qos of [0, 1, 2]) await publisher.publish({ topic: `r/${qos}`, qos, payload: 'x', retain: true })
  for (const granted of [0, 1, 2]) {
    for (const qos of [0, 1, 2]) {
      const subscriber = await client()
      await subscriber.subscribe([{ filter: `r/${qos}`, qos: granted }])
      const message = await subscriber.expect('PUBLISH')
      assert.equal(message.qos, Math.min(qos, granted))
      assert.equal(message.retain, true)
    }
  }
})

variantTest(
  '[MQTT-3.9.2-1] [MQTT-3.9.2-2] SUBACK fits into a small Maximum Packet Size',
  { levels: [5], broker: { hooks: { authorize: ({ action }: { action: string }) => action !== 'subscribe' } } },
  async ({ client }) => {
    // One byte more is not enough for any reason string; CONNACK still fits.
    const subscriber = await client({ properties: [[P.maximumPacketSize, 60]] })
    const filters = Array.from({ length: 54 }, (_, index) => ({ filter: `f/${index}` }))
    subscriber.send(subscribe({ packetId: 1, filters }))
    const suback = await subscriber.expect('SUBACK')
    assert.deepEqual(
      suback.reasonCodes,
      filters.map(() => 0x87),
    )
    assert.equal(suback.bytes.length, 59)
    assert.equal(property(suback, P.reasonString), undefined)
    assert.deepEqual(properties(suback, P.userProperty), [])
  },
)

test('[MQTT-3.9.3-2] SUBACK says why each filter was refused', () =>
  withBroker(
    {
      hooks: {
        authorize: ({ action, topic }: { action: string; topic: string }) =>
          action !== 'subscribe' || topic !== 'secret',
      },
      limits: { subscriptionsPerClient: 3 },
    },
    async (broker) => {
      const modern = await broker.client()
      assert.deepEqual(
        await modern.subscribe(['a', 'secret', 'b/#/c', 'c', 'd', 'e', 'a']),
        [0, 0x87, 0x8f, 0, 0, 0x97, 0],
      )
      const older = await broker.client({}, { level: 4 })
      assert.deepEqual(
        await older.subscribe(['a', 'secret', 'b/#/c', 'c', 'd', 'e', 'a']),
        [0, 0x80, 0x80, 0, 0, 0x80, 0],
      )
    },
  ))

test('features that are switched off are announced, and a subscription that needs one is refused by its own code', () =>
  withBroker(
    { features: { wildcardSubscriptions: false, sharedSubscriptions: false, subscriptionIdentifiers: false } },
    async (broker) => {
      const client = await broker.connect()
      const connack = await client.handshake()
      assert.equal(property(connack, P.wildcardSubscriptionAvailable), 0)
      assert.equal(property(connack, P.sharedSubscriptionAvailable), 0)
      assert.equal(property(connack, P.subscriptionIdentifierAvailable), 0)
      assert.deepEqual(await client.subscribe(['plain']), [0])
      const identifier: [number, number][] = [[P.subscriptionIdentifier, 1]]
      for (const [filter, reasonCode, list] of [
        ['a/+', 0xa2, []],
        ['#', 0xa2, []],
        ['$share/g/a', 0x9e, []],
        ['plain', 0xa1, identifier],
      ] as const) {
        const other = await broker.client()
        other.send(subscribe({ packetId: 1, filters: [{ filter }], properties: [...list] }))
        // DISCONNECT is what the chapters on CONNACK ask for; SUBACK has the same codes.
        const answer = await other.receive()
        if (answer.type === 'SUBACK') assert.deepEqual(answer.reasonCodes, [reasonCode])
        else assert.ok(answer.type === 'DISCONNECT' && answer.reasonCode === reasonCode, JSON.stringify(answer))
      }
    },
  ))
