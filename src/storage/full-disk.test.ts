// A store that has filled its disk gives everything back and takes new messages again, whatever their size and however many of them are
// acknowledged at once; and never asks the disk for more than there is. On real small file systems for root, on a counted one for all.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ManualClock } from '../base/clock.ts'
import { BatchedStore } from './batched-store.ts'
import { LmdbEngine } from './lmdb-engine.ts'
import { deliveryRecord, messageRecord, sessionRecord } from './store-contract.test.support.ts'

const mebibyte = 1024 ** 2
const session = 1

class SmallDisk {
  readonly clock = new ManualClock()
  readonly path: string
  readonly #totalBytes: number
  readonly #isReal: boolean
  readonly #numbers = new Map<number, number>()
  /** Of a counted disk. */
  leastFreeBytes = Number.POSITIVE_INFINITY
  engine!: LmdbEngine
  store!: BatchedStore
  first = 1
  next = 1

  constructor(context: TestContext, mebibytes: number, kind: 'real' | 'counted') {
    const folder = mkdtempSync(join(tmpdir(), 'atoll-full-'))
    const mounted = join(folder, 'disk')
    mkdirSync(mounted)
    this.#totalBytes = mebibytes * mebibyte
    this.#isReal = kind === 'real' && mount(mounted, mebibytes)
    this.path = join(mounted, 'store.mdb')
    context.after(() => {
      if (this.#isReal) execFileSync('umount', ['-l', mounted])
      rmSync(folder, { recursive: true })
    })
  }

  get freeBytes(): number {
    return this.#totalBytes - 65_536 - statSync(this.path).size
  }

  async open(): Promise<void> {
    const freeSpaceOf = async () => {
      const { freeBytes } = this
      this.leastFreeBytes = Math.min(this.leastFreeBytes, freeBytes)
      return { bavail: freeBytes / 4096, blocks: this.#totalBytes / 4096, bsize: 4096 }
    }
    this.engine = new LmdbEngine(this.path, {
      isSynced: false,
      limits: () => ({ freeBytes: 64 * mebibyte, fileBytes: 0 }),
      clock: this.clock,
      ...(this.#isReal ? {} : { freeSpaceOf }),
    })
    await this.engine.look()
    this.store = new BatchedStore(this.engine, { durability: 'os', clock: this.clock })
  }

  /** Notes messages as a broker does, until it is told to take no more. */
  async fill(packetBytes: number, messagesPerTurn: number, most = Number.POSITIVE_INFINITY): Promise<number> {
    const { store } = this
    const end = this.next + most
    const begin = this.next
    for (;;) {
      for (let count = 0; count < messagesPerTurn && store.problem === null && this.next < end; count++) {
        const number = store.nextMessageNumber
        this.#numbers.set(this.next, number)
        store.putMessage(number, messageRecord(Buffer.alloc(packetBytes, this.next)))
        store.putDelivery(session, this.next, deliveryRecord(number))
        this.next++
      }
      await store.flush()
      this.clock.advance(20)
      if (this.next === end || store.problem !== null) return this.next - begin
    }
  }

  /** As when a client acknowledges so many at once. */
  async take(count: number): Promise<void> {
    for (let taken = 0; taken < count && this.first < this.next; taken++, this.first++) {
      this.store.splitBatch()
      this.store.deleteDelivery(session, this.first)
      this.store.deleteMessage(this.#numbers.get(this.first)!)
    }
    await this.store.flush()
  }

  check(packetBytes: number): void {
    const found = this.store.deliveries(session, 0, Number.POSITIVE_INFINITY)
    assert.equal(found.length, this.next - this.first)
    for (const [index, { order, message }] of found.entries()) {
      assert.equal(order, this.first + index)
      assert.ok(message?.packet.equals(Buffer.alloc(packetBytes, order)))
    }
  }

  /** The file as it stands is what a kill would leave: LMDB has committed it. */
  async reopen(): Promise<void> {
    await this.store.close()
    await this.open()
  }

  async untilWell(): Promise<void> {
    for (let seconds = 0; this.store.problem !== null; seconds++) {
      assert.ok(seconds < 60, this.store.problem)
      this.clock.advance(1000)
      await this.engine.look()
      await nextTurn()
    }
  }
}

function mount(path: string, mebibytes: number): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', path], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

for (const mebibytes of [24, 40, 100]) {
  for (const packetBytes of [300, 133_000]) {
    for (const [atOnce, kind] of [
      [packetBytes === 300 ? 20 : 1, 'counted'],
      [65_535, 'counted'],
      [65_535, 'real'],
    ] as const) {
      // The slow part is to fill it; the smallest is as good as any for a part of it.
      if (mebibytes === 100 && packetBytes === 300) continue
      test(`${mebibytes} MiB, ${kind}, full of messages of ${packetBytes} bytes, ${atOnce} acknowledged at once`, async (t) => {
        const disk = new SmallDisk(t, mebibytes, kind)
        await disk.open()
        disk.store.putSession(sessionRecord(session))
        const perTurn = packetBytes === 300 ? 1000 : 7
        const first = await disk.fill(packetBytes, perTurn)
        assert.ok(first * packetBytes > 0.4 * mebibytes * mebibyte, `only ${first} messages fit`)
        await disk.reopen()
        disk.check(packetBytes)
        assert.match(disk.store.problem ?? '', /no space left for the store/)
        assert.equal(disk.store.isShort, true, 'clients may come back')
        await disk.take(atOnce)
        await disk.reopen()
        disk.check(packetBytes)
        while (disk.first < disk.next) await disk.take(atOnce)
        await disk.untilWell()
        assert.ok((await disk.fill(packetBytes, perTurn)) > first / 3, 'what was taken out makes room')
        await disk.reopen()
        disk.check(packetBytes)
        while (disk.first < disk.next) await disk.take(atOnce)
        await disk.untilWell()
        assert.equal(await disk.fill(packetBytes, perTurn, 10), 10)
        await disk.store.close()
        assert.ok(
          disk.leastFreeBytes >= 262_144,
          `only ${disk.leastFreeBytes} bytes were left: more was written than was reckoned with`,
        )
      })
    }
  }
}
