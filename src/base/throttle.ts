// Keeps a line of the log that a flood of peers could repeat without end from drowning the others: the first passes at once, then
// at most one per period, which tells how often it was held back. Knows neither the line nor the log.
import type { Clock } from './clock.ts'

export class Throttle {
  readonly #clock: Clock
  readonly #periodMs: number
  #passedAtMs = Number.NEGATIVE_INFINITY
  #heldBack = 0

  constructor(clock: Clock, periodMs: number) {
    this.#clock = clock
    this.#periodMs = periodMs
  }

  /** @returns how often it was held back since it last passed; null when it is held back now */
  pass(): number | null {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#passedAtMs < this.#periodMs) {
      this.#heldBack++
      return null
    }
    this.#passedAtMs = nowMs
    const heldBack = this.#heldBack
    this.#heldBack = 0
    return heldBack
  }
}
