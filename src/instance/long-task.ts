// Work that takes longer than a request may: one at a time, asked for by a number until it is done. Knows not what it does.
import { OperatorError } from '../base/errors.ts'
import { within } from './within.ts'

export interface TaskState {
  task: number
  /** From 0 to 1, as far as it is known. */
  share: number
  isDone: boolean
  /** null until it is done. */
  result: Record<string, unknown> | null
}

/** An answer waits so long for the end. */
const patienceMs = 1000
/** The first one: what is wrong at once is said at once, and who wants to cancel it needs its number soon. */
const firstPatienceMs = 20

export class LongTask {
  #number = 0
  #share = 0
  #work: Promise<Record<string, unknown>> | null = null
  #isRunning = false
  #cancelling = new AbortController()

  /**
   * @param work throws the reason of the signal when that is aborted
   * @throws OperatorError `busy`, or what the work throws
   */
  begin(
    work: (onProgress: (share: number) => void, signal: AbortSignal) => Promise<Record<string, unknown>>,
  ): Promise<TaskState> {
    if (this.#isRunning) {
      throw new OperatorError('busy', 'another backup or check of this instance is on its way', {
        fix: 'try again when it has ended',
      })
    }
    const number = ++this.#number
    this.#share = 0
    this.#isRunning = true
    this.#cancelling = new AbortController()
    this.#work = work((share) => {
      this.#share = Math.min(share, 1)
    }, this.#cancelling.signal).finally(() => {
      this.#isRunning = false
    })
    // Whoever asks for it is told.
    this.#work.catch(() => {})
    return this.#state(number, firstPatienceMs)
  }

  /** @throws (rejects) OperatorError `no-such-task`, or what the work has thrown */
  ask(task: number): Promise<TaskState> {
    return this.#state(task, patienceMs)
  }

  /**
   * Tells the work to end; it may need a while for that, and is one that is on its way until then.
   * @returns false when it had ended by itself
   * @throws OperatorError `no-such-task`
   */
  async cancel(task: number): Promise<boolean> {
    const work = this.#expectWork(task)
    if (!this.#isRunning) return false
    this.#cancelling.abort(new OperatorError('cancelled', 'the backup or check was cancelled'))
    await within(patienceMs, work).catch(() => {})
    return true
  }

  async #state(task: number, waitMs: number): Promise<TaskState> {
    const result = await within(waitMs, this.#expectWork(task))
    return { task, share: result === null ? this.#share : 1, isDone: result !== null, result }
  }

  #expectWork(task: number): Promise<Record<string, unknown>> {
    if (this.#work !== null && task === this.#number) return this.#work
    throw new OperatorError('no-such-task', `there is no task ${task} any more`, { place: { key: 'task' } })
  }
}
