// Many retained messages on their way to one new Subscription.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BrokerUnderTest, withBroker } from '../kit/broker.ts'
import { subscribe, unsubscribe } from '../kit/wire.ts'

async function retain(broker: BrokerUnderTest, count: number, payload: Buffer | string): Promise<void> {
  const local = broker.library!.client('publisher')
  for (let index = 0; index < count; index++) await local.publish(`r/${index}`, payload, { retain: true })
}

for (const qos of [0, 1, 2] as const) {
  test(`an in-process client gets every one of many, QoS ${qos}`, () =>
    withBroker({}, async (broker) => {
      const count = 5000
      const local = broker.library!.client('publisher')
      for (let index = 0; index < count; index++) await local.publish(`r/${index}`, 'x', { retain: true, qos })
      const topics = new Set<string>()
      const all = new Promise<void>((resolve) => {
        const take = ({ topic }: { topic: string }) => {
          topics.add(topic)
          if (topics.size === count) resolve()
        }
        void broker.library!.client('subscriber').subscribe('r/#', take, { qos })
      })
      await all
    }))
}

test('a small limit of output makes them wait, not vanish', () =>
  withBroker({ limits: { outputBytes: 4096 } }, async (broker) => {
    const count = 6000
    await retain(broker, count, Buffer.alloc(2000))
    const client = await broker.client()
    client.send(subscribe({ level: 5, packetId: 1, filters: [{ filter: 'r/#', qos: 0 }] }))
    await client.expect('SUBACK')
    const topics = new Set<string>()
    while (topics.size < count) topics.add((await client.expect('PUBLISH')).topic)
  }))

test('UNSUBSCRIBE ends them', () =>
  withBroker({}, async (broker) => {
    await retain(broker, 20_000, Buffer.alloc(1000))
    const client = await broker.client()
    client.send(subscribe({ level: 5, packetId: 1, filters: [{ filter: 'r/#', qos: 0 }] }))
    client.send(unsubscribe({ level: 5, packetId: 2, filters: ['r/#'] }))
    for (;;) if ((await client.receive()).type === 'UNSUBACK') break
    // The walk would go on in later turns.
    for (let turn = 0; turn < 20; turn++) await client.fence()
    assert.equal(client.unread.length, 0)
  }))
