// Keeps a line of the log from drowning the others: it passes at most once in a while, and tells how often it was held back.
import type { Clock } from '../base/clock.ts'

export class Throttle {
  readonly #clock: Clock
  readonly #periodMs: number
  #passedAtMs = Number.NEGATIVE_INFINITY
  #heldBack = 0

  constructor(clock: Clock, periodMs: number) {
    this.#clock = clock
    this.#periodMs = periodMs
  }

  /** @returns how often it was held back since it last passed, undefined for never; null when it is held back now */
  pass(): number | undefined | null {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs - this.#passedAtMs < this.#periodMs) {
      this.#heldBack++
      return null
    }
    this.#passedAtMs = nowMs
    const heldBack = this.#heldBack
    this.#heldBack = 0
    return heldBack === 0 ? undefined : heldBack
  }
}
