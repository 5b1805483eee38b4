// Messages that were refused because the store could not take them: counts them, and tells the log of it with restraint, since a
// store that is short for a moment refuses some and is well again. Knows no store.
import type { Clock } from '../base/clock.ts'
import { Throttle } from '../base/throttle.ts'
import type { Counters } from '../observe/counters.ts'
import type { Log } from '../observe/log.ts'

const periodMs = 10_000

export class StoreRefusals {
  readonly #throttle: Throttle
  readonly #log: Log
  readonly #counters: Counters
  #messages = 0
  #untold = 0
  #reason = ''

  constructor(clock: Clock, log: Log, counters: Counters) {
    this.#throttle = new Throttle(clock, periodMs)
    this.#log = log
    this.#counters = counters
  }

  /** @param reason for people; of several that come within one period the last one is told */
  note(reason: string): void {
    this.#counters.refusedByStore++
    this.#messages++
    this.#untold++
    this.#reason = reason
    this.tell()
  }

  /** Tells what it is time for. @returns whether there is something to tell later */
  tell(): boolean {
    if (this.#untold === 0) return false
    if (this.#throttle.pass() === null) return true
    this.tellAll()
    return false
  }

  /** Whether it is time or not. */
  tellAll(): void {
    if (this.#untold === 0) return
    const fields = { refused: this.#untold, refusedInAll: this.#messages, reason: this.#reason }
    this.#log.warn('messages are refused, the store cannot take them', fields)
    this.#untold = 0
  }
}
