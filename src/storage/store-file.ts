// The file of an open store, for tools that look at it or copy it while the broker runs. Knows no broker.
import type { RawRecord } from './lmdb-file.ts'

export interface StoreFile {
  readonly path: string
  /** Size, and what is free on its file system, as of the last look; null when that is not known. */
  readonly fileBytes: number
  readonly freeBytes: number | null
  /**
   * Keeps the state of this moment readable in the file until the work is done; the file grows meanwhile if much is written.
   * The signal tells the work to end early, because the store is closed: closing waits for it.
   */
  hold<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result>
  /**
   * Writes the state of this moment, or a little later, to a new file, without free pages. The file is not flushed. Closing waits for it.
   * @param check reads all of the file at `path` and rejects when it is damaged: only what it has seen to be whole may be copied.
   * The signal is that of `hold`
   */
  copy(path: string, check: (signal: AbortSignal) => Promise<void>): Promise<void>
  /** Records behind a key, in the order of their keys; to be read within one turn. */
  recordsAfter(key: Buffer): Iterable<RawRecord>
}
