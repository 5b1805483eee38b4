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
export type FreeSpaceOf = (path: string) => Promise<{ bavail: number; blocks: number; bsize: number }>

/** LMDB 3.5 writes past a buffer of its own while it reports a full disk: it is never let to find out. */
const leastFreeBytes = 262_144
/** A look counts for so long while there is more room than others could fill meanwhile. */
const lookMs = 250
const ampleBytes = 1024 ** 3
/** While there is a shortage, how often free pages of the file are counted. */
const countMs = 1000
/** Share of a small file system that is left free. */
const smallShare = 1 / 20
/** Room must have grown by this share before a shortage is over. */
const hysteresis = 1.25

export class DiskSpace {
  /** Why nothing new should be taken on, for people; null while there is room. */
  shortage: string | null = null
  /** null before the first look, or when it is not known. */
  freeBytes: number | null = null
  fileBytes = 0
  fileState: FileState = 'own'
  readonly #path: string
  readonly #limits: () => DiskLimits
  readonly #clock: Clock
  readonly #statfs: FreeSpaceOf
  #inode: bigint | null = null
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #writtenBytes = 0
  #countedAtMs = Number.NEGATIVE_INFINITY
  #reusableBytes = 0

  constructor(path: string, limits: () => DiskLimits, clock: Clock, freeSpaceOf: FreeSpaceOf = statfs) {
    this.#path = path
    this.#limits = limits
    this.#clock = clock
    this.#statfs = freeSpaceOf
  }

  /** From now on the file under the name is ours, whatever it was. */
  adopt(): void {
    this.#inode = null
    this.fileBytes = 0
    this.fileState = 'own'
    this.#lookedAtMs = Number.NEGATIVE_INFINITY
  }

  /**
   * Before a write that may take up to `bytes`. Looks at the disk unless the last look was a moment ago and there was ample room.
   * @returns whether it fits
   */
  async hasRoom(bytes: number): Promise<boolean> {
    const isFresh = this.#clock.monotonicMs() - this.#lookedAtMs < lookMs
    const left = (this.freeBytes ?? 0) - this.#writtenBytes - bytes
    if (!isFresh || left < ampleBytes + this.#limits().freeBytes) await this.look()
    this.#writtenBytes += bytes
    return this.freeBytes === null || this.freeBytes >= leastFreeBytes + bytes
  }

  /** Never rejects: a file system that says nothing of its room is written to until that fails. */
  async look(): Promise<void> {
    try {
      const { ino, size } = await stat(this.#path, { bigint: true })
      this.#inode ??= ino
      if (ino !== this.#inode) this.fileState = 'foreign'
      else if (Number(size) < this.fileBytes) this.fileState = 'cut'
      // What was cut stays so, even if it has grown again.
      else if (this.fileState !== 'cut') this.fileState = 'own'
      if (this.fileState === 'own') this.fileBytes = Number(size)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && this.#inode !== null) this.fileState = 'gone'
    }
    let totalBytes = Number.POSITIVE_INFINITY
    try {
      const { bavail, blocks, bsize } = await this.#statfs(this.#path)
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
    const isFileFull = limits.fileBytes > 0 && this.fileBytes >= limits.fileBytes
    // The file never shrinks: what was taken out of it is room all the same.
    if ((!isDiskShort && !isFileFull) || (await this.#hasReusable())) this.shortage = null
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
      this.#reusableBytes = this.fileState === 'own' ? await freeBytesIn(this.#path) : 0
    }
    const least = Math.max(leastFreeBytes, this.fileBytes / 16)
    return this.#reusableBytes >= (this.shortage === null ? least : 2 * least)
  }
}

async function freeBytesIn(path: string): Promise<number> {
  try {
    const file = new LmdbFile(path)
    try {
      await file.checkFreeList()
      return file.pages.free * file.pages.bytes
    } finally {
      file.close()
    }
  } catch {
    return 0
  }
}

function inMebibytes(bytes: number): string {
  return `${Math.round((bytes / 1024 ** 2) * 10) / 10} MiB`
}
