import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSystemClock, ManualClock } from '../base/clock.ts'
import { createFaultStore, createMemoryStore, FaultDisk } from './memory-store.ts'
import { deliveryRecord, messageRecord, sessionRecord, testStore } from './store-contract.test.support.ts'

testStore('a store on a disk of simulations', () => {
  const disk = new FaultDisk()
  return {
    open: async () => createFaultStore(disk, { durability: 'fsync', clock: createSystemClock() }),
    remove() {},
  }
})

const turn = () => new Promise((resolve) => setImmediate(resolve))

async function settle(): Promise<void> {
  for (let count = 0; count < 5; count++) await turn()
}

test('a store in memory keeps what it is given as long as it lives', async () => {
  const store = createMemoryStore(new ManualClock())
  store.putRetained('t', messageRecord('x'))
  await store.flush()
  assert.equal([...store.retained()].length, 1)
  assert.equal(store.durability, 'memory')
  await store.close()
})

test('one batch is written while the next forms, with all the turns meanwhile', async () => {
  const disk = new FaultDisk()
  const store = createFaultStore(disk, { durability: 'fsync', clock: new ManualClock() })
  const named: number[] = []
  store.onDurable = (batch) => named.push(batch)
  disk.hold()
  const first = store.batch
  store.putRetained('1', messageRecord('1'))
  await settle()
  assert.equal(disk.waiting, 1)
  const second = store.batch
  assert.equal(second, first + 1)
  for (const topic of ['2', '3', '4']) {
    store.putRetained(topic, messageRecord(topic))
    await settle()
  }
  assert.equal(disk.waiting, 1)
  assert.equal(store.batch, second)
  assert.deepEqual(named, [])
  disk.release(1)
  await settle()
  assert.deepEqual(named, [first])
  assert.equal(disk.waiting, 1)
  disk.release()
  await settle()
  assert.deepEqual(named, [first, second])
  await store.close()
})

test('a batch of which nothing is left is named after the batch before it', async () => {
  const disk = new FaultDisk()
  const store = createFaultStore(disk, { durability: 'fsync', clock: new ManualClock() })
  const named: number[] = []
  store.onDurable = (batch) => named.push(batch)
  const message = store.nextMessageNumber
  disk.hold()
  store.putMessage(message, messageRecord('x'))
  await settle()
  store.putMessage(message + 1, messageRecord('x'))
  store.deleteMessage(message + 1)
  await settle()
  assert.deepEqual(named, [])
  disk.release(1)
  await settle()
  assert.deepEqual(named, [2], 'the newest is named, for both')
  assert.equal(disk.waiting, 0)
  await store.close()
})

test('where there is no room for more at once, a batch ends between two changes, and the next are written after it', async () => {
  const disk = new FaultDisk()
  disk.mostChanges = 3
  const store = createFaultStore(disk, { durability: 'fsync', clock: new ManualClock() })
  const named: number[] = []
  store.onDurable = (batch) => named.push(batch)
  store.putSession(sessionRecord(1))
  await store.flush()
  disk.hold()
  const message = store.nextMessageNumber
  const orders = () => store.deliveries(1, 0, 10).map(({ order }) => order)
  const note = (change: () => void) => {
    store.splitBatch()
    change()
  }
  for (const order of [1, 2, 3]) {
    note(() => {
      store.putMessage(message + order, messageRecord(`${order}`))
      store.putDelivery(1, order, deliveryRecord(message + order))
    })
  }
  assert.equal(store.batch, 3, 'not before it has three changes, and never within what belongs together')
  note(() => {
    store.deleteDelivery(1, 1)
    store.deleteMessage(message + 1)
  })
  note(() => store.deleteDelivery(1, 3))
  note(() => store.putDelivery(1, 3, deliveryRecord(message + 3)))
  assert.equal(store.batch, 4)
  assert.deepEqual(orders(), [2, 3])
  assert.equal(store.deliveryCount(1), 2)
  assert.deepEqual([store.hasMessage(message + 1), store.hasMessage(message + 3)], [false, true])
  const { pendingBytes } = store
  const flushed = store.flush()
  await settle()
  for (const batch of [2, 3, 4]) {
    assert.equal(disk.waiting, 1, 'one after the other')
    assert.equal(named.at(-1), batch - 1)
    disk.release(1)
    await settle()
    assert.deepEqual(orders(), [2, 3])
    assert.equal(store.deliveryCount(1), 2)
    assert.ok(store.pendingBytes < pendingBytes)
  }
  await flushed
  assert.deepEqual(named, [1, 2, 3, 4])
  assert.equal(store.pendingBytes, 0)

  for (const order of [4, 5, 6]) note(() => store.putDelivery(1, order, deliveryRecord(message + 3)))
  note(() => store.deleteSession(1))
  assert.deepEqual(orders(), [])
  assert.equal(store.deliveryCount(1), 0)
  disk.release()
  await store.close()
  assert.deepEqual([...createFaultStore(disk, { durability: 'fsync', clock: new ManualClock() }).sessions()], [])
})

test('a batch that has ended with nothing left of it holds up none behind it', async () => {
  const disk = new FaultDisk()
  disk.mostChanges = 2
  const store = createFaultStore(disk, { durability: 'fsync', clock: new ManualClock() })
  const named: number[] = []
  store.onDurable = (batch) => named.push(batch)
  const passing = () => {
    const message = store.nextMessageNumber
    store.putMessage(message, messageRecord('x'))
    store.deleteMessage(message)
    store.splitBatch()
  }
  // The first number that is given out is noted.
  passing()
  await settle()
  assert.deepEqual(named, [1])
  passing()
  store.putRetained('1', messageRecord('1'))
  await settle()
  assert.deepEqual(named.splice(0), [1, 2, 3], 'within a turn')
  disk.hold()
  store.putRetained('2', messageRecord('2'))
  await settle()
  passing()
  store.putRetained('3', messageRecord('3'))
  disk.release()
  await settle()
  assert.deepEqual(named.splice(0), [5, 6], 'while another is written')
  passing()
  passing()
  await settle()
  assert.deepEqual(named, [8], 'nothing but such')
  await store.close()
})

test('who waits for a flush under load waits for no clock', async () => {
  const disk = new FaultDisk()
  const store = createFaultStore(disk, { durability: 'fsync', clock: new ManualClock() })
  disk.hold()
  for (let index = 0; index < 1000; index++) store.putRetained(`${index}`, messageRecord('x'))
  await settle()
  assert.equal(disk.waiting, 1)
  for (let index = 0; index < 1000; index++) store.deleteRetained(`${index}`)
  const flushed = store.flush()
  disk.release()
  await flushed
  await store.close()
})

test('what an end in the middle of several batches leaves is the oldest of them', async () => {
  const disk = new FaultDisk()
  disk.mostChanges = 1
  const store = createFaultStore(disk, { durability: 'fsync', clock: new ManualClock() })
  disk.hold()
  for (const topic of ['1', '2', '3', '4']) {
    store.splitBatch()
    store.putRetained(topic, messageRecord(topic))
  }
  await settle()
  disk.release(1)
  await settle()
  disk.release(1)
  await settle()
  disk.cutPower()
  const left = createFaultStore(disk, { durability: 'fsync', clock: new ManualClock() }).retained()
  assert.deepEqual(
    [...left].map(({ topic }) => topic),
    ['1', '2'],
  )
})

test('a full disk: told once, kept, tried again, and told when it works', async () => {
  const disk = new FaultDisk()
  const clock = new ManualClock()
  const store = createFaultStore(disk, { durability: 'fsync', clock })
  const told: (string | null | number)[] = []
  store.onProblem = (problem) => told.push(problem)
  store.onDurable = (batch) => told.push(batch)
  disk.failure = 'no space left'
  store.putRetained('1', messageRecord('1'))
  await settle()
  const text = "the store can't be written: no space left"
  assert.deepEqual(told, [text])
  assert.equal(store.problem, text)
  store.putRetained('2', messageRecord('2'.repeat(1000)))
  assert.ok(store.pendingBytes > 1000)
  await assert.rejects(store.flush(), { code: 'store-write', message: text })
  for (let count = 0; count < 20; count++) {
    clock.advance(250)
    await settle()
  }
  assert.deepEqual(told, [text])
  disk.failure = null
  clock.advance(8000)
  await settle()
  assert.deepEqual(told, [text, null, 1, 2])
  assert.equal(store.problem, null)
  assert.equal(store.pendingBytes, 0)
  await store.close()
  assert.equal([...createFaultStore(disk, { durability: 'fsync', clock }).retained()].length, 2)
})

test('tries come less often with time, and the next problem is tried soon again', async () => {
  const disk = new FaultDisk()
  const clock = new ManualClock()
  const store = createFaultStore(disk, { durability: 'fsync', clock })
  const triesIn = async (durationMs: number) => {
    let tries = 0
    disk.hold()
    for (let passedMs = 0; passedMs < durationMs; passedMs += 250) {
      clock.advance(250)
      await settle()
      tries += disk.waiting
      disk.release(disk.waiting)
      await settle()
    }
    return tries
  }
  disk.failure = 'EIO'
  store.putRetained('1', messageRecord('1'))
  await settle()
  assert.equal(await triesIn(250), 1)
  assert.equal(await triesIn(500), 1)
  assert.equal(await triesIn(60_000), 9)
  disk.failure = null
  disk.release()
  await store.flush()
  disk.failure = 'EIO'
  store.putRetained('2', messageRecord('2'))
  await settle()
  assert.equal(await triesIn(250), 1)
  disk.failure = null
  disk.release()
  await store.close()
})

test('closing while nothing can be written says so, and closes', async () => {
  const disk = new FaultDisk()
  const store = createFaultStore(disk, { durability: 'fsync', clock: new ManualClock() })
  disk.failure = 'EIO'
  store.putRetained('1', messageRecord('1'))
  await assert.rejects(store.close(), { code: 'store-write' })
})

test('a power cut takes what is not flushed, the end of the process only what is not written', async () => {
  const clock = new ManualClock()
  for (const durability of ['os', 'fsync'] as const) {
    const disk = new FaultDisk()
    const topics = () => [...createFaultStore(disk, { durability, clock }).retained()].map(({ topic }) => topic).sort()
    const store = createFaultStore(disk, { durability, clock })
    let named = 0
    store.onDurable = () => named++
    store.putRetained('flushed', messageRecord('x'))
    await store.flush()
    disk.flush()
    store.putRetained('written', messageRecord('x'))
    await store.flush()
    disk.hold()
    store.putRetained('on its way', messageRecord('x'))
    await settle()
    assert.equal(named, 2)
    disk.kill()
    await settle()
    assert.equal(named, 2, 'a dead process is told nothing')
    assert.deepEqual(topics(), ['flushed', 'written'])
    disk.cutPower()
    assert.deepEqual(topics(), durability === 'os' ? ['flushed'] : ['flushed', 'written'])
  }
})

test('the messages of a batch that failed can be read meanwhile', async () => {
  const disk = new FaultDisk()
  const clock = new ManualClock()
  const store = createFaultStore(disk, { durability: 'fsync', clock })
  const session = store.nextSessionNumber
  const message = store.nextMessageNumber
  disk.failure = 'EIO'
  store.putSession(sessionRecord(session))
  store.putMessage(message, messageRecord('waits'))
  store.putDelivery(session, 1, deliveryRecord(message))
  await settle()
  store.putMessage(message + 1, messageRecord('waits too'))
  store.putDelivery(session, 2, deliveryRecord(message + 1))
  const packets = store.deliveries(session, 0, 10).map((stored) => stored.message?.packet.toString())
  assert.deepEqual(packets, ['waits', 'waits too'])
  store.deleteDelivery(session, 1)
  store.deleteMessage(message)
  assert.equal(store.deliveryCount(session), 1)
  disk.failure = null
  await store.flush()
  assert.equal(store.deliveryCount(session), 1)
  await store.close()
})

test('what is being written when the power goes may arrive all the same; a disk that lies has not written', async () => {
  const clock = new ManualClock()
  const disk = new FaultDisk()
  const topics = () => [...createFaultStore(disk, { durability: 'fsync', clock }).retained()].map(({ topic }) => topic)
  const store = createFaultStore(disk, { durability: 'fsync', clock })
  let named = 0
  store.onDurable = () => named++
  disk.hold()
  store.putRetained('on its way', messageRecord('x'))
  await settle()
  disk.arrive()
  disk.cutPower()
  await settle()
  assert.equal(named, 0)
  assert.deepEqual(topics(), ['on its way'])

  disk.isLying = true
  disk.hold()
  const next = createFaultStore(disk, { durability: 'fsync', clock })
  next.onDurable = () => named++
  next.putRetained('never', messageRecord('x'))
  await settle()
  assert.equal(named, 1)
  disk.cutPower()
  assert.deepEqual(topics(), ['on its way'])
})

test('a disk that does not answer is a problem until it does, and nothing is lost', async () => {
  const disk = new FaultDisk()
  const clock = new ManualClock()
  const store = createFaultStore(disk, { durability: 'fsync', clock, answerMs: () => 10_000 })
  const told: (string | null)[] = []
  const durable: number[] = []
  store.onProblem = (problem) => told.push(problem)
  store.onDurable = (batch) => durable.push(batch)
  disk.hold()
  store.putRetained('a', messageRecord('1'))
  while (disk.waiting === 0) await turn()
  clock.advance(9000)
  assert.deepEqual(told, [])
  store.putRetained('b', messageRecord('2'))
  clock.advance(2000)
  assert.deepEqual(told, ['the disk does not answer: a write has been under way for more than 10 s'])
  assert.equal(store.problem, told[0])
  assert.equal(store.isShort, false)
  clock.advance(60_000)
  assert.equal(told.length, 1)
  assert.deepEqual(durable, [])
  disk.release()
  await store.flush()
  assert.equal(told[1], null)
  assert.equal(store.problem, null)
  assert.equal(durable.at(-1), 2)
  assert.equal([...store.retained()].length, 2)
  await store.close()
})
