// Looks after something from time to time, as long as its loop has work to do: what nobody touches needs no looking after, and a
// process in which nothing happens is not woken for it. Knows only that there was work, not which.
import type { Clock } from '../base/clock.ts'
import type { Loop } from './loop.ts'

export class Pulse {
  readonly #loop: Loop
  readonly #clock: Clock
  readonly #periodMs: number
  readonly #beat: () => boolean
  #stopClock: (() => void) | null = null
  #isStopped = false
  /** The loop's turn after the last beat. */
  #turn = -1

  /** @param beat whether it has to be called again although nothing happens in between */
  constructor(loop: Loop, clock: Clock, periodMs: number, beat: () => boolean) {
    this.#loop = loop
    this.#clock = clock
    this.#periodMs = periodMs
    this.#beat = beat
  }

  start(): void {
    if (this.#isStopped) return
    this.#stopClock = this.#clock.every(this.#periodMs, () => this.#tick())
  }

  /** For good. */
  stop(): void {
    this.#isStopped = true
    this.#stopClock?.()
  }

  #tick(): void {
    const isQuiet = this.#loop.turn === this.#turn
    const isNeeded = this.#beat()
    // Without what the beat itself has done.
    this.#turn = this.#loop.turn
    if (!isQuiet || isNeeded || this.#isStopped) return
    this.#stopClock?.()
    this.#loop.whenWoken(() => this.start())
  }
}
