// Chapter 3.3, first part: the PUBLISH packet itself: flags, topic, alias, properties, and which answer it gets.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { variantTest } from '../kit/variants.ts'
import { P, type Property, properties, property, puback, publish, pubrel } from '../kit/wire.ts'

const sleep = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))
const session: Property[] = [[P.sessionExpiryInterval, 60]]

// The suites run side by side: those that wait for time to pass cost none of their own.
describe('3.3 PUBLISH', { concurrency: true }, () => {
  describe('3.3.1 fixed header', { concurrency: 16 }, () => {
    for (const qos of [1, 2]) {
      variantTest(
        `[MQTT-3.3.1-1] [MQTT-4.4.0-1] an unacknowledged QoS ${qos} message comes again with DUP after a reconnect`,
        {},
        async ({ client, level }) => {
          const kept = { clientId: 'a', cleanStart: false, properties: session }
          const a = await client(kept)
          await a.subscribe(['t'], { qos })
          const publisher = await client()
          await publisher.publish({ topic: 't', payload: 'x', qos })
          const first = await a.expect('PUBLISH')
          assert.equal(first.dup, false)
          a.destroy()
          const back = await client(kept)
          const again = await back.expect('PUBLISH')
          assert.equal(again.dup, true)
          assert.equal(again.packetId, first.packetId)
          assert.equal(again.payload.toString(), 'x')
          if (qos === 1) back.send(puback({ level, packetId: again.packetId! }))
          await back.expectNothing()
        },
      )
    }

    variantTest('[MQTT-3.3.1-2] [MQTT-4.3.1-1] DUP with QoS 0 is refused', { levels: [4, 5] }, async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['#'])
      const a = await client()
      a.send(publish({ level: a.level, topic: 't', dup: true }))
      await a.expectDisconnect(0x81)
      await observer.expectNothing()
    })

    for (const qos of [1, 2]) {
      variantTest(`[MQTT-3.3.1-3] DUP of a QoS ${qos} publisher is not passed on`, {}, async ({ client, level }) => {
        const subscriber = await client()
        await subscriber.subscribe(['t'], { qos: 2 })
        const publisher = await client()
        publisher.send(publish({ level, topic: 't', qos, dup: true, packetId: 3 }))
        await publisher.expect(qos === 1 ? 'PUBACK' : 'PUBREC')
        if (qos === 2) publisher.send(pubrel({ level, packetId: 3 }))
        assert.equal((await subscriber.expect('PUBLISH')).dup, false)
      })
    }

    for (const fixedFlags of [0x06, 0x07, 0x0e]) {
      variantTest(`[MQTT-3.3.1-4] QoS 3 is refused (flags ${fixedFlags})`, {}, async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        const a = await client()
        a.send(publish({ level: a.level, topic: 't', packetId: 1, fixedFlags }))
        await a.expectDisconnect(0x81)
        await observer.expectNothing()
      })
    }
  })

  describe('3.3.2 topic and alias', { concurrency: 16 }, () => {
    for (const topic of ['#', '+', 'a/#', 'a/+/b', 'a+', 'a#b', '+/a']) {
      variantTest(`[MQTT-3.3.2-2] [MQTT-4.7.0-1] topic ${topic} with a wildcard is refused`, {}, async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        const a = await client()
        a.send(publish({ level: a.level, topic, payload: 'x' }))
        await a.expectDisconnect(0x90)
        await observer.expectNothing()
      })
    }

    variantTest(
      '[MQTT-3.3.2-1] [MQTT-4.7.3-1] an empty topic without alias is refused',
      {},
      async ({ client, level }) => {
        const a = await client()
        a.send(publish({ level, topic: '', payload: 'x' }))
        await a.expectDisconnect(0x82)
      },
    )

    variantTest(
      '[MQTT-3.3.2-3] the topic that is delivered matches the filter, and is the one published',
      {},
      async ({ client }) => {
        const a = await client()
        await a.subscribe(['+/b/#', '/x', 'y/'])
        const publisher = await client()
        for (const topic of ['a/b', 'b', 'a/b/c', 'x', '/x', 'a/c', '/b', 'y', 'y/', 'B/b ', 'a/B']) {
          await publisher.publish({ topic, payload: topic })
        }
        for (const expected of ['a/b', 'a/b/c', '/x', '/b', 'y/']) {
          const message = await a.expect('PUBLISH')
          assert.equal(message.topic, expected)
          assert.equal(message.payload.toString(), expected)
        }
        await a.expectNothing()
      },
    )

    variantTest('[MQTT-3.3.2-8] alias 0 is refused', { levels: [5] }, async ({ client }) => {
      const a = await client()
      a.send(publish({ topic: 't', properties: [[P.topicAlias, 0]] }))
      await a.expectDisconnect(0x94)
    })

    variantTest('[MQTT-3.3.2-9] an alias above the maximum is refused', { levels: [5] }, async ({ client }) => {
      for (const alias of [65, 65535]) {
        const a = await client()
        a.send(publish({ topic: 't', properties: [[P.topicAlias, alias]] }))
        await a.expectDisconnect(0x94)
      }
    })

    variantTest(
      '[MQTT-3.3.2-12] every alias from 1 to the maximum is accepted, and can be given another topic',
      { levels: [5] },
      async ({ client }) => {
        const subscriber = await client()
        await subscriber.subscribe(['#'])
        const a = await client()
        for (let round = 0; round < 2; round++) {
          for (let alias = 1; alias <= 64; alias++) {
            a.send(
              publish({ topic: `${round}/${alias}`, properties: [[P.topicAlias, alias]] }),
              publish({ topic: '', payload: 'by alias', properties: [[P.topicAlias, alias]] }),
            )
            for (const payload of ['', 'by alias']) {
              const message = await subscriber.expect('PUBLISH')
              assert.equal(message.topic, `${round}/${alias}`)
              assert.equal(message.payload.toString(), payload)
              assert.equal(property(message, P.topicAlias), undefined, 'the alias of the publisher is not passed on')
            }
          }
        }
      },
    )

    variantTest('[MQTT-3.3.2-12] an alias works with every QoS', { levels: [5] }, async ({ client }) => {
      const subscriber = await client()
      await subscriber.subscribe(['t'], { qos: 0 })
      const a = await client()
      a.send(publish({ topic: 't', qos: 1, packetId: 1, properties: [[P.topicAlias, 1]] }))
      await a.expect('PUBACK')
      assert.equal(await a.publish({ topic: '', qos: 2, properties: [[P.topicAlias, 1]] }), 0)
      assert.equal((await subscriber.expect('PUBLISH')).topic, 't')
      assert.equal((await subscriber.expect('PUBLISH')).topic, 't')
    })

    variantTest(
      '[MQTT-3.3.2-12] an alias set by a message that was refused or repeated is set all the same',
      {
        levels: [5],
        broker: {
          hooks: {
            authorize: ({ action, topic }: { action: string; topic: string }) =>
              action !== 'publish' || topic !== 'forbidden',
          },
        },
      },
      async ({ client }) => {
        const subscriber = await client()
        await subscriber.subscribe(['#'])
        const a = await client()
        assert.equal(await a.publish({ topic: 'forbidden', qos: 1, properties: [[P.topicAlias, 1]] }), 0x87)
        assert.equal(await a.publish({ topic: '', qos: 1, properties: [[P.topicAlias, 1]] }), 0x87)
        a.send(publish({ topic: 'forbidden', qos: 0, properties: [[P.topicAlias, 2]] }))
        assert.equal(await a.publish({ topic: '', qos: 2, properties: [[P.topicAlias, 2]] }), 0x87)
        a.send(
          publish({ topic: 'x', qos: 2, packetId: 500 }),
          publish({ topic: 'y', qos: 2, packetId: 500, dup: true, properties: [[P.topicAlias, 3]] }),
        )
        await a.expect('PUBREC')
        await a.expect('PUBREC')
        a.send(pubrel({ packetId: 500 }))
        await a.expect('PUBCOMP')
        assert.equal((await subscriber.expect('PUBLISH')).topic, 'x')
        await a.publish({ topic: '', qos: 1, properties: [[P.topicAlias, 3]] })
        assert.equal((await subscriber.expect('PUBLISH')).topic, 'y')
        await subscriber.expectNothing()
      },
    )

    variantTest('[MQTT-3.3.2-12] an alias that was never set is refused', { levels: [5] }, async ({ client }) => {
      const a = await client()
      a.send(publish({ topic: '', properties: [[P.topicAlias, 5]] }))
      await a.expectDisconnect(0x82)
    })

    variantTest(
      '[MQTT-3.3.2-7] an alias does not survive its connection, nor serve another client',
      { levels: [5] },
      async ({ client }) => {
        const a = await client({ clientId: 'a', properties: session })
        a.send(publish({ topic: 't', properties: [[P.topicAlias, 1]] }))
        await a.fence()
        const other = await client()
        other.send(publish({ topic: '', properties: [[P.topicAlias, 1]] }))
        await other.expectDisconnect(0x82)
        await a.disconnect()
        const back = await client({ clientId: 'a', cleanStart: false, properties: session })
        back.send(publish({ topic: '', properties: [[P.topicAlias, 1]] }))
        await back.expectDisconnect(0x82)
      },
    )

    variantTest(
      '[MQTT-3.3.2-2] a Response Topic with a wildcard is refused: [MQTT-3.3.2-14]',
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        for (const topic of ['a/#', '+', 'a+b']) {
          const a = await client()
          a.send(publish({ topic: 't', properties: [[P.responseTopic, topic]] }))
          await a.expectDisconnect(0x82)
        }
        await observer.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.3.4-6] a Subscription Identifier from a client is refused',
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        for (const qos of [0, 1]) {
          const a = await client()
          const packetId = qos > 0 ? 1 : undefined
          a.send(publish({ topic: 't', qos, packetId, properties: [[P.subscriptionIdentifier, 1]] }))
          await a.expectDisconnect(0x82)
        }
        await observer.expectNothing()
      },
    )
  })

  describe('3.3.2.3 properties', { concurrency: 16 }, () => {
    const forwarded: [string, string, Property[]][] = [
      ['MQTT-3.3.2-4', 'Payload Format Indicator 0', [[P.payloadFormatIndicator, 0]]],
      ['MQTT-3.3.2-4', 'Payload Format Indicator 1', [[P.payloadFormatIndicator, 1]]],
      ['MQTT-3.3.2-15', 'Response Topic', [[P.responseTopic, 'répondre/ici']]],
      ['MQTT-3.3.2-16', 'Correlation Data', [[P.correlationData, Buffer.from([0, 255, 0, 128])]]],
      ['MQTT-3.3.2-16', 'empty Correlation Data', [[P.correlationData, Buffer.alloc(0)]]],
      ['MQTT-3.3.2-20', 'Content Type', [[P.contentType, 'text/plain; charset=utf-8']]],
      ['MQTT-3.3.2-20', 'empty Content Type', [[P.contentType, '']]],
      ['MQTT-3.3.2-17', 'a User Property', [[P.userProperty, ['__proto__', 'constructor']]]],
      ['MQTT-3.3.2-17', 'an empty User Property', [[P.userProperty, ['', '']]]],
      [
        'MQTT-3.3.2-18',
        'User Properties in their order, repeats included',
        ['b=1', 'a=2', 'b=1', 'b=0', 'a='].map((entry) => [P.userProperty, entry.split('=') as [string, string]]),
      ],
    ]
    for (const [id, what, list] of forwarded) {
      for (const way of ['live', 'retained', 'queued']) {
        variantTest(`[${id}] ${what}: ${way}, unaltered`, { levels: [5] }, async ({ client }) => {
          const kept = { clientId: 'a', cleanStart: false, properties: session }
          let a = await client(kept)
          if (way !== 'retained') await a.subscribe(['t'], { qos: 1 })
          if (way === 'queued') await a.disconnect()
          const publisher = await client()
          await publisher.publish({ topic: 't', qos: 1, properties: list, retain: way === 'retained', payload: 'x' })
          if (way === 'queued') a = await client(kept)
          if (way === 'retained') await a.subscribe(['t'], { qos: 1 })
          const message = await a.expect('PUBLISH')
          const [propertyId] = list[0] as [number, unknown]
          const expected = (list as [number, unknown][]).map(([, value]) => value)
          assert.deepEqual(properties(message, propertyId), expected)
          assert.equal(message.properties.length, list.length, 'and nothing is added')
        })
      }
    }

    variantTest(
      '[MQTT-3.3.2-4] [MQTT-3.3.2-20] properties do not reach a client of 3.x, the message does',
      { levels: [3, 4] },
      async ({ broker, client, transport }) => {
        const old = await client()
        await old.subscribe(['t'])
        const publisher = await broker.client({}, { level: 5, transport })
        await publisher.publish({
          topic: 't',
          payload: 'x',
          properties: [
            [P.contentType, 'c'],
            [P.userProperty, ['k', 'v']],
          ],
        })
        assert.equal((await old.expect('PUBLISH')).bytes.toString('hex'), '300400017478')
      },
    )
  })

  describe('3.3.2.3.3 Message Expiry Interval', { concurrency: true }, () => {
    variantTest(
      '[MQTT-3.3.2-5] an expired message is deleted: queued and retained',
      { levels: [5] },
      async ({ client }) => {
        const kept = { clientId: 'a', cleanStart: false, properties: session }
        const a = await client(kept)
        await a.subscribe(['q'], { qos: 1 })
        await a.disconnect()
        const publisher = await client()
        await publisher.publish({ topic: 'q', payload: 'short', qos: 1, properties: [[P.messageExpiryInterval, 1]] })
        await publisher.publish({ topic: 'q', payload: 'long', qos: 1, properties: [[P.messageExpiryInterval, 100]] })
        await publisher.publish({ topic: 'q', payload: 'forever', qos: 1 })
        await publisher.publish({
          topic: 'r',
          payload: 'short',
          retain: true,
          properties: [[P.messageExpiryInterval, 1]],
        })
        await sleep(2200)
        const back = await client(kept)
        for (const expected of ['long', 'forever'])
          assert.equal((await back.expect('PUBLISH')).payload.toString(), expected)
        await back.subscribe(['r'])
        await back.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.3.2-6] the waiting time is taken off: queued and retained',
      { levels: [5] },
      async ({ client }) => {
        const kept = { clientId: 'a', cleanStart: false, properties: session }
        const a = await client(kept)
        await a.subscribe(['q'], { qos: 1 })
        await a.disconnect()
        const publisher = await client()
        await publisher.publish({ topic: 'q', qos: 1, properties: [[P.messageExpiryInterval, 100]] })
        await publisher.publish({
          topic: 'r',
          payload: 'x',
          retain: true,
          properties: [[P.messageExpiryInterval, 100]],
        })
        await sleep(2200)
        const back = await client(kept)
        const queued = await back.expect('PUBLISH')
        await back.subscribe(['r'])
        const retained = await back.expect('PUBLISH')
        for (const message of [queued, retained]) {
          const seconds = property(message, P.messageExpiryInterval) as number
          assert.ok(seconds <= 98 && seconds >= 90, `${message.topic}: ${seconds} seconds are left`)
        }
      },
    )

    variantTest(
      '[MQTT-3.3.2-6] a message that does not wait keeps its interval',
      { levels: [5] },
      async ({ client }) => {
        const a = await client()
        await a.subscribe(['t'])
        a.send(publish({ topic: 't', properties: [[P.messageExpiryInterval, 100]] }))
        const seconds = property(await a.expect('PUBLISH'), P.messageExpiryInterval) as number
        assert.ok(seconds === 100 || seconds === 99, `${seconds} seconds are left`)
      },
    )

    variantTest(
      '[MQTT-3.3.2-5] a message that waits for the window to open expires there',
      { levels: [5] },
      async ({ client }) => {
        const a = await client({ properties: [[P.receiveMaximum, 1]] })
        await a.subscribe(['t'], { qos: 1 })
        const publisher = await client()
        await publisher.publish({ topic: 't', payload: 'first', qos: 1 })
        await publisher.publish({ topic: 't', payload: 'short', qos: 1, properties: [[P.messageExpiryInterval, 1]] })
        await publisher.publish({ topic: 't', payload: 'last', qos: 1 })
        const first = await a.expect('PUBLISH')
        await sleep(2200)
        a.send(puback({ packetId: first.packetId! }))
        assert.equal((await a.expect('PUBLISH')).payload.toString(), 'last')
      },
    )
  })

  describe('3.3.4 actions', { concurrency: 16 }, () => {
    variantTest('[MQTT-3.3.4-1] QoS 0 gets no answer, QoS 1 PUBACK, QoS 2 PUBREC', {}, async ({ client, level }) => {
      const a = await client()
      a.send(publish({ level, topic: 't', qos: 0 }))
      await a.expectNothing()
      a.send(publish({ level, topic: 't', qos: 1, packetId: 1 }))
      await a.expect('PUBACK')
      a.send(publish({ level, topic: 't', qos: 2, packetId: 1 }))
      await a.expect('PUBREC')
      await a.expectNothing()
    })

    variantTest(
      '[MQTT-3.3.4-2] overlapping subscriptions deliver with the highest of their QoS',
      {},
      async ({ client }) => {
        const a = await client()
        await a.subscribe([
          { filter: 'a/b', qos: 0 },
          { filter: 'a/+', qos: 2 },
          { filter: 'a/#', qos: 1 },
        ])
        const publisher = await client()
        await publisher.publish({ topic: 'a/b', payload: 'x', qos: 2 })
        const received = [(await a.expect('PUBLISH')).qos]
        await a.fence()
        for (const message of a.unread) if (message.type === 'PUBLISH') received.push(message.qos)
        assert.equal(Math.max(...received), 2)
        if (received.length > 1)
          assert.deepEqual(received.sort(), [0, 1, 2], 'several copies: one for each subscription')
      },
    )

    variantTest(
      '[MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5] all identifiers of overlapping subscriptions are told',
      { levels: [5] },
      async ({ client }) => {
        const a = await client()
        await a.subscribe(['a/b'], { properties: [[P.subscriptionIdentifier, 1]] })
        await a.subscribe(['a/+'], { properties: [[P.subscriptionIdentifier, 268435455]] })
        await a.subscribe(['#'])
        await a.subscribe(['other'], { properties: [[P.subscriptionIdentifier, 3]] })
        const publisher = await client()
        await publisher.publish({ topic: 'a/b', payload: 'x', retain: true })
        await a.fence()
        const identifiers: unknown[] = []
        let copies = 0
        while (a.unread.length > 0) {
          const message = await a.expect('PUBLISH')
          identifiers.push(...properties(message, P.subscriptionIdentifier))
          copies++
        }
        assert.deepEqual(identifiers.sort(), [1, 268435455])
        assert.ok(copies === 1 || copies === 3, `${copies} copies`)
      },
    )

    variantTest(
      '[MQTT-3.3.4-3] retained and queued messages carry the identifier',
      { levels: [5] },
      async ({ client }) => {
        const kept = { clientId: 'a', cleanStart: false, properties: session }
        const publisher = await client()
        await publisher.publish({ topic: 'r', payload: 'x', retain: true })
        const a = await client(kept)
        await a.subscribe(['#'], { qos: 1, properties: [[P.subscriptionIdentifier, 77]] })
        assert.deepEqual(properties(await a.expect('PUBLISH'), P.subscriptionIdentifier), [77])
        await a.disconnect()
        await publisher.publish({ topic: 'q', qos: 1 })
        const back = await client(kept)
        assert.deepEqual(properties(await back.expect('PUBLISH'), P.subscriptionIdentifier), [77])
      },
    )
  })
})
