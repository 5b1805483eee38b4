import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../config/config-error.ts'
import { createMemoryPair, ManualClock } from '../testing/index.ts'
import { createBroker } from './create-broker.ts'

/** CONNECT of MQTT 5 with the Client Identifier `x` and Keep Alive 0. */
const connectPacket = Buffer.from('100e00044d5154540502000000000178', 'hex')
const ping = Buffer.from('c000', 'hex')

test('a broker starts once, and a stop is the same stop for all who ask', async () => {
  const broker = createBroker({ listeners: { tcp: 'tcp://127.0.0.1:0' } })
  assert.throws(() => broker.client('early'), { code: 'not-running', fix: 'await start()' })
  assert.throws(() => broker.accept(createMemoryPair()[0]), { code: 'not-running' })
  const starting = broker.start()
  await assert.rejects(broker.start(), { code: 'already-started' })
  const stopping = broker.stop()
  assert.equal(broker.stop(), stopping)
  assert.equal(await starting, broker)
  await stopping
  assert.equal(broker.phase, 'stopped')
  assert.deepEqual(
    broker.listeners.map(({ phase }) => phase),
    ['stopped'],
  )
  await assert.rejects(broker.start(), { code: 'already-started' })
  assert.throws(() => broker.client('late'), { code: 'not-running', fix: 'create another one' })
})

test('a broker that was never started, or could not start, can be stopped', async () => {
  const idle = createBroker()
  await idle.stop()
  assert.equal(idle.phase, 'stopped')
  await using first = await createBroker({ listeners: { tcp: 'tcp://127.0.0.1:0' } }).start()
  await using second = createBroker({ listeners: { tcp: first.listeners[0].address } })
  await assert.rejects(second.start(), { code: 'port-in-use' })
  assert.equal(second.phase, 'failed')
})

test('a stop parts with the clients inside the process', async () => {
  const broker = await createBroker().start()
  const client = broker.client('app')
  broker.client('app')
  await assert.rejects(client.publish('a', ''), /closed/)
  assert.equal(broker.connectedClients, 1)
  await broker.stop()
  assert.equal(broker.connectedClients, 0)
  assert.equal(broker.counters.sessions, 0)
})

test('a stream has the keys of a listener, with their units and their checks', async () => {
  await using broker = await createBroker({}, { clock: new ManualClock() }).start()
  assert.throws(() => broker.accept(createMemoryPair()[0], { maxPacketSize: '1 potato' }), ConfigError)
  assert.throws(() => broker.accept(createMemoryPair()[0], { protocol: ['5'] } as object), /did you mean protocols/)
  const [refused, guest] = createMemoryPair()
  broker.accept(refused, { name: 'old', protocols: ['3.1.1'] })
  guest.write(connectPacket)
  const [answer] = await guest.toArray()
  assert.equal(answer[0] >> 4, 2)
  assert.equal(answer[3], 0x84)
})

test('stop does not wait for the time of a manual clock when clients read their end', async () => {
  const broker = await createBroker({}, { clock: new ManualClock() }).start()
  const [ours, theirs] = createMemoryPair()
  broker.accept(ours, { name: 'app' })
  broker.on('clientConnected', ({ peer }) => assert.equal(peer.label, 'memory:app'))
  const packets: number[] = []
  theirs.on('data', (chunk: Buffer) => packets.push(chunk[0] >> 4))
  theirs.write(connectPacket)
  theirs.write(ping)
  while (packets.length < 2) await new Promise((resolve) => theirs.once('data', resolve))
  await broker.stop()
  assert.deepEqual(packets, [2, 13, 14])
})
