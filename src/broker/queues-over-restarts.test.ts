// Random turns of fate of a few Sessions with long queues, seed by seed, held against plain arrays: filling, reading, acknowledging,
// limits that change, ends of Sessions, and restarts that lose what was not written.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { createMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import { createLog } from '../observe/log.ts'
import type { Outlet } from '../session/outlet.ts'
import type { Session } from '../session/session.ts'
import { openLmdbStore } from '../storage/lmdb-store.ts'
import { createFaultStore, FaultDisk } from '../storage/memory-store.ts'
import type { Store } from '../storage/store.ts'
import { Loop } from '../transport/loop.ts'
import { Broker } from './broker.ts'
import { restore } from './restore.ts'

const names = ['one', 'two', 'three']
const windows = [1, 3, 20, 65_535]

/** What one client has to get, oldest first. */
interface Expected {
  id: number
  isReleased: boolean
}

/** Notes what comes, in its order, and answers when it is told to. */
class Reader implements Outlet {
  isWritable = true
  readonly open: { packetId: number; id: number; isReleased: boolean }[] = []
  readonly published: { id: number; isDuplicate: boolean }[] = []

  sendQos0(message: { payload: Buffer }): boolean {
    this.published.push({ id: message.payload.readUInt32BE(0), isDuplicate: false })
    return true
  }

  sendPublish(
    message: { payload: Buffer },
    _qos: Qos,
    _retain: boolean,
    _identifiers: unknown,
    packetId: number,
    isDuplicate: boolean,
  ): boolean {
    const id = message.payload.readUInt32BE(0)
    this.published.push({ id, isDuplicate })
    this.open.push({ packetId, id, isReleased: false })
    return true
  }

  sendPubrel(packetId: number): void {
    const known = this.open.find((one) => one.packetId === packetId)
    if (known !== undefined) known.isReleased = true
    else this.open.push({ packetId, id: -1, isReleased: true })
  }

  disconnect(): void {}
}

interface Place {
  open(clock: ManualClock): Promise<Store>
  /** From now on a kill loses what comes. */
  hold(): void
  letGo(): void
  /** @returns whether what came since `hold` is lost */
  kill(store: Store): Promise<boolean>
}

function faultPlace(): Place {
  const disk = new FaultDisk()
  return {
    open: async (clock) => createFaultStore(disk, { durability: 'fsync', clock }),
    hold: () => disk.hold(),
    letGo: () => disk.release(),
    kill: async () => {
      disk.kill()
      return true
    },
  }
}

function lmdbPlace(directory: string): Place {
  return {
    open: (clock) => openLmdbStore({ directory, durability: 'os', clock }),
    hold: () => {},
    letGo: () => {},
    kill: async (store) => {
      await store.close()
      return false
    },
  }
}

class Fate {
  readonly #clock = new ManualClock()
  readonly #place: Place
  #state: number
  #store!: Store
  #broker!: Broker
  readonly #limits: Record<string, unknown>
  readonly #expected = new Map<string, Expected[]>()
  /** As it was when the disk was held; null while it is not. */
  #saved: Map<string, Expected[]> | null = null
  readonly #readers = new Map<string, { reader: Reader; next: number }>()
  readonly #seen = new Map<string, Set<number>>()
  #lastId = 0
  readonly #qosOf: (name: string) => Qos

  constructor(seed: number, place: Place) {
    this.#state = seed * 7919 + 1
    this.#place = place
    this.#limits = {
      queueMessages: 100_000,
      queueBytes: 1e9,
      queueAgeSeconds: 0,
      queuePolicy: 'drop-oldest',
      queueQos0: true,
      totalQueueBytes: 1e9,
      inflight: 65_535,
      sessionExpirySeconds: 0xffff_ffff,
      memoryBytes: this.#pick([0, 1, 200_000]),
      totalMessageRate: 0,
      totalByteRate: 0,
      subscriptions: 1000,
      sessions: 1000,
    }
    const qos = names.map(() => this.#pick([0, 1, 2] as const))
    this.#qosOf = (name) => qos[names.indexOf(name)]
  }

  #below(count: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((this.#state / 2 ** 32) * count)
  }

  #pick<Value>(values: readonly Value[]): Value {
    return values[this.#below(values.length)]
  }

  async #start(): Promise<void> {
    this.#store = await this.#place.open(this.#clock)
    this.#broker = new Broker({
      limits: { ...this.#limits } as never,
      features: { shareStrategy: 'round-robin' } as never,
      auth: { deniedPublish: 'ignore' },
      clock: this.#clock,
      loop: new Loop(),
      log: createLog('error', 'text', this.#clock, () => {}),
      random: () => 0.5,
    })
    await restore(this.#broker, this.#store)
    await this.#flush()
    for (const name of names) {
      if (this.#broker.sessions.get(name) === null) {
        assert.ok(!this.#expected.has(name), `the Session of ${name} is gone`)
        this.#create(name)
      } else this.#watchDrops(name)
    }
    await this.#flush()
  }

  #create(name: string): void {
    const session = this.#broker.sessions.create(name)
    session.expirySeconds = 0xffff_ffff
    session.isDurable = true
    this.#broker.journal!.session(session, null)
    this.#expected.set(name, [])
    this.#seen.set(name, new Set())
    this.#watchDrops(name)
  }

  /** A full queue drops its oldest when they have come from the store. */
  #watchDrops(name: string): void {
    const session = this.#session(name)
    let count = 0
    Object.defineProperty(session, 'droppedMessages', {
      get: () => count,
      set: (value: number) => {
        const { inflightCount, queuedMessages } = session
        // Those of QoS 0 that have left the queue and wait for the store come before what is in it.
        const first = this.#qosOf(name) > 0 ? inflightCount : this.#queue(name).length - queuedMessages
        this.#queue(name).splice(first, value - count)
        count = value
      },
    })
  }

  #session(name: string): Session {
    return this.#broker.sessions.get(name)!
  }

  #queue(name: string): Expected[] {
    return this.#expected.get(name)!
  }

  async run(steps: number): Promise<void> {
    await this.#start()
    for (let step = 0; step < steps; step++) await this.#step()
    await this.#settle()
    for (const name of names) await this.#drain(name)
    await this.#settle()
    assert.deepEqual([this.#broker.queuedBytes, this.#broker.queuedMessages], [0, 0])
    const { references, queues: left } = await this.#store.tallyDeliveries()
    assert.deepEqual([references.size, left.size, this.#store.isDirty], [0, 0, false], 'something is left in the store')
    for (const name of names) assert.equal(this.#store.deliveryCount(this.#session(name).storeNumber), 0)
    await this.#store.close()
  }

  async #step(): Promise<void> {
    const name = this.#pick(names)
    switch (this.#below(14)) {
      case 0:
      case 1:
      case 2:
      case 3:
        this.#publish(this.#pick([1, 20, 700]))
        break
      case 4:
      case 5:
        await this.#attach(name)
        break
      case 6:
      case 7:
        this.#answer(name, this.#pick([1, 10, 400]))
        break
      case 8:
        this.#detach(name)
        break
      case 9:
        if (this.#saved === null) await this.#flush()
        break
      case 10:
        await this.#hold()
        break
      case 11:
        if (this.#below(2) === 0) await this.#kill()
        break
      case 12:
        if (this.#below(3) === 0) this.#end(name)
        break
      case 13:
        this.#setLimits()
        break
    }
    this.#check()
    if (this.#saved === null && this.#below(3) === 0) await new Promise<void>((resolve) => setImmediate(resolve))
  }

  #setLimits(): void {
    this.#limits.queueMessages = this.#pick([1, 50, 1500, 100_000, 100_000])
    this.#broker.reconfigure({ ...this.#limits } as never, { shareStrategy: 'round-robin' } as never, {
      deniedPublish: 'ignore',
    })
  }

  #publish(count: number): void {
    const receivers = names.filter(() => this.#below(3) > 0)
    for (; count > 0; count--) {
      const id = ++this.#lastId
      const payload = Buffer.alloc(count === 1 ? this.#pick([4, 3000, 300_000]) : 4 + this.#below(200))
      payload.writeUInt32BE(id)
      const message = createMessage('t', payload, { qos: 2, nowMs: this.#clock.monotonicMs() })
      for (const name of receivers) {
        const session = this.#session(name)
        const { counters } = this.#broker
        const { droppedOutputFull } = counters
        session.deliver(message, this.#qosOf(name), false, null, null)
        // Memory is short: QoS 0 goes first.
        if (counters.droppedOutputFull === droppedOutputFull) this.#queue(name).push({ id, isReleased: false })
      }
    }
  }

  async #attach(name: string): Promise<void> {
    // CONNACK would wait for the disk.
    if (this.#readers.has(name) || this.#saved !== null) return
    const reader = new Reader()
    const session = this.#session(name)
    this.#broker.journal!.session(session, null)
    await this.#flush()
    this.#broker.sessions.attached()
    session.attach(reader, this.#pick(windows))
    this.#readers.set(name, { reader, next: 0 })
    session.pump()
  }

  #detach(name: string): void {
    if (!this.#readers.has(name)) return
    this.#checkArrivals(name)
    this.#readers.delete(name)
    const session = this.#session(name)
    this.#broker.sessions.detached(session, true)
    // What has left the queue goes with the connection.
    if (this.#qosOf(name) === 0) this.#queue(name).splice(0, this.#queue(name).length - session.queuedMessages)
  }

  /** Acknowledges the oldest. */
  #answer(name: string, count: number): void {
    const reading = this.#readers.get(name)
    if (reading === undefined) return
    this.#checkArrivals(name)
    const session = this.#session(name)
    if (this.#qosOf(name) === 0) {
      // There is nothing to acknowledge, but the output may be full.
      reading.reader.isWritable = count > 1
      session.pump()
      return
    }
    const { open } = reading.reader
    const expected = this.#queue(name)
    for (; count > 0 && open.length > 0; count--) {
      const index = open.findIndex(
        (one) => this.#qosOf(name) === 1 || one.isReleased || !expected.find(({ id }) => id === one.id)?.isReleased,
      )
      if (index === -1) return
      const { packetId, id, isReleased } = open[index]
      if (this.#qosOf(name) === 2 && !isReleased) {
        session.pubrec(packetId, 0)
        expected.find((one) => one.id === id)!.isReleased = true
        continue
      }
      open.splice(index, 1)
      const at = id === -1 ? expected.findIndex((one) => one.isReleased) : expected.findIndex((one) => one.id === id)
      assert.notEqual(at, -1, `${name}: ${id} is not expected`)
      expected.splice(at, 1)
      if (at < reading.next) reading.next--
      if (this.#qosOf(name) === 2) session.pubcomp(packetId)
      else session.puback(packetId)
      this.#checkArrivals(name)
    }
  }

  #checkArrivals(name: string): void {
    const reading = this.#readers.get(name)!
    const expected = this.#queue(name)
    if (this.#qosOf(name) === 0) {
      for (const { id } of reading.reader.published.splice(0)) {
        assert.equal(id, expected.shift()?.id, `${name} gets ${id}`)
        assert.ok(!this.#seen.get(name)!.has(id), `${name} gets ${id} twice`)
        this.#seen.get(name)!.add(id)
      }
      return
    }
    for (const { id, isDuplicate } of reading.reader.published.splice(0)) {
      while (expected[reading.next]?.isReleased) reading.next++
      assert.equal(id, expected[reading.next]?.id, `${name} gets ${id}`)
      reading.next++
      // Whoever has got it before is told so.
      if (this.#seen.get(name)!.has(id)) assert.ok(isDuplicate, `${name} gets ${id} again as if it were new`)
      this.#seen.get(name)!.add(id)
    }
  }

  #check(): void {
    for (const name of names) {
      if (this.#readers.has(name)) this.#checkArrivals(name)
      const session = this.#session(name)
      const count = session.queuedMessages + session.inflightCount
      if (this.#qosOf(name) === 0 && this.#readers.has(name)) assert.ok(count <= this.#queue(name).length, name)
      else assert.equal(count, this.#queue(name).length, name)
    }
  }

  async #hold(): Promise<void> {
    if (this.#saved !== null) {
      this.#place.letGo()
      this.#saved = null
      await this.#flush()
      return
    }
    await this.#settle()
    this.#place.hold()
    this.#saved = new Map([...this.#expected].map(([name, list]) => [name, list.map((one) => ({ ...one }))] as const))
  }

  async #kill(): Promise<void> {
    if (this.#saved === null) await this.#settle()
    const isLost = await this.#place.kill(this.#store)
    this.#readers.clear()
    if (isLost && this.#saved !== null) for (const [name, list] of this.#saved) this.#expected.set(name, list)
    this.#saved = null
    await this.#start()
  }

  #end(name: string): void {
    // What a restart would bring back is not this test's business.
    if (this.#saved !== null) return
    this.#detach(name)
    this.#broker.sessions.end(this.#session(name))
    this.#create(name)
  }

  async #settle(): Promise<void> {
    if (this.#saved !== null) {
      this.#place.letGo()
      this.#saved = null
    }
    for (let quiet = 0; quiet < 3; quiet++) {
      await this.#flush()
      // Full queues go on dropping.
      if (this.#store.isDirty || this.#store.pendingBytes > 0) quiet = -1
    }
    for (const name of this.#readers.keys()) this.#checkArrivals(name)
  }

  /** Under load a batch waits for the clock. */
  async #flush(): Promise<void> {
    let isDone = false
    const flushed = this.#store.flush().finally(() => {
      isDone = true
    })
    while (!isDone) {
      this.#clock.advance(2)
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
    await flushed
  }

  async #drain(name: string): Promise<void> {
    await this.#attach(name)
    const { length } = this.#queue(name)
    for (let round = 0; this.#queue(name).length > 0; round++) {
      assert.ok(round < 20 * length + 100, `${name}: ${this.#queue(name).length} messages never come`)
      this.#answer(name, 1000)
      if (this.#qosOf(name) !== 1) await this.#flush()
      else await new Promise<void>((resolve) => setImmediate(resolve))
      this.#checkArrivals(name)
    }
  }
}

// The last one sends QoS 0 messages of a full queue while the disk takes nothing, and is killed then.
for (const seed of [1, 2, 3, 4, 5, 6, 7, 8, 98]) {
  test(`queues over restarts that lose what was not written: seed ${seed}`, () => new Fate(seed, faultPlace()).run(150))
}

test('queues over restarts in a real store', async (t) => {
  for (const seed of [1, 2]) {
    const directory = mkdtempSync(join(tmpdir(), 'atoll-'))
    t.after(() => rmSync(directory, { recursive: true, force: true }))
    await new Fate(seed, lmdbPlace(directory)).run(100)
  }
})
