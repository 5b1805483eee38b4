// Opens a store on disk: looks at the file first, refuses what is not ours, and mends what is damaged. A file that was closed
// in order and is as it was left is not read again. Knows no session.
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { isNoSpace, noSpace } from '../base/no-space.ts'
import { BatchedStore } from './batched-store.ts'
import { expectRoom, freeBytesAt, outOfRoom } from './disk-room.ts'
import { type DiskLimits, leastFreeBytes } from './disk-space.ts'
import { LmdbEngine, type LmdbEngineOptions, storeFull } from './lmdb-engine.ts'
import { openEnvironment, partSuffix } from './lmdb-environment.ts'
import { LmdbFile } from './lmdb-file.ts'
import { clearOutdated, fileName, forgetInbound, isOutdated } from './outdated-store.ts'
import { formatVersion, isIntact, mayBeRecord } from './record-codec.ts'
import { rescueRecords } from './rescue-records.ts'
import type { RecoveryReport, Store } from './store.ts'

/** Being filled with what could be rescued; complete as soon as there is no `store.mdb` beside it. */
export const rescueName = 'store.rescue.mdb'
/** A backup on its way to that name. */
export const incomingName = `${rescueName}.part`
/** A store that is being begun: it gets its name when it is whole and on the disk. */
const newName = 'store.new.mdb'
/** Size and time of change of a file that was closed in order. */
export const closedName = 'store.closed'

export interface LmdbStoreOptions {
  /** Belongs to this store alone; made if it is missing, with mode 0700. Another process must be kept out by the caller. */
  readonly directory: string
  readonly durability: 'os' | 'fsync'
  readonly clock: Clock
  /** Asked again and again, so that they may change. */
  readonly limits?: () => DiskLimits & { readonly answerMs: number }
  /** Ends the look at the file, which takes its time after a crash; what is damaged is mended to the end. */
  readonly signal?: AbortSignal
}

/** What LMDB uses of it, unless there are more readers at once than there are. */
const lockFileBytes = 8192

/** For tools and tests. */
const noLimits = { freeBytes: 0, fileBytes: 0, answerMs: Number.POSITIVE_INFINITY }

/**
 * @throws OperatorError `store-format` if the file belongs to something else or to a newer version, `no-space` if something must
 * be written first and there is no room, `store-directory` if the directory can't be used; the reason of the signal
 */
export async function openLmdbStore(options: LmdbStoreOptions): Promise<Store> {
  const { directory, durability, clock, limits = () => noLimits, signal } = options
  const path = join(directory, fileName)
  const rescuePath = join(directory, rescueName)
  const closedPath = join(directory, closedName)
  const newPath = join(directory, newName)
  const partPath = `${path}${partSuffix}`
  try {
    makeDirectory(directory)
    // The second is what is left of a file that was removed under a broker that was killed while it wrote it anew: the only copy, and
    // what it lacks is told as any damage is.
    for (const copy of [rescuePath, partPath]) if (!existsSync(path) && existsSync(copy)) takeRescued(copy, path)
    for (const leftover of [rescuePath, join(directory, incomingName), newPath, partPath]) removeEnvironment(leftover)
    const recovery =
      existsSync(path) && !isAsClosed(path, closedPath) ? await mendIfDamaged(path, rescuePath, clock, signal) : null
    // After a crash, what is read may not be what is on the disk: nothing is built upon it before it is.
    if (durability === 'fsync' && existsSync(path) && !existsSync(closedPath)) syncFile(path)
    rmSync(closedPath, { force: true })
    if (!existsSync(path)) await begin(newPath, path)
    prepareLockFile(path)
    syncDirectory(directory)
    const engine = new ClosingEngine(path, { isSynced: durability === 'fsync', limits, clock }, closedPath)
    await engine.look()
    const answerMs = () => limits().answerMs
    const store = new BatchedStore(engine, { durability, clock, recovery, file: engine, answerMs })
    if (isOutdated(directory)) await catchUp(store, clock, signal)
    clearOutdated(directory)
    return store
  } catch (error) {
    if (error instanceof OperatorError) throw error
    const isWithoutRoom = isNoSpace(error)
    throw new OperatorError(
      isWithoutRoom ? noSpace : 'store-directory',
      `the store can't be opened: ${(error as Error).message}`,
      {
        place: { file: path },
        fix: isWithoutRoom
          ? 'make room on the file system of that file'
          : 'the directory must exist on a disk that can be written, and belong to the user of the broker',
        cause: error,
      },
    )
  }
}

/**
 * Makes an empty environment. LMDB syncs what a new file begins with at the first commit only, and until then a power cut could
 * leave a half of it, which the next start would have to take for a damaged store.
 */
async function begin(newPath: string, path: string): Promise<void> {
  await expectRoom(dirname(path), 0, 'there is no store yet, and a new one')
  try {
    await openEnvironment(newPath, true).close()
    syncFile(newPath)
    renameSync(newPath, path)
  } finally {
    removeEnvironment(newPath)
  }
}

/** LMDB maps it, and a process that writes to a mapped page for which there is no room is ended. */
function prepareLockFile(path: string): void {
  const lockPath = `${path}-lock`
  if ((statSync(lockPath, { throwIfNoEntry: false })?.blocks ?? 0) > 0) return
  try {
    writeFileSync(lockPath, Buffer.alloc(lockFileBytes), { mode: 0o600 })
  } catch (error) {
    rmSync(lockPath, { force: true })
    throw error
  }
}

async function catchUp(store: Store, clock: Clock, signal: AbortSignal | undefined): Promise<void> {
  try {
    await forgetInbound(store, clock, signal)
  } catch (error) {
    await store.close().catch(() => {})
    if (!(error instanceof OperatorError && error.code === storeFull)) throw error
    const message = `Packet Identifiers that clients have used again must be taken out of the store first: ${error.message}`
    const { place, fix } = error
    throw new OperatorError(noSpace, message, { place: place ?? undefined, fix: fix ?? undefined, cause: error })
  }
}

/** Leaves a note behind when it was closed in order. */
class ClosingEngine extends LmdbEngine {
  readonly #closedPath: string

  constructor(path: string, options: LmdbEngineOptions, closedPath: string) {
    super(path, options)
    this.#closedPath = closedPath
  }

  override async close(): Promise<void> {
    await this.look()
    await super.close()
    // The next start reads it as after a crash.
    if (!this.isSound) return
    try {
      // Without a sync a later power cut could damage the file and leave the note whole.
      syncFile(this.path)
      writeFileSync(this.#closedPath, fingerprintOf(this.path), { mode: 0o600 })
    } catch {
      // Then the file is read at the next start, as after a crash.
    }
  }
}

/** Whoever has made it and those that it lies in, and whenever: a power cut takes none of them any more. */
export function makeDirectory(directory: string): void {
  if (!existsSync(directory)) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    chmodSync(directory, 0o700)
  }
  const { dev } = statSync(directory)
  for (let made = directory; made !== dirname(made); made = dirname(made)) {
    const holder = dirname(made)
    try {
      if (statSync(holder).dev !== dev) return
      syncDirectory(holder)
    } catch (error) {
      // What may not be read is not what somebody has just made for this account.
      if ((error as NodeJS.ErrnoException).code === 'EACCES') return
      throw error
    }
  }
}

function fingerprintOf(path: string): string {
  const { size, mtimeMs, ino } = statSync(path)
  return JSON.stringify({ formatVersion, size, mtimeMs, ino })
}

function isAsClosed(path: string, closedPath: string): boolean {
  try {
    return readFileSync(closedPath, 'utf8') === fingerprintOf(path)
  } catch {
    return false
  }
}

/** Reads the whole file; if it is damaged, sets it aside and puts a new one with all that can be read in its place. */
async function mendIfDamaged(
  path: string,
  rescuePath: string,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<RecoveryReport | null> {
  const file = new LmdbFile(path)
  let damaged = 0
  let strange = 0
  let whole = 0
  let needBytes = 0
  try {
    refuseForeign(file, path)
    for await (const { key, value } of file.records()) {
      signal?.throwIfAborted()
      if (!isIntact(key, value)) {
        damaged++
        if (!mayBeRecord(key)) strange++
      } else {
        whole++
        refuseNewer(value[0], path)
      }
    }
    await file.checkFreeList()
    await refuseWithoutTrace(file, path, whole, strange)
    const { total, free, bytes } = file.pages
    needBytes = Math.min(file.sizeBytes, (total - free) * bytes)
  } finally {
    file.close()
  }
  if (damaged === 0 && file.findings.length === 0) return null
  const rescue = await rescueWithin(path, rescuePath, needBytes)
  syncDirectory(dirname(path))
  const setAside = asidePath(path, 'corrupt', clock)
  renameSync(path, setAside)
  rmSync(`${path}-lock`, { force: true })
  takeRescued(rescuePath, path)
  return { setAside, ...rescue }
}

/** Leaves the damaged file alone and no half of a copy behind when there is no room for a whole one. */
async function rescueWithin(path: string, rescuePath: string, needBytes: number): ReturnType<typeof rescueRecords> {
  const what = 'the store is damaged, and to bring over what can be read'
  const fix =
    'make room on the file system of that file, and start again; or move the file away, and the store begins empty'
  await expectRoom(path, needBytes, what, fix)
  try {
    return await rescueRecords(path, rescuePath)
  } catch (error) {
    const leftBytes = await freeBytesAt(path)
    removeEnvironment(rescuePath)
    const isWithoutRoom = error instanceof OperatorError && error.code === noSpace
    if (!isWithoutRoom && leftBytes >= leastFreeBytes) throw error
    const freeBytes = await freeBytesAt(path)
    throw outOfRoom(path, Math.max(needBytes, freeBytes) + leastFreeBytes, freeBytes, what, fix)
  }
}

export function refuseForeign(file: LmdbFile, path: string): void {
  if (file.kind === 'foreign' && statSync(path).size > 0) {
    throw notOurs(path)
  }
  if (file.kind === 'version') refuseNewer(Number.POSITIVE_INFINITY, path)
}

/**
 * After the file was read to its end.
 * @param strange records that never were ours, whatever has damaged them
 * @throws (rejects) OperatorError `store-format` when there are such, and none of ours, old ones included
 */
export async function refuseWithoutTrace(file: LmdbFile, path: string, whole: number, strange: number): Promise<void> {
  if (whole > 0 || strange === 0) return
  for await (const _ of file.strayRecords(true, isIntact)) return
  throw notOurs(path)
}

function notOurs(path: string): OperatorError {
  return new OperatorError('store-format', 'this file is not a store of AtollMQ', {
    place: { file: path },
    fix: 'move it away, or choose another data directory',
  })
}

function refuseNewer(version: number, path: string): void {
  if (version <= formatVersion) return
  throw new OperatorError('store-format', 'this store was written by a newer version of AtollMQ', {
    place: { file: path },
    fix: 'start that version, or choose another data directory',
  })
}

/** `store.corrupt-20261122T003300Z`, with a number if there is one already. */
export function asidePath(path: string, reason: 'corrupt' | 'replaced', clock: Clock): string {
  const time = new Date(clock.wallMs()).toISOString().replace(/[-:]|\.\d+/g, '')
  for (let count = 1; ; count++) {
    const candidate = join(dirname(path), `store.${reason}-${time}${count === 1 ? '' : `-${count}`}`)
    if (!existsSync(candidate)) return candidate
  }
}

export function takeRescued(rescuePath: string, path: string): void {
  rmSync(`${rescuePath}-lock`, { force: true })
  renameSync(rescuePath, path)
  syncDirectory(dirname(path))
}

export function removeEnvironment(path: string): void {
  rmSync(path, { force: true })
  rmSync(`${path}-lock`, { force: true })
}

export function syncDirectory(directory: string): void {
  syncFile(directory)
}

export function syncFile(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
