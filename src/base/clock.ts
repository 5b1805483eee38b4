// Time as everything below the instance sees it: passed in, so that a test can crank it by hand.

export interface Clock {
  /** Milliseconds that never jump; for timers and durations. */
  monotonicMs(): number
  /** Milliseconds since the epoch; for what is stored or shown. */
  wallMs(): number
  /** Calls `tick` every `periodMs` until the returned function is called. Never keeps a process alive. */
  every(periodMs: number, tick: () => void): () => void
}

/** The clock of the operating system. */
export function createSystemClock(): Clock {
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    every(periodMs, tick) {
      const timer = setInterval(tick, periodMs)
      timer.unref()
      return () => clearInterval(timer)
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
