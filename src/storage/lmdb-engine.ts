// Batches kept in an LMDB environment of one file: written when there is room for them, and read. Knows the layout of records, not
// what they mean; what `lmdb` promises, and how the environment is exchanged, stands in `lmdb-environment.ts`.
import { existsSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { Batch } from './batch.ts'
import { BatchWriter } from './batch-writer.ts'
import { type DiskLimits, DiskSpace, type FreeSpaceOf } from './disk-space.ts'
import type { Engine, Reference } from './engine.ts'
import { afterSession, behind, isOfSession, ofSession, rangeOf } from './key-ranges.ts'
import { LmdbEnvironment } from './lmdb-environment.ts'
import { LmdbFile, type RawRecord } from './lmdb-file.ts'
import { MessageSteps } from './message-steps.ts'
import { type Changes, changesFor, growthPages, pageNeedOf } from './page-need.ts'
import { asKey, RecordAccess } from './record-access.ts'
import {
  decodeDelivery,
  decodeMessageAt,
  decodeMeta,
  decodeRetained,
  decodeSession,
  decodeSubscription,
  formatVersion,
  isIntact,
  isIntactAt,
  messageNumberOf,
  NumberKey,
  orderOf,
  packetIdOf,
  queuedBytesOf,
  RecordEncoder,
  type RecordKind,
  recordKind,
  referenceOf,
  sessionNumberOf,
} from './record-codec.ts'
import type { DeliveryRecord, MessageRecord, StoredSession, SubscriptionRecord } from './store.ts'
import type { StoreFile } from './store-file.ts'
import { WriteProbe } from './write-probe.ts'

/** Records of deleted Sessions that one batch removes beyond its own changes. */
const leftoversPerBatch = 4096
/** As many where room is short. */
const fewLeftovers = 64
/** LMDB stops reading the list of free pages at 50 000 entries, of which a run takes two, and there are gaps. */
const mostRuns = 16_000
/** Whatever is left, one message up to this fits below the floor: the next ones find a shortage. */
const smallMessageBytes = 262_144
/** Fewer than there are on one page. */
const deliveriesPerTouch = 16
const bytesPerTouch = 1024
const shortestDeliveryBytes = 16
/** A changed record may cost a copy of its page, and a share of the page above. */
const bytesPerChange = 4352

export interface LmdbEngineOptions {
  readonly isSynced: boolean
  readonly limits: () => DiskLimits
  readonly clock: Clock
  /** For tests: a disk of any size. */
  readonly freeSpaceOf?: FreeSpaceOf
}

/** Code of the error of a write for which there is no room. */
export const storeFull = 'store-full'

export class LmdbEngine implements Engine, StoreFile {
  readonly nextSessionNumber: number
  readonly nextMessageNumber: number
  readonly path: string
  mostChanges = Number.POSITIVE_INFINITY
  isDamaged = false
  fileLoss: string | null = null
  onFileLoss: (() => void) | null = null
  readonly #environment: LmdbEnvironment
  readonly #writer: BatchWriter
  readonly #access = new RecordAccess()
  readonly #key = new NumberKey()
  /** While a page of deliveries is read. */
  #steps: MessageSteps | null = null
  readonly #clock: Clock
  readonly #space: DiskSpace
  #probe: WriteProbe
  #isSuspect = false

  /** Opens the environment at `path`, which is whole or not there. */
  constructor(path: string, { isSynced, limits, clock, freeSpaceOf }: LmdbEngineOptions) {
    this.path = path
    this.#clock = clock
    this.#space = new DiskSpace(path, limits, clock, freeSpaceOf)
    this.#environment = new LmdbEnvironment(path, isSynced, this.#access)
    this.#space.oldestReader = () => this.#environment.oldestReader()
    this.#probe = new WriteProbe(`${path}.probe`, clock)
    let nextSessionNumber = 1
    let nextMessageNumber = 1
    let isOlderFormat = false
    for (const [, value] of this.#records(recordKind.meta, metaKey)) {
      const meta = decodeMeta(value)
      nextSessionNumber = meta.nextSessionNumber
      nextMessageNumber = meta.nextMessageNumber
      isOlderFormat = meta.version < formatVersion
    }
    this.nextSessionNumber = nextSessionNumber
    this.nextMessageNumber = nextMessageNumber
    const leftovers = new Set<number>()
    for (const key of this.#environment.database.getKeys(rangeOf(recordKind.leftover))) {
      leftovers.add(sessionNumberOf(key))
    }
    this.#writer = new BatchWriter({ nextSessionNumber, nextMessageNumber }, isOlderFormat, leftovers)
  }

  get hasLeftovers(): boolean {
    return this.#writer.hasLeftovers || this.#space.fileState !== 'own'
  }

  get shortage(): string | null {
    return this.#space.shortage
  }

  get fileBytes(): number {
    return this.#space.fileBytes
  }

  get freeBytes(): number | null {
    return this.#space.freeBytes
  }

  /** Whether what was written last is known to be in the file of that name, and nothing is known to be wrong with it. */
  get isSound(): boolean {
    return !this.isDamaged && !this.#isSuspect && this.#space.fileState === 'own'
  }

  async look(): Promise<void> {
    await this.#space.look()
    this.#tellLoss(this.#space.fileState === 'gone' ? goneText : null)
    const trees = this.#space.isAmple(0) || this.#space.fileState !== 'own' ? null : this.#trees()
    this.#reckon(trees)
  }

  get mostReceivers(): number {
    return this.mostChanges
  }

  #reckon(trees: LmdbFile['trees']): void {
    const pages = this.#space.growthBytes / (trees?.pageBytes ?? 1)
    this.mostChanges = trees === null ? Number.POSITIVE_INFINITY : changesFor(pages, trees.main)
  }

  hasRoomFor(bytes: number, messageBytes = 0): boolean {
    const largeBytes = messageBytes > smallMessageBytes ? messageBytes : 0
    return this.#space.hasRoomAbove(2 * (bytes + largeBytes), largeBytes)
  }

  async write(batch: Batch): Promise<void> {
    this.#space.take(2 * batch.bytes)
    const isAmple = await this.#space.hasAmpleRoom(this.#mostBytes(batch))
    await this.#keepFile()
    try {
      await this.#probe.ask()
    } catch (error) {
      throw await this.#explain(error)
    }
    if (this.#isSuspect) await this.#reopenIfNeeded()
    if (isAmple) this.#reckon(null)
    if (
      isAmple ||
      (await this.#fits(batch, this.#writer.removalsWith(batch, leftoversPerBatch), this.#mostBytes(batch)))
    ) {
      return this.#writePart(batch, leftoversPerBatch)
    }
    const removals = this.#writer.removalsWith(batch, fewLeftovers)
    if (!(await this.#fits(batch, removals))) {
      await this.#age()
      if (!(await this.#fits(batch, removals))) throw this.#full(null)
    }
    return this.#writePart(batch, fewLeftovers)
  }

  /** What the last transaction has left free is room only for the next but one: a small one goes ahead. */
  async #age(): Promise<void> {
    const nothing = new Batch(0, 0, 0)
    const meta = this.#environment.database.get(metaKey)
    if (meta === undefined || !(await this.#fits(nothing, 1))) return
    await this.#writePart(nothing, 0, () => {
      if (!this.#writer.isOlderFormat) this.#environment.database.put(metaKey, meta)
    })
  }

  /** Whether there is room for what the changes may take at most. */
  async #fits(changes: Changes, removals: number, mostBytes = Number.POSITIVE_INFINITY): Promise<boolean> {
    await this.#space.look()
    await this.#keepFile()
    const trees = this.#trees()
    if (trees === null) return false
    this.#reckon(trees)
    const { pageBytes } = trees
    const need = pageNeedOf(changes, removals, pageBytes, trees.main, trees.free)
    this.#space.longestPages = Math.max(this.#space.longestPages, need.longest)
    const { growthBytes } = this.#space
    const bytes = (need.single + need.long) * pageBytes
    if (Math.min(bytes, mostBytes) <= growthBytes) return true
    if (this.#space.isCopyOnWrite) return false
    return growthPages(need, await this.#freeRuns()) * pageBytes <= growthBytes
  }

  /** Read from the file: a reader of the environment writes to its lock file, for which a disk that hangs lets it wait. */
  #trees(): LmdbFile['trees'] {
    let file: LmdbFile
    try {
      file = new LmdbFile(this.path)
    } catch {
      return null
    }
    try {
      return file.trees
    } finally {
      file.close()
    }
  }

  /** Lengths of the runs of pages of the file that the next transaction can take. */
  async #freeRuns(): Promise<number[]> {
    const file = new LmdbFile(this.path)
    try {
      const runs = await file.freeRuns(this.#environment.oldestReader(), true)
      // Of a list that is longer LMDB reads a part, and nobody knows which.
      return runs.length <= mostRuns ? runs : new Array<number>(mostRuns).fill(1)
    } finally {
      file.close()
    }
  }

  async #writePart(changes: Changes, leftovers: number, also?: () => void): Promise<void> {
    try {
      await this.#writer.write(this.#environment.database, changes, leftovers, also)
    } catch (error) {
      this.#isSuspect = true
      throw await this.#explain(error)
    }
  }

  /** What a batch may take of the disk: its bytes, and copies of all pages that it touches. */
  #mostBytes({ bytes, recordCount }: Batch): number {
    const leftovers = this.#writer.hasLeftovers ? leftoversPerBatch : 0
    return 2 * bytes + Math.min((recordCount + leftovers) * bytesPerChange, this.#space.fileBytes)
  }

  /** @throws OperatorError when the file of this name is no longer the whole of what was written */
  async #keepFile(): Promise<void> {
    const { fileState } = this.#space
    this.#tellLoss(fileState === 'gone' ? goneText : null)
    if (fileState === 'own') return
    if (fileState === 'gone') return this.#putBack()
    this.#isSuspect = true
    const [message, fix] =
      fileState === 'cut'
        ? // Nothing of it may be touched: a mapped page that is not there ends the process.
          ['the file of the store was cut short by somebody else', 'restart the instance: what can be read is rescued']
        : [
            'another file was put in the place of the store',
            'restart the instance: it begins with what is in that file',
          ]
    throw new OperatorError('store-changed', `the store cannot be written: ${message}`, {
      place: { file: this.path },
      fix,
    })
  }

  #tellLoss(fileLoss: string | null): void {
    if (fileLoss === this.fileLoss) return
    this.fileLoss = fileLoss
    this.onFileLoss?.()
  }

  /** The file was removed and is only held open. */
  async #putBack(): Promise<void> {
    try {
      this.#space.adopt(await this.#environment.putBack())
      this.#probe.close()
      this.#probe = new WriteProbe(`${this.path}.probe`, this.#clock)
      this.#tellLoss(null)
    } catch (error) {
      throw new OperatorError('store-gone', 'the store cannot be written: its file was removed', {
        place: { file: this.path },
        fix: 'bring the data directory back, and the broker writes the file anew',
        cause: error,
      })
    }
  }

  *sessions(after = 0): Iterable<StoredSession> {
    this.#environment.database.resetReadTxn()
    const recordsOf = (kind: RecordKind) => this.#records(kind, afterSession(kind, after))
    const subscriptions = recordsOf(recordKind.subscription)[Symbol.iterator]()
    const inbound = recordsOf(recordKind.inbound)[Symbol.iterator]()
    let nextSubscription = subscriptions.next()
    let nextInbound = inbound.next()
    try {
      for (const [key, value] of recordsOf(recordKind.session)) {
        const session = decodeSession(key, value)
        const stored = { session, subscriptions: [] as SubscriptionRecord[], inbound: [] as number[] }
        while (nextSubscription.done !== true && sessionNumberOf(nextSubscription.value[0]) <= session.sessionNumber) {
          const [subscriptionKey, subscriptionValue] = nextSubscription.value
          if (sessionNumberOf(subscriptionKey) === session.sessionNumber) {
            stored.subscriptions.push(decodeSubscription(subscriptionValue))
          }
          nextSubscription = subscriptions.next()
        }
        while (nextInbound.done !== true && sessionNumberOf(nextInbound.value[0]) <= session.sessionNumber) {
          const [inboundKey] = nextInbound.value
          if (sessionNumberOf(inboundKey) === session.sessionNumber) stored.inbound.push(packetIdOf(inboundKey))
          nextInbound = inbound.next()
        }
        yield stored
      }
    } finally {
      subscriptions.return?.()
      inbound.return?.()
    }
  }

  *retained(after?: string): Iterable<{ topic: string; message: MessageRecord }> {
    this.#environment.database.resetReadTxn()
    const start = after === undefined ? undefined : behind(new RecordEncoder().retainedKey(after))
    for (const [key, value] of this.#records(recordKind.retained, start)) yield decodeRetained(key, value)
  }

  *deliveries(sessionNumber: number, fromOrder: number): Iterable<readonly [number, DeliveryRecord | null]> {
    if (this.#writer.isLeftover(sessionNumber)) return
    const { database } = this.#environment
    database.resetReadTxn()
    const start = Buffer.from(this.#key.delivery(sessionNumber, fromOrder).bytes)
    const end = afterSession(recordKind.delivery, sessionNumber)
    const entries = database.getRange({ start, end })[Symbol.iterator]()
    const access = this.#access
    const steps = new MessageSteps(database, access)
    this.#steps = steps
    try {
      for (let previous = fromOrder - 1; this.#step(entries); ) {
        const { keys, keyStart, value } = access
        // The key of one that is damaged says nothing: their order has hardly any gaps.
        if (!isIntactAt(keys, keyStart, access.keyEnd, value, access.valueLength)) yield [++previous, null]
        else if (orderOf(keys, keyStart) > previous && isOfSession(start, keys, keyStart)) {
          previous = orderOf(keys, keyStart)
          yield [previous, decodeDelivery(value)]
        } else this.isDamaged = true
      }
    } finally {
      steps.close()
      if (this.#steps === steps) this.#steps = null
      entries.return?.()
    }
  }

  /** The next record in place. @returns false after the last, and where a damaged page lets nobody go on */
  #step(entries: Iterator<unknown>): boolean {
    try {
      return this.#access.next(entries)
    } catch {
      this.isDamaged = true
      return false
    }
  }

  async prefetch(sessionNumber: number, fromOrder: number, limit: number, limitBytes: number): Promise<void> {
    try {
      await this.#environment.read(() => this.#prefetch(sessionNumber, fromOrder, limit, limitBytes))
    } catch {
      // What cannot be read is for `deliveries` to find.
    }
  }

  /** A thread touches the pages, and the table of readers in the lock file, which a frozen disk lets nobody write to. */
  async #prefetch(sessionNumber: number, fromOrder: number, limit: number, limitBytes: number): Promise<void> {
    const access = this.#access
    const { database } = this.#environment
    const touches = Math.ceil(limit / deliveriesPerTouch)
    await access.prefetch(database, touches, (index) =>
      this.#key.delivery(sessionNumber, fromOrder + index * deliveriesPerTouch),
    )
    database.resetReadTxn()
    const start = Buffer.from(this.#key.delivery(sessionNumber, fromOrder).bytes)
    const end = afterSession(recordKind.delivery, sessionNumber)
    const entries = database.getRange({ start, end, limit })[Symbol.iterator]()
    const messageNumbers: number[] = []
    let bytesSinceTouched = Number.POSITIVE_INFINITY
    for (let room = limitBytes, previous = 0; room > 0 && access.next(entries); ) {
      // One that is damaged is for `deliveries` to leave out.
      if (access.valueLength < shortestDeliveryBytes) continue
      const messageNumber = referenceOf(access.value)
      if (messageNumber === null) continue
      const bytes = Math.max(0, queuedBytesOf(access.value) ?? bytesPerTouch)
      bytesSinceTouched += bytes
      // Small ones that follow each other lie on one page.
      if (messageNumber !== previous + 1 || bytesSinceTouched >= bytesPerTouch) {
        messageNumbers.push(messageNumber)
        bytesSinceTouched = 0
      }
      previous = messageNumber
      room -= bytes
    }
    entries.return?.()
    await access.prefetch(database, messageNumbers.length, (index) => this.#key.message(messageNumbers[index]))
  }

  countDeliveries(sessionNumber: number): number {
    if (this.#writer.isLeftover(sessionNumber)) return 0
    const { database } = this.#environment
    database.resetReadTxn()
    const start = ofSession(recordKind.delivery, sessionNumber)
    return database.getKeysCount({ start, end: afterSession(recordKind.delivery, sessionNumber) })
  }

  hasDelivery(sessionNumber: number, order: number): boolean {
    return this.#environment.database.doesExist(asKey(this.#key.delivery(sessionNumber, order)))
  }

  /** Finds it in place. */
  hasMessage(messageNumber: number): boolean {
    if (!this.#findMessage(messageNumber)) return false
    const key = this.#key.message(messageNumber)
    const { value, valueLength } = this.#access
    const isWhole = isIntactAt(key.bytes, 0, key.length, value, valueLength)
    if (!isWhole) this.isDamaged = true
    return isWhole
  }

  message(messageNumber: number): MessageRecord | null {
    return this.hasMessage(messageNumber) ? decodeMessageAt(this.#access.value, this.#access.valueLength) : null
  }

  #findMessage(messageNumber: number): boolean {
    for (;;) {
      const steps = this.#steps
      try {
        return (
          steps?.read(messageNumber) ?? this.#access.get(this.#environment.database, this.#key.message(messageNumber))
        )
      } catch {
        // A damaged page; after it this transaction reads nothing any more. There may be another way to the message.
        this.isDamaged = true
        this.#environment.database.resetReadTxn()
        this.#steps = null
        if (steps === null) return false
      }
    }
  }

  *references(after: Reference | null): Iterable<Reference> {
    const { database } = this.#environment
    database.resetReadTxn()
    const { start, end } = rangeOf(recordKind.delivery)
    const from = after === null ? start : Buffer.from(this.#key.delivery(after.sessionNumber, after.order + 1).bytes)
    for (const { key, value } of database.getRange({ start: from, end })) {
      if (value.length < shortestDeliveryBytes) {
        this.isDamaged = true
        continue
      }
      const messageNumber = referenceOf(value)
      const queuedBytes = queuedBytesOf(value) ?? this.#packetBytes(messageNumber)
      yield { messageNumber, sessionNumber: sessionNumberOf(key), order: orderOf(key), queuedBytes }
    }
  }

  #packetBytes(messageNumber: number | null): number {
    return messageNumber === null ? 0 : (this.message(messageNumber)?.packet.length ?? 0)
  }

  *messageNumbers(after: number): Iterable<number> {
    const { database } = this.#environment
    database.resetReadTxn()
    const { bytes, length } = this.#key.message(after + 1)
    const start = Buffer.from(bytes.subarray(0, length))
    const { end } = rangeOf(recordKind.message)
    for (const key of database.getKeys({ start, end })) yield messageNumberOf(key)
  }

  async close(): Promise<void> {
    await this.#environment.close()
    this.#probe.close()
  }

  async hold<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    await this.#expectFile()
    return this.#environment.hold(work)
  }

  async copy(path: string, check: (signal: AbortSignal) => Promise<void>): Promise<void> {
    await this.#expectFile()
    return this.#environment.copy(path, check)
  }

  /** For those who read it under its name. @throws OperatorError when it is not there; it is written anew then */
  async #expectFile(): Promise<void> {
    if (existsSync(this.path)) return
    await this.look()
    throw new OperatorError('store-gone', 'the file of the store was removed while the broker runs', {
      place: { file: this.path },
      fix: 'it is written anew: try again in a moment',
    })
  }

  *recordsAfter(key: Buffer): Iterable<RawRecord> {
    const { database } = this.#environment
    database.resetReadTxn()
    for (const entry of database.getRange({ start: key })) {
      const found = entry.key
      if (!found.equals(key)) yield { key: found, value: entry.value }
    }
  }

  /** The intact records of one kind, or of a part of it. */
  *#records(kind: RecordKind, start?: Buffer, end?: Buffer): Iterable<[key: Buffer, value: Buffer]> {
    const range = rangeOf(kind)
    for (const entry of this.#environment.database.getRange({ start: start ?? range.start, end: end ?? range.end })) {
      const key = entry.key
      const value = entry.value
      if (isIntact(key, value)) yield [key, value]
      else this.isDamaged = true
    }
  }

  /** After a failed write: see the head of `lmdb-environment.ts`. */
  async #reopenIfNeeded(): Promise<void> {
    // A new and empty file would take the place of one that is gone.
    await this.#space.look()
    await this.#keepFile()
    try {
      await this.#environment.revive()
    } catch (error) {
      throw await this.#explain(error)
    }
    this.#isSuspect = false
  }

  async #explain(error: unknown): Promise<OperatorError> {
    let cause = error as Error & { commitError?: Promise<unknown>; code?: number }
    try {
      await cause.commitError
    } catch (commitError) {
      cause = commitError as typeof cause
    }
    // LMDB reports a write that was cut short as an I/O error.
    await this.#space.look()
    if (cause.code === 28 || this.#space.growthBytes < 0) return this.#full(cause)
    return new OperatorError('store-write', `the store cannot be written: ${cause.message}`, {
      place: { file: this.path },
      fix: 'look at the disk and its file system; the broker goes on trying',
      cause,
    })
  }

  #full(cause: Error | null): OperatorError {
    return new OperatorError(storeFull, 'the store cannot be written: no space left on its file system', {
      place: { file: this.path },
      fix: 'free some space; the broker goes on by itself',
      cause: cause ?? undefined,
    })
  }
}

const goneText =
  'the file of the store was removed by somebody while the broker runs: all that is in it is still held open, and written anew'
const metaKey = Buffer.of(recordKind.meta)
