// Looks for files that were set aside beside the store while it is in use. A disk that does not answer holds up one look, not one for
// each question.
import { dirname } from 'node:path'
import { listSetAside, type SetAsideFile } from '../storage/set-aside.ts'
import type { StoreFile } from '../storage/store-file.ts'
import { within } from './within.ts'

const patienceMs = 500

export class AsideLook {
  readonly #read: typeof listSetAside
  #looking: Promise<readonly SetAsideFile[] | null> | null = null

  constructor(read = listSetAside) {
    this.#read = read
  }

  /** @returns null when the disk does not say, or not soon */
  list({ path }: StoreFile): Promise<readonly SetAsideFile[] | null> {
    this.#looking ??= this.#read(dirname(path))
      .catch(() => null)
      .finally(() => {
        this.#looking = null
      })
    return within(patienceMs, this.#looking)
  }
}
