// Delivery again after a connection was lost, chapter 4.4, and the order of messages, 4.6, seen from outside.
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { variantTest } from '../kit/variants.ts'
import { P, puback, pubcomp, publish, pubrec, type ServerPacket } from '../kit/wire.ts'

const keep = { clientId: 'a', cleanStart: false, properties: [[P.sessionExpiryInterval, 60] as [number, number]] }

const describe = (packet: ServerPacket): string => {
  if (packet.type === 'PUBLISH') return `PUBLISH ${packet.packetId} ${packet.payload}${packet.dup ? ' again' : ''}`
  return 'packetId' in packet ? `${packet.type} ${packet.packetId}` : packet.type
}

variantTest(
  '[MQTT-4.4.0-1] [MQTT-3.3.1-1] a resumed session gets what is open, in its order, under the old identifiers',
  { levels: [4, 5] },
  async ({ client, level }) => {
    const subscriber = await client(keep)
    await subscriber.subscribe([{ filter: 't', qos: 2 }])
    const publisher = await client()
    for (const [qos, payload] of [
      [1, 'a'],
      [2, 'b'],
      [2, 'c'],
      [1, 'd'],
      [2, 'e'],
    ] as const) {
      await publisher.publish({ topic: 't', qos, payload })
    }
    const ids: number[] = []
    for (let count = 0; count < 5; count++) ids.push((await subscriber.expect('PUBLISH')).packetId!)
    subscriber.send(puback({ level, packetId: ids[0] })) // a is done
    subscriber.send(pubrec({ level, packetId: ids[1] })) // b waits for PUBCOMP
    await subscriber.expect('PUBREL')
    subscriber.send(pubrec({ level, packetId: ids[4] })) // e is done
    await subscriber.expect('PUBREL')
    subscriber.send(pubcomp({ level, packetId: ids[4] }))
    await subscriber.disconnect()
    await publisher.publish({ topic: 't', qos: 1, payload: 'f' })

    const back = await client(keep)
    const seen = [await back.receive(), await back.receive(), await back.receive(), await back.receive()]
    // Between PUBREL and PUBLISH no order is prescribed, among PUBLISH packets it is.
    assert.deepEqual(seen.filter(({ type }) => type === 'PUBREL').map(describe), [`PUBREL ${ids[1]}`])
    const published = seen.filter(({ type }) => type === 'PUBLISH').map(describe)
    assert.deepEqual(published.slice(0, 2), [`PUBLISH ${ids[2]} c again`, `PUBLISH ${ids[3]} d again`])
    assert.match(published[2], /^PUBLISH \d+ f$/)
    await back.expectNothing()
  },
)

variantTest(
  '[MQTT-4.4.0-1] nothing is sent again while the connection lasts',
  { levels: [4, 5] },
  async ({ client, level }) => {
    const subscriber = await client(keep)
    await subscriber.subscribe([{ filter: 't', qos: 2 }])
    const publisher = await client()
    await publisher.publish({ topic: 't', qos: 1, payload: 'one' })
    await publisher.publish({ topic: 't', qos: 2, payload: 'two' })
    await subscriber.expect('PUBLISH')
    const two = await subscriber.expect('PUBLISH')
    subscriber.send(pubrec({ level, packetId: two.packetId! }))
    await subscriber.expect('PUBREL')
    await sleep(250)
    await subscriber.expectNothing()
  },
)

variantTest('[MQTT-4.4.0-1] a clean start has nothing sent again', {}, async ({ client }) => {
  const subscriber = await client(keep)
  await subscriber.subscribe([{ filter: 't', qos: 2 }])
  await (await client()).publish({ topic: 't', qos: 2, payload: 'x' })
  await subscriber.expect('PUBLISH')
  subscriber.destroy()
  await (await client({ clientId: 'a', cleanStart: true })).expectNothing()
})

variantTest(
  '[MQTT-4.4.0-2] [MQTT-4.3.3-4] a message that the subscriber refuses is not sent again',
  { levels: [5] },
  async ({ client }) => {
    const subscriber = await client(keep)
    await subscriber.subscribe([{ filter: 't', qos: 2 }])
    const publisher = await client()
    await publisher.publish({ topic: 't', qos: 1, payload: 'one' })
    await publisher.publish({ topic: 't', qos: 2, payload: 'two' })
    const one = await subscriber.expect('PUBLISH')
    const two = await subscriber.expect('PUBLISH')
    subscriber.send(puback({ packetId: one.packetId!, reasonCode: 0x80 }))
    subscriber.send(pubrec({ packetId: two.packetId!, reasonCode: 0x97 }))
    await subscriber.expectNothing() // no PUBREL in particular
    subscriber.destroy()
    await (await client(keep)).expectNothing()
  },
)

variantTest(
  '[MQTT-4.4.0-2] a subscriber that answers with success codes ends the message as well',
  { levels: [5] },
  async ({ client }) => {
    const subscriber = await client(keep)
    await subscriber.subscribe([{ filter: 't', qos: 2 }])
    const publisher = await client()
    await publisher.publish({ topic: 't', qos: 2, payload: 'two' })
    const two = await subscriber.expect('PUBLISH')
    subscriber.send(
      pubrec({ packetId: two.packetId!, reasonCode: 0x10, properties: [[P.reasonString, 'nobody here']] }),
    )
    await subscriber.expect('PUBREL')
    subscriber.send(pubcomp({ packetId: two.packetId!, reasonCode: 0x92 }))
    await subscriber.expectNothing()
    subscriber.destroy()
    await (await client(keep)).expectNothing()
  },
)

variantTest(
  '[MQTT-4.6.0-5] [MQTT-4.6.0-6] messages keep their order, live',
  { broker: { limits: { receiveMaximum: 200 } } },
  async ({ client, level }) => {
    const subscriber = await client()
    await subscriber.subscribe([{ filter: 'o/#', qos: 2 }])
    const publisher = await client()
    for (const qos of [0, 1, 2]) {
      for (let number = 0; number < 100; number++) {
        const payload = `${number}`
        if (qos === 2) await publisher.publish({ topic: 'o/t', qos, payload })
        else publisher.send(publish({ level, topic: 'o/t', qos, packetId: qos ? number + 1 : undefined, payload }))
      }
      for (let number = 0; qos === 1 && number < 100; number++) await publisher.expect('PUBACK')
      for (let done = 0, number = 0; done < 100; ) {
        const packet = await subscriber.receive()
        if (packet.type === 'PUBLISH') {
          assert.deepEqual([packet.payload.toString(), packet.qos], [`${number++}`, qos])
          if (qos === 1) subscriber.send(puback({ level, packetId: packet.packetId! }))
          if (qos === 2) subscriber.send(pubrec({ level, packetId: packet.packetId! }))
          if (qos < 2) done++
        } else {
          assert.equal(packet.type, 'PUBREL')
          subscriber.send(pubcomp({ level, packetId: (packet as { packetId: number }).packetId }))
          done++
        }
      }
      await subscriber.expectNothing()
    }
  },
)

variantTest(
  '[MQTT-4.6.0-5] [MQTT-4.6.0-6] messages keep their order through an offline queue',
  { levels: [4, 5] },
  async ({ client, level }) => {
    const sleeper = await client(keep)
    await sleeper.subscribe([{ filter: 't', qos: 1 }])
    await sleeper.disconnect()
    const publisher = await client()
    for (let number = 0; number < 100; number++) await publisher.publish({ topic: 't', qos: 1, payload: `${number}` })
    const awake = await client(keep)
    for (let number = 0; number < 100; number++) {
      const message = await awake.expect('PUBLISH')
      assert.equal(message.payload.toString(), `${number}`)
      awake.send(puback({ level, packetId: message.packetId! }))
      // What comes in meanwhile stands behind what waits.
      if (number === 10) await publisher.publish({ topic: 't', qos: 1, payload: '100' })
    }
    assert.equal((await awake.expect('PUBLISH')).payload.toString(), '100')
    await awake.expectNothing()
  },
)
