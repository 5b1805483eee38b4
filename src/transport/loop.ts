// What the connections of one event loop share: the read buffer, the slabs for output, and the decision when output is
// flushed. Nothing may keep a reference into the read buffer or the turn's scratch memory after `leave`.
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Output } from './output.ts'

export const slabBytes = 64 * 1024
const pooledSlabsLimit = 64
/** After so many reads in immediate mode it is looked whether several sockets are readable at once. */
const readsPerSample = 16
/** After so many flushes with a single read the flush happens at the end of each read again. */
const loneReadsToCalm = 8

export class Loop {
  #readBuffer: Buffer | null = null
  readonly #pool: Buffer[] = []
  /** Outputs whose pending run still points into memory that `leave` gives up. */
  readonly #openRuns: Output[] = []
  #dirty: Output[] = []
  #flushing: Output[] = []
  #depth = 0
  #scratch: Buffer | null = null
  #scratchLength = 0
  readonly #fullScratches: Buffer[] = []
  #isFlushScheduled = false
  /** Several sockets are readable per turn: flush once per turn instead of once per read. */
  #isBusy = false
  #reads = 0
  #readsAtFlush = 0
  #loneReads = 0
  readonly #sleepers: (() => void)[] = []
  #hasSleepers = false
  /** Grows whenever scratch memory is given up; marks what was made in one turn. */
  turn = 0
  /** The last turn that was given away. */
  #turnOfOne: Promise<unknown> = Promise.resolve()
  readonly #sample: () => void
  readonly #scheduledFlush: () => void

  constructor() {
    let mark = 0
    this.#sample = () => {
      if (this.#reads - mark >= 2) this.#isBusy = true
    }
    this.#scheduledFlush = () => {
      this.#isFlushScheduled = false
      const reads = this.#reads - this.#readsAtFlush
      this.#readsAtFlush = this.#reads
      this.#loneReads = reads <= 1 ? this.#loneReads + 1 : 0
      if (this.#loneReads > loneReadsToCalm) {
        this.#isBusy = false
        this.#loneReads = 0
      }
      this.#depth++
      this.#flushAll()
      this.#depth--
    }
    this.#markSample = () => {
      mark = this.#reads
      setImmediate(this.#sample)
    }
  }

  readonly #markSample: () => void

  /** Resolves in a turn to come; of all who ask, one goes on per turn. For long work that is done in slices. */
  turnOfOne(): Promise<unknown> {
    this.#turnOfOne = this.#turnOfOne.then(() => nextTurn())
    return this.#turnOfOne
  }

  /** Shared by all connections: its bytes are valid until the `received` that brings them returns. */
  get readBuffer(): Buffer {
    this.#readBuffer ??= Buffer.allocUnsafeSlow(slabBytes)
    return this.#readBuffer
  }

  /** Whether some work is under way; nothing else may begin in the middle of it. */
  get isEntered(): boolean {
    return this.#depth > 0
  }

  /** Every piece of work that may write to connections stands between `enter` and one of the two leaves. */
  enter(): void {
    this.#depth++
    if (this.#hasSleepers) this.#wakeSleepers()
  }

  /** Calls `wake` once, when the next work of any kind begins. */
  whenWoken(wake: () => void): void {
    this.#sleepers.push(wake)
    this.#hasSleepers = true
  }

  #wakeSleepers(): void {
    this.#hasSleepers = false
    for (const wake of this.#sleepers.splice(0)) wake()
  }

  /** Ends the work on one chunk that was read. */
  leaveRead(): void {
    if (this.#depth > 1) {
      this.#depth--
      return
    }
    this.#reads++
    this.#endTurn()
    if (!this.#isBusy && this.#dirty.length > 0) this.#flushAll()
    this.#depth = 0
    if (this.#isBusy) {
      this.#scheduleFlush()
      return
    }
    if ((this.#reads & (readsPerSample - 1)) === 0) this.#markSample()
  }

  /** Ends any other work: a timer, an answer that came later, a call of the program that embeds the broker. */
  leave(): void {
    if (this.#depth === 1) this.#endTurn()
    if (--this.#depth > 0) return
    if (this.#dirty.length > 0) this.#scheduleFlush()
  }

  /** Does `work` between `enter` and `leave`, whatever becomes of it. */
  run<T>(work: () => T): T {
    this.enter()
    try {
      return work()
    } finally {
      this.leave()
    }
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return
    this.#isFlushScheduled = true
    setImmediate(this.#scheduledFlush)
  }

  #endTurn(): void {
    const runs = this.#openRuns
    for (let index = 0; index < runs.length; index++) runs[index].closeRun()
    runs.length = 0
    this.turn = (this.turn + 1) & 0x3fffffff
    this.#scratchLength = 0
    while (this.#fullScratches.length > 0) this.releaseSlab(this.#fullScratches.pop()!)
  }

  /** Only while `isEntered`: an answer that comes before a write returns has to wait. */
  #flushAll(): void {
    const list = this.#dirty
    this.#dirty = this.#flushing
    this.#flushing = list
    for (let index = 0; index < list.length; index++) list[index].flush()
    list.length = 0
  }

  addOpenRun(output: Output): void {
    this.#openRuns.push(output)
  }

  addDirty(output: Output): void {
    this.#dirty.push(output)
    if (this.#depth === 0) this.#scheduleFlush()
  }

  takeSlab(): Buffer {
    return this.#pool.pop() ?? Buffer.allocUnsafeSlow(slabBytes)
  }

  releaseSlab(slab: Buffer): void {
    if (slab.length === slabBytes && this.#pool.length < pooledSlabsLimit) this.#pool.push(slab)
  }

  /** Memory of `length` bytes that is good until the end of this turn: `scratchBuffer` from `scratchStart`. */
  reserveScratch(length: number): void {
    if (length > slabBytes) {
      if (this.#scratch !== null) this.#fullScratches.push(this.#scratch)
      this.#scratch = null
      this.scratchBuffer = Buffer.allocUnsafeSlow(length)
      this.scratchStart = 0
      return
    }
    if (this.#scratch !== null && this.#scratchLength + length > slabBytes) {
      this.#fullScratches.push(this.#scratch)
      this.#scratch = null
    }
    if (this.#scratch === null) {
      this.#scratch = this.takeSlab()
      this.#scratchLength = 0
    }
    this.scratchBuffer = this.#scratch
    this.scratchStart = this.#scratchLength
    this.#scratchLength += length
  }

  scratchBuffer: Buffer = Buffer.alloc(0)
  scratchStart = 0
  /** Gives back what of the last reservation was not used. */
  trimScratch(end: number): void {
    if (this.scratchBuffer === this.#scratch) this.#scratchLength = end
  }
}
