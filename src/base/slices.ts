// Long work that shares its event loop: done in slices, between which everybody else gets a turn. Knows nothing of the work.
import { setImmediate } from 'node:timers/promises'
import type { Clock } from './clock.ts'

/** How long the others wait for one slice. */
export const sliceMs = 5
/** The clock is looked at after so many steps: a look costs a part of a short step. */
const stepsPerLook = 8

export interface SlicesOptions {
  /** Resolves in the turn in which the next slice may begin; by default the next one. */
  readonly nextTurn?: () => Promise<unknown>
  /** Ends the work between two slices. */
  readonly signal?: AbortSignal
}

/** Of one piece of work; the first slice begins at once. */
export class Slices {
  readonly #clock: Clock
  readonly #nextTurn: () => Promise<unknown>
  readonly #signal: AbortSignal | undefined
  #endsAtMs: number
  #steps = 0
  #isOver = false

  constructor(clock: Clock, { nextTurn = setImmediate, signal }: SlicesOptions = {}) {
    this.#clock = clock
    this.#nextTurn = nextTurn
    this.#signal = signal
    this.#endsAtMs = clock.monotonicMs() + sliceMs
  }

  /** To be asked after each step, of some microseconds; stays true until `next`. */
  get isOver(): boolean {
    if (++this.#steps % stepsPerLook === 0) this.#isOver ||= this.#clock.monotonicMs() >= this.#endsAtMs
    return this.#isOver
  }

  /** Ends the slice. @throws (rejects) the reason of the signal */
  async next(): Promise<void> {
    await this.#nextTurn()
    this.#signal?.throwIfAborted()
    this.#isOver = false
    this.#endsAtMs = this.#clock.monotonicMs() + sliceMs
  }

  /**
   * Visits everything, and keeps nothing open from one slice to the next.
   * @param read gives what comes after `last`, from the beginning for null
   */
  async each<Item>(read: (last: Item | null) => Iterable<Item>, visit: (item: Item) => void): Promise<void> {
    for (let last: Item | null = null; ; await this.next()) {
      let end: Item | null = null
      for (const item of read(last)) {
        visit(item)
        if (!this.isOver) continue
        end = item
        break
      }
      if (end === null) return
      last = end
    }
  }
}
