// How much room a store has: on its file system, and below the limit of its own file; and whether that file is still the one that
// was opened. Tells shortage before there is no room at all, so that what was taken on can still be written. Knows no record.
import { stat, statfs } from 'node:fs/promises'
import type { Clock } from '../base/clock.ts'
import { LmdbFile } from './lmdb-file.ts'

export interface DiskLimits {
  /** Bytes that are left free on the file system; of a small one at most a twentieth. */
  readonly freeBytes: number
  /** Largest size of the file, roughly; 0 for no limit. */
  readonly fileBytes: number
}

/** What has become of the file: `gone`, there is none under its name; `foreign`, another one; `cut`, it has shrunk. */
export type FileState = 'own' | 'gone' | 'foreign' | 'cut'

/** As `statfs` of Node.js. */
export type FreeSpaceOf = (path: string) => Promise<{ type?: number; bavail: number; blocks: number; bsize: number }>

/** LMDB 3.5 writes past a buffer of its own while it reports a full disk: it is never let to find out. */
export const leastFreeBytes = 262_144
/** The least that a page of a file holds. */
const leastPageBytes = 4096
/** A look counts for so long while there is more room than others could fill meanwhile. */
const lookMs = 250
const ampleBytes = 1024 ** 3
/** While there is a shortage, how often free pages of the file are counted. */
const countMs = 250
/** With less above the floor, what is free in the file counts. */
const tightBytes = 64 * 1024 ** 2
/** Share of a small file system that is left free. */
const smallShare = 1 / 20
/** Linux: btrfs, ZFS, bcachefs, F2FS, NILFS. */
const copyOnWrite: ReadonlySet<number> = new Set([0x9123683e, 0x2fc12fc1, 0xca451a4e, 0xf2f52010, 0x3434])
/** Room must have grown by this share before a shortage is over. */
const hysteresis = 1.25

export function identityOf({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): string {
  return `${dev}:${ino}`
}

export class DiskSpace {
  /** Why nothing new should be taken on, for people; null while there is room. */
  shortage: string | null = null
  /** null before the first look, or when it is not known. */
  freeBytes: number | null = null
  fileBytes = 0
  fileState: FileState = 'own'
  /** Pages of the longest value there has been: what is free in shorter runs is no room. */
  longestPages = 1
  /** The oldest transaction that somebody reads: what has become free since is no room yet. */
  oldestReader: () => number | null = () => null
  /** What is written over takes room of the file system for a while, as what is new. */
  isCopyOnWrite = false
  readonly #path: string
  readonly #limits: () => DiskLimits
  readonly #clock: Clock
  readonly #statfs: FreeSpaceOf
  /** Device and number: a file of another disk may have the same number. */
  #identity: string | null = null
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #writtenBytes = 0
  #countedAtMs = Number.NEGATIVE_INFINITY
  #reusableBytes = 0
  #longestRunBytes = 0
  #headBytes = Number.POSITIVE_INFINITY
  /** Of those, what the file can grow by. */
  #growingBytes = Number.POSITIVE_INFINITY

  constructor(path: string, limits: () => DiskLimits, clock: Clock, freeSpaceOf: FreeSpaceOf = statfs) {
    this.#path = path
    this.#limits = limits
    this.#clock = clock
    this.#statfs = freeSpaceOf
  }

  /** From now on this file is ours. */
  adopt(identity: string): void {
    this.#identity = identity
    this.fileBytes = 0
    this.fileState = 'own'
    this.#lookedAtMs = Number.NEGATIVE_INFINITY
  }

  /** Bytes by which the file may grow now, from the last look on. */
  get growthBytes(): number {
    return this.freeBytes === null ? Number.POSITIVE_INFINITY : this.freeBytes - leastFreeBytes
  }

  /**
   * Whether so many bytes more can be taken on: above the floor, or in the file.
   * @param longestBytes of the longest value among them: one that is longer than all before was not reckoned with when free
   * pages were counted, and wants room in one piece
   */
  hasRoomAbove(bytes: number, longestBytes = 0): boolean {
    const isLongest = longestBytes > leastPageBytes * this.longestPages
    return bytes <= (isLongest ? Math.max(this.#growingBytes, this.#longestRunBytes) : this.#headBytes)
  }

  /** Free pages of the file that a write may take are not counted on before they are counted anew. */
  take(bytes: number): void {
    this.#reusableBytes = Math.max(0, this.#reusableBytes - bytes)
    this.#longestRunBytes = Math.max(0, this.#longestRunBytes - bytes)
  }

  /**
   * Before a write that may take up to `bytes`. Looks at the disk unless the last look was a moment ago and there was ample room.
   * @returns whether nothing needs to be known more exactly
   */
  async hasAmpleRoom(bytes: number): Promise<boolean> {
    const isFresh = this.#clock.monotonicMs() - this.#lookedAtMs < lookMs
    const left = (this.freeBytes ?? 0) - this.#writtenBytes - bytes
    if (!isFresh || left < ampleBytes + this.#limits().freeBytes) await this.look()
    this.#writtenBytes += bytes
    return this.isAmple(bytes)
  }

  /** Whether there is so much room, as of the last look, that what a write of `bytes` takes need not be reckoned up. */
  isAmple(bytes: number): boolean {
    return this.freeBytes === null || this.freeBytes >= tightBytes + this.#limits().freeBytes + bytes
  }

  /** Never rejects: a file system that says nothing of its room is written to until that fails. */
  async look(): Promise<void> {
    try {
      const found = await stat(this.#path, { bigint: true })
      const { size } = found
      const identity = identityOf(found)
      this.#identity ??= identity
      if (identity !== this.#identity) this.fileState = 'foreign'
      else if (Number(size) < this.fileBytes) this.fileState = 'cut'
      // What was cut stays so, even if it has grown again.
      else if (this.fileState !== 'cut') this.fileState = 'own'
      if (this.fileState === 'own') this.fileBytes = Number(size)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && this.#identity !== null) this.fileState = 'gone'
    }
    let totalBytes = Number.POSITIVE_INFINITY
    try {
      const { type = 0, bavail, blocks, bsize } = await this.#statfs(this.#path)
      this.isCopyOnWrite = copyOnWrite.has(type >>> 0)
      this.freeBytes = bavail * bsize
      totalBytes = blocks * bsize
    } catch {
      this.freeBytes = null
    }
    this.#lookedAtMs = this.#clock.monotonicMs()
    this.#writtenBytes = 0
    await this.#weigh(totalBytes)
  }

  async #weigh(totalBytes: number): Promise<void> {
    const limits = this.#limits()
    const floor = Math.min(limits.freeBytes, Math.floor(totalBytes * smallShare))
    const factor = this.shortage === null ? 1 : hysteresis
    const isDiskShort = this.freeBytes !== null && this.freeBytes < floor * factor
    const aboveFloorBytes = (this.freeBytes ?? Number.POSITIVE_INFINITY) - floor
    const isFileFull = limits.fileBytes > 0 && this.fileBytes >= limits.fileBytes
    const isShort = isDiskShort || isFileFull
    // Whoever has ample room need not know what is free in the file.
    const hasReusable = (isShort || aboveFloorBytes < tightBytes) && (await this.#hasReusable())
    if (!hasReusable) this.#longestRunBytes = 0
    this.#growingBytes = isFileFull ? Number.POSITIVE_INFINITY : Math.max(0, aboveFloorBytes)
    this.#headBytes = this.#growingBytes + (hasReusable ? this.#reusableBytes : 0)
    if (this.isCopyOnWrite) {
      this.#headBytes = Math.min(this.#headBytes, this.growthBytes)
      this.#longestRunBytes = 0
    }
    // The file never shrinks: what was taken out of it is room all the same.
    if (!isShort || hasReusable) this.shortage = null
    else if (isFileFull) {
      this.shortage = `no space left for the store: its file has reached limits.storeBytes, ${inMebibytes(limits.fileBytes)}`
    } else {
      this.shortage = `no space left for the store: its file system has less than ${inMebibytes(floor)} free`
    }
  }

  /** Whether so many pages of the file are free that it need not grow for a while. */
  async #hasReusable(): Promise<boolean> {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#countedAtMs >= countMs) {
      this.#countedAtMs = nowMs
      const { runs, pageBytes } =
        this.fileState === 'own' ? await freeRunsIn(this.#path, this.oldestReader()) : { runs: [], pageBytes: 0 }
      // What values of the longest kind find for certain.
      const certain = (pages: number, length: number) => pages + Math.max(0, length - this.longestPages + 1)
      this.#reusableBytes = pageBytes * runs.reduce(certain, 0)
      this.#longestRunBytes = pageBytes * runs.reduce((longest, length) => Math.max(longest, length), 0)
    }
    const least = Math.max(leastFreeBytes, this.fileBytes / 16)
    return this.#reusableBytes >= (this.shortage === null ? least : 2 * least)
  }
}

/** Lengths of the runs of free pages; none when the file can't be read. */
async function freeRunsIn(path: string, oldestReader: number | null): Promise<{ runs: number[]; pageBytes: number }> {
  try {
    const file = new LmdbFile(path)
    try {
      return { runs: await file.freeRuns(oldestReader, false), pageBytes: file.pageBytes }
    } finally {
      file.close()
    }
  } catch {
    return { runs: [], pageBytes: 0 }
  }
}

function inMebibytes(bytes: number): string {
  return `${Math.round((bytes / 1024 ** 2) * 10) / 10} MiB`
}
