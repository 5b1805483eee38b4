// How long a session lives, chapter 4.1, what it keeps (4.5) and who takes it over (3.1.4), seen from outside.
// Waits real seconds where expiry is the point, all at the same time.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { withBroker } from '../kit/broker.ts'
import { variantTest } from '../kit/variants.ts'
import { properties as allProperties, disconnect, P, type Property, property, puback, publish } from '../kit/wire.ts'

const expiry = (seconds: number): Property[] => [[P.sessionExpiryInterval, seconds]]

variantTest(
  '[MQTT-4.1.0-1] a session without expiry interval lasts as long as its connection',
  { levels: [5] },
  async ({ client }) => {
    const subscriber = await client()
    await subscriber.subscribe([{ filter: 't', qos: 1 }])
    for (let number = 0; number < 5; number++) {
      await (await client()).publish({ topic: 't', qos: 1, payload: `${number}` })
      const message = await subscriber.expect('PUBLISH')
      subscriber.send(puback({ packetId: message.packetId! }))
    }
  },
)

variantTest(
  '[MQTT-4.1.0-2] a session of 3.x with Clean Session 1 ends with its connection',
  { levels: [3, 4] },
  async ({ client, connect, level }) => {
    const first = await client({ clientId: 'a' })
    await first.subscribe([{ filter: 't', qos: 1 }])
    await first.disconnect()
    await (await client()).publish({ topic: 't', qos: 1, payload: 'missed' })
    const second = await connect()
    const connack = await second.handshake({ clientId: 'a', cleanStart: false })
    if (level === 4) assert.equal(connack.sessionPresent, false)
    await second.expectNothing()
  },
)

variantTest(
  '[MQTT-4.5.0-1] every matching session gets the message, connected or not',
  { levels: [4, 5] },
  async ({ client, level }) => {
    const keep = { cleanStart: false, properties: expiry(60) }
    const online = await client()
    await online.subscribe([{ filter: 'a/#', qos: 1 }])
    const filters = ['a/b', 'a/+', '+/b', '#', 'a/b/#']
    for (const [index, filter] of filters.entries()) {
      const sleeper = await client({ ...keep, clientId: `s${index}` })
      await sleeper.subscribe([{ filter, qos: 1 }])
      await sleeper.disconnect()
    }
    const other = await client({ ...keep, clientId: 'other' })
    await other.subscribe([{ filter: 'b/#', qos: 1 }])
    await (await client()).publish({ topic: 'a/b', qos: 1, payload: 'x' })
    assert.equal((await online.expect('PUBLISH')).topic, 'a/b')
    for (const index of filters.keys()) {
      const sleeper = await client({ ...keep, clientId: `s${index}` })
      const message = await sleeper.expect('PUBLISH')
      assert.equal(message.dup, false)
      sleeper.send(puback({ level, packetId: message.packetId! }))
      await sleeper.expectNothing()
    }
    await other.expectNothing()
  },
)

variantTest(
  '[MQTT-3.1.4-3] takeover: the newcomer has the session, the older connection is closed',
  {},
  async ({ client, connect, level }) => {
    const older = await client({ clientId: 'same', cleanStart: false, properties: expiry(60) })
    await older.subscribe([{ filter: 't', qos: 1 }])
    const newer = await connect()
    const connack = await newer.handshake({ clientId: 'same', cleanStart: false, properties: expiry(60) })
    if (level !== 3) assert.equal(connack.sessionPresent, true)
    await older.expectDisconnect(0x8e)
    await (await client()).publish({ topic: 't', qos: 1, payload: 'x' })
    const message = await newer.expect('PUBLISH')
    newer.send(puback({ level, packetId: message.packetId! }))
    await newer.expectNothing()
  },
)

variantTest(
  'takeover sends again what the older connection had not acknowledged',
  { levels: [4, 5] },
  async ({ client, level }) => {
    const keep = { clientId: 'same', cleanStart: false, properties: expiry(60) }
    const older = await client(keep)
    await older.subscribe([{ filter: 't', qos: 1 }])
    await (await client()).publish({ topic: 't', qos: 1, payload: 'x' })
    const first = await older.expect('PUBLISH')
    const newer = await client(keep)
    const again = await newer.expect('PUBLISH')
    assert.equal(again.packetId, first.packetId)
    assert.equal(again.dup, true)
    newer.send(puback({ level, packetId: again.packetId! }))
    await newer.expectNothing()
  },
)

variantTest(
  'takeover works across protocol versions and transports',
  { levels: [4, 5] },
  async ({ broker, client, level, transport }) => {
    const older = await client({ clientId: 'same', cleanStart: false, properties: expiry(60) })
    await older.subscribe([{ filter: 't', qos: 1 }])
    const newer = await broker.client(
      { clientId: 'same', cleanStart: false, properties: expiry(60) },
      { level: level === 4 ? 5 : 4, transport: transport === 'tcp' ? 'unix' : 'tcp' },
    )
    await older.expectDisconnect(0x8e)
    await (await client()).publish({ topic: 't', qos: 1, payload: 'x' })
    assert.equal((await newer.expect('PUBLISH')).payload.toString(), 'x')
  },
)

variantTest(
  'takeover publishes the Will of the older connection, unless it waits',
  { levels: [5] },
  async ({ client }) => {
    const watcher = await client()
    await watcher.subscribe(['will/#'])
    await client({ clientId: 'now', will: { topic: 'will/now' }, properties: expiry(60) })
    await client({ clientId: 'now', cleanStart: false, properties: expiry(60) })
    assert.equal((await watcher.expect('PUBLISH')).topic, 'will/now')
    const delayed = { topic: 'will/later', properties: [[P.willDelayInterval, 60]] as Property[] }
    await client({ clientId: 'later', will: delayed, properties: expiry(60) })
    await client({ clientId: 'later', cleanStart: false, properties: expiry(60) })
    await watcher.expectNothing()
    await client({ clientId: 'fresh', will: { ...delayed, topic: 'will/fresh' }, properties: expiry(60) })
    await client({ clientId: 'fresh', cleanStart: true, properties: expiry(60) })
    assert.equal((await watcher.expect('PUBLISH')).topic, 'will/fresh', 'the session ended, so the delay did')
    await watcher.expectNothing()
  },
)

describe('what real seconds decide', { concurrency: true }, () => {
  test('[MQTT-4.1.0-2] [MQTT-3.1.2-23] a session is gone after its expiry interval, not before', () =>
    withBroker({}, async (broker) => {
      const first = await broker.client({ clientId: 'a', properties: expiry(2) })
      await first.subscribe(['t'])
      first.destroy()
      const second = await broker.connect()
      assert.equal(
        (await second.handshake({ clientId: 'a', cleanStart: false, properties: expiry(1) })).sessionPresent,
        true,
      )
      await second.disconnect()
      await sleep(2200)
      const third = await broker.connect()
      assert.equal((await third.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, false)
      await (await broker.client()).publish({ topic: 't', payload: 'x' })
      await third.expectNothing()
    }))

  test('[MQTT-4.1.0-1] an expiry interval does not run while the client is connected', () =>
    withBroker({}, async (broker) => {
      const subscriber = await broker.client({ clientId: 'a', properties: expiry(1) })
      await subscriber.subscribe(['t'])
      await sleep(2200)
      await (await broker.client()).publish({ topic: 't', payload: 'x' })
      assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), 'x')
    }))

  test('[MQTT-3.1.2-8] a delayed Will goes out when its delay is over', () =>
    withBroker({}, async (broker) => {
      const watcher = await broker.client()
      await watcher.subscribe([{ filter: 'will', qos: 1 }])
      const properties: Property[] = [
        [P.willDelayInterval, 1],
        [P.userProperty, ['b', '1']],
        [P.userProperty, ['a', '2']],
        [P.contentType, 'text/plain'],
      ]
      const lost = await broker.client({
        properties: expiry(60),
        will: { topic: 'will', payload: 'gone', qos: 1, properties },
      })
      lost.destroy()
      const startedMs = performance.now()
      const message = await watcher.expect('PUBLISH')
      assert.ok(performance.now() - startedMs >= 900, 'not before the delay is over')
      assert.equal(message.payload.toString(), 'gone')
      // What belongs to the Will alone stays behind; the rest is forwarded in its order.
      const ids = new Set(message.properties.map(([id]) => id))
      ids.delete(P.messageExpiryInterval)
      assert.deepEqual(ids, new Set([P.userProperty, P.contentType]))
      assert.equal(property(message, P.contentType), 'text/plain')
      assert.deepEqual(allProperties(message, P.userProperty), [
        ['b', '1'],
        ['a', '2'],
      ])
    }))

  test('[MQTT-3.1.2-8] a delay longer than the session ends with the session', () =>
    withBroker({}, async (broker) => {
      const watcher = await broker.client()
      await watcher.subscribe(['will/#'])
      const properties: Property[] = [[P.willDelayInterval, 3600]]
      const none = await broker.client({ will: { topic: 'will/none', properties } })
      none.destroy()
      assert.equal((await watcher.expect('PUBLISH')).topic, 'will/none', 'a session without expiry ends at once')
      const short = await broker.client({ properties: expiry(1), will: { topic: 'will/short', properties } })
      short.destroy()
      assert.equal((await watcher.expect('PUBLISH')).topic, 'will/short')
      await watcher.expectNothing()
    }))

  test('[MQTT-3.1.3-9] a client that is back before the delay is over has no Will published', () =>
    withBroker({}, async (broker) => {
      const watcher = await broker.client()
      await watcher.subscribe(['will'])
      const properties: Property[] = [[P.willDelayInterval, 1]]
      const lost = await broker.client({ clientId: 'a', properties: expiry(60), will: { topic: 'will', properties } })
      lost.destroy()
      const back = await broker.client({ clientId: 'a', cleanStart: false, properties: expiry(60) })
      await sleep(1800)
      await back.disconnect()
      await watcher.expectNothing()
    }))

  test('one Will at the most, however long the session lives on', () =>
    withBroker({}, async (broker) => {
      const watcher = await broker.client()
      await watcher.subscribe(['will'])
      const properties: Property[] = [[P.willDelayInterval, 1]]
      const lost = await broker.client({ properties: expiry(2), will: { topic: 'will', properties } })
      lost.send(disconnect({ reasonCode: 0x04 }))
      await lost.expectClosed()
      await watcher.expect('PUBLISH')
      await sleep(1500)
      await watcher.expectNothing()
    }))

  test('[MQTT-3.3.2-5] a message that waits longer than its expiry interval is dropped', () =>
    withBroker({}, async (broker) => {
      const keep = { clientId: 'a', cleanStart: false, properties: expiry(60) }
      const sleeper = await broker.client(keep)
      await sleeper.subscribe([{ filter: 't', qos: 1 }])
      await sleeper.disconnect()
      const startedMs = performance.now()
      const publisher = await broker.client()
      await publisher.publish({ topic: 't', qos: 1, payload: 'short', properties: [[P.messageExpiryInterval, 1]] })
      await publisher.publish({ topic: 't', qos: 1, payload: 'none' })
      await publisher.publish({ topic: 't', qos: 1, payload: 'long', properties: [[P.messageExpiryInterval, 60]] })
      await sleep(2200)
      const awake = await broker.client(keep)
      const none = await awake.expect('PUBLISH')
      assert.equal(none.payload.toString(), 'none')
      assert.deepEqual(none.properties, [])
      const long = await awake.expect('PUBLISH')
      assert.equal(long.payload.toString(), 'long')
      const [[id, left]] = long.properties
      assert.equal(id, P.messageExpiryInterval) // [MQTT-3.3.2-6]
      const passedSeconds = (performance.now() - startedMs) / 1000
      assert.ok(Number(left) <= 58 && Number(left) >= 59 - passedSeconds, `${left} seconds are left`)
      awake.send(puback({ packetId: none.packetId! }), puback({ packetId: long.packetId! }))
      await awake.expectNothing()
    }))

  test('[MQTT-3.3.2-6] [MQTT-3.3.2-5] retained messages expire too, and tell what is left of them', () =>
    withBroker({}, async (broker) => {
      const startedMs = performance.now()
      const publisher = await broker.client()
      await publisher.publish({
        topic: 'r/short',
        payload: 'x',
        retain: true,
        properties: [[P.messageExpiryInterval, 1]],
      })
      await publisher.publish({
        topic: 'r/long',
        payload: 'x',
        retain: true,
        properties: [[P.messageExpiryInterval, 60]],
      })
      await sleep(2200)
      const subscriber = await broker.client()
      await subscriber.subscribe(['r/#'])
      const message = await subscriber.expect('PUBLISH')
      assert.equal(message.topic, 'r/long')
      const [[id, left]] = message.properties
      assert.equal(id, P.messageExpiryInterval)
      const passedSeconds = (performance.now() - startedMs) / 1000
      assert.ok(Number(left) <= 58 && Number(left) >= 59 - passedSeconds, `${left} seconds are left`)
      await subscriber.expectNothing()
    }))

  test('[MQTT-3.3.2-6] a message that does not wait keeps its expiry interval', () =>
    withBroker({}, async (broker) => {
      const subscriber = await broker.client()
      await subscriber.subscribe(['t'])
      subscriber.send(publish({ topic: 't', properties: [[P.messageExpiryInterval, 60]] }))
      const [[id, left]] = (await subscriber.expect('PUBLISH')).properties
      assert.equal(id, P.messageExpiryInterval)
      assert.ok(left === 60 || left === 59)
    }))
})
