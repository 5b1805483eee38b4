// Requests that take a while, and how far each has come, for those who wait for the answer. Knows not what they do.
export interface LongWorkState {
  operation: string
  /** That is made by it. */
  instance: string
  /** From 0 to 1, as far as it is known. */
  share: number
}

export class LongWork {
  readonly #running = new Set<LongWorkState>()

  get running(): readonly LongWorkState[] {
    return [...this.#running]
  }

  async during<Result>(
    operation: string,
    instance: string,
    work: (onProgress: (share: number) => void) => Promise<Result>,
  ): Promise<Result> {
    const state: LongWorkState = { operation, instance, share: 0 }
    this.#running.add(state)
    try {
      return await work((share) => {
        state.share = Math.min(share, 1)
      })
    } finally {
      this.#running.delete(state)
    }
  }
}
