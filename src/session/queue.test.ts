import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ManualClock } from '../base/clock.ts'
import { TimerWheel } from '../base/timer-wheel.ts'
import { createMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import { Counters } from '../observe/counters.ts'
import { ShareGroup } from '../routing/share-group.ts'
import { createMemoryStore } from '../storage/memory-store.ts'
import type { Store } from '../storage/store.ts'
import type { Delivery } from './delivery.ts'
import { Journal } from './journal.ts'
import type { Outlet } from './outlet.ts'
import type { Session } from './session.ts'
import type { SessionContext } from './session-context.ts'
import { SessionRegistry } from './session-registry.ts'

class Reader implements Outlet {
  readonly isWritable = true
  readonly got: string[] = []
  duplicates = 0
  readonly #open: { packetId: number; qos: Qos }[] = []

  sendQos0(): boolean {
    return true
  }

  sendPublish(
    message: { payload: Buffer },
    qos: Qos,
    _retain: boolean,
    _identifiers: unknown,
    packetId: number,
    isDuplicate: boolean,
  ): boolean {
    if (isDuplicate) this.duplicates++
    this.got.push(message.payload.toString('latin1', 0, 8).trim())
    this.#open.push({ packetId, qos })
    return true
  }

  sendPubrel(): void {}
  disconnect(): void {}

  /** Acknowledges all that it has, again and again, until the queue is empty. */
  async drain(session: Session): Promise<string[]> {
    do {
      for (let next = this.#open.shift(); next !== undefined; next = this.#open.shift()) session.puback(next.packetId)
      await nextTurn()
    } while (session.queuedMessages > 0 || this.#open.length > 0)
    return this.got
  }
}

async function setUp(limits: Partial<SessionContext['limits']> = {}, memoryLimitBytes = 1e9) {
  const clock = new ManualClock()
  const store: Store = createMemoryStore(clock)
  const orphans: Delivery[] = []
  const lost: [clientId: string, messages: number][] = []
  const refused: string[] = []
  const context: SessionContext = {
    limits: {
      queueMessages: 1e9,
      queueBytes: 1e12,
      queueAgeSeconds: 0,
      queuePolicy: 'drop-oldest',
      queueQos0: false,
      ...limits,
    },
    counters: new Counters(),
    queues: { messages: 0, bytes: 0, memoryBytes: 0, memoryLimitBytes, limitBytes: 1e12, inflightBytes: 0 },
    willBytes: 0,
    nowMs: () => clock.monotonicMs(),
    isMemoryHigh: () => false,
    mayReceive: null,
    rightsGeneration: 0,
    journal: null,
    orphaned: (found) => void orphans.push(...found),
    storeRefused: (problem) => void refused.push(problem),
    queueFull: () => void context.counters.droppedQueueFull++,
    queueAged: () => void context.counters.droppedQueueAge++,
    queueLost: (session, messages) => void lost.push([session.clientId, messages]),
  }
  const group = new ShareGroup('workers', 'jobs')
  const journal = new Journal(store, clock, {
    references: new Map(),
    shareGroup: () => group,
    enter: (work) => work(),
    onProblem: () => {},
  })
  context.journal = journal
  const registry = new SessionRegistry(context, new TimerWheel(clock), {
    publishWill: () => {},
    ended: (_session, found) => void orphans.push(...found),
  })
  const create = (clientId: string): Session => {
    const session = registry.create(clientId)
    session.expirySeconds = 3600
    session.isDurable = true
    journal.session(session, 0)
    return session
  }
  const messageOf = (text: string, sizeBytes = 100) =>
    createMessage('t', Buffer.from(text.padEnd(sizeBytes)), { qos: 1, nowMs: clock.monotonicMs() })
  const fill = (session: Session, from: number, to: number, sizeBytes = 100, share: ShareGroup | null = null) => {
    for (let index = from; index <= to; index++)
      session.deliver(messageOf(`${index}`, sizeBytes), 1, false, null, share)
  }
  const read = async (session: Session, window = 10): Promise<string[]> => {
    const reader = new Reader()
    session.attach(reader, window)
    session.pump()
    const got = await reader.drain(session)
    session.detach()
    return got
  }
  return { clock, store, context, registry, orphans, lost, refused, group, journal, create, messageOf, fill, read }
}

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => `${from + index}`)

test('a queue beyond its window is in the store only, and comes in order', async () => {
  const { store, context, create, fill, read } = await setUp()
  const session = create('a')
  fill(session, 1, 20_000)
  assert.equal(session.queuedMessages, 20_000)
  assert.equal(context.queues.messages, 20_000)
  assert.equal(context.queues.bytes, session.queuedBytes)
  assert.ok(context.queues.memoryBytes <= 256 * 1024, `${context.queues.memoryBytes}`)
  assert.ok(session.queuedBytes > 10 * context.queues.memoryBytes)
  assert.deepEqual(await read(session), numbers(1, 20_000))
  assert.deepEqual(
    [context.queues.messages, context.queues.bytes, context.queues.memoryBytes, context.queues.inflightBytes],
    [0, 0, 0, 0],
  )
  await store.flush()
  assert.equal(store.deliveryCount(session.storeNumber), 0)
})

test('what comes while the queue is being read, written or not, stays in order', async () => {
  const { store, create, fill, messageOf } = await setUp()
  const session = create('a')
  fill(session, 1, 5000)
  await store.flush()
  fill(session, 5001, 6000)
  const reader = new Reader()
  session.attach(reader, 5)
  session.pump()
  let next = 6001
  const { got } = reader
  // One more for every three that are acknowledged, now and then after a write.
  const sendPublish = reader.sendPublish.bind(reader)
  let sent = 0
  reader.sendPublish = (...values: Parameters<typeof sendPublish>) => {
    if (++sent % 3 === 0 && next <= 8000)
      queueMicrotask(() => session.deliver(messageOf(`${next++}`), 1, false, null, null))
    return sendPublish(...values)
  }
  while (session.queuedMessages > 0 || session.inflightCount > 0) {
    for (let count = 0; count < 100; count++) {
      const packetId = session.inflight.inOrder()[0]
      if (packetId !== undefined) session.puback(packetId)
      await null
    }
    if (sent % 7 === 0) await store.flush()
  }
  assert.deepEqual(got, numbers(1, 8000))
  session.detach()
})

test('what the store has lost of a queue is told and counted, and the rest comes', async () => {
  const { store, context, lost, create, fill, read } = await setUp()
  const session = create('a')
  fill(session, 1, 20_000)
  await store.flush()
  assert.equal(store.isDamaged, false)
  for (const { delivery } of store.deliveries(session.storeNumber, 10_000, 3)) {
    store.deleteMessage(delivery.messageNumber)
  }
  for (const order of [15_000, 15_001]) store.deleteDelivery(session.storeNumber, order)
  const isLost = (order: number) => [10_000, 10_001, 10_002, 15_000, 15_001].includes(order)
  assert.deepEqual(
    await read(session),
    numbers(1, 20_000).filter((order) => !isLost(Number(order))),
  )
  assert.deepEqual(lost, [
    ['a', 3],
    ['a', 2],
  ])
  assert.equal(store.isDamaged, true)
  assert.deepEqual([session.queuedMessages, context.queues.messages, context.queues.bytes], [0, 0, 0])
})

test('a queue of which everything is lost ends, and what comes after it comes', async () => {
  const { store, lost, create, fill, read } = await setUp({}, 0)
  const session = create('a')
  fill(session, 1, 3000)
  await store.flush()
  for (const { delivery } of store.deliveries(session.storeNumber, 0, 3000)) store.deleteMessage(delivery.messageNumber)
  assert.deepEqual(await read(session), [])
  assert.equal(
    lost.reduce((sum, [, messages]) => sum + messages, 0),
    3000,
  )
  fill(session, 3001, 3100)
  assert.deepEqual(await read(session), numbers(3001, 3100))
})

test('over the memory that all queues have together even the first message waits in the store', async () => {
  const { context, create, fill, read } = await setUp({}, 50_000)
  const sessions = numbers(1, 50).map(create)
  for (const session of sessions) fill(session, 1, 300)
  assert.ok(context.queues.memoryBytes <= 50_000)
  for (const session of sessions) assert.deepEqual(await read(session, 50), numbers(1, 300))
  assert.deepEqual([context.queues.memoryBytes, context.queues.bytes], [0, 0])
})

test('large messages: a page is limited in bytes, and one is always read', async () => {
  const { context, create, fill, read } = await setUp()
  const session = create('a')
  fill(session, 1, 20, 300_000)
  assert.equal(context.queues.memoryBytes, 0)
  assert.deepEqual(await read(session, 1), numbers(1, 20))
})

for (const queuePolicy of ['drop-oldest', 'drop-newest'] as const) {
  test(`a full queue that is in the store: ${queuePolicy}`, async () => {
    const { context, create, fill, read } = await setUp({ queueMessages: 9000, queuePolicy })
    const session = create('a')
    fill(session, 1, 12_000)
    const most = queuePolicy === 'drop-oldest' ? 11_000 : 9000
    assert.ok(session.queuedMessages <= most, 'only what comes while the oldest are on their way is too much')
    await nextTurn()
    assert.equal(session.queuedMessages, 9000)
    assert.equal(context.queues.bytes, session.queuedBytes)
    assert.equal(context.counters.droppedQueueFull, 3000)
    assert.deepEqual(await read(session), queuePolicy === 'drop-oldest' ? numbers(3001, 12_000) : numbers(1, 9000))
  })
}

for (const queuePolicy of ['drop-newest', 'disconnect'] as const) {
  test(`a full queue of which nothing is in memory, as after a restart, takes nothing new: ${queuePolicy}`, async () => {
    const { context, create, fill, read } = await setUp({ queueMessages: 9000, queuePolicy }, 0)
    const session = create('a')
    fill(session, 1, 9000)
    assert.equal(context.queues.memoryBytes, 0)
    fill(session, 9001, 9500)
    assert.equal(session.queuedMessages, 9000)
    assert.equal(context.counters.droppedQueueFull, 500)
    assert.deepEqual(await read(session), numbers(1, 9000))
  })
}

test('a message is deleted with the last of its deliveries, wherever they wait', async () => {
  const { store, create, messageOf, read } = await setUp()
  const sessions = ['a', 'b', 'c'].map(create)
  for (let index = 1; index <= 5000; index++) {
    const message = messageOf(`${index}`)
    for (const session of sessions) session.deliver(message, 1, false, null, null)
  }
  await store.flush()
  assert.deepEqual(await read(sessions[1]), numbers(1, 5000))
  await store.flush()
  assert.equal((await store.tallyDeliveries()).references.size, 5000)
  assert.deepEqual(await read(sessions[0]), numbers(1, 5000))
  await store.flush()
  assert.equal((await store.tallyDeliveries()).references.size, 0)
  assert.deepEqual(await read(sessions[2]), numbers(1, 5000))
  await store.flush()
  const { references, queues } = await store.tallyDeliveries()
  assert.deepEqual([references.size, queues.size, store.isDirty], [0, 0, false], 'nothing is left to be deleted')
})

test('a Session that ends lets go of a long queue page by page', async () => {
  const { store, context, registry, orphans, group, create, messageOf, fill } = await setUp()
  const ending = create('a')
  const other = create('b')
  const kept = messageOf('kept')
  ending.deliver(kept, 1, false, null, null)
  other.deliver(kept, 1, false, null, null)
  fill(ending, 1, 30_000, 100, group)
  await store.flush()
  registry.end(ending)
  assert.ok(ending.queuedMessages > 20_000, 'the turn of the end does not do all of it')
  assert.equal(registry.get('a'), null)
  while (context.queues.messages > 1) await store.flush()
  await store.flush()
  assert.deepEqual(
    orphans.map(({ message }) => message.payload.toString().trim()),
    numbers(1, 30_000),
    'other members of the group get them',
  )
  assert.deepEqual(
    [...store.sessions()].map(({ session }) => session.clientId),
    ['b'],
  )
  assert.equal(context.queues.messages, 1)
  assert.equal((await store.tallyDeliveries()).queues.size, 1)
  assert.ok(!store.isDirty, 'no message is left without a delivery')
})

test('a Session that ends while it is sent what has been stored is let go of as well', async () => {
  const { store, context, registry, create, messageOf } = await setUp()
  const session = create('a')
  const count = 5000
  await store.flush()
  class Ender extends Reader {
    override sendPublish(): boolean {
      session.detach()
      registry.end(session)
      return true
    }
  }
  session.attach(new Ender(), count)
  for (let index = 1; index <= count; index++) session.deliver(messageOf(`${index}`), 2, false, null, null)
  for (let batch = 0; batch < 10; batch++) {
    await store.flush()
    await nextTurn()
  }
  assert.equal(session.isEnded, true)
  assert.deepEqual([...store.sessions()], [])
  assert.equal(context.queues.inflightBytes, 0)
})

test('messages that waited too long are dropped and counted, and make room', async () => {
  const { clock, context, create, fill, read } = await setUp({
    queueAgeSeconds: 60,
    queueMessages: 100,
    queuePolicy: 'drop-newest',
  })
  const session = create('a')
  fill(session, 1, 50)
  clock.advance(40_000)
  fill(session, 51, 100)
  clock.advance(20_000)
  fill(session, 101, 150)
  assert.equal(context.counters.droppedQueueFull, 0)
  assert.equal(context.counters.droppedQueueAge, 50)
  clock.advance(40_000)
  assert.deepEqual(await read(session), numbers(101, 150))
  assert.equal(context.counters.droppedQueueAge, 100)
})

test('after a restart what may have been sent before comes as a duplicate, the rest of the queue does not', async () => {
  const { store, registry, create, fill } = await setUp()
  const before = create('a')
  fill(before, 1, 3000)
  await store.flush()
  const session = registry.create('a')
  session.isDurable = true
  session.storeNumber = before.storeNumber
  session.restoreQueue(1, (await store.tallyDeliveries()).queues.get(before.storeNumber)!, 40)
  assert.equal(session.queuedMessages, 3000)
  const reader = new Reader()
  session.attach(reader, 10)
  session.pump()
  assert.deepEqual(await reader.drain(session), numbers(1, 3000))
  assert.equal(reader.duplicates, 40)
})

test('a message of two groups whose Session ends is one of its own for each that gets it then', async () => {
  const { store, orphans, registry, group, create, messageOf, read } = await setUp({}, 0)
  const ending = create('a')
  const message = messageOf('twice')
  ending.deliver(message, 1, false, null, group)
  ending.deliver(message, 1, false, null, group)
  await store.flush()
  registry.end(ending)
  await nextTurn()
  const heirs = ['b', 'c'].map(create)
  heirs.forEach((heir, index) => {
    heir.deliver(orphans[index].message, 1, false, null, group)
  })
  await store.flush()
  for (const heir of heirs) assert.deepEqual(await read(heir), ['twice'])
})

test('what has waited too long in the store makes room as well', async () => {
  const { clock, context, create, fill, read } = await setUp(
    { queueAgeSeconds: 60, queueMessages: 1000, queuePolicy: 'drop-newest' },
    0,
  )
  const session = create('a')
  fill(session, 1, 1000)
  clock.advance(60_000)
  fill(session, 1001, 1100)
  assert.equal(context.counters.droppedQueueFull, 0)
  assert.deepEqual(await read(session), numbers(1001, 1100))
})

test('messages that come after a restart are no duplicates', async () => {
  const { store, registry, create, fill } = await setUp()
  const before = create('a')
  fill(before, 1, 3)
  await store.flush()
  const session = registry.create('a')
  session.isDurable = true
  session.storeNumber = before.storeNumber
  session.restoreQueue(1, (await store.tallyDeliveries()).queues.get(before.storeNumber)!, 40)
  fill(session, 4, 10)
  const reader = new Reader()
  session.attach(reader, 10)
  session.pump()
  assert.deepEqual(await reader.drain(session), numbers(1, 10))
  assert.equal(reader.duplicates, 3)
})

test('what a full queue refused does not count among the messages that may have been sent', async () => {
  const { store, registry, create, fill } = await setUp({ queuePolicy: 'drop-newest', queueMessages: 3 })
  const before = create('a')
  fill(before, 1, 50)
  const reader = new Reader()
  before.attach(reader, 2)
  before.pump()
  fill(before, 51, 60)
  await store.flush()
  const { queues } = await store.tallyDeliveries()
  const session = registry.create('a')
  session.isDurable = true
  session.storeNumber = before.storeNumber
  session.restoreQueue(3, queues.get(before.storeNumber)!, 3)
  const again = new Reader()
  session.attach(again, 10)
  session.pump()
  assert.deepEqual(await again.drain(session), ['3', '51', '52'])
  assert.equal(again.duplicates, 3)
})

test('a limit that is lowered under a long queue takes effect little by little', async () => {
  const { context, create, fill, read } = await setUp({}, 0)
  const session = create('a')
  fill(session, 1, 20_000)
  context.limits.queueMessages = 100
  fill(session, 20_001, 20_001)
  assert.ok(session.queuedMessages > 10_000, 'not all of it at once')
  fill(session, 20_002, 20_050)
  await nextTurn()
  assert.equal(session.queuedMessages, 100)
  assert.deepEqual(await read(session), numbers(19_951, 20_050))
})

test('a long queue of messages that are no longer sent holds up nobody', async () => {
  const { clock, store, context, create, fill } = await setUp({ queueAgeSeconds: 60 }, 0)
  const session = create('a')
  fill(session, 1, 30_000)
  clock.advance(60_000)
  fill(session, 30_001, 30_003)
  const reader = new Reader()
  session.attach(reader, 10)
  session.pump()
  assert.ok(session.queuedMessages > 10_000, 'not all of it in one turn')
  while (session.queuedMessages > 0) await store.flush()
  assert.deepEqual(await reader.drain(session), numbers(30_001, 30_003))
  assert.equal(context.counters.droppedQueueAge, 30_000)
})

test('over the memory of all queues pages are small', async () => {
  const { context, create, fill } = await setUp({}, 50_000)
  const sessions = numbers(1, 50).map(create)
  for (const session of sessions) {
    fill(session, 1, 300)
    session.attach(new Reader(), 10)
    session.pump()
  }
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  assert.ok(context.queues.memoryBytes <= 50_000 + sessions.length * 4096, `${context.queues.memoryBytes}`)
})

test('pages that are asked for at once are small as soon as those that came fill the memory of all queues', async () => {
  const { store, context, create, fill } = await setUp({}, 0)
  const sessions = numbers(1, 200).map(create)
  for (const session of sessions) fill(session, 1, 50, 4000)
  await store.flush()
  assert.equal(context.queues.memoryBytes, 0)
  const pageBytes = 128 * 1024
  context.queues.memoryLimitBytes = 3 * pageBytes
  for (const session of sessions) {
    session.attach(new Reader(), 1)
    session.pump()
  }
  for (let turn = 0; turn < 20; turn++) await nextTurn()
  const { memoryBytes } = context.queues
  assert.ok(memoryBytes >= 3 * pageBytes, `${memoryBytes}`)
  assert.ok(memoryBytes < 5 * pageBytes + sessions.length * 2 * 4200, `${memoryBytes}`)
})

test('queueQos0: a store that takes nothing new drops QoS 0, and says why', async () => {
  const { store, context, refused, create, messageOf } = await setUp({ queueQos0: true })
  const session = create('a')
  session.deliver(messageOf('kept'), 0, false, null, null)
  Object.assign(store, { problemWith: () => 'no space left' })
  session.deliver(messageOf('dropped'), 0, false, null, null)
  assert.deepEqual(refused, ['no space left'])
  assert.deepEqual([session.queuedMessages, context.queues.messages], [1, 1])
})
