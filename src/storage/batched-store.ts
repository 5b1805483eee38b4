// The upper half of every store, the group commit: gathers the changes of a turn, has an engine write one batch at a time while
// the next forms, says when a batch has reached its point, and goes on trying when it can't be written. Knows no file.
import type { Clock } from '../base/clock.ts'
import { assert, OperatorError } from '../base/errors.ts'
import { Slices } from '../base/slices.ts'
import { Batch } from './batch.ts'
import type { Engine } from './engine.ts'
import type {
  BatchNumber,
  DeliveryRecord,
  DeliveryTally,
  Durability,
  MessageRecord,
  RecoveryReport,
  SessionRecord,
  Store,
  StoredDelivery,
  StoredSession,
  SubscriptionRecord,
} from './store.ts'
import type { StoreFile } from './store-file.ts'
import { tallyDeliveries } from './tally-deliveries.ts'

const firstRetryMs = 250
const lastRetryMs = 8000
/** How often it is looked whether the disk answers while it is written to, and how often how much room it has. */
const watchMs = 1000
const lookMs = 5000
/** How long after the last write, if all is well: a store in which nothing happens wakes nobody. */
const quietMs = 10_000
/** Numbers are reserved in leaps of this size, so that a restart never gives one out again. */
const reservedNumbers = 100_000

/**
 * After a batch of so many changes the next one is given so much time: what is sent and acknowledged meanwhile is never
 * written, and fewer, larger batches cost less for each change.
 */
const busyChanges = 256
const gatherMs = 2

type Changes = ReadonlyMap<number, DeliveryRecord | null>

interface FlushWaiter {
  readonly batch: BatchNumber
  resolve(): void
  reject(error: Error): void
}

export interface BatchedStoreOptions {
  readonly durability: Durability
  readonly clock: Clock
  readonly recovery?: RecoveryReport | null
  readonly file?: StoreFile
  /** How long a write may take before the disk counts as one that does not answer. */
  readonly answerMs?: () => number
}

export class BatchedStore implements Store {
  readonly durability: Durability
  readonly recovery: RecoveryReport | null
  readonly file: StoreFile | null
  onDurable: ((batch: BatchNumber) => void) | null = null
  onProblem: ((problem: string | null) => void) | null = null
  onFileLoss: ((fileLoss: string | null) => void) | null = null
  readonly #engine: Engine
  readonly #clock: Clock
  #nextSessionNumber: number
  #nextMessageNumber: number
  #reservedSessionNumber: number
  #reservedMessageNumber: number
  #forming: Batch
  /** Ended before their turn to be written has come, oldest first. */
  #ended: Batch[] = []
  #writing: Batch | null = null
  #isWriteRunning = false
  #isCutPlanned = false
  /** The batch before was a large one. */
  #isBusy = false
  #stopGathering: (() => void) | null = null
  #isClosing = false
  #isClosed = false
  #failure: OperatorError | null = null
  readonly #answerMs: () => number
  /** Since when a write, and a look at the disk, have been under way; null while none is. */
  #writingSinceMs: number | null = null
  #lookingSinceMs: number | null = null
  #lookedAtMs: number
  #stalledMs: number | null = null
  /** What was said last. */
  #toldProblem: string | null = null
  #stopWatching: (() => void) | null = null
  #wroteAtMs = 0
  #stopRetrying: (() => void) | null = null
  #retryDelayMs = firstRetryMs
  #flushWaiters: FlushWaiter[] = []

  constructor(engine: Engine, options: BatchedStoreOptions) {
    this.#engine = engine
    this.#clock = options.clock
    this.durability = options.durability
    this.recovery = options.recovery ?? null
    this.file = options.file ?? null
    this.#answerMs = options.answerMs ?? (() => Number.POSITIVE_INFINITY)
    this.#lookedAtMs = options.clock.monotonicMs()
    this.#nextSessionNumber = this.#reservedSessionNumber = engine.nextSessionNumber
    this.#nextMessageNumber = this.#reservedMessageNumber = engine.nextMessageNumber
    engine.onFileLoss = () => this.#fileLossChanged()
    this.#forming = new Batch(1, this.#nextMessageNumber, this.#nextSessionNumber)
    if (engine.hasLeftovers) this.#note()
    if (engine.shortage !== null) this.#keepWatch()
  }

  get problem(): string | null {
    return this.#lastingProblem ?? this.#shortage
  }

  problemWith(messageBytes: number): string | null {
    const { problem } = this
    if (problem !== null || this.#engine.hasRoomFor(this.pendingBytes, messageBytes)) return problem
    return 'no space left for the store: the message is larger than what is left'
  }

  get #lastingProblem(): string | null {
    if (this.#stalledMs !== null) {
      const { fileLoss } = this.#engine
      if (fileLoss !== null) return fileLoss
      return `the disk does not answer: a write has been under way for more than ${Math.round(this.#stalledMs / 1000)} s`
    }
    return this.#failure?.message ?? this.#engine.shortage
  }

  get fileLoss(): string | null {
    return this.#engine.fileLoss
  }

  get isShort(): boolean {
    return this.#stalledMs === null && this.#failure === null && this.#shortage !== null
  }

  /** What waits takes its part of the room: what is taken on must always fit. */
  get #shortage(): string | null {
    const { shortage } = this.#engine
    if (shortage !== null || this.#engine.hasRoomFor(this.pendingBytes)) return shortage
    return 'no space left for the store: what waits to be written takes all that is left'
  }

  get pendingBytes(): number {
    let bytes = this.#forming.bytes + (this.#writing?.bytes ?? 0)
    for (const batch of this.#ended) bytes += batch.bytes
    return bytes
  }

  get isDamaged(): boolean {
    return this.#engine.isDamaged
  }

  set isDamaged(isDamaged: boolean) {
    this.#engine.isDamaged = isDamaged
  }

  get batch(): BatchNumber {
    return this.#forming.number
  }

  get isDirty(): boolean {
    return this.#forming.isTouched
  }

  get nextSessionNumber(): number {
    return this.#nextSessionNumber
  }

  get nextMessageNumber(): number {
    return this.#nextMessageNumber
  }

  // ---- changes

  putSession(record: SessionRecord): void {
    const batch = this.#note(record.sessionNumber)
    if (record.sessionNumber >= this.#nextSessionNumber) this.#nextSessionNumber = record.sessionNumber + 1
    batch.putSession(record)
    if (this.#nextSessionNumber > this.#reservedSessionNumber) this.#reserve(batch)
  }

  deleteSession(sessionNumber: number): void {
    this.#note(sessionNumber).deleteSession(sessionNumber)
  }

  putSubscription(sessionNumber: number, record: SubscriptionRecord): void {
    this.#note(sessionNumber).changeSubscription(sessionNumber, {
      filter: record.filter,
      shareName: record.shareName,
      record,
    })
  }

  deleteSubscription(sessionNumber: number, filter: string, shareName: string | null): void {
    this.#note(sessionNumber).changeSubscription(sessionNumber, { filter, shareName, record: null })
  }

  putMessage(messageNumber: number, record: MessageRecord): void {
    const batch = this.#note(messageNumber)
    if (messageNumber >= this.#nextMessageNumber) this.#nextMessageNumber = messageNumber + 1
    batch.putMessage(messageNumber, record)
    if (this.#nextMessageNumber > this.#reservedMessageNumber) this.#reserve(batch)
  }

  deleteMessage(messageNumber: number): void {
    this.#note(messageNumber).deleteMessage(messageNumber)
  }

  putDelivery(sessionNumber: number, order: number, record: DeliveryRecord): void {
    this.#note(sessionNumber, order).putDelivery(sessionNumber, order, record)
  }

  deleteDelivery(sessionNumber: number, order: number): void {
    this.#note(sessionNumber, order).deleteDelivery(sessionNumber, order)
  }

  putInbound(sessionNumber: number, packetId: number): void {
    this.#note(sessionNumber, packetId).changeInbound(sessionNumber, packetId, true)
  }

  deleteInbound(sessionNumber: number, packetId: number): void {
    this.#note(sessionNumber, packetId).changeInbound(sessionNumber, packetId, false)
  }

  putRetained(topic: string, record: MessageRecord): void {
    this.#note().changeRetained(topic, record)
  }

  deleteRetained(topic: string): void {
    this.#note().changeRetained(topic, null)
  }

  // ---- reading back

  sessions(after?: number): Iterable<StoredSession> {
    return this.#engine.sessions(after)
  }

  retained(after?: string): Iterable<{ topic: string; message: MessageRecord }> {
    return this.#engine.retained(after)
  }

  tallyDeliveries(slices = new Slices(this.#clock)): Promise<DeliveryTally> {
    return tallyDeliveries(this.#engine, slices, (messageNumber) => this.deleteMessage(messageNumber))
  }

  deliveries(
    sessionNumber: number,
    fromOrder: number,
    limit: number,
    limitBytes = Number.POSITIVE_INFINITY,
    onLost?: (order: number) => void,
  ): readonly StoredDelivery[] {
    const found: StoredDelivery[] = []
    let room = limit > 0 ? limitBytes : 0
    let left = limit
    const take = (order: number, delivery: DeliveryRecord | null) => {
      const message = delivery === null || delivery.isReleased ? null : this.#message(delivery.messageNumber)
      if (delivery !== null && (message !== null || delivery.isReleased)) found.push({ order, delivery, message })
      else {
        this.#engine.isDamaged = true
        onLost?.(order)
      }
      room = --left === 0 ? 0 : room - (message?.packet.length ?? 0)
    }
    const waiting = this.#waitingDeliveries(sessionNumber, fromOrder)
    const added: number[] = []
    for (const changes of waiting) {
      for (const [order, record] of changes) {
        if (record !== null && order >= fromOrder && lastWord(waiting, order) === record) added.push(order)
      }
    }
    added.sort((a, b) => a - b)
    let next = 0
    const takeAddedBelow = (end: number) => {
      while (room > 0 && next < added.length && added[next] < end) {
        const order = added[next++]
        take(order, lastWord(waiting, order)!)
      }
    }
    if (!this.#isDeleted(sessionNumber)) {
      for (const [order, delivery] of this.#engine.deliveries(sessionNumber, fromOrder)) {
        takeAddedBelow(order)
        if (room <= 0) return found
        if (lastWord(waiting, order) === undefined) take(order, delivery)
        if (room <= 0) return found
      }
    }
    takeAddedBelow(Number.POSITIVE_INFINITY)
    return found
  }

  async prefetch(sessionNumber: number, fromOrder: number, limit: number, limitBytes: number): Promise<boolean> {
    await this.#engine.prefetch(sessionNumber, fromOrder, limit, limitBytes)
    return !this.#isClosed
  }

  deliveryCount(sessionNumber: number): number {
    const isDeleted = this.#isDeleted(sessionNumber)
    let count = isDeleted ? 0 : this.#engine.countDeliveries(sessionNumber)
    const waiting = this.#waitingDeliveries(sessionNumber)
    for (const order of new Set(waiting.flatMap((changes) => [...changes.keys()]))) {
      const isStored = !isDeleted && this.#engine.hasDelivery(sessionNumber, order)
      const isPut = lastWord(waiting, order) !== null
      if (isPut && !isStored) count++
      if (!isPut && isStored) count--
    }
    return count
  }

  hasMessage(messageNumber: number): boolean {
    const noted = this.#noted(messageNumber)
    return noted === undefined ? this.#engine.hasMessage(messageNumber) : noted !== null
  }

  // ---- durability

  get mostChanges(): number {
    return this.#engine.mostChanges
  }

  get mostReceivers(): number {
    return this.#engine.mostReceivers
  }

  splitBatch(): void {
    if (this.#forming.changes < this.#engine.mostChanges) return
    this.#ended.push(this.#forming)
    this.#forming = this.#newBatch()
  }

  flush(): Promise<void> {
    const last = this.#forming.isTouched ? this.#forming : (this.#ended.at(-1) ?? this.#writing)
    if (last === null) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#flushWaiters.push({ batch: last.number, resolve, reject })
      if (this.#writing !== null && !this.#isWriteRunning) this.#write(this.#writing)
      if (this.#stopGathering !== null) {
        this.#stopGathering()
        this.#stopGathering = null
        setImmediate(() => this.#endGathering())
      }
    })
  }

  async close(): Promise<void> {
    assert(!this.#isClosing, 'a store is closed once')
    this.#isClosing = true
    try {
      // A file that was removed is written anew now or never.
      await this.#engine.look()
      while (this.#forming.isTouched || this.#ended.length > 0 || this.#writing !== null) await this.flush()
    } finally {
      this.#isClosed = true
      this.#stopRetrying?.()
      this.#stopWatching?.()
      await this.#engine.close()
    }
  }

  /** The batch to note a change in; takes the numbers in its key, of which one that is wrong would keep it from being written. */
  #note(first = 0, second = 0): Batch {
    assert(!this.#isClosed, 'nothing is noted in a closed store')
    assert(first >= 0 && second >= 0 && Number.isSafeInteger(first + second), 'keys in the store are whole numbers')
    const batch = this.#forming
    batch.changes++
    if (batch.changes === 1 && this.#writing === null) this.#planCut()
    return batch
  }

  /** The batch ends with this turn, or a little later under load. */
  #planCut(): void {
    if (this.#isCutPlanned) return
    this.#isCutPlanned = true
    // Who waits for a flush waits for no clock, which would not even keep a process alive that has nothing else to do.
    if (this.#isBusy && this.#flushWaiters.length === 0)
      this.#stopGathering = this.#clock.every(gatherMs, () => this.#endGathering())
    else setImmediate(() => this.#endGathering())
  }

  #endGathering(): void {
    this.#stopGathering?.()
    this.#stopGathering = null
    const done = this.#cut()
    if (done !== null) this.#announce(done)
  }

  #reserve(batch: Batch): void {
    this.#reservedSessionNumber = this.#nextSessionNumber + reservedNumbers
    this.#reservedMessageNumber = this.#nextMessageNumber + reservedNumbers
    batch.reservation = {
      nextSessionNumber: this.#reservedSessionNumber,
      nextMessageNumber: this.#reservedMessageNumber,
    }
  }

  #newBatch(): Batch {
    return new Batch(this.#forming.number + 1, this.#nextMessageNumber, this.#nextSessionNumber)
  }

  /**
   * Begins to write the oldest batch, and ends it if it is the one that is forming; unless another is being written: then that goes
   * on forming. Returns the newest batch before it with nothing to write.
   */
  #cut(): Batch | null {
    this.#isCutPlanned = false
    if (this.#writing !== null || this.#isClosed) return null
    let done: Batch | null = null
    do {
      let batch = this.#ended.shift()
      if (batch === undefined) {
        batch = this.#forming
        this.#forming = this.#newBatch()
      }
      this.#isBusy = batch.changes >= busyChanges
      if (batch.isEmpty && !this.#engine.hasLeftovers) done = batch
      else {
        this.#writing = batch
        this.#write(batch)
      }
      // One with nothing to write has no end of a write that would begin the next.
    } while (this.#writing === null && (this.#ended.length > 0 || this.#forming.isTouched))
    return done
  }

  #write(batch: Batch): void {
    this.#isWriteRunning = true
    this.#stopRetrying?.()
    this.#stopRetrying = null
    this.#wroteAtMs = this.#writingSinceMs = this.#clock.monotonicMs()
    this.#keepWatch()
    this.#engine.write(batch).then(
      () => this.#written(batch),
      (error: unknown) => this.#failed(batch, error),
    )
  }

  #written(batch: Batch): void {
    this.#isWriteRunning = false
    this.#writingSinceMs = null
    this.#writing = null
    this.#retryDelayMs = firstRetryMs
    if (this.#engine.hasLeftovers && !this.#isClosing) this.#note()
    // The next batch is on its way before anybody is told of this one.
    let done = batch
    if (this.#ended.length > 0) done = this.#cut() ?? batch
    else if (this.#forming.isTouched) {
      if (this.#isBusy) this.#planCut()
      else done = this.#cut() ?? batch
    }
    this.#failure = null
    this.#stalledMs = null
    this.#tellProblem()
    this.#announce(done)
  }

  #announce(batch: Batch): void {
    const isDone = (waiter: FlushWaiter) => waiter.batch <= batch.number
    const done = this.#flushWaiters.filter(isDone)
    this.#flushWaiters = this.#flushWaiters.filter((waiter) => !isDone(waiter))
    for (const waiter of done) waiter.resolve()
    this.onDurable?.(batch.number)
  }

  #failed(batch: Batch, error: unknown): void {
    this.#isWriteRunning = false
    this.#writingSinceMs = null
    const problem =
      error instanceof OperatorError
        ? error
        : new OperatorError('store-write', `the store can't be written: ${(error as Error).message}`, { cause: error })
    this.#failure = problem
    this.#stalledMs = null
    if (!this.#isClosed) {
      const retryAtMs = this.#clock.monotonicMs() + this.#retryDelayMs
      this.#retryDelayMs = Math.min(this.#retryDelayMs * 2, lastRetryMs)
      this.#stopRetrying = this.#clock.every(firstRetryMs, () => {
        if (this.#clock.monotonicMs() >= retryAtMs) this.#write(batch)
      })
    }
    const waiters = this.#flushWaiters
    this.#flushWaiters = []
    for (const waiter of waiters) waiter.reject(problem)
    this.#tellProblem()
  }

  #tellProblem(): void {
    // What waits to be written is written in a moment: that is not worth a word.
    const problem = this.#lastingProblem
    if (problem === this.#toldProblem) return
    this.#toldProblem = problem
    this.onProblem?.(problem)
  }

  /** Whoever finds that the file was removed may be about to write, or not. */
  #fileLossChanged(): void {
    if (this.#isClosed) return
    this.onFileLoss?.(this.#engine.fileLoss)
    if (this.#engine.fileLoss !== null && !this.#isWriteRunning) this.#note()
  }

  #keepWatch(): void {
    this.#stopWatching ??= this.#clock.every(watchMs, () => this.#watch())
  }

  /** A disk may neither take a write nor refuse it, and others may fill it while nothing is written. */
  #watch(): void {
    const nowMs = this.#clock.monotonicMs()
    const sinceMs = Math.min(this.#writingSinceMs ?? nowMs, this.#lookingSinceMs ?? nowMs)
    const answerMs = this.#answerMs()
    this.#stalledMs = nowMs - sinceMs >= answerMs ? answerMs : null
    this.#tellProblem()
    if (this.#lookingSinceMs !== null || this.#isWriteRunning) return
    if (this.problem === null && nowMs - this.#wroteAtMs > quietMs) {
      this.#stopWatching?.()
      this.#stopWatching = null
      return
    }
    const isChanged = this.#engine.shortage !== null || this.#wroteAtMs > this.#lookedAtMs
    if (nowMs - this.#lookedAtMs < (isChanged ? watchMs : lookMs)) return
    this.#lookedAtMs = this.#lookingSinceMs = nowMs
    void this.#engine.look().then(() => {
      this.#lookingSinceMs = null
      if (this.#isClosed) return
      this.#tellProblem()
      if (this.#engine.hasLeftovers && !this.#isClosing) this.#note()
    })
  }

  #isDeleted(sessionNumber: number): boolean {
    return this.#unwritten().some((batch) => batch.sessions.get(sessionNumber) === null)
  }

  /** Changes of deliveries of a Session from `fromOrder` on that are not written yet, and maybe others; newest first. */
  #waitingDeliveries(sessionNumber: number, fromOrder = 0): Changes[] {
    const found: Changes[] = []
    for (const { sessions, deliveries } of this.#unwritten()) {
      const changes = deliveries.get(sessionNumber)
      if (changes !== undefined && changes.lastOrder >= fromOrder) found.push(changes)
      if (sessions.get(sessionNumber) === null) break
    }
    return found
  }

  /** Newest first. */
  #unwritten(): Batch[] {
    const batches = [this.#forming, ...this.#ended.toReversed()]
    if (this.#writing !== null) batches.push(this.#writing)
    return batches
  }

  #message(messageNumber: number): MessageRecord | null {
    const noted = this.#noted(messageNumber)
    return noted === undefined ? this.#engine.message(messageNumber) : noted
  }

  /** What is not written yet of a message: undefined for nothing. */
  #noted(messageNumber: number): MessageRecord | null | undefined {
    let noted = this.#forming.message(messageNumber)
    for (let index = this.#ended.length - 1; noted === undefined && index >= 0; index--) {
      noted = this.#ended[index].message(messageNumber)
    }
    return noted === undefined ? this.#writing?.message(messageNumber) : noted
  }
}

/** What the newest of some changes say of a delivery; undefined when none says anything. */
function lastWord(newestFirst: readonly Changes[], order: number): DeliveryRecord | null | undefined {
  for (const changes of newestFirst) {
    const record = changes.get(order)
    if (record !== undefined) return record
  }
  return undefined
}
