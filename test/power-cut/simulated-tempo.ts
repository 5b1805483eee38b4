// Time of a simulated round: one millisecond is one turn of the event loop, so that a second takes no longer than its work.
// Each life of a broker has a clock of its own that stops with it.
import type { Clock } from 'atollmq'
import { ManualClock } from 'atollmq/testing'
import type { Tempo } from '../crash/tempo.ts'

export class SimulatedTempo implements Tempo {
  readonly #clock = new ManualClock()
  #isOver = false
  #isStill = false

  constructor() {
    const turn = (): void => {
      if (!this.#isStill) this.#clock.advance(1)
      if (!this.#isOver) setImmediate(turn)
    }
    setImmediate(turn)
  }

  readonly nowMs = (): number => this.#clock.monotonicMs()

  /** For what takes a number of turns that nobody can tell. */
  async still<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#isStill = true
    try {
      return await work()
    } finally {
      this.#isStill = false
    }
  }

  pause(durationMs: number): Promise<void> {
    return new Promise((resolve) => this.after(durationMs, resolve))
  }

  after(delayMs: number, act: () => void): () => void {
    const callOff = this.#clock.every(Math.max(1, delayMs), () => {
      callOff()
      act()
    })
    return callOff
  }

  every(periodMs: number, act: () => void): () => void {
    return this.#clock.every(periodMs, act)
  }

  /** A clock for one life, and what stops it. */
  clock(): { clock: Clock; stop: () => void } {
    const clock = this.#clock
    const endings = new Set<() => void>()
    let isStopped = false
    return {
      clock: {
        monotonicMs: () => clock.monotonicMs(),
        wallMs: () => clock.wallMs(),
        every(periodMs, tick) {
          if (isStopped) return () => {}
          const end = clock.every(periodMs, tick)
          endings.add(end)
          return () => {
            end()
            endings.delete(end)
          }
        },
      },
      stop() {
        isStopped = true
        for (const end of endings) end()
      },
    }
  }

  end(): void {
    this.#isOver = true
  }
}
