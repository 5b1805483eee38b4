// Chapter 3.1, third part: the Will Message, when it is published and when not.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { Stopwatch } from '../kit/stopwatch.ts'
import { variantTest } from '../kit/variants.ts'
import { disconnect, P, type Property, packet, properties, property, publish } from '../kit/wire.ts'

const sleep = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))
const will = { topic: 'will', payload: 'gone' }

// The suites run side by side: those that wait for time to pass cost none of their own.
describe('3.1 CONNECT: the Will Message', { concurrency: true }, () => {
  describe('3.1.2.5 Will Flag', { concurrency: 16 }, () => {
    variantTest(
      '[MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10] a broken connection publishes the will, once',
      {},
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'])
        const a = await client({ clientId: 'a', will })
        a.destroy()
        assert.equal((await observer.expect('PUBLISH')).payload.toString(), 'gone')
        const again = await client({ clientId: 'a' })
        again.destroy()
        await sleep(50)
        await observer.expectNothing()
      },
    )

    variantTest('[MQTT-3.1.2-10] [MQTT-3.14.4-3] DISCONNECT 0x00 deletes the will', {}, async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['will'])
      const a = await client({ will })
      await a.disconnect()
      await observer.expectNothing()
    })

    variantTest('[MQTT-3.1.2-8] DISCONNECT 0x04 publishes the will', { levels: [5] }, async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['will'])
      const a = await client({ will })
      a.send(disconnect({ reasonCode: 0x04 }))
      await a.expectClosed()
      assert.equal((await observer.expect('PUBLISH')).payload.toString(), 'gone')
    })

    variantTest('[MQTT-3.1.2-8] a protocol error publishes the will', {}, async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['will'])
      const a = await client({ will })
      a.send(packet({ type: 0 }))
      await a.expectDisconnect(0x81)
      assert.equal((await observer.expect('PUBLISH')).payload.toString(), 'gone')
    })

    variantTest(
      '[MQTT-3.1.2-8] [MQTT-3.1.4-3] a takeover publishes the will of the older connection',
      {},
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'])
        const older = await client({ clientId: 'a', will })
        await client({ clientId: 'a' })
        await older.expectDisconnect(0x8e)
        assert.equal((await observer.expect('PUBLISH')).payload.toString(), 'gone')
        await observer.expectNothing()
      },
    )

    variantTest('[MQTT-3.1.2-8] an empty will payload is a message too', {}, async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['will'])
      const a = await client({ will: { topic: 'will', payload: '' } })
      a.destroy()
      assert.equal((await observer.expect('PUBLISH')).payload.length, 0)
    })

    for (const qos of [0, 1, 2]) {
      variantTest(`[MQTT-3.1.2-12] the will is published with its QoS ${qos}`, {}, async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'], { qos: 2 })
        const a = await client({ will: { ...will, qos } })
        a.destroy()
        assert.equal((await observer.expect('PUBLISH')).qos, qos)
      })
    }

    for (const retain of [false, true]) {
      variantTest(
        `${retain ? '[MQTT-3.1.2-15]' : '[MQTT-3.1.2-14]'} Will Retain ${retain ? 1 : 0}`,
        {},
        async ({ client }) => {
          const observer = await client()
          await observer.subscribe(['will'])
          const a = await client({ will: { ...will, retain } })
          a.destroy()
          assert.equal((await observer.expect('PUBLISH')).retain, false)
          const later = await client()
          await later.subscribe(['will'])
          if (retain) {
            const message = await later.expect('PUBLISH')
            assert.equal(message.retain, true)
            assert.equal(message.payload.toString(), 'gone')
          }
          await later.expectNothing()
        },
      )
    }

    variantTest(
      '[MQTT-3.1.2-15] [MQTT-3.3.1-6] a retained will without payload removes the retained message',
      {},
      async ({ client }) => {
        const observer = await client()
        await observer.publish({ topic: 'will', payload: 'x', retain: true })
        await observer.subscribe(['will'])
        await observer.expect('PUBLISH')
        const a = await client({ will: { topic: 'will', payload: '', retain: true } })
        a.destroy()
        assert.equal((await observer.expect('PUBLISH')).payload.length, 0)
        const later = await client()
        await later.subscribe(['will'])
        await later.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.2-10] [MQTT-3.14.4-3] nothing after DISCONNECT counts, not even a protocol error',
      {},
      async ({ client, level }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        const a = await client({ will })
        a.send(disconnect({ level }), publish({ level, topic: 'late', payload: 'x' }), packet({ type: 0 }))
        await a.expectClosed()
        await observer.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.2-7] a CONNECT without Will Flag replaces an earlier will',
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'])
        const session: Property[] = [[P.sessionExpiryInterval, 60]]
        const first = await client({
          clientId: 'a',
          properties: session,
          will: { ...will, properties: [[P.willDelayInterval, 60]] },
        })
        first.destroy()
        const second = await client({ clientId: 'a', cleanStart: false, properties: session })
        second.destroy()
        await sleep(50)
        await observer.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.3-10] the properties of the will are forwarded, user properties in their order',
      { levels: [5] },
      async ({ client }) => {
        const list: Property[] = [
          [P.userProperty, ['z', '1']],
          [P.payloadFormatIndicator, 1],
          [P.userProperty, ['a', '2']],
          [P.messageExpiryInterval, 1000],
          [P.contentType, 'text'],
          [P.userProperty, ['z', '1']],
          [P.responseTopic, 'answer/here'],
          [P.correlationData, Buffer.from([0, 1, 255])],
          [P.willDelayInterval, 0],
        ]
        const observer = await client()
        await observer.subscribe(['will'])
        const a = await client({ will: { ...will, properties: list } })
        a.destroy()
        const message = await observer.expect('PUBLISH')
        assert.deepEqual(properties(message, P.userProperty), [
          ['z', '1'],
          ['a', '2'],
          ['z', '1'],
        ])
        assert.equal(property(message, P.payloadFormatIndicator), 1)
        assert.equal(property(message, P.contentType), 'text')
        assert.equal(property(message, P.responseTopic), 'answer/here')
        assert.deepEqual(property(message, P.correlationData), Buffer.from([0, 1, 255]))
        assert.ok((property(message, P.messageExpiryInterval) as number) >= 999)
        assert.equal(properties(message, P.willDelayInterval).length, 0)
      },
    )
  })

  describe('3.1.3.2.2 Will Delay Interval', { concurrency: true }, () => {
    const session = (seconds: number): Property[] => [[P.sessionExpiryInterval, seconds]]
    const delayed = (seconds: number) => ({ ...will, properties: [[P.willDelayInterval, seconds]] as Property[] })

    variantTest('[MQTT-3.1.2-8] the will waits for its delay', { levels: [5] }, async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['will'])
      const a = await client({ properties: session(60), will: delayed(1) })
      const stopwatch = new Stopwatch()
      a.destroy()
      await observer.expect('PUBLISH')
      stopwatch.assertBetween(900, 4000, 'came')
      await sleep(1200)
      await observer.expectNothing()
    })

    variantTest('[MQTT-3.1.2-8] the end of the session ends the delay', { levels: [5] }, async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['will'])
      const a = await client({ properties: session(1), will: delayed(600) })
      const stopwatch = new Stopwatch()
      a.destroy()
      await observer.expect('PUBLISH')
      stopwatch.assertBetween(900, 4500, 'came')
    })

    variantTest(
      '[MQTT-3.1.2-8] without a session to wait for there is no delay',
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'])
        const a = await client({ properties: session(0), will: delayed(600) })
        a.destroy()
        await observer.expect('PUBLISH')
      },
    )

    variantTest(
      '[MQTT-3.1.3-9] a return to the session before the delay ends cancels the will',
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'])
        const a = await client({ clientId: 'a', properties: session(60), will: delayed(1) })
        a.destroy()
        const back = await client({ clientId: 'a', cleanStart: false, properties: session(60) })
        await sleep(2200)
        await observer.expectNothing()
        await back.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.3-9] a takeover that resumes the session sends no delayed will',
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'])
        const older = await client({ clientId: 'a', properties: session(60), will: delayed(1) })
        await client({ clientId: 'a', cleanStart: false, properties: session(60) })
        await older.expectDisconnect(0x8e)
        await sleep(2200)
        await observer.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.2-8] a takeover with Clean Start ends the session, and so the delay',
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'])
        const older = await client({ clientId: 'a', properties: session(60), will: delayed(600) })
        await client({ clientId: 'a', cleanStart: true })
        await older.expectDisconnect(0x8e)
        await observer.expect('PUBLISH')
        await observer.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.2-8] Clean Start while the delay runs ends the session, and so the delay',
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'])
        const older = await client({ clientId: 'a', properties: session(60), will: delayed(600) })
        older.send(disconnect({ reasonCode: 0x04 }))
        await older.expectClosed()
        await observer.expectNothing()
        await client({ clientId: 'a', cleanStart: true })
        await observer.expect('PUBLISH')
        await observer.expectNothing()
      },
    )

    variantTest('[MQTT-3.1.3-9] the will of the returned client is its own', { levels: [5] }, async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['will'])
      const first = await client({ clientId: 'a', properties: session(60), will: { ...delayed(1), payload: 'first' } })
      first.destroy()
      const second = await client({
        clientId: 'a',
        cleanStart: false,
        properties: session(60),
        will: { ...delayed(1), payload: 'second' },
      })
      second.destroy()
      assert.equal((await observer.expect('PUBLISH')).payload.toString(), 'second')
      await observer.expectNothing()
    })

    variantTest(
      '[MQTT-3.1.2-8] what a client published before comes before its will',
      {},
      async ({ client, level }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        const a = await client({ will })
        a.send(publish({ level, topic: 'last', payload: 'words' }))
        await a.fence()
        a.destroy()
        assert.equal((await observer.expect('PUBLISH')).topic, 'last')
        assert.equal((await observer.expect('PUBLISH')).topic, 'will')
      },
    )
  })
})
