// Chapter 3.3, third part: Receive Maximum in both directions.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { variantTest } from '../kit/variants.ts'
import { P, type Property, pingreq, puback, pubcomp, publish, pubrec, pubrel } from '../kit/wire.ts'

describe('3.3.4 Receive Maximum', { concurrency: 16 }, () => {
  const five = { limits: { receiveMaximum: 5 } }

  variantTest(
    '[MQTT-3.3.4-7] [MQTT-4.9.0-1] more open messages than Receive Maximum are refused',
    { levels: [5], broker: five },
    async ({ client }) => {
      const a = await client()
      for (let packetId = 1; packetId <= 5; packetId++) {
        a.send(publish({ topic: 't', qos: 2, packetId }))
        await a.expect('PUBREC')
      }
      a.send(publish({ topic: 't', qos: 2, packetId: 6 }))
      await a.expectDisconnect(0x93)
    },
  )

  variantTest('[MQTT-3.3.4-7] QoS 1 counts as well', { levels: [5], broker: five }, async ({ client }) => {
    const a = await client()
    for (let packetId = 1; packetId <= 5; packetId++) {
      a.send(publish({ topic: 't', qos: 2, packetId }))
      await a.expect('PUBREC')
    }
    a.send(publish({ topic: 't', qos: 1, packetId: 6 }))
    await a.expectDisconnect(0x93)
  })

  variantTest(
    '[MQTT-3.3.4-7] a finished message gives its place back, QoS 0 needs none',
    { levels: [5], broker: five },
    async ({ client }) => {
      const a = await client()
      for (let packetId = 1; packetId <= 5; packetId++) {
        a.send(publish({ topic: 't', qos: 2, packetId }))
        await a.expect('PUBREC')
      }
      a.send(publish({ topic: 't', qos: 0 }), pubrel({ packetId: 3 }))
      await a.expect('PUBCOMP')
      a.send(publish({ topic: 't', qos: 2, packetId: 9 }))
      await a.expect('PUBREC')
      a.send(publish({ topic: 't', qos: 2, packetId: 9, dup: true }))
      assert.equal((await a.expect('PUBREC')).packetId, 9, 'a repeat needs no place of its own')
      await a.expectNothing()
      a.send(publish({ topic: 't', qos: 2, packetId: 10 }))
      await a.expectDisconnect(0x93)
    },
  )

  variantTest(
    '[MQTT-3.3.4-7] a lenient broker takes a flood of messages that it acknowledges at once',
    { levels: [5], broker: { ...five, listener: { receiveMaximum: 'lenient' } } },
    async ({ client }) => {
      const a = await client()
      const flood = Array.from({ length: 300 }, (_, index) => publish({ topic: 't', qos: 1, packetId: index + 1 }))
      a.send(...flood)
      for (let packetId = 1; packetId <= 300; packetId++) assert.equal((await a.expect('PUBACK')).packetId, packetId)
    },
  )

  // The test client itself fails as soon as it has more open messages than its Receive Maximum.
  for (const qos of [1, 2]) {
    variantTest(
      `[MQTT-3.3.4-9] [MQTT-4.9.0-2] no more QoS ${qos} messages than the client's Receive Maximum are open`,
      { levels: [5] },
      async ({ client }) => {
        const a = await client({ properties: [[P.receiveMaximum, 3]] })
        await a.subscribe(['t'], { qos })
        const publisher = await client()
        for (let index = 0; index < 8; index++) await publisher.publish({ topic: 't', payload: `${index}`, qos })
        const open: number[] = []
        for (let index = 0; index < 3; index++) open.push((await a.expect('PUBLISH')).packetId!)
        await a.expectNothing()
        for (let index = 3; index < 8; index++) {
          const packetId = open.shift()!
          if (qos === 1) a.send(puback({ packetId }))
          else {
            a.send(pubrec({ packetId }))
            await a.expect('PUBREL')
            await a.expectNothing() // the place is given back by PUBCOMP, not before
            a.send(pubcomp({ packetId }))
          }
          const message = await a.expect('PUBLISH')
          assert.equal(message.payload.toString(), `${index}`)
          open.push(message.packetId!)
          await a.expectNothing()
        }
      },
    )
  }

  variantTest(
    '[MQTT-3.3.4-9] [MQTT-4.9.0-1] a smaller Receive Maximum holds for what is sent again after a reconnect',
    { levels: [5] },
    async ({ client }) => {
      const kept = { clientId: 'a', cleanStart: false }
      const session: Property[] = [[P.sessionExpiryInterval, 60]]
      const a = await client({ ...kept, properties: session })
      await a.subscribe(['t'], { qos: 1 })
      const publisher = await client()
      for (let index = 0; index < 6; index++) await publisher.publish({ topic: 't', payload: `${index}`, qos: 1 })
      for (let index = 0; index < 6; index++) await a.expect('PUBLISH')
      a.destroy()
      const back = await client({ ...kept, properties: [...session, [P.receiveMaximum, 2]] })
      await publisher.publish({ topic: 't', payload: '6', qos: 1 })
      for (let index = 0; index < 7; index++) {
        const message = await back.expect('PUBLISH')
        assert.equal(message.payload.toString(), `${index}`)
        assert.equal(message.dup, index < 6, 'DUP says whether it was sent before')
        back.send(puback({ packetId: message.packetId! }))
      }
      await back.expectNothing()
    },
  )

  variantTest(
    '[MQTT-3.3.4-9] [MQTT-3.1.2-24] a message in flight that is too large for the new connection is given up',
    { levels: [5] },
    async ({ client }) => {
      const kept = { clientId: 'a', cleanStart: false }
      const session: Property[] = [[P.sessionExpiryInterval, 60]]
      const a = await client({ ...kept, properties: session })
      await a.subscribe(['t'], { qos: 2 })
      const publisher = await client()
      for (const qos of [1, 2]) await publisher.publish({ topic: 't', payload: 'x'.repeat(300), qos })
      await publisher.publish({ topic: 't', payload: 'small', qos: 1 })
      for (let index = 0; index < 3; index++) await a.expect('PUBLISH')
      a.destroy()
      const back = await client({
        ...kept,
        properties: [...session, [P.receiveMaximum, 1], [P.maximumPacketSize, 100]],
      })
      assert.equal((await back.expect('PUBLISH')).payload.toString(), 'small')
      await back.expectNothing()
    },
  )

  variantTest(
    '[MQTT-3.3.4-9] the QoS 2 message that is refused by PUBREC gives its place back',
    { levels: [5] },
    async ({ client }) => {
      const a = await client({ properties: [[P.receiveMaximum, 1]] })
      await a.subscribe(['t'], { qos: 2 })
      const publisher = await client()
      for (const payload of ['1', '2']) await publisher.publish({ topic: 't', payload, qos: 2 })
      const first = await a.expect('PUBLISH')
      a.send(pubrec({ packetId: first.packetId!, reasonCode: 0x80 }))
      assert.equal((await a.expect('PUBLISH')).payload.toString(), '2')
    },
  )

  variantTest(
    '[MQTT-3.3.4-10] [MQTT-4.9.0-3] a full window delays nothing but QoS 1 and 2 messages',
    { levels: [5] },
    async ({ client }) => {
      const a = await client({ properties: [[P.receiveMaximum, 1]] })
      await a.subscribe(['t'], { qos: 2 })
      const publisher = await client()
      await publisher.publish({ topic: 't', payload: 'open', qos: 1 })
      await publisher.publish({ topic: 't', payload: 'waiting', qos: 1 })
      const open = await a.expect('PUBLISH')
      a.send(pingreq())
      await a.expect('PINGRESP')
      await a.subscribe(['other'])
      await a.publish({ topic: 'elsewhere', qos: 1 })
      await a.publish({ topic: 'elsewhere', qos: 2 })
      await a.unsubscribe(['other'])
      await publisher.publish({ topic: 't', payload: 'QoS 0', qos: 0 })
      assert.equal((await a.expect('PUBLISH')).payload.toString(), 'QoS 0')
      a.send(puback({ packetId: open.packetId! }))
      assert.equal((await a.expect('PUBLISH')).payload.toString(), 'waiting')
    },
  )

  variantTest(
    '[MQTT-3.3.4-8] the broker waits for no acknowledgement before it answers a client',
    {},
    async ({ client, level }) => {
      const a = await client()
      await a.subscribe(['t'], { qos: 2 })
      for (let packetId = 1; packetId <= 3; packetId++) a.send(publish({ level, topic: 't', qos: 1, packetId }))
      const types: string[] = []
      for (let index = 0; index < 6; index++) types.push((await a.receive()).type)
      assert.deepEqual(types.sort(), ['PUBACK', 'PUBACK', 'PUBACK', 'PUBLISH', 'PUBLISH', 'PUBLISH'])
    },
  )
})
