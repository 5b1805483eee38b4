// Batches kept in an LMDB environment of one file. Knows the layout of records, not what they mean.
//
// What the promises of the npm package `lmdb` mean (3.5, read in its sources and seen with strace), and what is chosen here:
// - Its default is `overlappingSync`: the promise of a write then says that the transaction is committed and visible, before
//   anything is synced; `flushed` says that it is on disk. With `overlappingSync: false`, as here, a commit is LMDB's own:
//   dirty pages written, fdatasync, then the meta page through a descriptor opened with O_DSYNC. The promise of a write is
//   settled after that: on disk. It takes 25 % less CPU than overlapping and needs no second promise.
// - `noSync: true`: the same without both syncs. Settled means: the kernel has all pages and the meta page. Killing the
//   process loses nothing; a power cut may lose the last transactions and, as pages are written in any order, may leave a
//   damaged file, which is found and mended when the store is opened.
// - `batch(callback)` puts everything in one transaction, all or nothing, done by a thread of libuv's pool. It takes about the
//   CPU of `transactionSync` (which blocks the loop for the sync) and a quarter less than `transactionAsync`, whose callback
//   runs on the loop while the transaction is open. Keys are copied at once; values are read by the thread, so their bytes
//   stay untouched until the promise has settled.
// - A failed transaction is aborted as a whole, and the next may succeed. The promise rejects with `commitError`, a promise
//   that rejects with the cause; unheard, it would end the process. When writing the meta page itself has failed, LMDB refuses
//   everything (MDB_PANIC) until it is opened again, and the thread that begins the next asynchronous transaction would keep a
//   mutex for ever: hence the empty synchronous transaction before the next try, which does no I/O.
// - Above 300 000 waiting operations the package puts the loop to sleep, unless it is told to begin a batch only at its end.
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { open as openFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { open } from 'lmdb'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { Batch } from './batch.ts'
import { type DiskLimits, DiskSpace, type FreeSpaceOf, identityOf } from './disk-space.ts'
import type { Engine, Reference } from './engine.ts'
import { LmdbFile, type RawRecord } from './lmdb-file.ts'
import { MessageSteps } from './message-steps.ts'
import { type Changes, changesFor, growthPages, pageNeedOf } from './page-need.ts'
import { asKey, type Database, RecordAccess } from './record-access.ts'
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
/** Of the name under which a file that was removed is written anew, until it is whole. */
export const partSuffix = '.part'
/** A changed record may cost a copy of its page, and a share of the page above. */
const bytesPerChange = 4352

export function openEnvironment(path: string, isSynced: boolean, access = new RecordAccess()): Database {
  return open<Buffer, Buffer>({
    path,
    noSubdir: true,
    encoding: 'binary',
    encoder: access.encoder,
    keyEncoder: access.keyEncoder,
    defaultBeginningKey: Buffer.of(0),
    overlappingSync: false,
    noSync: !isSynced,
    eventTurnBatching: false,
    batchStartThreshold: 2 ** 31,
    maxDbs: 1,
  } as Parameters<typeof open>[0]) as Database
}

export interface LmdbEngineOptions {
  readonly isSynced: boolean
  readonly limits: () => DiskLimits
  readonly clock: Clock
  /** For tests: a disk of any size. */
  readonly freeSpaceOf?: FreeSpaceOf
}

export class LmdbEngine implements Engine, StoreFile {
  readonly nextSessionNumber: number
  readonly nextMessageNumber: number
  readonly path: string
  mostChanges = Number.POSITIVE_INFINITY
  isDamaged = false
  readonly #isSynced: boolean
  readonly #encoder = new RecordEncoder()
  readonly #access = new RecordAccess()
  readonly #key = new NumberKey()
  /** While a page of deliveries is read. */
  #steps: MessageSteps | null = null
  readonly #leftovers = new Set<number>()
  readonly #clock: Clock
  readonly #space: DiskSpace
  #probe: WriteProbe
  #database: Database
  #isSuspect = false
  #isClosed = false
  #isOlderFormat = false
  /** Tools that read the file for longer than a turn. */
  readonly #readings = new Set<Promise<unknown>>()
  #endOfReadings = new AbortController()
  /** While the environment is closed to be opened anew: those who wait to read it. null while it is open. */
  #readers: (() => void)[] | null = null

  /** Opens the environment at `path`, which is whole or not there. */
  constructor(path: string, { isSynced, limits, clock, freeSpaceOf }: LmdbEngineOptions) {
    this.path = path
    this.#isSynced = isSynced
    this.#clock = clock
    this.#space = new DiskSpace(path, limits, clock, freeSpaceOf)
    this.#space.oldestReader = () => this.#oldestReader()
    this.#database = openEnvironment(path, isSynced, this.#access)
    this.#probe = new WriteProbe(`${path}.probe`, clock)
    let nextSessionNumber = 1
    let nextMessageNumber = 1
    for (const [, value] of this.#records(recordKind.meta, metaKey)) {
      const meta = decodeMeta(value)
      nextSessionNumber = meta.nextSessionNumber
      nextMessageNumber = meta.nextMessageNumber
      this.#isOlderFormat = meta.version < formatVersion
    }
    this.nextSessionNumber = nextSessionNumber
    this.nextMessageNumber = nextMessageNumber
    for (const key of this.#database.getKeys(rangeOf(recordKind.leftover))) this.#leftovers.add(sessionNumberOf(key))
  }

  get hasLeftovers(): boolean {
    return this.#leftovers.size > 0 || this.#space.fileState !== 'own'
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
    if (isAmple || (await this.#fits(batch, this.#removals(batch, leftoversPerBatch), this.#mostBytes(batch)))) {
      return this.#writePart(batch, leftoversPerBatch)
    }
    const removals = this.#removals(batch, fewLeftovers)
    if (!(await this.#fits(batch, removals))) {
      await this.#age()
      if (!(await this.#fits(batch, removals))) throw this.#full(null)
    }
    return this.#writePart(batch, fewLeftovers)
  }

  /** What the last transaction has left free is room only for the next but one: a small one goes ahead. */
  async #age(): Promise<void> {
    const nothing = new Batch(0, 0, 0)
    const meta = this.#database.get(metaKey)
    if (meta === undefined || !(await this.#fits(nothing, 1))) return
    await this.#writePart(nothing, 0, () => {
      if (!this.#isOlderFormat) this.#database.put(metaKey, meta)
    })
  }

  /** How many records of deleted Sessions go with a batch, of so many at most. */
  #removals({ sessions }: Batch, most: number): number {
    if (this.#leftovers.size > 0) return most
    for (const record of sessions.values()) if (record === null) return most
    return 0
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
      const runs = await file.freeRuns(this.#oldestReader(), true)
      // Of a list that is longer LMDB reads a part, and nobody knows which.
      return runs.length <= mostRuns ? runs : new Array<number>(mostRuns).fill(1)
    } finally {
      file.close()
    }
  }

  /** The oldest transaction that somebody reads; null when nobody does. */
  #oldestReader(): number | null {
    let oldest = Number.POSITIVE_INFINITY
    for (const line of String(this.#database.readerList()).split('\n').slice(1)) {
      const transaction = Number(line.trim().split(/\s+/)[2])
      if (transaction < oldest) oldest = transaction
    }
    return oldest === Number.POSITIVE_INFINITY ? null : oldest
  }

  async #writePart(changes: Changes, leftovers: number, also = () => {}): Promise<void> {
    const removed: number[] = []
    const left: number[] = []
    try {
      await this.#database.batch(() => {
        this.#writeChanges(changes, leftovers, removed, left)
        also()
      })
    } catch (error) {
      this.#isSuspect = true
      throw await this.#explain(error)
    }
    this.#isOlderFormat = false
    for (const sessionNumber of left) this.#leftovers.add(sessionNumber)
    for (const sessionNumber of removed) this.#leftovers.delete(sessionNumber)
  }

  /** What a batch may take of the disk: its bytes, and copies of all pages that it touches. */
  #mostBytes({ bytes, recordCount }: Batch): number {
    const leftovers = this.#leftovers.size > 0 ? leftoversPerBatch : 0
    return 2 * bytes + Math.min((recordCount + leftovers) * bytesPerChange, this.#space.fileBytes)
  }

  /** @throws OperatorError when the file of this name is no longer the whole of what was written */
  async #keepFile(): Promise<void> {
    const { fileState } = this.#space
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

  /** The file was removed and is only held open: all that it holds is written anew under its name. */
  async #putBack(): Promise<void> {
    const part = `${this.path}${partSuffix}`
    try {
      const directory = dirname(this.path)
      // Its own folder alone: what holds that may be a disk that is away.
      if (!existsSync(directory)) mkdirSync(directory, { mode: 0o700 })
      for (const old of [part, `${part}-lock`]) rmSync(old, { force: true })
      await this.#database.backup(part, true)
      chmodSync(part, 0o600)
      await flushFile(part)
      // Opened before it gets its name: under that one somebody might remove it, and LMDB would begin an empty file.
      const another = openEnvironment(part, this.#isSynced, this.#access)
      try {
        const identity = identityOf(await stat(part, { bigint: true }))
        renameSync(part, this.path)
        renameSync(`${part}-lock`, `${this.path}-lock`)
        if (this.#isSynced) for (const made of [directory, dirname(directory)]) await flushFile(made)
        await this.#closeForAnother()
        this.#openAnother(another)
        this.#space.adopt(identity)
      } catch (error) {
        if (this.#database !== another) await another.close()
        throw error
      }
      this.#probe.close()
      this.#probe = new WriteProbe(`${this.path}.probe`, this.#clock)
    } catch (error) {
      throw new OperatorError('store-gone', 'the store cannot be written: its file was removed', {
        place: { file: this.path },
        fix: 'bring the data directory back, and the broker writes the file anew',
        cause: error,
      })
    }
  }

  *sessions(after = 0): Iterable<StoredSession> {
    this.#database.resetReadTxn()
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
    this.#database.resetReadTxn()
    const start = after === undefined ? undefined : behind(new RecordEncoder().retainedKey(after))
    for (const [key, value] of this.#records(recordKind.retained, start)) yield decodeRetained(key, value)
  }

  *deliveries(sessionNumber: number, fromOrder: number): Iterable<readonly [number, DeliveryRecord | null]> {
    if (this.#leftovers.has(sessionNumber)) return
    this.#database.resetReadTxn()
    const start = Buffer.from(this.#key.delivery(sessionNumber, fromOrder).bytes)
    const end = afterSession(recordKind.delivery, sessionNumber)
    const entries = this.#database.getRange({ start, end })[Symbol.iterator]()
    const access = this.#access
    const steps = new MessageSteps(this.#database, access)
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
      await this.#whenOpen(() => this.#prefetch(sessionNumber, fromOrder, limit, limitBytes))
    } catch {
      // What cannot be read is for `deliveries` to find.
    }
  }

  /** A thread touches the pages, and the table of readers in the lock file, which a frozen disk lets nobody write to. */
  async #prefetch(sessionNumber: number, fromOrder: number, limit: number, limitBytes: number): Promise<void> {
    const access = this.#access
    const database = this.#database
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
    if (this.#leftovers.has(sessionNumber)) return 0
    this.#database.resetReadTxn()
    const start = ofSession(recordKind.delivery, sessionNumber)
    return this.#database.getKeysCount({ start, end: afterSession(recordKind.delivery, sessionNumber) })
  }

  hasDelivery(sessionNumber: number, order: number): boolean {
    return this.#database.doesExist(asKey(this.#key.delivery(sessionNumber, order)))
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
        return steps?.read(messageNumber) ?? this.#access.get(this.#database, this.#key.message(messageNumber))
      } catch {
        // A damaged page; after it this transaction reads nothing any more. There may be another way to the message.
        this.isDamaged = true
        this.#database.resetReadTxn()
        this.#steps = null
        if (steps === null) return false
      }
    }
  }

  *references(after: Reference | null): Iterable<Reference> {
    this.#database.resetReadTxn()
    const { start, end } = rangeOf(recordKind.delivery)
    const from = after === null ? start : Buffer.from(this.#key.delivery(after.sessionNumber, after.order + 1).bytes)
    for (const { key, value } of this.#database.getRange({ start: from, end })) {
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
    this.#database.resetReadTxn()
    const { bytes, length } = this.#key.message(after + 1)
    const start = Buffer.from(bytes.subarray(0, length))
    const { end } = rangeOf(recordKind.message)
    for (const key of this.#database.getKeys({ start, end })) yield messageNumberOf(key)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#letRead()
    await this.#endReadings()
    await this.#database.close()
    this.#probe.close()
  }

  hold<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    return this.#whenOpen(() => {
      this.#database.resetReadTxn()
      const transaction = this.#database.useReadTransaction()
      return work(this.#endOfReadings.signal).finally(() => transaction.done())
    })
  }

  copy(path: string): Promise<void> {
    return this.#whenOpen(() => this.#database.backup(path, true))
  }

  *recordsAfter(key: Buffer): Iterable<RawRecord> {
    this.#database.resetReadTxn()
    for (const entry of this.#database.getRange({ start: key })) {
      const found = entry.key
      if (!found.equals(key)) yield { key: found, value: entry.value }
    }
  }

  /** The environment must not be closed under a transaction. */
  async #endReadings(): Promise<void> {
    this.#endOfReadings.abort(closedMeanwhile())
    await Promise.allSettled(this.#readings)
    this.#endOfReadings = new AbortController()
  }

  /** From now until `#openAnother` nobody reads: what reads a closed environment ends the process, or finds nothing. */
  async #closeForAnother(): Promise<void> {
    this.#readers ??= []
    await this.#endReadings()
    // Who has just had a page fetched reads it first.
    await nextTurn()
    await this.#database.close()
  }

  #openAnother(database: Database): void {
    this.#database = database
    this.#letRead()
  }

  #letRead(): void {
    const readers = this.#readers ?? []
    this.#readers = null
    for (const read of readers) read()
  }

  /** Begins to read when the environment is not being exchanged. @throws (rejects) OperatorError when the store was closed meanwhile */
  async #whenOpen<Result>(read: () => Promise<Result>): Promise<Result> {
    while (this.#readers !== null) {
      const readers = this.#readers
      await new Promise<void>((resolve) => readers.push(resolve))
    }
    if (this.#isClosed) throw closedMeanwhile()
    const reading = read()
    this.#readings.add(reading)
    try {
      return await reading
    } finally {
      this.#readings.delete(reading)
    }
  }

  #writeChanges(batch: Changes, leftovers: number, removed: number[], left: number[]): void {
    const database = this.#database
    const encoder = this.#encoder
    encoder.reset()
    // A file of an older format becomes one of this with the first record.
    if (batch.reservation !== null || this.#isOlderFormat) {
      const { nextSessionNumber, nextMessageNumber } = batch.reservation ?? this
      const { key, value } = encoder.meta(formatVersion, nextSessionNumber, nextMessageNumber)
      database.put(key, value)
    }
    let room = leftovers
    for (const [sessionNumber, record] of batch.sessions) {
      if (record !== null) {
        const { key, value } = encoder.session(record)
        database.put(key, value)
        continue
      }
      database.remove(encoder.sessionKey(recordKind.session, sessionNumber))
      room = this.#removeParts(sessionNumber, room)
      if (room > 0) continue
      const { key, value } = encoder.leftover(sessionNumber)
      database.put(key, value)
      left.push(sessionNumber)
    }
    for (const sessionNumber of this.#leftovers) {
      if (room > 0) room = this.#removeParts(sessionNumber, room)
      if (room === 0) break
      database.remove(encoder.sessionKey(recordKind.leftover, sessionNumber))
      removed.push(sessionNumber)
    }
    for (const [sessionNumber, changes] of batch.subscriptions) {
      for (const { filter, shareName, record } of changes.values()) {
        if (record === null) {
          database.remove(encoder.subscriptionKey(sessionNumber, filter, shareName))
          continue
        }
        const { key, value } = encoder.subscription(sessionNumber, record)
        database.put(key, value)
      }
    }
    for (const [sessionNumber, changes] of batch.inbound) {
      for (const [packetId, isPresent] of changes) {
        if (!isPresent) {
          database.remove(encoder.inboundKey(sessionNumber, packetId))
          continue
        }
        const { key, value } = encoder.inbound(sessionNumber, packetId)
        database.put(key, value)
      }
    }
    for (const [messageNumber, record] of batch.messages) {
      if (record === null) {
        database.remove(asKey(this.#key.message(messageNumber)))
        continue
      }
      const { key, value } = encoder.message(messageNumber, record)
      database.put(key, value)
    }
    for (const [sessionNumber, changes] of batch.deliveries) {
      for (const [order, record] of changes) {
        if (record === null) {
          database.remove(asKey(this.#key.delivery(sessionNumber, order)))
          continue
        }
        const { key, value } = encoder.delivery(sessionNumber, order, record)
        database.put(key, value)
      }
    }
    for (const [topic, record] of batch.retained) {
      if (record === null) {
        database.remove(encoder.retainedKey(topic))
        continue
      }
      const { key, value } = encoder.retained(topic, record)
      database.put(key, value)
    }
  }

  /** Removes up to `room` records that belong to a Session; returns how much room is left, 0 when there may be more of them. */
  #removeParts(sessionNumber: number, room: number): number {
    this.#database.resetReadTxn()
    for (const kind of [recordKind.subscription, recordKind.inbound, recordKind.delivery]) {
      const start = ofSession(kind, sessionNumber)
      for (const key of this.#database.getKeys({ start, end: afterSession(kind, sessionNumber), limit: room })) {
        this.#database.remove(key)
        room--
      }
      if (room === 0) return 0
    }
    return room
  }

  /** The intact records of one kind, or of a part of it. */
  *#records(kind: RecordKind, start?: Buffer, end?: Buffer): Iterable<[key: Buffer, value: Buffer]> {
    const range = rangeOf(kind)
    for (const entry of this.#database.getRange({ start: start ?? range.start, end: end ?? range.end })) {
      const key = entry.key
      const value = entry.value
      if (isIntact(key, value)) yield [key, value]
      else this.isDamaged = true
    }
  }

  /** After a failed write: see the head of this file. */
  async #reopenIfNeeded(): Promise<void> {
    // A new and empty file would take the place of one that is gone.
    await this.#space.look()
    await this.#keepFile()
    try {
      this.#database.transactionSync(() => {})
    } catch {
      await this.#closeForAnother()
      try {
        this.#openAnother(openEnvironment(this.path, this.#isSynced, this.#access))
        // LMDB has undone the head of the file in memory alone. Were the one that failed on the disk all the same, a power cut
        // would find it leading to pages that the next try writes over.
        if (this.#isSynced) await flushFile(this.path)
      } catch (error) {
        throw await this.#explain(error)
      }
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
    return new OperatorError('store-full', 'the store cannot be written: no space left on its file system', {
      place: { file: this.path },
      fix: 'free some space; the broker goes on by itself',
      cause: cause ?? undefined,
    })
  }
}

function closedMeanwhile(): OperatorError {
  return new OperatorError('store-closed', 'the store was closed meanwhile')
}

/** A directory too. */
async function flushFile(path: string): Promise<void> {
  const file = await openFile(path, 'r')
  await file.sync().finally(() => file.close())
}

const metaKey = Buffer.of(recordKind.meta)

function rangeOf(kind: RecordKind): { start: Buffer; end: Buffer } {
  return { start: Buffer.of(kind), end: Buffer.of(kind + 1) }
}

function ofSession(kind: RecordKind, sessionNumber: number): Buffer {
  const key = Buffer.alloc(7, kind)
  key.writeUIntBE(sessionNumber, 1, 6)
  return key
}

/** @param key of another record of the same kind and Session */
function isOfSession(key: Buffer, keys: Buffer, keyStart: number): boolean {
  for (let index = 0; index < 7; index++) if (keys[keyStart + index] !== key[index]) return false
  return true
}

function afterSession(kind: RecordKind, sessionNumber: number): Buffer {
  return ofSession(kind, sessionNumber + 1)
}

/** A copy of a key, and beyond it as little as possible. */
function behind(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.of(0)])
}
