// Chapter 3.1, second part: Clean Start, Session Expiry Interval, and the limits a client sets for what it is sent.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { variantTest } from '../kit/variants.ts'
import { type ConnectOptions, P, type Property, property, puback, publish } from '../kit/wire.ts'

const sleep = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))

/** A session that outlives its connection, in every version. */
const kept = (clientId: string, cleanStart = false): ConnectOptions => ({
  clientId,
  cleanStart,
  properties: [[P.sessionExpiryInterval, 60]],
})

// The suites run side by side: those that wait for time to pass cost none of their own.
describe('3.1 CONNECT: sessions and limits', { concurrency: true }, () => {
  describe('3.1.2.4 Clean Start', { concurrency: 16 }, () => {
    variantTest(
      '[MQTT-3.1.2-5] [MQTT-3.2.2-3] without Clean Start the session goes on',
      {},
      async ({ client, connect, level }) => {
        const before = await client(kept('a'))
        await before.subscribe(['t'], { qos: 1 })
        await before.disconnect()
        const publisher = await client()
        await publisher.publish({ topic: 't', payload: 'while away', qos: 1 })

        const after = await connect()
        const connack = await after.handshake(kept('a'))
        if (level > 3) assert.equal(connack.sessionPresent, true)
        const queued = await after.expect('PUBLISH')
        assert.equal(queued.payload.toString(), 'while away')
        after.send(puback({ level, packetId: queued.packetId! }))
        await publisher.publish({ topic: 't', payload: 'live', qos: 1 })
        assert.equal((await after.expect('PUBLISH')).payload.toString(), 'live')
      },
    )

    variantTest(
      '[MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2] Clean Start drops subscriptions, messages in flight and queued',
      {},
      async ({ client, connect }) => {
        const before = await client(kept('a'))
        await before.subscribe(['t'], { qos: 2 })
        const publisher = await client()
        await publisher.publish({ topic: 't', payload: 'in flight', qos: 1 })
        await before.expect('PUBLISH')
        before.destroy()
        await publisher.publish({ topic: 't', payload: 'queued', qos: 2 })

        const clean = await connect()
        assert.equal((await clean.handshake(kept('a', true))).sessionPresent, false)
        await clean.expectNothing()
        await publisher.publish({ topic: 't', payload: 'live', qos: 1 })
        await clean.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.2-4] Clean Start of a connected client takes over without its session',
      {},
      async ({ client, connect }) => {
        const older = await client(kept('a'))
        await older.subscribe(['t'], { qos: 1 })
        const newer = await connect()
        assert.equal((await newer.handshake(kept('a', true))).sessionPresent, false)
        await older.expectDisconnect(0x8e)
        const publisher = await client()
        await publisher.publish({ topic: 't', qos: 1 })
        await newer.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.2-5] [MQTT-3.1.4-3] a takeover without Clean Start keeps the session',
      {},
      async ({ client, connect, level }) => {
        const older = await client(kept('a'))
        await older.subscribe(['t'], { qos: 1 })
        const newer = await connect()
        const connack = await newer.handshake(kept('a'))
        if (level > 3) assert.equal(connack.sessionPresent, true)
        await older.expectDisconnect(0x8e)
        const publisher = await client()
        await publisher.publish({ topic: 't', payload: 'x', qos: 1 })
        assert.equal((await newer.expect('PUBLISH')).payload.toString(), 'x')
      },
    )

    variantTest(
      '[MQTT-3.1.2-6] [MQTT-3.2.2-3] without a stored session a new one is made',
      {},
      async ({ connect, level }) => {
        const first = await connect()
        assert.equal((await first.handshake(kept('a'))).sessionPresent, false)
        await first.disconnect()
        const second = await connect()
        assert.equal((await second.handshake(kept('a'))).sessionPresent, level > 3)
      },
    )

    variantTest(
      '[MQTT-3.1.2-6] a clean session of 3.x leaves nothing behind',
      { levels: [4] },
      async ({ client, connect }) => {
        const clean = await client({ clientId: 'a', cleanStart: true })
        await clean.subscribe(['t'])
        await clean.disconnect()
        const next = await connect()
        assert.equal((await next.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, false)
      },
    )

    variantTest('[MQTT-3.1.3-2] sessions of different client ids do not mix', {}, async ({ client, connect }) => {
      const a = await client(kept('a'))
      await a.subscribe(['t'], { qos: 1 })
      await a.disconnect()
      const b = await connect()
      assert.equal((await b.handshake(kept('A'))).sessionPresent, false)
      const publisher = await client()
      await publisher.publish({ topic: 't', qos: 1 })
      await b.expectNothing()
    })

    variantTest(
      '[MQTT-3.1.2-5] a session may be taken up by another protocol version',
      { levels: [4] },
      async ({ broker, client, transport }) => {
        const older = await client(kept('a'))
        await older.subscribe(['t'], { qos: 1 })
        await older.disconnect()
        const newer = await broker.connect({ level: 5, transport })
        assert.equal((await newer.handshake(kept('a'))).sessionPresent, true)
        await newer.publish({ topic: 'elsewhere', qos: 1 })
        newer.send(publish({ topic: 't', payload: 'x', qos: 0 }))
        assert.equal((await newer.expect('PUBLISH')).payload.toString(), 'x')
      },
    )
  })

  describe('3.1.2.11.2 Session Expiry Interval', { concurrency: true }, () => {
    for (const list of [[], [[P.sessionExpiryInterval, 0] as Property]]) {
      variantTest(
        `[MQTT-3.1.2-23] ${list.length === 0 ? 'absent' : '0'}: the session ends with the connection`,
        { levels: [5] },
        async ({ client, connect }) => {
          const before = await client({ clientId: 'a', cleanStart: false, properties: list })
          await before.subscribe(['t'])
          await before.disconnect()
          const after = await connect()
          assert.equal((await after.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, false)
        },
      )
    }

    variantTest(
      '[MQTT-3.1.2-23] [MQTT-4.1.0-2] the session is kept for its interval and no longer',
      { levels: [5] },
      async ({ client, connect }) => {
        const properties: Property[] = [[P.sessionExpiryInterval, 1]]
        const first = await client({ clientId: 'a', properties })
        await first.disconnect()
        const second = await connect()
        assert.equal((await second.handshake({ clientId: 'a', cleanStart: false, properties })).sessionPresent, true)
        second.destroy()
        await sleep(2600)
        const third = await connect()
        assert.equal((await third.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, false)
      },
    )

    variantTest(
      '[MQTT-3.1.2-23] the interval begins when the connection ends',
      { levels: [5] },
      async ({ client, connect }) => {
        const properties: Property[] = [[P.sessionExpiryInterval, 1]]
        const first = await client({ clientId: 'a', properties })
        await sleep(1500)
        await first.disconnect()
        const second = await connect()
        assert.equal((await second.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, true)
      },
    )

    variantTest(
      '[MQTT-3.1.2-23] the interval of the last CONNECT counts',
      { levels: [5] },
      async ({ client, connect }) => {
        const first = await client({ clientId: 'a', properties: [[P.sessionExpiryInterval, 60]] })
        await first.disconnect()
        const second = await client({ clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 0]] })
        await second.disconnect()
        const third = await connect()
        assert.equal((await third.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, false)
      },
    )

    variantTest('[MQTT-3.1.2-23] 0xFFFFFFFF never ends', { levels: [5] }, async ({ client, connect }) => {
      const first = await client({ clientId: 'a', properties: [[P.sessionExpiryInterval, 0xffffffff]] })
      await first.disconnect()
      await sleep(1500)
      const second = await connect()
      assert.equal((await second.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, true)
    })

    const capped = { limits: { sessionExpiry: '100s' } }
    variantTest(
      '[MQTT-3.1.2-23] a shorter interval than asked for is told in CONNACK',
      { levels: [5], broker: capped },
      async ({ connect }) => {
        const long = await connect()
        const answer = await long.handshake({ properties: [[P.sessionExpiryInterval, 0xffffffff]] })
        assert.equal(property(answer, P.sessionExpiryInterval), 100)
        const short = await connect()
        const same = await short.handshake({ properties: [[P.sessionExpiryInterval, 99]] })
        assert.ok([undefined, 99].includes(property(same, P.sessionExpiryInterval) as number | undefined))
      },
    )
  })

  describe('3.1.2.11 limits set by the client', { concurrency: 16 }, () => {
    // The test client fails for every packet that is over the limits of its CONNECT; these tests bring such packets about.
    for (const qos of [0, 1, 2]) {
      variantTest(
        `[MQTT-3.1.2-24] [MQTT-3.1.2-25] a QoS ${qos} message too large for a client is dropped as if it had been sent`,
        { levels: [5] },
        async ({ client }) => {
          const large = 'x'.repeat(500)
          const limited = await client({
            properties: [
              [P.maximumPacketSize, 100],
              [P.receiveMaximum, 1],
            ],
          })
          const unlimited = await client()
          for (const subscriber of [limited, unlimited]) await subscriber.subscribe(['t'], { qos })
          const publisher = await client()
          await publisher.publish({ topic: 't', payload: large, qos })
          await publisher.publish({ topic: 't', payload: large, qos })
          await publisher.publish({ topic: 't', payload: 'small', qos })
          assert.equal((await limited.expect('PUBLISH')).payload.toString(), 'small')
          for (const expected of [large, large, 'small']) {
            assert.equal((await unlimited.expect('PUBLISH')).payload.toString(), expected)
          }
        },
      )
    }

    variantTest(
      '[MQTT-3.1.2-24] a packet of exactly the limit is sent, one byte more is not',
      { levels: [5] },
      async ({ client }) => {
        const a = await client({ properties: [[P.maximumPacketSize, 100]] })
        await a.subscribe(['t'])
        const exact = 'x'.repeat(100 - 2 - 3 - 1)
        const publisher = await client()
        await publisher.publish({ topic: 't', payload: `${exact}y` })
        await publisher.publish({ topic: 't', payload: exact })
        const message = await a.expect('PUBLISH')
        assert.equal(message.payload.toString(), exact)
        assert.equal(message.bytes.length, 100)
        await a.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.2-25] retained and queued messages that are too large are dropped as well',
      { levels: [5] },
      async ({ client }) => {
        const publisher = await client()
        await publisher.publish({ topic: 'r', payload: 'x'.repeat(500), retain: true, qos: 1 })
        const away = await client(kept('a'))
        await away.subscribe(['q'], { qos: 1 })
        await away.disconnect()
        await publisher.publish({ topic: 'q', payload: 'x'.repeat(500), qos: 1 })
        await publisher.publish({ topic: 'q', payload: 'small', qos: 1 })
        const back = await client({
          clientId: 'a',
          cleanStart: false,
          properties: [
            [P.maximumPacketSize, 100],
            [P.receiveMaximum, 1],
          ],
        })
        assert.equal((await back.expect('PUBLISH')).payload.toString(), 'small')
        await back.subscribe(['r'])
        await back.expectNothing()
      },
    )

    for (const maximum of [null, 0, 1, 2]) {
      const list: Property[] = maximum === null ? [] : [[P.topicAliasMaximum, maximum]]
      variantTest(
        `[MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11] with Topic Alias Maximum ${maximum ?? 'absent'} no alias above it comes`,
        { levels: [5] },
        async ({ client }) => {
          const a = await client({ properties: list })
          await a.subscribe(['#'])
          const publisher = await client()
          const topicsByAlias = new Map<number, string>()
          for (let index = 0; index < 15; index++) {
            const topic = `topic/${index % 5}`
            await publisher.publish({ topic, payload: topic })
            const message = await a.expect('PUBLISH') // the kit checks the alias against the maximum
            const alias = property(message, P.topicAlias) as number | undefined
            if (alias !== undefined && message.topic !== '') topicsByAlias.set(alias, message.topic)
            const name = message.topic === '' ? topicsByAlias.get(alias!) : message.topic
            assert.equal(name, message.payload.toString())
          }
        },
      )
    }

    variantTest(
      '[MQTT-3.3.2-7] aliases of the broker do not survive into the next connection',
      { levels: [5] },
      async ({ client }) => {
        const publisher = await client()
        for (let round = 0; round < 2; round++) {
          const properties: Property[] = [
            [P.sessionExpiryInterval, 60],
            [P.topicAliasMaximum, 10],
          ]
          const a = await client({ clientId: 'a', cleanStart: false, properties })
          if (round === 0) await a.subscribe(['t'])
          await publisher.publish({ topic: 't', payload: `${round}` })
          assert.equal((await a.expect('PUBLISH')).topic, 't')
          await a.disconnect()
        }
      },
    )
  })
})
