// Chapter 3.2: CONNACK, and the limits of the server that it announces and that a client must then keep.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { Stopwatch } from '../kit/stopwatch.ts'
import { variantTest } from '../kit/variants.ts'
import { connect, P, type Property, packet, pingreq, property, publish, subscribe, TYPE, u16 } from '../kit/wire.ts'

const sleep = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))

// The suites run side by side: those that wait for time to pass cost none of their own.
describe('3.2 CONNACK', { concurrency: true }, () => {
  describe('3.2 CONNACK', { concurrency: 16 }, () => {
    variantTest(
      '[MQTT-3.2.0-1] [MQTT-3.2.0-2] CONNACK comes first and once, whatever was sent with CONNECT',
      {},
      async ({ connect: open, client, level }) => {
        const session: Property[] = [[P.sessionExpiryInterval, 60]]
        const before = await client({ clientId: 'a', cleanStart: false, properties: session })
        await before.subscribe(['t'], { qos: 1 })
        await before.disconnect()
        const publisher = await client()
        await publisher.publish({ topic: 't', payload: 'queued', qos: 1 })

        const a = await open()
        a.send(
          connect({ level, clientId: 'a', cleanStart: false, properties: session }),
          publish({ level, topic: 'other', qos: 1, packetId: 1 }),
          subscribe({ level, packetId: 2, filters: [{ filter: 's' }] }),
          pingreq(),
        )
        await a.expect('CONNACK') // the test client fails for a packet before it, and for a second one
        const types = new Set<string>()
        for (let index = 0; index < 4; index++) types.add((await a.receive()).type)
        assert.deepEqual([...types].sort(), ['PINGRESP', 'PUBACK', 'PUBLISH', 'SUBACK'])
        await a.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.2.2-1] [MQTT-3.2.2-2] [MQTT-2.2.2-1] the acknowledge flags are 0 with Clean Start',
      {},
      async ({ connect: open, client, level }) => {
        await (
          await client({ clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 60]] })
        ).disconnect()
        const a = await open()
        const connack = await a.handshake({ clientId: 'a', cleanStart: true })
        assert.equal(connack.bytes[2], 0)
        if (level < 5) assert.equal(connack.bytes.toString('hex'), '20020000')
      },
    )

    variantTest(
      '[MQTT-3.2.2-1] [MQTT-3.2.2-3] Session Present is the only flag',
      { levels: [4, 5] },
      async ({ connect: open, client }) => {
        const kept = { clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 60]] as Property[] }
        await (await client(kept)).disconnect()
        const a = await open()
        assert.equal((await a.handshake(kept)).bytes[2], 1)
      },
    )

    variantTest('[MQTT-3.2.2-1] 3.1 has no Session Present', { levels: [3] }, async ({ connect: open, client }) => {
      await (await client({ clientId: 'a', cleanStart: false })).disconnect()
      const a = await open()
      assert.equal((await a.handshake({ clientId: 'a', cleanStart: false })).bytes.toString('hex'), '20020000')
    })

    const noOne = {
      hooks: {
        authenticate: (given: { clientId: string }) =>
          given.clientId === 'kept'
            ? { allowed: true }
            : { allowed: false, reasonCode: Number(given.clientId), reason: 'x'.repeat(300) },
      },
    }
    const returnCodes: [number, number | null][] = [
      [0x86, 4],
      [0x87, 5],
      [0x88, 3],
      [0x8a, 5],
    ]
    for (const [reasonCode, returnCode] of returnCodes) {
      variantTest(
        `[MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8] refusal 0x${reasonCode.toString(16)}: no Session Present, then the end`,
        { broker: noOne },
        async ({ connect: open }) => {
          const a = await open()
          a.sendConnect({ clientId: `${reasonCode}`, cleanStart: false })
          await a.expectRefused(reasonCode, returnCode)
        },
      )
    }

    variantTest(
      '[MQTT-3.2.2-19] [MQTT-3.2.2-20] a refusal fits into a small Maximum Packet Size',
      { levels: [5], broker: noOne },
      async ({ connect: open }) => {
        for (const maximumPacketSize of [5, 20, 100]) {
          const a = await open()
          a.sendConnect({ clientId: `${0x87}`, properties: [[P.maximumPacketSize, maximumPacketSize]] })
          await a.expectRefused(0x87) // the test client fails for a longer packet
        }
      },
    )
  })

  describe('3.2.2.3 limits of the server', { concurrency: 16 }, () => {
    variantTest(
      '[MQTT-3.2.2-9] nothing but defaults: no Maximum QoS, nothing unavailable',
      { levels: [5] },
      async ({ connect: open }) => {
        const a = await open()
        const connack = await a.handshake()
        assert.equal(property(connack, P.maximumQos), undefined)
        for (const id of [
          P.retainAvailable,
          P.wildcardSubscriptionAvailable,
          P.subscriptionIdentifierAvailable,
          P.sharedSubscriptionAvailable,
        ]) {
          assert.ok([undefined, 1].includes(property(connack, id) as number | undefined), `property ${id}`)
        }
        assert.equal(property(connack, P.receiveMaximum), 1000)
        assert.equal(property(connack, P.topicAliasMaximum), 64)
        assert.equal(property(connack, P.authenticationMethod), undefined)
      },
    )

    for (const maximumQos of [0, 1] as const) {
      const broker = { features: { maximumQos } }
      variantTest(
        `[MQTT-3.2.2-9] Maximum QoS ${maximumQos} is announced`,
        { levels: [5], broker },
        async ({ connect: open }) => {
          const a = await open()
          assert.equal(property(await a.handshake(), P.maximumQos), maximumQos)
        },
      )

      variantTest(
        `[MQTT-3.2.2-10] with Maximum QoS ${maximumQos} any subscription is accepted`,
        { broker },
        async ({ client }) => {
          const a = await client()
          for (const qos of [0, 1, 2]) {
            const [granted] = await a.subscribe([`t/${qos}`], { qos })
            assert.ok(granted <= qos, `granted ${granted}`)
          }
        },
      )

      for (let qos: number = maximumQos + 1; qos <= 2; qos++) {
        variantTest(
          `[MQTT-3.2.2-11] with Maximum QoS ${maximumQos} a PUBLISH with QoS ${qos} is refused`,
          { levels: [5], broker },
          async ({ client }) => {
            const observer = await client()
            await observer.subscribe(['#'])
            const a = await client()
            a.send(publish({ topic: 't', qos, packetId: 1 }))
            await a.expectDisconnect(0x9b)
            await observer.expectNothing()
          },
        )

        variantTest(
          `[MQTT-3.2.2-12] with Maximum QoS ${maximumQos} a will with QoS ${qos} is refused`,
          { broker },
          async ({ connect: open }) => {
            const a = await open()
            a.sendConnect({ will: { topic: 'will', payload: 'x', qos } })
            await a.expectRefused(0x9b)
          },
        )
      }
    }

    const withoutRetain = { features: { retain: false } }
    variantTest(
      '[MQTT-3.2.2-13] without retained messages a will that wants one is refused',
      { broker: withoutRetain },
      async ({ connect: open, client, level }) => {
        const a = await open()
        a.sendConnect({ will: { topic: 'will', payload: 'x', retain: true } })
        await a.expectRefused(0x9a)
        if (level < 5) return
        const b = await open()
        assert.equal(property(await b.handshake({ will: { topic: 'will', payload: 'x' } }), P.retainAvailable), 0)
        await (await client()).expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.2.2-14] without retained messages RETAIN 1 is refused',
      { levels: [5], broker: withoutRetain },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        const a = await client()
        a.send(publish({ topic: 't', payload: 'x', retain: true }))
        await a.expectDisconnect(0x9a)
        await observer.expectNothing()
      },
    )

    const small = { listener: { maxPacketSize: 1000 } }
    variantTest(
      '[MQTT-3.2.2-15] a packet above Maximum Packet Size is refused from its header alone',
      { broker: small },
      async ({ connect: open, client, level }) => {
        const a = await open()
        const connack = await a.handshake()
        if (level === 5) assert.equal(property(connack, P.maximumPacketSize), 1000)
        a.send(packet({ type: TYPE.PUBLISH, remainingLength: 998 }))
        await a.expectDisconnect(0x95)

        const b = await client()
        await b.subscribe(['t'])
        const overhead = 3 + 3 + (level === 5 ? 1 : 0)
        b.send(publish({ level, topic: 't', payload: 'x'.repeat(1000 - overhead) }))
        assert.equal((await b.expect('PUBLISH')).bytes.length, 1000)
        b.send(publish({ level, topic: 't', payload: 'x'.repeat(1001 - overhead) }))
        await b.expectDisconnect(0x95)
      },
    )

    variantTest(
      '[MQTT-3.2.2-15] a CONNECT above Maximum Packet Size is refused',
      { broker: small },
      async ({ connect: open, level }) => {
        const a = await open()
        a.send(connect({ level, clientId: 'a', username: 'x'.repeat(2000) }))
        await a.expectRefused(null)
      },
    )

    const aliases = { limits: { topicAliasMaximum: 3 } }
    variantTest(
      '[MQTT-3.2.2-17] [MQTT-3.3.2-9] an alias above Topic Alias Maximum is refused',
      { levels: [5], broker: aliases },
      async ({ connect: open }) => {
        const a = await open()
        assert.equal(property(await a.handshake(), P.topicAliasMaximum), 3)
        a.send(publish({ topic: 't', properties: [[P.topicAlias, 3]] }))
        await a.expectNothing()
        a.send(publish({ topic: 't', properties: [[P.topicAlias, 4]] }))
        await a.expectDisconnect(0x94)
      },
    )

    variantTest(
      '[MQTT-3.2.2-18] where no alias is announced none is accepted',
      { levels: [5], broker: { limits: { topicAliasMaximum: 0 } } },
      async ({ connect: open }) => {
        const a = await open()
        assert.ok([undefined, 0].includes(property(await a.handshake(), P.topicAliasMaximum) as number | undefined))
        a.send(publish({ topic: 't', properties: [[P.topicAlias, 1]] }))
        await a.expectDisconnect(0x94)
      },
    )

    variantTest(
      '[MQTT-3.2.2-16] assigned client ids are not those of other sessions',
      { levels: [5] },
      async ({ client }) => {
        const others = []
        for (let index = 0; index < 30; index++) others.push(await client({ clientId: '' }))
        assert.equal(new Set(others.map((other) => other.clientId)).size, 30)
        for (const other of others) await other.expectNothing()
      },
    )
  })

  describe('3.2.2.3.14 Server Keep Alive', { concurrency: true }, () => {
    const broker = { limits: { keepAlive: '1s' } }
    for (const keepAliveSeconds of [0, 60, 65535]) {
      variantTest(
        `[MQTT-3.2.2-21] [MQTT-3.1.2-21] keep alive ${keepAliveSeconds} is capped, told, and enforced`,
        { levels: [5], broker },
        async ({ connect: open }) => {
          const a = await open()
          const connack = await a.handshake({ keepAliveSeconds })
          assert.equal(property(connack, P.serverKeepAlive), 1)
          const stopwatch = new Stopwatch()
          await a.expectEnd()
          stopwatch.assertBetween(1400, 4500, 'closed')
        },
      )
    }

    variantTest(
      '[MQTT-3.2.2-22] [MQTT-3.2.2-21] without Server Keep Alive the keep alive of the client holds',
      { levels: [5], broker: { limits: { keepAlive: '60s' } } },
      async ({ connect: open }) => {
        const a = await open()
        const b = await open()
        const connack = await a.handshake({ keepAliveSeconds: 1 })
        await b.handshake({ keepAliveSeconds: 3 })
        assert.equal(property(connack, P.serverKeepAlive), undefined)
        await Promise.all([a.expectEnd(), sleep(2500)])
        await b.expectNothing()
      },
    )
  })

  describe('3.2.2.3.3 Receive Maximum of the server', { concurrency: 16 }, () => {
    variantTest(
      '[MQTT-3.3.4-7] the announced Receive Maximum is that of the configuration',
      { levels: [5], broker: { limits: { receiveMaximum: 7 } } },
      async ({ connect: open }) => {
        const a = await open()
        assert.equal(property(await a.handshake(), P.receiveMaximum), 7)
        for (let packetId = 1; packetId <= 7; packetId++) {
          a.send(publish({ topic: 't', qos: 2, packetId, payload: u16(packetId) }))
          assert.equal((await a.expect('PUBREC')).packetId, packetId)
        }
        await a.expectNothing()
      },
    )
  })
})
