// Work that takes longer than a request may: one at a time, asked for by a number until it is done. Knows not what it does.
import { OperatorError } from '../base/errors.ts'

export interface TaskState {
  task: number
  /** From 0 to 1, as far as it is known. */
  share: number
  isDone: boolean
  /** null until it is done. */
  result: Record<string, unknown> | null
}

/** An answer waits so long for the end, so that short work needs no second question. */
const patienceMs = 1000

export class LongTask {
  #number = 0
  #share = 0
  #work: Promise<Record<string, unknown>> | null = null
  #isRunning = false

  /** @throws OperatorError `busy`, or what the work throws */
  begin(work: (onProgress: (share: number) => void) => Promise<Record<string, unknown>>): Promise<TaskState> {
    if (this.#isRunning) {
      throw new OperatorError('busy', 'another backup or check of this instance is on its way', {
        fix: 'try again when it has ended',
      })
    }
    const number = ++this.#number
    this.#share = 0
    this.#isRunning = true
    this.#work = work((share) => {
      this.#share = Math.min(share, 1)
    }).finally(() => {
      this.#isRunning = false
    })
    // Whoever asks for it is told.
    this.#work.catch(() => {})
    return this.ask(number)
  }

  /** @throws OperatorError `no-such-task`, or what the work has thrown */
  async ask(task: number): Promise<TaskState> {
    if (this.#work === null || task !== this.#number) {
      throw new OperatorError('no-such-task', `there is no task ${task} any more`, { place: { key: 'task' } })
    }
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, patienceMs, null)
    })
    try {
      const result = await Promise.race([this.#work, patience])
      return { task, share: result === null ? this.#share : 1, isDone: result !== null, result }
    } finally {
      clearTimeout(timer)
    }
  }
}
