// Asks a disk whether it takes writes at all, with a page that belongs to nobody. LMDB 3.5 writes past a buffer of its own while it
// reports a write that was refused (`last_error` in mdb_page_flush), which may end the process: it is not let to find out.
import { closeSync, openSync, rmSync, write, writeSync } from 'node:fs'

const page = Buffer.alloc(4096)

export class WriteProbe {
  #descriptor: number | null

  /** @param path of a file that is made and has no name from then on; without room for it nothing is ever found */
  constructor(path: string) {
    this.#descriptor = openNameless(path)
  }

  /** @throws (rejects) the error of the disk, unless it only has no room: how much there is is known better */
  ask(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#descriptor === null) return resolve()
      write(this.#descriptor, page, 0, page.length, 0, (error) => {
        if (error === null || error.code === 'ENOSPC') resolve()
        else reject(error)
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
