// How long something took, for what has to come in time: a machine that stands still, as a virtual one may for seconds, makes
// nothing late.
import assert from 'node:assert/strict'

const stepMs = 50
/** What a step may take on a machine that is merely busy. */
const longestStepMs = 4 * stepMs

export class Stopwatch {
  readonly #beganAtMs = performance.now()
  #lastMs = this.#beganAtMs
  #awakeMs = 0
  readonly #timer = setInterval(() => this.#step(), stepMs).unref()

  /** Without the time in which this process stood still. */
  get awakeMs(): number {
    this.#step()
    return this.#awakeMs
  }

  #step(): void {
    const nowMs = performance.now()
    this.#awakeMs += Math.min(nowMs - this.#lastMs, longestStepMs)
    this.#lastMs = nowMs
  }

  /** Not before `leastMs`, and before this process was awake for `mostMs`. Stops it. */
  assertBetween(leastMs: number, mostMs: number, what: string): void {
    const elapsedMs = performance.now() - this.#beganAtMs
    assert.ok(elapsedMs >= leastMs && this.awakeMs < mostMs, `${what} after ${elapsedMs} ms`)
    clearInterval(this.#timer)
  }
}
