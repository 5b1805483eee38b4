// Rows 46 and 47 of the table of faults: subscribers that stop reading, stop acknowledging or stay away, and what they
// may cost. The broker runs in this process, so its memory is ours to measure.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type BrokerUnderTest, type TransportName, withBroker } from '../kit/broker.ts'
import { DEADLINE_MS } from '../kit/raw-client.ts'
import { Stopwatch } from '../kit/stopwatch.ts'
import { variantTest } from '../kit/variants.ts'
import { connect, P, type Property, puback, publish, subscribe } from '../kit/wire.ts'

const mebibyte = 1024 * 1024

/** Bytes that this process holds once everything unreachable is gone. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** A client that subscribes to everything and then reads no more. */
async function stoppedSubscriber(broker: BrokerUnderTest, transport: TransportName, qos: number): Promise<Socket> {
  const socket = connectSocket(broker.address(transport))
  await once(socket, 'connect')
  socket.write(connect({ clientId: 'stopped', properties: [[P.sessionExpiryInterval, 60]] }))
  await once(socket, 'data')
  socket.write(subscribe({ packetId: 1, filters: [{ filter: '#', qos }] }))
  await once(socket, 'data')
  socket.pause()
  socket.on('error', () => {})
  return socket
}

for (const transport of ['tcp', 'unix'] as const) {
  test(`fault 46: a subscriber that stops reading costs its limit, not the traffic (QoS 0 over ${transport})`, () =>
    withBroker({ limits: { outputBytes: 512 * 1024 } }, async (broker) => {
      const socket = await stoppedSubscriber(broker, transport, 0)
      const neighbour = await broker.client()
      await neighbour.subscribe(['t'])
      const publisher = await broker.client()
      const payload = Buffer.alloc(64 * 1024, 'x')
      const before = heldBytes()
      for (let number = 0; number < 1000; number++) {
        publisher.send(publish({ topic: 't', payload }))
        const message = await neighbour.expect('PUBLISH') // every one, as if there were no stopped client
        assert.equal(message.payload.length, payload.length)
      }
      const growth = heldBytes() - before
      assert.ok(growth < 8 * mebibyte, `${growth} bytes more are held after 64 MiB of messages`)
      socket.destroy()
    }))

  test(`fault 46: QoS 1 messages for it wait in a queue that ends somewhere (over ${transport})`, () =>
    withBroker({ limits: { outputBytes: 256 * 1024, queueBytes: mebibyte, inflight: 50 } }, async (broker) => {
      const socket = await stoppedSubscriber(broker, transport, 1)
      const neighbour = await broker.client()
      await neighbour.subscribe([{ filter: 't', qos: 0 }])
      const publisher = await broker.client()
      const payload = Buffer.alloc(32 * 1024, 'x')
      const before = heldBytes()
      for (let number = 0; number < 1000; number++) {
        assert.equal(await publisher.publish({ topic: 't', qos: 1, payload }), 0)
        await neighbour.expect('PUBLISH')
      }
      const growth = heldBytes() - before
      assert.ok(growth < 10 * mebibyte, `${growth} bytes more are held after 32 MiB of messages`)
      socket.destroy()
    }))
}

variantTest(
  'fault 46: with the policy `disconnect` a full queue ends the connection with 0x97',
  { levels: [5], broker: { limits: { queueMessages: 5, queuePolicy: 'disconnect' } } },
  async ({ client }) => {
    const slow = await client({ properties: [[P.receiveMaximum, 1]] })
    await slow.subscribe([{ filter: 't', qos: 1 }])
    const neighbour = await client()
    await neighbour.subscribe(['t'])
    const publisher = await client()
    for (let number = 0; number < 8; number++) {
      await publisher.publish({ topic: 't', qos: 1, payload: `${number}` })
      await neighbour.expect('PUBLISH')
    }
    await slow.expect('PUBLISH')
    await slow.expectDisconnect(0x97)
  },
)

test('fault 46: `#` over many retained messages brings them all and holds up nobody', () =>
  withBroker({}, async (broker) => {
    const publisher = await broker.client()
    const payload = Buffer.alloc(512, 'x')
    for (let number = 0; number < 10_000; number++) {
      publisher.send(publish({ topic: `r/${number % 100}/${number}`, payload, retain: true }))
      if (number % 500 === 499) await publisher.fence()
    }
    const stopped = await stoppedSubscriber(broker, 'unix', 0)
    const neighbour = await broker.client()
    await neighbour.subscribe(['live'])
    const reader = await broker.client({}, { transport: 'unix' })
    reader.send(subscribe({ packetId: 1, filters: [{ filter: '#' }] }))
    await publisher.publish({ topic: 'live', payload: 'x' })
    assert.equal((await neighbour.expect('PUBLISH')).topic, 'live')
    const topics = new Set<string>()
    let isLiveSeen = false
    while (topics.size < 10_000 || !isLiveSeen) {
      const packet = await reader.receive()
      if (packet.type !== 'PUBLISH') continue
      if (packet.retain) topics.add(packet.topic)
      else isLiveSeen = true
      if (isLiveSeen && topics.size === 0) break
    }
    assert.equal(topics.size, 10_000)
    stopped.destroy()
  }))

const keep = { clientId: 'away', cleanStart: false, properties: [[P.sessionExpiryInterval, 60]] as Property[] }

for (const [queuePolicy, expected] of [
  ['drop-oldest', ['10', '11', '12', '13', '14']],
  ['drop-newest', ['0', '1', '2', '3', '4']],
] as const) {
  variantTest(
    `fault 47: an absent client's queue is full, policy ${queuePolicy}`,
    { levels: [4, 5], broker: { limits: { queueMessages: 5, queuePolicy } } },
    async ({ client, level }) => {
      const away = await client(keep)
      await away.subscribe([{ filter: 't', qos: 1 }])
      await away.disconnect()
      const publisher = await client()
      for (let number = 0; number < 15; number++) {
        // The publisher has nothing to do with it.
        assert.equal(await publisher.publish({ topic: 't', qos: 1, payload: `${number}` }), 0)
      }
      const back = await client(keep)
      for (const payload of expected) {
        const message = await back.expect('PUBLISH')
        assert.equal(message.payload.toString(), payload)
        back.send(puback({ level, packetId: message.packetId! }))
      }
      await back.expectNothing()
    },
  )
}

test('fault 47: the bytes of a queue are limited as its messages are', () =>
  withBroker({ limits: { queueBytes: 100_000, queueMessages: 1000 } }, async (broker) => {
    const away = await broker.client(keep)
    await away.subscribe([{ filter: 't', qos: 1 }])
    await away.disconnect()
    const publisher = await broker.client()
    for (let number = 0; number < 50; number++) {
      await publisher.publish({ topic: 't', qos: 1, payload: Buffer.alloc(10_000, number) })
    }
    const back = await broker.client(keep)
    await back.fence()
    const numbers = back.unread.map((packet) => (packet.type === 'PUBLISH' ? packet.payload[0] : -1))
    assert.ok(numbers.length >= 7 && numbers.length <= 10, `${numbers.length} messages of 10 000 bytes were kept`)
    assert.deepEqual(
      numbers,
      Array.from({ length: numbers.length }, (_, index) => 50 - numbers.length + index),
    )
  }))

test('fault 47: all queues together have a limit, too', () =>
  withBroker({ limits: { totalQueueBytes: 500_000, queueBytes: 400_000 } }, async (broker) => {
    const names = ['a', 'b', 'c', 'd', 'e']
    for (const clientId of names) {
      const away = await broker.client({ ...keep, clientId })
      await away.subscribe([{ filter: `t/${clientId}`, qos: 1 }])
      await away.disconnect()
    }
    const publisher = await broker.client()
    for (let number = 0; number < 30; number++) {
      for (const name of names) await publisher.publish({ topic: `t/${name}`, qos: 1, payload: Buffer.alloc(10_000) })
    }
    let count = 0
    for (const clientId of names) {
      const back = await broker.client({ ...keep, clientId })
      await back.fence()
      count += back.unread.length
    }
    assert.ok(count > 0 && count <= 50, `${count} messages of 10 000 bytes were kept`)
  }))

describe('what takes seconds', { concurrency: true }, () => {
  test('fault 46: a connection that takes nothing for long enough is closed', () =>
    withBroker({ limits: { outputBytes: 64 * 1024, stallTimeout: 1 } }, async (broker) => {
      const socket = await stoppedSubscriber(broker, 'unix', 0)
      const publisher = await broker.client()
      const payload = Buffer.alloc(64 * 1024)
      const watcher = await broker.client()
      let isPresent = true
      const startedMs = performance.now()
      while (isPresent && performance.now() - startedMs < 2 * DEADLINE_MS) {
        for (let number = 0; number < 10; number++) publisher.send(publish({ topic: 't', payload }))
        await publisher.fence()
        await new Promise((resolve) => setTimeout(resolve, 100))
        // The end of a connection shows on our side as soon as the socket is written to.
        socket.write(Buffer.from([0xc0, 0]))
        isPresent = !socket.destroyed && socket.writable
      }
      assert.equal(isPresent, false, 'the broker has closed the connection')
      await watcher.expectNothing()
    }))

  test('fault 47: no session is kept longer than the broker allows, and the client is told', () =>
    withBroker({ limits: { sessionExpiry: 1 } }, async (broker) => {
      const client = await broker.connect()
      const connack = await client.handshake(keep)
      assert.deepEqual(
        connack.properties.filter(([id]) => id === P.sessionExpiryInterval),
        [[P.sessionExpiryInterval, 1]],
      )
      const ended = new Promise((resolve) => broker.library!.on('sessionEnded', resolve))
      const stopwatch = new Stopwatch()
      await client.disconnect()
      await ended
      stopwatch.assertBetween(900, 4000, 'ended')
      const back = await broker.connect()
      assert.equal((await back.handshake(keep)).sessionPresent, false)
    }))

  test('fault 47: what is dropped is counted under $SYS', () =>
    withBroker({ features: { sysInterval: 1 }, limits: { queueMessages: 5 } }, async (broker) => {
      const away = await broker.client(keep)
      await away.subscribe([{ filter: 't', qos: 1 }])
      await away.disconnect()
      const small = await broker.client({ properties: [[P.maximumPacketSize, 200]] })
      await small.subscribe(['big'])
      const publisher = await broker.client()
      for (let number = 0; number < 12; number++) await publisher.publish({ topic: 't', qos: 1, payload: 'x' })
      await publisher.publish({ topic: 'big', payload: Buffer.alloc(300) })
      const watcher = await broker.client()
      await watcher.subscribe(['$SYS/broker/publish/messages/dropped'])
      let count = ''
      while (count !== '8') count = (await watcher.expect('PUBLISH')).payload.toString()
    }))
})
