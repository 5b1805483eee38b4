// The three qualities of service in both directions, chapter 4.3, seen from outside.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { withBroker } from '../kit/broker.ts'
import { variantTest } from '../kit/variants.ts'
import { P, puback, pubcomp, publish, pubrec, pubrel } from '../kit/wire.ts'

variantTest('[MQTT-4.3.1-1] QoS 0 goes out with QoS 0, DUP 0 and no packet identifier', {}, async ({ client }) => {
  const subscriber = await client()
  const publisher = await client()
  await subscriber.subscribe([{ filter: 't', qos: 2 }])
  await publisher.publish({ topic: 't', payload: 'x' })
  const message = await subscriber.expect('PUBLISH')
  assert.deepEqual([message.qos, message.dup, message.packetId], [0, false, null])
  await subscriber.expectNothing()
})

variantTest(
  '[MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-2.2.1-4] new messages have free packet identifiers and DUP 0',
  {},
  async ({ client }) => {
    const subscriber = await client()
    const publisher = await client()
    await subscriber.subscribe([{ filter: 't', qos: 2 }])
    for (let number = 0; number < 10; number++) {
      await publisher.publish({ topic: 't', qos: 1 + (number % 2), payload: `${number}` })
    }
    const identifiers = new Set<number>()
    for (let number = 0; number < 10; number++) {
      const message = await subscriber.expect('PUBLISH')
      assert.equal(message.payload.toString(), `${number}`)
      assert.equal(message.qos, 1 + (number % 2))
      assert.equal(message.dup, false)
      identifiers.add(message.packetId!)
    }
    assert.equal(identifiers.size, 10, 'none of them is acknowledged, so all identifiers differ')
    assert.ok(!identifiers.has(0))
  },
)

variantTest('[MQTT-4.3.2-4] [MQTT-2.2.1-5] PUBACK has the identifier of its PUBLISH', {}, async ({ client, level }) => {
  const publisher = await client()
  for (const packetId of [1, 2, 300, 65535]) {
    publisher.send(publish({ level, topic: 't', qos: 1, packetId, payload: 'x' }))
    const answer = await publisher.expect('PUBACK')
    assert.equal(answer.packetId, packetId)
    assert.ok(answer.reasonCode === 0 || answer.reasonCode === 0x10)
  }
  await publisher.expectNothing()
})

variantTest(
  '[MQTT-4.3.2-5] after PUBACK the same identifier is a new message, even with DUP',
  {},
  async ({ client, level }) => {
    const subscriber = await client()
    const publisher = await client()
    await subscriber.subscribe(['t'])
    for (const [payload, dup] of [
      ['one', false],
      ['two', false],
      ['three', true],
    ] as const) {
      publisher.send(publish({ level, topic: 't', qos: 1, packetId: 9, payload, dup }))
      await publisher.expect('PUBACK')
      assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), payload)
    }
  },
)

variantTest('[MQTT-4.3.2-3] a QoS 1 message stays open until PUBACK', { levels: [4, 5] }, async ({ client, level }) => {
  const keep = { clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 60] as [number, number]] }
  let subscriber = await client(keep)
  await subscriber.subscribe([{ filter: 't', qos: 1 }])
  await (await client()).publish({ topic: 't', qos: 1, payload: 'x' })
  const first = await subscriber.expect('PUBLISH')
  for (let round = 0; round < 3; round++) {
    subscriber.destroy()
    subscriber = await client(keep)
    const again = await subscriber.expect('PUBLISH')
    assert.deepEqual([again.packetId, again.dup, again.payload.toString()], [first.packetId, true, 'x'])
  }
  subscriber.send(puback({ level, packetId: first.packetId! }))
  await subscriber.fence()
  subscriber.destroy()
  await (await client(keep)).expectNothing()
})

variantTest(
  '[MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-2.2.1-5] PUBREC and PUBCOMP have the identifier of their PUBLISH; one delivery',
  {},
  async ({ client, level }) => {
    const subscriber = await client()
    const publisher = await client()
    await subscriber.subscribe([{ filter: 't', qos: 0 }])
    for (const packetId of [1, 500, 65535]) {
      publisher.send(publish({ level, topic: 't', qos: 2, packetId, payload: `${packetId}` }))
      assert.equal((await publisher.expect('PUBREC')).packetId, packetId)
      publisher.send(pubrel({ level, packetId }))
      const last = await publisher.expect('PUBCOMP')
      assert.equal(last.packetId, packetId)
      assert.equal(last.reasonCode, 0)
      assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), `${packetId}`)
    }
    await subscriber.expectNothing()
  },
)

variantTest(
  '[MQTT-4.3.3-10] a repetition before PUBREL gets PUBREC again and is delivered once',
  {},
  async ({ client, level }) => {
    const subscriber = await client()
    const publisher = await client()
    await subscriber.subscribe([{ filter: 't', qos: 2 }])
    for (const dup of [false, true, true, false]) {
      publisher.send(publish({ level, topic: 't', qos: 2, packetId: 5, payload: 'once', dup }))
      assert.equal((await publisher.expect('PUBREC')).packetId, 5)
    }
    publisher.send(pubrel({ level, packetId: 5 }))
    await publisher.expect('PUBCOMP')
    const message = await subscriber.expect('PUBLISH')
    assert.equal(message.dup, false) // [MQTT-3.3.1-3]
    subscriber.send(pubrec({ level, packetId: message.packetId! }))
    await subscriber.expect('PUBREL')
    subscriber.send(pubcomp({ level, packetId: message.packetId! }))
    await subscriber.expectNothing()
  },
)

variantTest(
  '[MQTT-4.3.3-10] the same holds when the publisher comes back in between',
  { levels: [4, 5] },
  async ({ client, level }) => {
    const keep = { clientId: 'p', cleanStart: false, properties: [[P.sessionExpiryInterval, 60] as [number, number]] }
    const subscriber = await client()
    await subscriber.subscribe([{ filter: 't', qos: 0 }])
    const before = await client(keep)
    before.send(publish({ level, topic: 't', qos: 2, packetId: 5, payload: 'once' }))
    await before.expect('PUBREC')
    before.destroy()
    const after = await client(keep)
    after.send(publish({ level, topic: 't', qos: 2, packetId: 5, payload: 'once', dup: true }))
    await after.expect('PUBREC')
    after.send(pubrel({ level, packetId: 5 }))
    assert.equal((await after.expect('PUBCOMP')).reasonCode, 0)
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), 'once')
    await subscriber.expectNothing()
  },
)

variantTest('[MQTT-4.3.3-12] after PUBCOMP the same identifier is a new message', {}, async ({ client }) => {
  const subscriber = await client()
  const publisher = await client()
  await subscriber.subscribe([{ filter: 't', qos: 0 }])
  for (const payload of ['one', 'two', 'three']) {
    await publisher.publish({ topic: 't', qos: 2, packetId: 8, payload, dup: payload === 'three' })
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), payload)
  }
})

test('[MQTT-4.3.3-9] after a PUBREC of 0x80 or more the same identifier is a new message', () =>
  withBroker(
    {
      hooks: {
        authorize: ({ action, topic }: { action: string; topic: string }) => action !== 'publish' || topic !== 'no',
      },
    },
    async (broker) => {
      const subscriber = await broker.client()
      await subscriber.subscribe(['#'])
      const publisher = await broker.client()
      publisher.send(publish({ topic: 'no', qos: 2, packetId: 4, payload: 'refused' }))
      const refused = await publisher.expect('PUBREC')
      assert.deepEqual([refused.packetId, refused.reasonCode], [4, 0x87])
      publisher.send(publish({ topic: 'yes', qos: 2, packetId: 4, payload: 'taken' }))
      assert.equal((await publisher.expect('PUBREC')).reasonCode, 0)
      publisher.send(pubrel({ packetId: 4 }))
      assert.equal((await publisher.expect('PUBCOMP')).reasonCode, 0)
      assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), 'taken')
      await subscriber.expectNothing()
    },
  ))

variantTest(
  '[MQTT-4.3.3-4] [MQTT-4.3.3-5] [MQTT-4.3.3-6] towards a subscriber: PUBLISH, then PUBREL only, until PUBCOMP',
  { levels: [4, 5] },
  async ({ client, level }) => {
    const keep = { clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 60] as [number, number]] }
    let subscriber = await client(keep)
    await subscriber.subscribe([{ filter: 't', qos: 2 }])
    await (await client()).publish({ topic: 't', qos: 2, payload: 'x' })
    const { packetId } = await subscriber.expect('PUBLISH')
    subscriber.destroy()
    subscriber = await client(keep)
    const again = await subscriber.expect('PUBLISH') // [MQTT-4.3.3-3]: no PUBREC yet
    assert.deepEqual([again.packetId, again.dup], [packetId, true])
    subscriber.send(pubrec({ level, packetId: packetId! }))
    assert.equal((await subscriber.expect('PUBREL')).packetId, packetId)
    for (let round = 0; round < 3; round++) {
      subscriber.destroy()
      subscriber = await client(keep)
      const release = await subscriber.expect('PUBREL')
      assert.deepEqual([release.packetId, release.reasonCode], [packetId, 0])
      await subscriber.expectNothing()
    }
    subscriber.send(pubcomp({ level, packetId: packetId! }))
    await subscriber.fence()
    subscriber.destroy()
    await (await client(keep)).expectNothing()
  },
)

variantTest('[MQTT-4.3.3-3] a QoS 2 message stays open until PUBREC', { levels: [4, 5] }, async ({ client }) => {
  const keep = { clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 60] as [number, number]] }
  let subscriber = await client(keep)
  await subscriber.subscribe([{ filter: 't', qos: 2 }])
  await (await client()).publish({ topic: 't', qos: 2, payload: 'x' })
  const first = await subscriber.expect('PUBLISH')
  for (let round = 0; round < 3; round++) {
    subscriber.destroy()
    subscriber = await client(keep)
    const again = await subscriber.expect('PUBLISH')
    assert.deepEqual([again.packetId, again.dup, again.qos], [first.packetId, true, 2])
  }
})

describe('expiry and acknowledgements', { concurrency: true }, () => {
  test('[MQTT-4.3.3-7] a QoS 2 message that has been sent no longer expires', () =>
    withBroker({}, async (broker) => {
      const keep = { clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 60] as [number, number]] }
      const subscriber = await broker.client(keep)
      await subscriber.subscribe([{ filter: 't', qos: 2 }])
      const publisher = await broker.client()
      await publisher.publish({ topic: 't', qos: 2, payload: 'x', properties: [[P.messageExpiryInterval, 1]] })
      const first = await subscriber.expect('PUBLISH')
      subscriber.destroy()
      await sleep(1400)
      const again = await broker.client(keep)
      const message = await again.expect('PUBLISH')
      assert.deepEqual([message.packetId, message.dup], [first.packetId, true])
    }))

  test('[MQTT-4.3.3-13] expiry does not interrupt acknowledgements that have begun', () =>
    withBroker({}, async (broker) => {
      const subscriber = await broker.client()
      await subscriber.subscribe([{ filter: 't', qos: 2 }])
      const publisher = await broker.client()
      const properties: [number, number][] = [[P.messageExpiryInterval, 1]]
      publisher.send(publish({ topic: 't', qos: 2, packetId: 3, payload: 'x', properties }))
      await publisher.expect('PUBREC')
      await sleep(1400)
      publisher.send(pubrel({ packetId: 3 }))
      assert.equal((await publisher.expect('PUBCOMP')).reasonCode, 0)
      await publisher.publish({ topic: 't', qos: 2, payload: 'y', properties })
      // The first one may have come before it expired, or not at all: it was never begun towards the subscriber.
      let message = await subscriber.expect('PUBLISH')
      if (message.payload.toString() === 'x') message = await subscriber.expect('PUBLISH')
      await sleep(1400)
      subscriber.send(pubrec({ packetId: message.packetId! }))
      const release = await subscriber.expect('PUBREL')
      assert.deepEqual([release.packetId, release.reasonCode], [message.packetId, 0])
      subscriber.send(pubcomp({ packetId: message.packetId! }))
      await subscriber.expectNothing()
    }))
})

variantTest(
  'a QoS 1 PUBLISH under an identifier that is open in QoS 2 is refused',
  { levels: [5] },
  async ({ client }) => {
    const subscriber = await client()
    await subscriber.subscribe(['t'])
    const publisher = await client()
    publisher.send(publish({ topic: 't', qos: 2, packetId: 6, payload: 'two' }))
    await publisher.expect('PUBREC')
    publisher.send(publish({ topic: 't', qos: 1, packetId: 6, payload: 'one' }))
    assert.equal((await publisher.expect('PUBACK')).reasonCode, 0x91)
    publisher.send(pubrel({ packetId: 6 }))
    await publisher.expect('PUBCOMP')
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), 'two')
    await subscriber.expectNothing()
  },
)
