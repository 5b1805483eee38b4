// However the network cuts the bytes of a client, the result is the same; and who sends a lot at once stops nobody else.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import type { RawClient } from '../kit/raw-client.ts'
import { forEachVariant } from '../kit/variants.ts'
import {
  connect,
  disconnect,
  type Level,
  P,
  type Property,
  packet,
  pingreq,
  publish,
  pubrel,
  subscribe,
  unsubscribe,
} from '../kit/wire.ts'

/** One of every packet a client may send unasked. */
function conversation(level: Level): Buffer {
  const properties: Property[] = [
    [P.userProperty, ['k', 'v']],
    [P.contentType, 'c'],
  ]
  return Buffer.concat([
    connect({ level, clientId: 'cut', username: 'u', password: 'p', will: { topic: 'will', payload: 'w' } }),
    subscribe({
      level,
      packetId: 1,
      filters: [
        { filter: 'a/+', qos: 1 },
        { filter: 'b/#', qos: 2 },
      ],
    }),
    publish({ level, topic: 'x/0', payload: 'none', properties }),
    publish({ level, topic: 'x/1', payload: 'one', qos: 1, packetId: 2, properties }),
    publish({ level, topic: 'x/2', payload: 'two', qos: 2, packetId: 3 }),
    pubrel({ level, packetId: 3 }),
    publish({ level, topic: 'x/3', payload: 'y'.repeat(130) }),
    unsubscribe({ level, packetId: 4, filters: ['a/+', 'nothing'] }),
    pingreq(),
    disconnect({ level }),
  ])
}

/** Everything until the end of the connection, as text; the order of different answers is the broker's business. */
async function transcript(client: RawClient): Promise<string[]> {
  const lines: string[] = []
  const read = async (): Promise<void> => {
    while (!client.isClosed || client.unread.length > 0) lines.push((await client.receive()).bytes.toString('hex'))
  }
  await read().catch((error: Error) => assert.match(error.message, /closed the connection/))
  return lines.sort()
}

const observed = ['x/0 none', 'x/1 one', 'x/2 two', `x/3 ${'y'.repeat(130)}`]

async function observe(observer: RawClient): Promise<void> {
  const seen: string[] = []
  for (let index = 0; index < observed.length; index++) {
    const { topic, payload } = await observer.expect('PUBLISH')
    seen.push(`${topic} ${payload}`)
  }
  assert.deepEqual(seen, observed)
}

describe('packets in pieces', { concurrency: 4 }, () => {
  forEachVariant(({ level, transport, name }) => {
    test(`a conversation cut at every byte is the same conversation (${name})`, () =>
      withBroker({}, async (broker) => {
        const observer = await broker.client({ clientId: 'observer' }, { level, transport })
        await observer.subscribe(['x/#', 'will'])
        const bytes = conversation(level)
        const run = async (chunks: Buffer[]): Promise<string[]> => {
          const client = await broker.connect({ level, transport })
          await client.sendChunks(chunks)
          const lines = await transcript(client)
          await observe(observer)
          return lines
        }
        const whole = await run([bytes])
        assert.equal(whole.length, 7, 'CONNACK, SUBACK, PUBACK, PUBREC, PUBCOMP, UNSUBACK, PINGRESP')
        for (let at = 1; at < bytes.length; at++) {
          assert.deepEqual(await run([bytes.subarray(0, at), bytes.subarray(at)]), whole, `cut at ${at}`)
        }
        assert.deepEqual(await run([...bytes].map((byte) => Buffer.from([byte]))), whole, 'byte by byte')
        await observer.expectNothing()
      }))

    test(`a malformed packet is found however it is cut (${name})`, () =>
      withBroker({}, async (broker) => {
        const broken = packet({ type: 3, flags: 6, body: Buffer.from('00017400017878', 'hex') })
        for (let at = 1; at < broken.length; at++) {
          const client = await broker.client({}, { level, transport })
          await client.sendChunks([broken.subarray(0, at), broken.subarray(at)])
          await client.expectDisconnect(0x81)
        }
      }))

    test(`10 000 packets in one write are all answered, and others meanwhile too (${name})`, () =>
      withBroker({}, async (broker) => {
        const sender = await broker.client({}, { level, transport })
        const other = await broker.client({}, { level, transport })
        const subscriber = await broker.client({}, { level, transport })
        await subscriber.subscribe(['t'])
        const message = publish({ level, topic: 't', payload: 'x' })
        sender.send(...Array.from({ length: 10_000 }, (_, index) => (index % 2 === 0 ? pingreq() : message)))
        await other.publish({ topic: 'elsewhere', qos: 1 })
        for (let index = 0; index < 5000; index++) await sender.expect('PINGRESP')
        for (let index = 0; index < 5000; index++) await subscriber.expect('PUBLISH')
        await subscriber.expectNothing()
      }))
  })
})
