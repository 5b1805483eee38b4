// The LMDB environment of a store: opened, read and copied, exchanged for another one while the broker runs, closed. Knows no record.
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
import { OperatorError } from '../base/errors.ts'
import { identityOf } from './disk-space.ts'
import { type Database, RecordAccess } from './record-access.ts'

/** Of the name under which a file that was removed is written anew, until it is whole. */
export const partSuffix = '.part'

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

export class LmdbEnvironment {
  readonly #path: string
  readonly #isSynced: boolean
  readonly #access: RecordAccess
  #database: Database
  #isClosed = false
  /** Tools that read the file for longer than a turn. */
  readonly #readings = new Set<Promise<unknown>>()
  #endOfReadings = new AbortController()
  /** While the environment is closed to be opened anew: those who wait to read it. null while it is open. */
  #readers: (() => void)[] | null = null

  /** Opens the environment at `path`, which is whole or not there. */
  constructor(path: string, isSynced: boolean, access: RecordAccess) {
    this.#path = path
    this.#isSynced = isSynced
    this.#access = access
    this.#database = openEnvironment(path, isSynced, access)
  }

  /** Another one after an exchange: for this turn, and within `read` until that has settled. */
  get database(): Database {
    return this.#database
  }

  /** The oldest transaction that somebody reads; null when nobody does. */
  oldestReader(): number | null {
    let oldest = Number.POSITIVE_INFINITY
    for (const line of String(this.#database.readerList()).split('\n').slice(1)) {
      const transaction = Number(line.trim().split(/\s+/)[2])
      if (transaction < oldest) oldest = transaction
    }
    return oldest === Number.POSITIVE_INFINITY ? null : oldest
  }

  /** Begins to read when the environment is not being exchanged. @throws (rejects) OperatorError when the store was closed meanwhile */
  async read<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.#readers !== null) {
      const readers = this.#readers
      await new Promise<void>((resolve) => readers.push(resolve))
    }
    if (this.#isClosed) throw closedMeanwhile()
    const reading = work()
    this.#readings.add(reading)
    try {
      return await reading
    } finally {
      this.#readings.delete(reading)
    }
  }

  hold<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
    return this.read(() => {
      this.#database.resetReadTxn()
      const transaction = this.#database.useReadTransaction()
      return work(this.#endOfReadings.signal).finally(() => transaction.done())
    })
  }

  /**
   * LMDB follows whatever a page says: one that is damaged would lead its copy out of the file, and end the process. So `check` reads
   * the file first, by other means. No page that it has seen is written over before the copy is done; pages that have come since were
   * written by this process a moment ago.
   */
  copy(path: string, check: (signal: AbortSignal) => Promise<void>): Promise<void> {
    return this.hold(async (signal) => {
      await check(signal)
      signal.throwIfAborted()
      await this.#database.backup(path, true)
    })
  }

  /** After a write that failed: opened anew where LMDB refuses everything, see the head of this file. The file is there. */
  async revive(): Promise<void> {
    try {
      this.#database.transactionSync(() => {})
    } catch {
      await this.#closeForAnother()
      this.#openAnother(openEnvironment(this.#path, this.#isSynced, this.#access))
      // LMDB has undone the head of the file in memory alone. Were the one that failed on the disk all the same, a power cut
      // would find it leading to pages that the next try writes over.
      if (this.#isSynced) await flushFile(this.#path)
    }
  }

  /** The file was removed and is only held open: all that it holds is written anew under its name. @returns the new one's identity */
  async putBack(): Promise<string> {
    const part = `${this.#path}${partSuffix}`
    const directory = dirname(this.#path)
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
      renameSync(part, this.#path)
      renameSync(`${part}-lock`, `${this.#path}-lock`)
      if (this.#isSynced) for (const made of [directory, dirname(directory)]) await flushFile(made)
      await this.#closeForAnother()
      this.#openAnother(another)
      return identity
    } catch (error) {
      if (this.#database !== another) await another.close()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#letRead()
    await this.#endReadings()
    await this.#database.close()
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
}

function closedMeanwhile(): OperatorError {
  return new OperatorError('store-closed', 'the store was closed meanwhile')
}

/** A directory too. */
async function flushFile(path: string): Promise<void> {
  const file = await openFile(path, 'r')
  await file.sync().finally(() => file.close())
}
