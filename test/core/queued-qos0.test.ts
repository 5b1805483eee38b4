// `limits.queueQos0`: QoS 0 messages that wait for a kept Session.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BrokerUnderTest, withBroker } from '../kit/broker.ts'
import { type ConnectOptions, P, puback } from '../kit/wire.ts'

const kept: ConnectOptions = { clientId: 'kept', cleanStart: false, properties: [[P.sessionExpiryInterval, 3600]] }

async function leave(broker: BrokerUnderTest): Promise<void> {
  const client = await broker.client(kept)
  await client.subscribe([
    { filter: 'zero/#', qos: 0 },
    { filter: 'one/#', qos: 1 },
  ])
  await client.disconnect()
}

for (const queueQos0 of [true, false]) {
  test(`queueQos0: ${queueQos0}: what waits for a client that is away comes ${queueQos0 ? 'in the order of all' : 'without QoS 0'}`, () =>
    withBroker({ limits: { queueQos0 } }, async (broker) => {
      await leave(broker)
      const publisher = await broker.client()
      for (const [topic, qos] of [
        ['one/a', 0],
        ['one/b', 1],
        ['zero/c', 1],
        ['zero/d', 0],
        ['one/e', 0],
      ] as const) {
        await publisher.publish({ topic, qos, payload: topic })
      }
      const client = await broker.client(kept)
      await client.fence()
      const got = client.unread.map((packet) =>
        packet.type === 'PUBLISH' ? `${packet.qos} ${packet.topic}` : packet.type,
      )
      assert.deepEqual(got, queueQos0 ? ['0 one/a', '1 one/b', '0 zero/c', '0 zero/d', '0 one/e'] : ['1 one/b'])
      await publisher.publish({ topic: 'zero/live', qos: 0 })
      await client.fence()
      const last = client.unread.at(-1)
      assert.equal(last?.type === 'PUBLISH' && last.topic, 'zero/live')
    }))
}

test('queueQos0: a message that has expired in the queue does not come, one that waits tells what is left', () =>
  withBroker({ limits: { queueQos0: true } }, async (broker) => {
    await leave(broker)
    const publisher = await broker.client()
    for (const seconds of [1, 3600]) {
      await publisher.publish({ topic: 'zero', qos: 0, properties: [[P.messageExpiryInterval, seconds]] })
    }
    await new Promise((resolve) => setTimeout(resolve, 2100))
    const client = await broker.client(kept)
    const found = await client.expect('PUBLISH')
    const [left] = found.properties.filter(([id]) => id === P.messageExpiryInterval)
    assert.ok((left[1] as number) > 3000 && (left[1] as number) <= 3598, `${left[1]}`)
    await client.expectNothing()
  }))

test('queueQos0: all retained messages come to a client whose queue is not empty, once each', () =>
  withBroker({ limits: { queueQos0: true, queueMessages: 50 } }, async (broker) => {
    const publisher = await broker.client()
    for (let number = 0; number < 300; number++) {
      await publisher.publish({ topic: `zero/${number}`, qos: 0, retain: true, payload: 'x' })
    }
    const client = await broker.client({ ...kept, properties: [...kept.properties!, [P.receiveMaximum, 1]] })
    await client.subscribe([{ filter: 'one/#', qos: 1 }])
    for (const payload of ['a', 'b', 'c']) await publisher.publish({ topic: 'one/x', qos: 1, payload })
    const first = await client.expect('PUBLISH')
    await client.subscribe([{ filter: 'zero/#', qos: 0 }])
    client.send(puback({ level: 5, packetId: first.packetId! }))
    const topics = [first.topic]
    while (topics.length < 303) {
      const packet = await client.expect('PUBLISH')
      topics.push(packet.topic)
      if (packet.qos === 1) client.send(puback({ level: 5, packetId: packet.packetId! }))
    }
    assert.equal(new Set(topics).size, 301)
    await client.expectNothing()
  }))
