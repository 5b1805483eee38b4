// How time passes in a round: by the clock of the machine here, by turns of the event loop where a whole broker is simulated.

export interface Tempo {
  nowMs(): number
  pause(durationMs: number): Promise<void>
  /** @returns what calls it off */
  after(delayMs: number, act: () => void): () => void
  /** @returns what ends it */
  every(periodMs: number, act: () => void): () => void
}

export const realTempo: Tempo = {
  nowMs: () => performance.now(),
  pause: (durationMs) => new Promise((resolve) => setTimeout(resolve, durationMs)),
  after(delayMs, act) {
    const timer = setTimeout(act, delayMs)
    return () => clearTimeout(timer)
  },
  every(periodMs, act) {
    const timer = setInterval(act, periodMs)
    return () => clearInterval(timer)
  },
}
