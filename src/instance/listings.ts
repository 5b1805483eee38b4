// Long lists in pages, read while they change. A cursor stands for a walk that goes on where it stopped, so that no page
// costs more than its own rows; walks that nobody goes on with are given up. Knows nothing of what is listed.
import { randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { OperatorError } from '../base/errors.ts'
import { Timer, type TimerWheel } from '../base/timer-wheel.ts'

export interface Page<Row> {
  items: Row[]
  /** For the next page; null when there is none. */
  cursor: string | null
}

/** Yields null for what is looked at and not listed. */
export type Walk<Row> = Iterator<Row | null, void, void>

interface OpenListing {
  readonly verb: string
  readonly walk: Walk<object>
  readonly timer: Timer<string>
}

export const rowsLimit = 1000
/** Walks that wait to be gone on with; the oldest is given up for a new one. */
const openLimit = 32
const idleLimitMs = 60_000
/** Entries looked at before others get their turn, and before a page ends however few rows it has. */
const stepsPerTurn = 1000
const stepsPerPage = 200_000
/** Texts of peers in one page; a row may have some of 64 KiB. */
const pageLimitChars = 4 * 1024 * 1024

export class Listings {
  readonly #wheel: TimerWheel
  readonly #open = new Map<string, OpenListing>()

  constructor(wheel: TimerWheel) {
    this.#wheel = wheel
  }

  /**
   * The first page of a walk, or the one that `cursor` stands for. A cursor is good for one page, and for a minute.
   * @param begin not called when there is a cursor: what was asked for at first holds
   * @throws OperatorError `unknown-cursor`
   */
  async page<Row extends object>(
    verb: string,
    { limit, cursor }: { limit: number; cursor?: string },
    begin: () => Walk<Row>,
  ): Promise<Page<Row>> {
    const walk = cursor === undefined ? begin() : (this.#take(verb, cursor) as Walk<Row>)
    const items: Row[] = []
    let chars = 0
    for (let steps = 1; steps <= stepsPerPage; steps++) {
      const { done, value } = walk.next()
      if (done === true) return { items, cursor: null }
      if (value !== null) {
        items.push(value as Row)
        chars += countChars(value as Row)
      }
      if (items.length === limit || chars >= pageLimitChars) break
      if (steps % stepsPerTurn === 0) await setImmediate()
    }
    return { items, cursor: this.#keep(verb, walk) }
  }

  #take(verb: string, cursor: string): Walk<object> {
    const listing = this.#open.get(cursor)
    if (listing === undefined || listing.verb !== verb) {
      throw new OperatorError('unknown-cursor', 'the cursor was used before, is too old, or belongs to another list', {
        place: { key: 'cursor' },
        fix: 'begin again without a cursor',
      })
    }
    this.#forget(cursor, listing)
    return listing.walk
  }

  #keep(verb: string, walk: Walk<object>): string {
    if (this.#open.size >= openLimit) {
      const [[oldest, listing]] = this.#open
      this.#forget(oldest, listing)
    }
    const cursor = randomUUID()
    const timer = new Timer<string>(cursor, (expired) => void this.#open.delete(expired))
    this.#open.set(cursor, { verb, walk, timer })
    this.#wheel.set(timer, idleLimitMs)
    return cursor
  }

  #forget(cursor: string, { timer }: OpenListing): void {
    this.#open.delete(cursor)
    this.#wheel.clear(timer)
  }
}

function countChars(row: object): number {
  let chars = 0
  for (const value of Object.values(row)) if (typeof value === 'string') chars += value.length
  return chars
}
