// Time as everything below the instance sees it: passed in, so that a test can crank it by hand.

export interface Clock {
  /** Milliseconds that never jump; for timers and durations. */
  monotonicMs(): number
  /** Milliseconds since the epoch; for what is stored or shown. */
  wallMs(): number
  /** Calls `tick` every `periodMs` until the returned function is called. Never keeps a process alive. */
  every(periodMs: number, tick: () => void): () => void
}

/** Busy loops are not as late as this: the process, or its machine, stood still. */
const standstillMs = 1000
/** Enough to read what waits, and for local clients that stood still too to say what they had to. */
const settleMs = 1000

/**
 * The clock of the operating system. After a standstill (a virtual machine that was moved, a stopped process) what is due waits a second:
 * nobody may be held silent, or absent, whose packets are still to be read.
 */
export function createSystemClock(): Clock {
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    every(periodMs, tick) {
      let dueMs = performance.now() + periodMs
      let settling: NodeJS.Timeout | null = null
      const timer = setInterval(() => {
        const nowMs = performance.now()
        const lateMs = nowMs - dueMs
        dueMs = nowMs + periodMs
        if (settling !== null) return
        if (lateMs < standstillMs) return tick()
        settling = setTimeout(() => {
          settling = null
          tick()
        }, settleMs).unref()
      }, periodMs)
      timer.unref()
      return () => {
        clearInterval(timer)
        if (settling !== null) clearTimeout(settling)
      }
    },
  }
}

/** A clock that stands still until `advance` is called. */
export class ManualClock implements Clock {
  #nowMs = 0
  readonly #epochMs: number
  readonly #repeating = new Set<{ periodMs: number; nextMs: number; tick: () => void }>()

  constructor(epochMs = 1_700_000_000_000) {
    this.#epochMs = epochMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#epochMs + this.#nowMs
  }

  every(periodMs: number, tick: () => void): () => void {
    const entry = { periodMs, nextMs: this.#nowMs + periodMs, tick }
    this.#repeating.add(entry)
    return () => this.#repeating.delete(entry)
  }

  /** Moves time on by `durationMs`, running every tick that falls due, in order. */
  advance(durationMs: number): void {
    const endMs = this.#nowMs + durationMs
    for (;;) {
      let next: { periodMs: number; nextMs: number; tick: () => void } | null = null
      for (const entry of this.#repeating) {
        if (entry.nextMs <= endMs && (next === null || entry.nextMs < next.nextMs)) next = entry
      }
      if (next === null) break
      this.#nowMs = next.nextMs
      next.nextMs += next.periodMs
      next.tick()
    }
    this.#nowMs = endMs
  }
}
