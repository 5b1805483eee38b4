// Limits against a client that is greedy, or that is one of many at the same moment. Seen from outside only.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as openSocket } from 'node:net'
import { test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import type { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { connect, P, pingreq, puback, pubcomp, publish, pubrec } from '../kit/wire.ts'

test('a client over its message rate is slowed down to the rate, and not below', () =>
  withBroker({ limits: { messageRate: 20 } }, async (broker) => {
    const client = await broker.client()
    const messages = Array.from({ length: 40 }, () => publish({ level: 5, topic: 't' }))
    const startedAtMs = performance.now()
    client.send(...messages, pingreq())
    await client.expect('PINGRESP', 20_000)
    const seconds = (performance.now() - startedAtMs) / 1000
    // 20 at once and 20 in the second after, plus the coarseness of timers.
    assert.ok(seconds > 0.8 && seconds < 4, `took ${seconds} s`)
  }))

test('a rate of the whole instance holds all its clients down together, and parts with none', () =>
  withBroker({ limits: { totalMessageRate: 40, ratePolicy: 'disconnect' } }, async (broker) => {
    const clients = await Promise.all([1, 2, 3, 4].map(() => broker.client()))
    const startedAtMs = performance.now()
    for (const client of clients) {
      client.send(...Array.from({ length: 20 }, () => publish({ level: 5, topic: 't' })), pingreq())
    }
    for (const client of clients) await client.expect('PINGRESP', 20_000)
    const seconds = (performance.now() - startedAtMs) / 1000
    // 40 at once and 40 in the second after.
    assert.ok(seconds > 0.8 && seconds < 4, `took ${seconds} s`)
  }))

test('a full queue is told in the log with what each client has lost, and not for each message that is dropped', async () => {
  const lines: string[] = []
  const writeLog = (line: string) => void (/queue is full/.test(line) && lines.push(line))
  await withBroker({ limits: { queueMessages: 5 }, writeLog }, async (broker) => {
    for (const clientId of ['absent', 'away']) {
      const client = await broker.client({ clientId, properties: [[P.sessionExpiryInterval, 100]] })
      await client.subscribe([{ filter: 't', qos: 1 }])
      await client.disconnect()
    }
    const sender = await broker.client()
    for (let count = 0; count < 20; count++) await sender.publish({ topic: 't', payload: `${count}`, qos: 1 })
    assert.equal(lines.length, 1)
    assert.match(
      lines[0],
      /client=(absent|away) lost=1 lostInAll=1 limit=limits\.queueMessages value=5 policy=drop-oldest/,
    )
    assert.equal(broker.library!.counters.droppedQueueFull, 30)
  })
  // The end of the broker tells the rest.
  const told = lines.slice(1).map((line) => /client=\S+ lost=\d+ lostInAll=\d+/.exec(line)?.[0])
  const [first, other] = /client=absent/.test(lines[0]) ? ['absent', 'away'] : ['away', 'absent']
  assert.deepEqual(told.sort(), [`client=${first} lost=14 lostInAll=30`, `client=${other} lost=15 lostInAll=30`].sort())
})

for (const [limit, value, limits] of [
  ['queueMessages', 3, {}],
  ['queueBytes', 1024, { queueBytes: '1KiB', queueMessages: 100 }],
  ['totalQueueBytes', 2048, { totalQueueBytes: '2KiB', queuePolicy: 'drop-newest', queueMessages: 100 }],
] as const) {
  test(`what is dropped because a queue is full names the limit that was reached: ${limit}`, async () => {
    const lines: string[] = []
    const writeLog = (line: string) => void (/queue is full/.test(line) && lines.push(line))
    await withBroker({ limits: { queueMessages: 3, ...limits }, writeLog }, async (broker) => {
      const client = await broker.client({ clientId: 'absent', properties: [[P.sessionExpiryInterval, 100]] })
      await client.subscribe([{ filter: 't', qos: 1 }])
      await client.disconnect()
      const sender = await broker.client()
      const payload = 'x'.repeat(250)
      for (let count = 0; count < 10; count++) await sender.publish({ topic: 't', payload, qos: 1 })
    })
    assert.ok(lines.length > 0)
    for (const line of lines) assert.match(line, new RegExp(` limit=limits\\.${limit} value=${value} policy=`))
  })
}

test('the limit of connections holds for clients that are being authenticated at the same time', () => {
  let asked = 0
  let answerAll = () => {}
  const allAsked = new Promise<void>((resolve) => {
    answerAll = resolve
  })
  const authenticate = async () => {
    if (++asked === 4) answerAll()
    await allAsked
    return true
  }
  return withBroker({ limits: { connections: 2 }, hooks: { authenticate } }, async (broker) => {
    const clients = await Promise.all([1, 2, 3, 4].map(() => broker.connect()))
    for (const client of clients) client.sendConnect()
    const answers = await Promise.all(clients.map((client) => client.expect('CONNACK')))
    assert.deepEqual(answers.map(({ reasonCode }) => reasonCode).sort(), [0, 0, 0x97, 0x97])
  })
})

test('who reads no answers may ask for no more: the memory for answers is limited, and all come in the end', () =>
  withBroker({ limits: { outputBytes: 65_536 } }, async (broker) => {
    const socket = openSocket(broker.address('tcp') as { port: number })
    await once(socket, 'connect')
    socket.pause()
    socket.write(connect({ level: 5, clientId: 'flood' }))
    const pings = Buffer.alloc(1024 * 1024)
    for (let index = 0; index < pings.length; index += 2) pings[index] = 0xc0
    // More than the buffers of the kernel take on both ways.
    const mebibytes = 40
    for (let sent = 0; sent < mebibytes; sent++) socket.write(pings)
    let output = -1
    for (let calm = 0; calm < 5; ) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      const { outputBytes } = broker.library!.counters
      calm = outputBytes === output && outputBytes > 0 ? calm + 1 : 0
      output = outputBytes
    }
    assert.ok(output < 1024 * 1024, `${output} bytes wait for a client that reads nothing`)
    let received = 0
    socket.on('data', (chunk) => {
      received += chunk.length
    })
    socket.resume()
    while (received < mebibytes * pings.length) await once(socket, 'data')
    socket.destroy()
  }))

test('a message that is larger than a whole queue does not empty the queue', () =>
  withBroker({ limits: { queueBytes: '20KiB' } }, async (broker) => {
    const session = { clientId: 'away', properties: [[P.sessionExpiryInterval, 100]] as [number, number][] }
    const before = await broker.client(session)
    await before.subscribe(['t'], { qos: 1 })
    await before.disconnect()
    const publisher = await broker.client()
    for (let index = 0; index < 5; index++) await publisher.publish({ topic: 't', qos: 1, payload: `${index}` })
    await publisher.publish({ topic: 't', qos: 1, payload: Buffer.alloc(30_000) })
    const after = await broker.client({ ...session, cleanStart: false })
    for (let index = 0; index < 5; index++) assert.equal((await after.expect('PUBLISH')).payload.toString(), `${index}`)
    await after.expectNothing()
  }))

test('what a client does not acknowledge is limited in bytes, as its queue is; nothing is lost while it fits', () =>
  withBroker({ limits: { queueBytes: '100KiB', inflight: 1000 } }, async (broker) => {
    const subscriber = await broker.client({ clientId: 'slow', properties: [[P.sessionExpiryInterval, 100]] })
    await subscriber.subscribe(['t'], { qos: 2 })
    const publisher = await broker.client()
    for (let index = 0; index < 20; index++) {
      await publisher.publish({ topic: 't', qos: index % 2 === 0 ? 1 : 2, payload: Buffer.alloc(10_000, index) })
    }
    await subscriber.fence()
    assert.equal(subscriber.unread.length, 11)
    const received: number[] = []
    while (received.length < 20) {
      const packet = await subscriber.receive()
      const { packetId } = packet as { packetId: number }
      if (packet.type === 'PUBREL') subscriber.send(pubcomp({ level: 5, packetId }))
      if (packet.type !== 'PUBLISH') continue
      received.push(packet.payload[0])
      subscriber.send(packet.qos === 1 ? puback({ level: 5, packetId }) : pubrec({ level: 5, packetId }))
    }
    assert.deepEqual(received, [...received.keys()])
  }))

test('retained messages of deep topics count with all the levels that they hold', () =>
  withBroker({ limits: { retainedBytes: '1MiB' } }, async (broker) => {
    const publisher = await broker.client()
    const codes = new Set<number>()
    let kept = 0
    for (let index = 0; index < 200; index++) {
      const code = await publisher.publish({ topic: `${index}${'/a'.repeat(127)}`, qos: 1, retain: true, payload: 'x' })
      if (code !== 0x97) kept++
      codes.add(code)
    }
    assert.deepEqual([...codes], [0x10, 0x97])
    assert.ok(kept > 50 && kept < 100, `${kept} were kept`)
    // All of it is given back.
    for (let index = 0; index < kept; index++) {
      await publisher.publish({ topic: `${index}${'/a'.repeat(127)}`, qos: 1, retain: true, payload: '' })
    }
    assert.equal(broker.library!.counters.retainedBytes, 0)
  }))

test('long filters use up the room for Subscriptions sooner than short ones', () =>
  withBroker({ limits: { subscriptionsPerClient: 1000 } }, async (broker) => {
    const client = await broker.client()
    const codes: number[] = []
    for (let index = 0; index < 20; index++) codes.push(...(await client.subscribe([`${index}/${'x'.repeat(65_000)}`])))
    assert.deepEqual(new Set(codes), new Set([0, 0x97]))
    const granted = codes.indexOf(0x97)
    for (let index = 0; index < granted; index++) await client.unsubscribe([`${index}/${'x'.repeat(65_000)}`])
    // As many short ones as the limit says, with many levels, too.
    for (let index = 0; index < 1000; index++) {
      assert.deepEqual(await client.subscribe([`a/b/c/${index}/+/#`]), [0])
    }
    assert.deepEqual(await client.subscribe(['one/more']), [0x97])
  }))

test('memory near its limit keeps nobody away who comes for what is in it', () =>
  withBroker({ limits: { memory: '256KiB' } }, async (broker) => {
    const kept = { cleanStart: false, properties: [[P.sessionExpiryInterval, 100]] as [number, number][] }
    const clientIds = ['one', 'two', 'three']
    const publisher = await broker.client()
    for (const clientId of clientIds) {
      const client = await broker.client({ clientId, ...kept })
      await client.subscribe([clientId], { qos: 1 })
      for (let count = 0; count < 2; count++) {
        await publisher.publish({ topic: clientId, qos: 1, payload: Buffer.alloc(40_000) })
        await client.expect('PUBLISH')
      }
      client.destroy()
    }
    const codeOf = async (clientId: string) => {
      const client = await broker.connect()
      client.sendConnect({ clientId })
      const { reasonCode } = await client.expect('CONNACK')
      client.destroy()
      return reasonCode
    }
    await until('a refusal', async () => (await codeOf('late')) === 0x97)
    for (const clientId of clientIds) {
      const client = await broker.client({ clientId, ...kept })
      for (let count = 0; count < 2; count++) {
        const { packetId } = await client.expect('PUBLISH')
        client.send(puback({ level: 5, packetId: packetId! }))
      }
      await client.fence()
    }
    await until('room again', async () => (await codeOf('late')) === 0)
  }))

for (const [what, connectOptions, fill] of [
  ['Wills', { will: { topic: 'w', payload: Buffer.alloc(60_000) } }, () => {}],
  [
    'topic aliases',
    {},
    (client: RawClient) => {
      const properties: [number, number][] = [[P.topicAlias, 1]]
      client.send(publish({ level: 5, topic: 't'.repeat(60_000), properties }))
    },
  ],
] as const) {
  test(`${what} count towards the limit of memory`, () =>
    withBroker({ limits: { memory: '256KiB' } }, async (broker) => {
      const holders = []
      for (let index = 0; index < 4; index++) {
        const client = await broker.client({ clientId: `holder-${index}`, ...connectOptions })
        fill(client)
        await client.fence()
        holders.push(client)
      }
      const isRefused = async () => {
        const client = await broker.connect()
        client.sendConnect({ clientId: 'late' })
        const { reasonCode } = await client.expect('CONNACK')
        client.destroy()
        return reasonCode === 0x97
      }
      await until('a refusal', isRefused)
      for (const client of holders) await client.disconnect()
      await until('room again', async () => !(await isRefused()))
    }))
}
