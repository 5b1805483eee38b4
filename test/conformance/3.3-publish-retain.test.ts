// Chapter 3.3, second part: retained messages, and the subscription options that say what becomes of them.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { variantTest } from '../kit/variants.ts'
import { publish } from '../kit/wire.ts'

describe('3.3.1.3 RETAIN', { concurrency: 16 }, () => {
  for (const qos of [0, 1, 2]) {
    variantTest(
      `[MQTT-3.3.1-5] a retained QoS ${qos} message is stored, and replaces the one before`,
      {},
      async ({ client }) => {
        const publisher = await client()
        await publisher.publish({ topic: 't', payload: 'old', retain: true, qos: 2 - qos })
        await publisher.publish({ topic: 't', payload: 'new', retain: true, qos })
        const a = await client()
        await a.subscribe(['t'], { qos: 2 })
        const message = await a.expect('PUBLISH')
        assert.deepEqual([message.payload.toString(), message.retain, message.qos], ['new', true, qos])
        await a.expectNothing()
      },
    )
  }

  variantTest('[MQTT-3.3.1-5] it is also delivered to those who have subscribed already', {}, async ({ client }) => {
    const a = await client()
    await a.subscribe(['t'])
    const publisher = await client()
    await publisher.publish({ topic: 't', payload: 'x', retain: true })
    assert.equal((await a.expect('PUBLISH')).retain, false)
    await a.expectNothing()
  })

  variantTest(
    '[MQTT-3.3.1-6] [MQTT-3.3.1-7] an empty payload is delivered, removes, and is not stored',
    {},
    async ({ client }) => {
      const publisher = await client()
      await publisher.publish({ topic: 't', payload: 'x', retain: true, qos: 1 })
      const before = await client()
      await before.subscribe(['t'])
      await before.expect('PUBLISH')
      await publisher.publish({ topic: 't', payload: '', retain: true, qos: 1 })
      const removal = await before.expect('PUBLISH')
      assert.equal(removal.payload.length, 0)
      const later = await client()
      await later.subscribe(['t'])
      await later.expectNothing()
      await publisher.publish({ topic: 'never', payload: '', retain: true, qos: 1 })
      await later.subscribe(['never'])
      await later.expectNothing()
    },
  )

  variantTest('[MQTT-3.3.1-8] RETAIN 0 neither stores, replaces nor removes', {}, async ({ client }) => {
    const publisher = await client()
    await publisher.publish({ topic: 'none', payload: 'x', qos: 1 })
    await publisher.publish({ topic: 't', payload: 'kept', retain: true, qos: 1 })
    await publisher.publish({ topic: 't', payload: 'other', qos: 1 })
    await publisher.publish({ topic: 't', payload: '', qos: 1 })
    const a = await client()
    await a.subscribe(['none', 't'])
    assert.equal((await a.expect('PUBLISH')).payload.toString(), 'kept')
    await a.expectNothing()
  })

  variantTest(
    '[MQTT-3.3.1-5] a retained message outlives the connection and session of its publisher',
    {},
    async ({ client }) => {
      const publisher = await client({ clientId: 'p' })
      await publisher.publish({ topic: 't', payload: 'x', retain: true })
      await publisher.disconnect()
      await client({ clientId: 'p' })
      const a = await client()
      await a.subscribe(['#'])
      assert.equal((await a.expect('PUBLISH')).payload.toString(), 'x')
    },
  )
})

describe('3.8.3.1 Retain Handling and Retain As Published', { concurrency: 16 }, () => {
  variantTest(
    '[MQTT-3.3.1-9] Retain Handling 0 sends every matching retained message, every time',
    { levels: [5] },
    async ({ client }) => {
      const publisher = await client()
      for (const topic of ['a/1', 'a/2', 'a/2/x', 'b/1'])
        await publisher.publish({ topic, payload: topic, retain: true })
      const a = await client()
      for (let round = 0; round < 2; round++) {
        await a.subscribe([{ filter: 'a/+', retainHandling: 0 }])
        const topics = [await a.expect('PUBLISH'), await a.expect('PUBLISH')].map(({ topic }) => topic)
        assert.deepEqual(topics.sort(), ['a/1', 'a/2'])
        await a.expectNothing()
      }
    },
  )

  variantTest(
    '[MQTT-3.3.1-9] a client of 3.x gets retained messages with every SUBSCRIBE',
    { levels: [3, 4] },
    async ({ client }) => {
      const publisher = await client()
      await publisher.publish({ topic: 't', payload: 'x', retain: true })
      const a = await client()
      for (let round = 0; round < 2; round++) {
        await a.subscribe(['t'])
        assert.equal((await a.expect('PUBLISH')).retain, true)
      }
    },
  )

  variantTest(
    '[MQTT-3.3.1-10] Retain Handling 1 sends them only for a new subscription',
    { levels: [5] },
    async ({ client }) => {
      const publisher = await client()
      await publisher.publish({ topic: 't', payload: 'x', retain: true })
      const a = await client()
      await a.subscribe([{ filter: 't', retainHandling: 1 }])
      await a.expect('PUBLISH')
      await a.subscribe([{ filter: 't', retainHandling: 1, qos: 1 }])
      await a.expectNothing()
      await a.unsubscribe(['t'])
      await a.subscribe([{ filter: 't', retainHandling: 1 }])
      await a.expect('PUBLISH')
    },
  )

  variantTest('[MQTT-3.3.1-11] Retain Handling 2 sends none', { levels: [5] }, async ({ client }) => {
    const publisher = await client()
    await publisher.publish({ topic: 't', payload: 'x', retain: true })
    const a = await client()
    await a.subscribe([{ filter: 't', retainHandling: 2 }])
    await a.expectNothing()
    await publisher.publish({ topic: 't', payload: 'live', retain: true })
    assert.equal((await a.expect('PUBLISH')).payload.toString(), 'live')
  })

  for (const retainAsPublished of [false, true]) {
    const id = retainAsPublished ? 'MQTT-3.3.1-13' : 'MQTT-3.3.1-12'
    variantTest(`[${id}] Retain As Published ${retainAsPublished ? 1 : 0}`, { levels: [5] }, async ({ client }) => {
      const a = await client()
      await a.subscribe([{ filter: 't', retainAsPublished }])
      for (const retain of [true, false]) {
        a.send(publish({ topic: 't', payload: 'x', retain }))
        assert.equal((await a.expect('PUBLISH')).retain, retain && retainAsPublished)
      }
    })
  }

  variantTest(
    '[MQTT-3.3.1-12] retained messages have RETAIN 1 whatever Retain As Published says',
    { levels: [5] },
    async ({ client }) => {
      const publisher = await client()
      await publisher.publish({ topic: 't', payload: 'x', retain: true })
      const a = await client()
      await a.subscribe([{ filter: 't', retainAsPublished: false }])
      assert.equal((await a.expect('PUBLISH')).retain, true)
    },
  )
})
