// A start reads its store in slices: others of the same loop go on meanwhile, nobody gets in before all is there, and a stop in the
// middle of it leaves the store as it was.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Clock, createSystemClock } from '../base/clock.ts'
import { createMessage } from '../codec/application-message.ts'
import { type AtollBroker, createBroker } from '../instance/create-broker.ts'
import { closedName, openLmdbStore } from '../storage/lmdb-store.ts'
import { deliveryRecord, sessionRecord } from '../storage/store-contract.test.support.ts'
import { Loop } from '../transport/loop.ts'

const retained = 5000
const sessions = 1000
const queued = 5000

/** Every look at it finds that a slice is over. */
function hastyClock(): Clock {
  let looks = 0
  return { ...createSystemClock(), monotonicMs: () => performance.now() + 5 * ++looks }
}

class Place {
  readonly directory = mkdtempSync(join(tmpdir(), 'atoll-restore-'))
  readonly store = join(this.directory, 'store')
  readonly socket = join(this.directory, 'mqtt.sock')

  constructor(context: TestContext) {
    context.after(() => rmSync(this.directory, { recursive: true }))
  }

  /** Sessions of which the first has a queue and something in flight, and messages that nobody waits for. */
  async fill(): Promise<void> {
    const store = await openLmdbStore({ directory: this.store, durability: 'os', clock: createSystemClock() })
    const packetOf = (topic: string) => createMessage(topic, Buffer.from('x'), { retain: true, nowMs: 0 }).buffer
    for (let index = 0; index < retained; index++) {
      store.putRetained(`t/${index}`, { packet: packetOf(`t/${index}`), isVersion5: true, receivedAtMs: 0 })
    }
    const first = store.nextSessionNumber
    for (let index = 0; index < sessions; index++) {
      const expirySeconds = 0xffff_ffff
      store.putSession(sessionRecord(first + index, { expirySeconds, detachedAtMs: Date.now() }))
      store.putSubscription(first + index, { filter: `f/${index}`, shareName: null, options: 1, identifier: null })
    }
    const message = store.nextMessageNumber
    for (let index = 0; index < 2 * queued; index++) {
      store.putMessage(message + index, { packet: packetOf('f/0'), isVersion5: true, receivedAtMs: 0 })
      if (index >= queued) continue
      store.putDelivery(first, index + 1, deliveryRecord(message + index, { packetId: index < 500 ? index + 1 : 0 }))
    }
    await store.close()
  }

  broker(): AtollBroker {
    const listeners = { local: `unix://${this.socket}` }
    const limits = { sessionExpiry: 4294967295, sessions: 2000, queueMessages: 10_000 }
    return createBroker({ durability: 'os', listeners, limits }, { dataDir: this.directory, clock: hastyClock() })
  }

  get isClosedInOrder(): boolean {
    return existsSync(join(this.store, closedName))
  }
}

function assertAll(broker: AtollBroker): void {
  const { sessions: sessionCount, subscriptions, retainedMessages, queuedMessages } = broker.counters
  assert.deepEqual(
    [sessionCount, subscriptions, retainedMessages, queuedMessages],
    [sessions, sessions, retained, queued - 500],
  )
}

test('others have many turns while a broker starts, and its socket is there when all else is', async (context) => {
  const place = new Place(context)
  await place.fill()
  const broker = place.broker()
  let turns = 0
  const starting = broker.start()
  for (let isOver = false; !isOver; turns++) {
    if (existsSync(place.socket)) assertAll(broker)
    else assert.equal(broker.phase, 'starting')
    isOver = await Promise.race([starting.then(() => true), nextTurn(false)])
  }
  assertAll(broker)
  // 8 records in a slice at most.
  assert.ok(turns > (retained + sessions + 3 * queued) / 8, `${turns} turns`)
  await broker.stop()
  const store = await openLmdbStore({ directory: place.store, durability: 'os', clock: createSystemClock() })
  const [first] = store.sessions()
  assert.equal(store.deliveryCount(first.session.sessionNumber), queued)
  const { packetId, messageNumber } = store.deliveries(first.session.sessionNumber, 0, 1)[0].delivery
  assert.equal(packetId, 1)
  for (let index = 0; index < 2 * queued; index++) {
    assert.equal(store.hasMessage(messageNumber + index), index < queued, `message ${index}`)
  }
  await store.close()
})

test('a broker that is stopped while it starts ends soon, and the next one has everything', async (context) => {
  const place = new Place(context)
  await place.fill()
  for (const turnsUntilStop of [1, 50, 1000, 2000]) {
    const broker = place.broker()
    const starting = broker.start()
    const rejected = assert.rejects(starting, { code: 'stopped-meanwhile' })
    while (place.isClosedInOrder) await nextTurn()
    for (let turn = 0; turn < turnsUntilStop; turn++) await nextTurn()
    assert.equal(broker.phase, 'starting')
    await broker.stop()
    await rejected
    assert.equal(broker.phase, 'stopped')
    assert.ok(!existsSync(place.socket))
    assert.ok(place.isClosedInOrder, 'nothing needs to be checked or mended')
  }
  const broker = place.broker()
  await broker.start()
  assertAll(broker)
  await broker.stop()
})

test('of several that start in one loop one goes on per turn', async () => {
  const loop = new Loop()
  const turns: number[] = []
  let turn = 0
  const work = async () => {
    for (let slice = 0; slice < 10; slice++) {
      await loop.turnOfOne()
      turns.push(turn)
    }
  }
  const all = Promise.all([work(), work(), work()])
  while (turns.length < 30) {
    await nextTurn()
    turn++
  }
  await all
  assert.equal(new Set(turns).size, 30)
})

test('of two messages with one Packet Identifier, as a rescue may bring them back, the later one has it', async (context) => {
  const place = new Place(context)
  const clock = createSystemClock()
  const openStore = () => openLmdbStore({ directory: place.store, durability: 'os', clock })
  const store = await openStore()
  const number = store.nextSessionNumber
  store.putSession(sessionRecord(number, { expirySeconds: 3600, detachedAtMs: Date.now() }))
  const first = store.nextMessageNumber
  for (const [index, packetId] of [7, 8, 7, 7].entries()) {
    const { buffer: packet } = createMessage(`t/${index}`, Buffer.from('x'), { qos: 1, nowMs: 0 })
    store.putMessage(first + index, { packet, isVersion5: true, receivedAtMs: Date.now() })
    store.putDelivery(number, index + 1, deliveryRecord(first + index, { packetId }))
  }
  await store.close()
  const broker = place.broker()
  await broker.start()
  await broker.stop()
  const after = await openStore()
  const left = after.deliveries(number, 0, 10).map(({ order, delivery: { packetId } }) => [order, packetId])
  assert.deepEqual(left, [
    [2, 8],
    [4, 7],
  ])
  await after.close()
})

test('what stands in the queue before something in flight was over, and only a rescue has brought it back', async (context) => {
  const place = new Place(context)
  const clock = createSystemClock()
  const openStore = () => openLmdbStore({ directory: place.store, durability: 'os', clock })
  const store = await openStore()
  const number = store.nextSessionNumber
  store.putSession(sessionRecord(number, { expirySeconds: 3600, detachedAtMs: Date.now() }))
  const first = store.nextMessageNumber
  for (const [index, packetId] of [0, 3, 0, 0, 7, 8, 0, 0].entries()) {
    const { buffer: packet } = createMessage(`t/${index}`, Buffer.from('x'), { qos: 1, nowMs: 0 })
    store.putMessage(first + index, { packet, isVersion5: true, receivedAtMs: Date.now() })
    store.putDelivery(number, index + 1, deliveryRecord(first + index, { packetId, sizeBytes: packet.length }))
  }
  await store.close()
  const broker = place.broker()
  await broker.start()
  assert.equal(broker.counters.queuedMessages, 2)
  await broker.stop()
  const after = await openStore()
  const left = after.deliveries(number, 0, 10).map(({ order, delivery: { packetId } }) => [order, packetId])
  assert.deepEqual(left, [
    [2, 3],
    [5, 7],
    [6, 8],
    [7, 0],
    [8, 0],
  ])
  assert.equal(after.hasMessage(first), false)
  await after.close()
})
