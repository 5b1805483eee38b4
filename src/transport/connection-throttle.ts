// Lets so many new connections per second through; the next ones wait, unread, in a queue of one second's worth.
// Knows no limit but the rate.
import type { Socket } from 'node:net'
import type { Clock } from '../base/clock.ts'

const tickMs = 20

export class ConnectionThrottle {
  readonly #ratePerSecond: number
  readonly #clock: Clock
  readonly #admit: (socket: Socket) => void
  readonly #waiting = new Set<Socket>()
  #tokens: number
  #filledMs: number
  #stopTicking: (() => void) | null = null

  /** @param admit gets every socket whose turn has come, in the order of their coming; also from within `offer` */
  constructor(ratePerSecond: number, clock: Clock, admit: (socket: Socket) => void) {
    this.#ratePerSecond = ratePerSecond
    this.#clock = clock
    this.#admit = admit
    this.#tokens = this.#capacity
    this.#filledMs = clock.monotonicMs()
  }

  /** `refused`: the queue is full, and the socket still the caller's. */
  offer(socket: Socket): 'admitted' | 'waiting' | 'refused' {
    this.#fill()
    if (this.#waiting.size === 0 && this.#tokens >= 1) {
      this.#tokens--
      this.#admit(socket)
      return 'admitted'
    }
    if (this.#waiting.size >= this.#capacity) return 'refused'
    this.#waiting.add(socket)
    this.#stopTicking ??= this.#clock.every(tickMs, () => this.#tick())
    return 'waiting'
  }

  /** A socket that has closed needs no turn. */
  forget(socket: Socket): void {
    this.#waiting.delete(socket)
  }

  /** Closes everything that waits. */
  close(): void {
    for (const socket of this.#waiting) socket.destroy()
    this.#waiting.clear()
    this.#rest()
  }

  get #capacity(): number {
    return Math.max(1, Math.floor(this.#ratePerSecond))
  }

  #tick(): void {
    this.#fill()
    for (const socket of this.#waiting) {
      if (this.#tokens < 1) return
      this.#tokens--
      this.#waiting.delete(socket)
      this.#admit(socket)
    }
    this.#rest()
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs()
    this.#tokens = Math.min(this.#capacity, this.#tokens + ((nowMs - this.#filledMs) / 1000) * this.#ratePerSecond)
    this.#filledMs = nowMs
  }

  #rest(): void {
    this.#stopTicking?.()
    this.#stopTicking = null
  }
}
