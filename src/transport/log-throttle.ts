// A warning that a flood of peers could repeat without end: the first is written, then at most one per ten seconds.
import type { Clock } from '../base/clock.ts'
import type { TransportLog } from './transport-log.ts'

const pauseMs = 10_000

export class LogThrottle {
  readonly #log: TransportLog
  readonly #clock: Clock
  #quietUntilMs = Number.NEGATIVE_INFINITY
  #suppressed = 0

  constructor(log: TransportLog, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  warn(message: string, fields: Record<string, string | number>): void {
    const nowMs = this.#clock.monotonicMs()
    if (nowMs < this.#quietUntilMs) {
      this.#suppressed++
      return
    }
    this.#log.warn(message, { ...fields, suppressed: this.#suppressed })
    this.#suppressed = 0
    this.#quietUntilMs = nowMs + pauseMs
  }
}
