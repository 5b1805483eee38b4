// What users build on, beyond single statements: retained messages, subscription identifiers, request and response,
// topic aliases towards clients, and properties on their way through. Seen from outside.
import assert from 'node:assert/strict'
import { variantTest } from '../kit/variants.ts'
import { P, type Property, properties, property, publish, pubrec } from '../kit/wire.ts'

variantTest('retained: the last message of each topic, in all its parts', { levels: [5] }, async ({ client }) => {
  const publisher = await client()
  const list: Property[] = [
    [P.payloadFormatIndicator, 1],
    [P.contentType, 'text/plain'],
    [P.responseTopic, 'answers'],
    [P.correlationData, Buffer.from([0, 1, 255])],
    [P.userProperty, ['b', '1']],
    [P.userProperty, ['a', '2']],
    [P.userProperty, ['b', '3']],
  ]
  await publisher.publish({ topic: 'r/1', qos: 2, payload: 'old', retain: true })
  await publisher.publish({ topic: 'r/1', qos: 1, payload: 'new', retain: true, properties: list })
  await publisher.publish({ topic: 'r/2', payload: 'other', retain: true })
  await publisher.publish({ topic: 'r/3', payload: 'wiped', retain: true })
  await publisher.publish({ topic: 'r/3', payload: '', retain: true })
  await publisher.publish({ topic: 'r/1', payload: 'passing' })
  const subscriber = await client()
  await subscriber.subscribe([{ filter: 'r/#', qos: 2 }])
  const messages = [await subscriber.expect('PUBLISH'), await subscriber.expect('PUBLISH')]
  messages.sort((a, b) => (a.topic < b.topic ? -1 : 1))
  assert.deepEqual(
    messages.map(({ topic, qos, retain, payload }) => [topic, qos, retain, payload.toString()]),
    [
      ['r/1', 1, true, 'new'],
      ['r/2', 0, true, 'other'],
    ],
  )
  const ofUser = (entry: { properties: [number, unknown][] }) =>
    entry.properties.filter(([id]) => id === P.userProperty)
  assert.deepEqual(ofUser(messages[0]), list.slice(4))
  for (const [id, value] of list.slice(0, 4) as [number, unknown][]) assert.deepEqual(property(messages[0], id), value)
  await subscriber.expectNothing()
})

variantTest(
  '[MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] Retain Handling says when retained messages come',
  { levels: [5] },
  async ({ client }) => {
    await (await client()).publish({ topic: 'r', payload: 'kept', retain: true })
    for (const [retainHandling, expected] of [
      [0, [true, true]],
      [1, [true, false]],
      [2, [false, false]],
    ] as const) {
      const subscriber = await client()
      for (const isSent of expected) {
        await subscriber.subscribe([{ filter: 'r', retainHandling }])
        if (isSent) assert.equal((await subscriber.expect('PUBLISH')).retain, true)
        await subscriber.expectNothing()
      }
      await subscriber.unsubscribe(['r'])
      await subscriber.subscribe([{ filter: 'r', retainHandling }])
      if (expected[0]) await subscriber.expect('PUBLISH')
      await subscriber.expectNothing()
    }
  },
)

variantTest('[MQTT-3.3.1-10] a subscription of a resumed session is not new', { levels: [5] }, async ({ client }) => {
  await (await client()).publish({ topic: 'r', payload: 'kept', retain: true })
  const keep = { clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 60]] as Property[] }
  const before = await client(keep)
  await before.subscribe([{ filter: 'r', retainHandling: 1 }])
  await before.expect('PUBLISH')
  await before.disconnect()
  const after = await client(keep)
  await after.subscribe([{ filter: 'r', retainHandling: 1 }])
  await after.expectNothing()
})

variantTest(
  '[MQTT-3.3.1-12] [MQTT-3.3.1-13] Retain As Published decides the flag of live messages',
  { levels: [5] },
  async ({ client }) => {
    const plain = await client()
    await plain.subscribe(['t'])
    const asPublished = await client()
    await asPublished.subscribe([{ filter: 't', retainAsPublished: true }])
    const publisher = await client()
    for (const retain of [true, false, true]) {
      await publisher.publish({ topic: 't', payload: 'x', retain })
      assert.equal((await plain.expect('PUBLISH')).retain, false)
      assert.equal((await asPublished.expect('PUBLISH')).retain, retain)
    }
    // Whatever the option says: what was there before the subscription comes as retained.
    const late = await client()
    await late.subscribe(['t'])
    assert.equal((await late.expect('PUBLISH')).retain, true)
  },
)

variantTest('an empty retained message reaches those who are there', {}, async ({ client }) => {
  const live = await client()
  await live.subscribe(['t'])
  const publisher = await client()
  await publisher.publish({ topic: 't', payload: 'x', retain: true })
  await publisher.publish({ topic: 't', payload: '', retain: true })
  assert.equal((await live.expect('PUBLISH')).payload.length, 1)
  assert.equal((await live.expect('PUBLISH')).payload.length, 0)
  const late = await client()
  await late.subscribe(['t'])
  await late.expectNothing()
})

variantTest(
  '[MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] overlapping subscriptions: one copy, all identifiers, the highest QoS',
  { levels: [5] },
  async ({ client }) => {
    const subscriber = await client()
    const filters: [string, number, number][] = [
      ['a/b', 0, 1],
      ['a/+', 2, 268_435_455],
      ['a/#', 1, 16_384],
      ['#', 0, 1],
      ['b/#', 2, 99],
    ]
    for (const [filter, qos, id] of filters) {
      await subscriber.subscribe([{ filter, qos }], { properties: [[P.subscriptionIdentifier, id]] })
    }
    await subscriber.subscribe([{ filter: '+/b', qos: 0 }]) // has none
    await (await client()).publish({ topic: 'a/b', qos: 2, payload: 'x' })
    const copies = [await subscriber.expect('PUBLISH')]
    assert.equal(copies[0].qos, 2)
    const ids = properties(copies[0], P.subscriptionIdentifier) as number[]
    assert.deepEqual(
      [...new Set(ids)].sort((a, b) => a - b),
      [1, 16_384, 268_435_455],
    )
    subscriber.send(pubrec({ packetId: copies[0].packetId!, reasonCode: 0x80 }))
    await subscriber.expectNothing()
  },
)

variantTest(
  '[MQTT-3.3.4-3] retained messages come with the identifier of their subscription',
  { levels: [5] },
  async ({ client }) => {
    await (await client()).publish({ topic: 'r', payload: 'kept', retain: true })
    const subscriber = await client()
    await subscriber.subscribe(['#'], { properties: [[P.subscriptionIdentifier, 7]] })
    assert.deepEqual(properties(await subscriber.expect('PUBLISH'), P.subscriptionIdentifier), [7])
    await subscriber.subscribe(['r'], { properties: [[P.subscriptionIdentifier, 8]] })
    assert.deepEqual(properties(await subscriber.expect('PUBLISH'), P.subscriptionIdentifier), [8])
  },
)

variantTest(
  'overlapping subscriptions of a 3.x client: the highest QoS, one copy',
  { levels: [3, 4] },
  async ({ client }) => {
    const subscriber = await client()
    await subscriber.subscribe([
      { filter: 'a/b', qos: 0 },
      { filter: 'a/+', qos: 1 },
      { filter: '#', qos: 0 },
    ])
    await (await client()).publish({ topic: 'a/b', qos: 1, payload: 'x' })
    assert.equal((await subscriber.expect('PUBLISH')).qos, 1)
    await subscriber.expectNothing()
  },
)

variantTest('[MQTT-3.3.2-15] [MQTT-3.3.2-16] request and response', { levels: [5] }, async ({ client, broker }) => {
  const requester = await client()
  const responder = await broker.client({}, { transport: 'unix' })
  await responder.subscribe(['service/add'])
  await requester.subscribe(['answers/me'])
  for (const question of ['1+1', '2+2']) {
    const correlation = Buffer.from(`id of ${question}`)
    await requester.publish({
      topic: 'service/add',
      payload: question,
      properties: [
        [P.responseTopic, 'answers/me'],
        [P.correlationData, correlation],
      ],
    })
    const request = await responder.expect('PUBLISH')
    assert.equal(property(request, P.responseTopic), 'answers/me')
    assert.deepEqual(property(request, P.correlationData), correlation)
    await responder.publish({
      topic: property(request, P.responseTopic) as string,
      payload: String(Number(question[0]) * 2),
      properties: [[P.correlationData, property(request, P.correlationData) as Buffer]],
    })
    const response = await requester.expect('PUBLISH')
    assert.equal(response.payload.toString(), String(Number(question[0]) * 2))
    assert.deepEqual(property(response, P.correlationData), correlation)
  }
})

variantTest(
  '[MQTT-3.1.2-26] [MQTT-3.3.2-11] aliases towards a client stay within its maximum and mean what they stand for',
  { levels: [5] },
  async ({ client }) => {
    const subscriber = await client({ properties: [[P.topicAliasMaximum, 2]] })
    await subscriber.subscribe(['a/#'])
    const publisher = await client()
    const names = new Map<number, string>()
    const topics = ['a/one', 'a/two', 'a/one', 'a/three', 'a/one', 'a/two', 'a/three', 'a/three', 'a/one']
    let shortened = 0
    for (const topic of topics) {
      await publisher.publish({ topic, payload: topic })
      const message = await subscriber.expect('PUBLISH')
      const alias = property(message, P.topicAlias) as number | undefined
      if (alias !== undefined) {
        assert.ok(alias >= 1 && alias <= 2)
        if (message.topic !== '') names.set(alias, message.topic)
        else shortened++
      }
      assert.equal(message.topic === '' ? names.get(alias!) : message.topic, topic)
    }
    assert.ok(shortened > 0, 'a topic that comes again is shortened')
    // A new connection knows nothing of the old aliases. [MQTT-3.3.2-7]
    const again = await client({ clientId: subscriber.clientId, properties: [[P.topicAliasMaximum, 2]] })
    await again.subscribe(['a/#'])
    await publisher.publish({ topic: 'a/one', payload: 'x' })
    assert.equal((await again.expect('PUBLISH')).topic, 'a/one')
  },
)

variantTest(
  '[MQTT-3.1.2-27] a client without alias maximum gets whole topic names',
  { levels: [5] },
  async ({ client }) => {
    for (const list of [[], [[P.topicAliasMaximum, 0]]] as Property[][]) {
      const subscriber = await client({ properties: list })
      await subscriber.subscribe(['t'])
      const publisher = await client()
      for (let number = 0; number < 5; number++) {
        await publisher.publish({ topic: 't', payload: 'x' })
        const message = await subscriber.expect('PUBLISH')
        assert.equal(message.topic, 't')
        assert.equal(property(message, P.topicAlias), undefined)
      }
    }
  },
)

variantTest("a publisher's alias is its own business", { levels: [5] }, async ({ client, broker }) => {
  const modern = await client()
  const older = await broker.client({}, { level: 4 })
  for (const subscriber of [modern, older]) await subscriber.subscribe(['t/#'])
  const publisher = await client()
  publisher.send(publish({ topic: 't/1', payload: 'x', properties: [[P.topicAlias, 1]] }))
  publisher.send(publish({ topic: '', payload: 'y', properties: [[P.topicAlias, 1]] }))
  publisher.send(publish({ topic: 't/2', payload: 'z', properties: [[P.topicAlias, 1]] }))
  publisher.send(publish({ topic: '', payload: 'z', properties: [[P.topicAlias, 1]] }))
  for (const subscriber of [modern, older]) {
    for (const topic of ['t/1', 't/1', 't/2', 't/2']) {
      const message = await subscriber.expect('PUBLISH')
      assert.equal(message.topic, topic)
      assert.deepEqual(message.properties, [])
    }
  }
})

variantTest(
  'versions and transports meet: 3.1, 3.1.1 and 5 over tcp and unix',
  {},
  async ({ client, broker, name }) => {
    const subscriber = await client()
    await subscriber.subscribe([{ filter: 'm/#', qos: 2 }])
    for (const level of [3, 4, 5] as const) {
      for (const transport of ['tcp', 'unix'] as const) {
        const publisher = await broker.client({}, { level, transport })
        const list: Property[] =
          level === 5
            ? [
                [P.contentType, 'x'],
                [P.userProperty, ['k', 'v']],
              ]
            : []
        await publisher.publish({ topic: 'm/1', payload: `${level} ${transport}`, properties: list })
        const message = await subscriber.expect('PUBLISH')
        assert.equal(message.payload.toString(), `${level} ${transport}`)
        assert.equal(message.properties.length, level === 5 && name.startsWith('v5') ? 2 : 0)
      }
    }
  },
)

variantTest(
  '[MQTT-3.3.2-17] [MQTT-3.3.2-18] user properties arrive as they were given, also from a queue',
  { levels: [5] },
  async ({ client }) => {
    const list: Property[] = ['z', 'a', 'z', '', 'a', '__proto__'].map((name, index) => [
      P.userProperty,
      [name, index === 4 ? '' : `${index} ü`],
    ])
    const keep = { clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 60]] as Property[] }
    const sleeper = await client(keep)
    await sleeper.subscribe([{ filter: 't', qos: 1 }])
    await sleeper.disconnect()
    const live = await client()
    await live.subscribe(['t'])
    await (await client()).publish({ topic: 't', qos: 1, payload: 'x', properties: list })
    assert.deepEqual((await live.expect('PUBLISH')).properties, list)
    assert.deepEqual((await (await client(keep)).expect('PUBLISH')).properties, list)
  },
)

variantTest(
  '[MQTT-3.3.2-14] a Response Topic with a wildcard ends the connection',
  { levels: [5] },
  async ({ client, connect }) => {
    for (const responseTopic of ['a/+', '#', 'a+b']) {
      const bad = await client()
      bad.send(publish({ topic: 't', payload: 'x', properties: [[P.responseTopic, responseTopic]] }))
      await bad.expectDisconnect(0x82)
      const will = await connect()
      will.sendConnect({ will: { topic: 't', properties: [[P.responseTopic, responseTopic]] } })
      await will.expectRefused(0x82)
    }
  },
)

variantTest(
  '[MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12] a string of CONNECT that is not UTF-8 is refused',
  {},
  async ({ connect }) => {
    for (const bytes of [Buffer.from([0xc3, 0x28]), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from([0x61, 0])]) {
      for (const options of [{ clientId: bytes }, { will: { topic: bytes } }, { username: bytes }]) {
        const bad = await connect()
        bad.sendConnect(options)
        await bad.expectRefused(0x81)
      }
    }
  },
)
