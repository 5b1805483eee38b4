// UNSUBSCRIBE and UNSUBACK, chapters 3.10 and 3.11, and PINGREQ, 3.12, seen from outside.
import assert from 'node:assert/strict'
import { variantTest } from '../kit/variants.ts'
import { P, pingreq, properties, property, puback, pubcomp, pubrec, unsubscribe } from '../kit/wire.ts'

variantTest(
  '[MQTT-3.10.1-1] UNSUBSCRIBE with other fixed header flags than 0010 ends the connection',
  { levels: [4, 5] },
  async ({ client, level }) => {
    for (const fixedFlags of [0, 1, 3, 6, 10, 15]) {
      const bad = await client()
      bad.send(unsubscribe({ level, packetId: 1, filters: ['a'], fixedFlags }))
      await bad.expectDisconnect(0x81)
    }
  },
)

variantTest('[MQTT-3.10.3-1] a filter that is not UTF-8 ends the connection', {}, async ({ client, level }) => {
  const bad = await client()
  bad.send(unsubscribe({ level, packetId: 1, filters: ['ok', Buffer.from([0xed, 0xa0, 0x80])] }))
  await bad.expectDisconnect(0x81)
})

variantTest('[MQTT-3.10.3-2] UNSUBSCRIBE without a filter ends the connection', {}, async ({ client, level }) => {
  const bad = await client()
  bad.send(unsubscribe({ level, packetId: 1, filters: [] }))
  await bad.expectDisconnect(0x82)
})

variantTest('UNSUBSCRIBE with packet identifier 0 ends the connection', {}, async ({ client, level }) => {
  const bad = await client()
  bad.send(unsubscribe({ level, packetId: 0, filters: ['a'] }))
  await bad.expectDisconnect(0x82)
})

variantTest(
  '[MQTT-3.10.4-1] only the filter that is the same in every character goes',
  {},
  async ({ client, level }) => {
    const subscriber = await client()
    const publisher = await client()
    await subscriber.subscribe(['a/+', 'a/#', 'A/b'])
    const codes = await subscriber.unsubscribe(['a/b', 'a/+/', 'a', 'a/+'])
    if (level === 5) assert.deepEqual(codes, [0x11, 0x11, 0x11, 0])
    await publisher.publish({ topic: 'a/b', payload: '1' })
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), '1', 'a/# is still there')
    await subscriber.unsubscribe(['a/#', 'a/B'])
    await publisher.publish({ topic: 'a/b', payload: '2' })
    await publisher.publish({ topic: 'A/b', payload: '3' })
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), '3')
    await subscriber.expectNothing()
  },
)

variantTest('[MQTT-3.10.4-1] a shared and a plain subscription are two', { levels: [5] }, async ({ client }) => {
  const subscriber = await client()
  const publisher = await client()
  await subscriber.subscribe(['$share/g/t', 't'])
  assert.deepEqual(await subscriber.unsubscribe(['$share/h/t', '$share/g/t', '$share/g/t']), [0x11, 0, 0x11])
  await publisher.publish({ topic: 't', payload: 'x' })
  await subscriber.expect('PUBLISH')
  await subscriber.expectNothing()
})

variantTest('[MQTT-3.10.4-2] nothing new is delivered after UNSUBACK', {}, async ({ client }) => {
  const subscriber = await client()
  const publisher = await client()
  await subscriber.subscribe([{ filter: 't', qos: 2 }])
  await subscriber.unsubscribe(['t'])
  for (const qos of [0, 1, 2]) await publisher.publish({ topic: 't', qos, payload: 'x' })
  await subscriber.expectNothing()
})

variantTest(
  '[MQTT-3.10.4-2] an offline session queues nothing for a filter it gave up',
  { levels: [4, 5] },
  async ({ client }) => {
    const keep = { clientId: 'u', cleanStart: false, properties: [[P.sessionExpiryInterval, 60] as [number, number]] }
    const subscriber = await client(keep)
    await subscriber.subscribe([{ filter: 't', qos: 1 }])
    await subscriber.unsubscribe(['t'])
    await subscriber.disconnect()
    await (await client()).publish({ topic: 't', qos: 1, payload: 'x' })
    await (await client(keep)).expectNothing()
  },
)

variantTest(
  '[MQTT-3.10.4-3] QoS 1 and 2 messages under way are finished after UNSUBSCRIBE',
  {},
  async ({ client, level }) => {
    const subscriber = await client()
    const publisher = await client()
    await subscriber.subscribe([{ filter: 't', qos: 2 }])
    await publisher.publish({ topic: 't', qos: 1, payload: 'one' })
    await publisher.publish({ topic: 't', qos: 2, payload: 'two' })
    const one = await subscriber.expect('PUBLISH')
    const two = await subscriber.expect('PUBLISH')
    await subscriber.unsubscribe(['t'])
    subscriber.send(puback({ level, packetId: one.packetId! }), pubrec({ level, packetId: two.packetId! }))
    assert.equal((await subscriber.expect('PUBREL')).packetId, two.packetId)
    subscriber.send(pubcomp({ level, packetId: two.packetId! }))
    await subscriber.expectNothing()
  },
)

variantTest(
  '[MQTT-3.10.4-3] they are sent again to a client that comes back',
  { levels: [4, 5] },
  async ({ client, level }) => {
    const keep = { clientId: 'u', cleanStart: false, properties: [[P.sessionExpiryInterval, 60] as [number, number]] }
    const subscriber = await client(keep)
    await subscriber.subscribe([{ filter: 't', qos: 1 }])
    await (await client()).publish({ topic: 't', qos: 1, payload: 'one' })
    const first = await subscriber.expect('PUBLISH')
    await subscriber.unsubscribe(['t'])
    subscriber.destroy()
    const again = await client(keep)
    const message = await again.expect('PUBLISH')
    assert.equal(message.packetId, first.packetId)
    assert.equal(message.dup, true)
    again.send(puback({ level, packetId: message.packetId! }))
    await again.expectNothing()
  },
)

variantTest(
  '[MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-2.2.1-6] UNSUBACK answers each UNSUBSCRIBE under its packet identifier',
  {},
  async ({ client, level }) => {
    const subscriber = await client()
    for (const packetId of [1, 300, 65535, 300]) subscriber.send(unsubscribe({ level, packetId, filters: ['nothing'] }))
    for (const packetId of [1, 300, 65535, 300]) {
      const unsuback = await subscriber.expect('UNSUBACK')
      assert.equal(unsuback.packetId, packetId)
      assert.deepEqual(unsuback.reasonCodes, level === 5 ? [0x11] : [])
    }
  },
)

variantTest(
  '[MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] several filters: one UNSUBACK, codes in their order',
  {},
  async ({ client, level }) => {
    const subscriber = await client()
    await subscriber.subscribe(['a', 'b/+', 'c/#'])
    const codes = await subscriber.unsubscribe(['b/+', 'missing', 'a', 'a'])
    assert.deepEqual(codes, level === 5 ? [0, 0x11, 0, 0x11] : [])
    await subscriber.expectNothing()
    const publisher = await client()
    for (const topic of ['a', 'b/1', 'c/1']) await publisher.publish({ topic, payload: topic })
    assert.equal((await subscriber.expect('PUBLISH')).topic, 'c/1')
    await subscriber.expectNothing()
  },
)

variantTest(
  '[MQTT-3.11.2-1] [MQTT-3.11.2-2] UNSUBACK fits into a small Maximum Packet Size',
  { levels: [5] },
  async ({ client }) => {
    // One byte more is not enough for any reason string; CONNACK still fits.
    const subscriber = await client({ properties: [[P.maximumPacketSize, 60]] })
    const filters = Array.from({ length: 54 }, (_, index) => `f/${index}`)
    subscriber.send(unsubscribe({ packetId: 1, filters }))
    const unsuback = await subscriber.expect('UNSUBACK')
    assert.deepEqual(
      unsuback.reasonCodes,
      filters.map(() => 0x11),
    )
    assert.equal(unsuback.bytes.length, 59)
    assert.equal(property(unsuback, P.reasonString), undefined)
    assert.deepEqual(properties(unsuback, P.userProperty), [])
  },
)

variantTest('[MQTT-3.12.4-1] every PINGREQ is answered, once', {}, async ({ client }) => {
  const idle = await client()
  for (let round = 0; round < 3; round++) {
    idle.send(pingreq())
    await idle.expect('PINGRESP')
  }
  idle.send(...Array.from({ length: 100 }, pingreq))
  for (let count = 0; count < 100; count++) await idle.expect('PINGRESP')
  await idle.expectNothing()
})
