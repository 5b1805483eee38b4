// Tells a request that goes on with a list from one that begins it: the first page stands in the audit log, and those behind it
// would only hide what else does. Only a cursor that was given out counts, so that nobody reads unseen with one of his own making.
import { safeJson } from './safe-json.ts'

/** Lists that are read at one time. Whoever goes on with one that was forgotten stands in the audit log once more. */
export const followUpLimit = 64

export class FollowUps {
  /** What the next requests look like. */
  readonly #expected = new Set<string>()

  /** @returns true for the page that an answer has led to, once */
  take(operation: string, instance: string, params: object): boolean {
    return this.#expected.delete(requestKey(operation, instance, params, cursorOf(params)))
  }

  /** @param answer whose cursor, if it has one, leads to the next page */
  note(operation: string, instance: string, params: object, answer: unknown): void {
    const cursor = cursorOf(answer)
    if (cursor === null) return
    const [oldest] = this.#expected
    if (this.#expected.size >= followUpLimit) this.#expected.delete(oldest)
    this.#expected.add(requestKey(operation, instance, params, cursor))
  }
}

function cursorOf(value: unknown): string | null {
  if (typeof value !== 'object' || value === null || !('cursor' in value)) return null
  return typeof value.cursor === 'string' ? value.cursor : null
}

/** All pages of a list are asked for alike, but for the cursor. */
function requestKey(operation: string, instance: string, params: object, cursor: string | null): string {
  return safeJson([operation, instance, cursor, { ...params, cursor: undefined }])
}
