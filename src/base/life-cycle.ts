// The one phase of anything that has a life, and the table of its legal transitions. Knows nothing of what lives.

/** For every phase the phases that may follow it. */
export type Transitions<Phase extends string> = { readonly [From in Phase]: readonly Phase[] }

export class LifeCycle<Phase extends string> {
  #current: Phase
  readonly #transitions: Transitions<Phase>

  constructor(transitions: Transitions<Phase>, initial: Phase) {
    this.#transitions = transitions
    this.#current = initial
  }

  get current(): Phase {
    return this.#current
  }

  /** @throws Error when the table does not lead from the current phase to `next`: always a bug of ours */
  to(next: Phase): void {
    if (!this.#transitions[this.#current].includes(next)) {
      throw new Error(`illegal transition from ${this.#current} to ${next}`)
    }
    this.#current = next
  }
}
