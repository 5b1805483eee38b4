// Asks a disk whether it takes writes at all, with a page that belongs to nobody. LMDB 3.5 writes past a buffer of its own while it
// reports a write that was refused (`last_error` in mdb_page_flush), which may end the process: it should rarely be let to find out.
import { closeSync, openSync, rmSync, write, writeSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'

const page = Buffer.alloc(4096)
/** Asking before every batch would double what a small one takes. */
const answerCountsMs = 100

export class WriteProbe {
  readonly #clock: Clock
  #descriptor: number | null
  #answeredAtMs = Number.NEGATIVE_INFINITY

  /** @param path of a file that is made and has no name from then on; without room for it nothing is ever found */
  constructor(path: string, clock: Clock) {
    this.#clock = clock
    this.#descriptor = openNameless(path)
  }

  /** @throws (rejects) the error of the disk, unless it only has no room: how much there is is known better */
  ask(): Promise<void> {
    return new Promise((resolve, reject) => {
      const nowMs = this.#clock.monotonicMs()
      if (this.#descriptor === null || nowMs - this.#answeredAtMs < answerCountsMs) return resolve()
      write(this.#descriptor, page, 0, page.length, 0, (error) => {
        if (error !== null && error.code !== 'ENOSPC') return reject(error)
        this.#answeredAtMs = nowMs
        resolve()
      })
    })
  }

  close(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor)
    this.#descriptor = null
  }
}

/** With its page, so that the disk needs no room later. */
function openNameless(path: string): number | null {
  let descriptor: number | null = null
  try {
    descriptor = openSync(path, 'w', 0o600)
    rmSync(path)
    writeSync(descriptor, page)
    return descriptor
  } catch {
    if (descriptor !== null) closeSync(descriptor)
    return null
  }
}
