// Receive Maximum and the send quota, chapter 4.9, seen from the side of a subscriber. Also 3.3.4-9 and -10.
import assert from 'node:assert/strict'
import type { RawClient } from '../kit/raw-client.ts'
import { variantTest } from '../kit/variants.ts'
import { P, type Property, pingreq, puback, pubcomp, publish, pubrec } from '../kit/wire.ts'

const receiveMaximum = (count: number): Property[] => [[P.receiveMaximum, count]]

async function fill(client: () => Promise<RawClient>, count: number, qos: number): Promise<RawClient> {
  const publisher = await client()
  for (let number = 0; number < count; number++) await publisher.publish({ topic: 't', qos, payload: `${number}` })
  return publisher
}

for (const qos of [1, 2]) {
  variantTest(
    `[MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-3.3.4-9] no more than Receive Maximum QoS ${qos} messages are open`,
    { levels: [5] },
    async ({ client }) => {
      for (const maximum of [1, 2, 7]) {
        const subscriber = await client({ properties: receiveMaximum(maximum) })
        await subscriber.subscribe([{ filter: 't', qos }])
        await fill(client, 20, qos)
        const open: number[] = []
        for (let number = 0; number < 20; number++) {
          if (open.length === maximum) {
            await subscriber.expectNothing()
            const packetId = open.shift()!
            if (qos === 1) {
              subscriber.send(puback({ packetId }))
            } else {
              subscriber.send(pubrec({ packetId }))
              assert.equal((await subscriber.expect('PUBREL')).packetId, packetId)
              await subscriber.expectNothing() // PUBREC gives nothing back, PUBCOMP does
              subscriber.send(pubcomp({ packetId }))
            }
          }
          const message = await subscriber.expect('PUBLISH')
          assert.equal(message.payload.toString(), `${number}`)
          open.push(message.packetId!)
        }
        await subscriber.disconnect()
      }
    },
  )
}

variantTest('[MQTT-4.9.0-2] QoS 1 and QoS 2 share one quota', { levels: [5] }, async ({ client }) => {
  const subscriber = await client({ properties: receiveMaximum(2) })
  await subscriber.subscribe([{ filter: 't', qos: 2 }])
  const publisher = await client()
  for (const [qos, payload] of [
    [1, 'a'],
    [2, 'b'],
    [1, 'c'],
    [2, 'd'],
  ] as const) {
    await publisher.publish({ topic: 't', qos, payload })
  }
  await subscriber.expect('PUBLISH')
  const second = await subscriber.expect('PUBLISH')
  await subscriber.expectNothing()
  subscriber.send(pubrec({ packetId: second.packetId!, reasonCode: 0x80 })) // a refusal gives its place back at once
  assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), 'c')
  await subscriber.expectNothing()
})

variantTest('[MQTT-4.9.0-2] a refusal in PUBACK gives its place back', { levels: [5] }, async ({ client }) => {
  const subscriber = await client({ properties: receiveMaximum(1) })
  await subscriber.subscribe([{ filter: 't', qos: 1 }])
  await fill(client, 3, 1)
  for (let number = 0; number < 3; number++) {
    const message = await subscriber.expect('PUBLISH')
    assert.equal(message.payload.toString(), `${number}`)
    await subscriber.expectNothing()
    subscriber.send(puback({ packetId: message.packetId!, reasonCode: 0x97 }))
  }
})

variantTest('[MQTT-4.9.0-2] acknowledgements for nothing give nothing', { levels: [5] }, async ({ client }) => {
  const subscriber = await client({ properties: receiveMaximum(1) })
  await subscriber.subscribe([{ filter: 't', qos: 1 }])
  await fill(client, 3, 1)
  const message = await subscriber.expect('PUBLISH')
  const other = (message.packetId! % 65535) + 1
  for (let round = 0; round < 3; round++) subscriber.send(puback({ packetId: other }))
  await subscriber.expectNothing()
  subscriber.send(puback({ packetId: message.packetId! }))
  await subscriber.expect('PUBLISH')
  await subscriber.expectNothing()
})

variantTest(
  '[MQTT-4.9.0-3] [MQTT-3.3.4-10] with a spent quota everything else goes on',
  { levels: [5] },
  async ({ client }) => {
    const subscriber = await client({ properties: receiveMaximum(1) })
    await subscriber.subscribe([{ filter: 't', qos: 2 }])
    const publisher = await fill(client, 2, 1)
    const open = await subscriber.expect('PUBLISH')
    subscriber.send(pingreq())
    await subscriber.expect('PINGRESP')
    assert.deepEqual(await subscriber.subscribe(['free', 't/other']), [0, 0])
    assert.deepEqual(await subscriber.unsubscribe(['t/other']), [0])
    assert.ok([0, 0x10].includes(await subscriber.publish({ topic: 'elsewhere', qos: 1, payload: 'x' })))
    assert.ok([0, 0x10].includes(await subscriber.publish({ topic: 'elsewhere', qos: 2, payload: 'x' })))
    subscriber.send(publish({ topic: 'free', payload: 'own' }))
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), 'own')
    await publisher.publish({ topic: 'free', payload: 'QoS 0' })
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), 'QoS 0')
    subscriber.send(puback({ packetId: open.packetId! }))
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), '1')
  },
)

variantTest('[MQTT-4.9.0-1] the quota starts afresh with each connection', { levels: [5] }, async ({ client }) => {
  const keep = (maximum: number) => ({
    clientId: 'a',
    cleanStart: false,
    properties: [...receiveMaximum(maximum), [P.sessionExpiryInterval, 60] as Property],
  })
  const first = await client(keep(5))
  await first.subscribe([{ filter: 't', qos: 1 }])
  await fill(client, 10, 1)
  const ids: number[] = []
  for (let count = 0; count < 5; count++) ids.push((await first.expect('PUBLISH')).packetId!)
  await first.expectNothing()
  first.destroy()
  // Five are open, but only two at a time may be sent again.
  const second = await client(keep(2))
  for (let index = 0; index < 5; index++) {
    const message = await second.expect('PUBLISH')
    assert.deepEqual([message.packetId, message.dup], [ids[index], true])
    if (index === 0) continue
    await second.expectNothing()
    second.send(puback({ packetId: ids[index - 1] }))
  }
  second.send(puback({ packetId: ids[4] }))
  for (const payload of ['5', '6']) assert.equal((await second.expect('PUBLISH')).payload.toString(), payload)
  await second.expectNothing()
})

variantTest('without Receive Maximum a client gets more than one message at a time', {}, async ({ client }) => {
  const subscriber = await client()
  await subscriber.subscribe([{ filter: 't', qos: 1 }])
  await fill(client, 10, 1)
  for (let number = 0; number < 10; number++) {
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), `${number}`)
  }
})

variantTest(
  '`limits.inflight` holds where it is below the Receive Maximum',
  { broker: { limits: { inflight: 3 } } },
  async ({ client, level }) => {
    const subscriber = await client(level === 5 ? { properties: receiveMaximum(10) } : {})
    await subscriber.subscribe([{ filter: 't', qos: 1 }])
    await fill(client, 5, 1)
    const first = await subscriber.expect('PUBLISH')
    for (const payload of ['1', '2']) assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), payload)
    await subscriber.expectNothing()
    subscriber.send(puback({ level, packetId: first.packetId! }))
    assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), '3')
    await subscriber.expectNothing()
  },
)
