// Work that Ctrl-C and SIGTERM end in order: what was begun is taken back, and the exit code tells the signal.
import { OperatorError } from '../base/errors.ts'

/**
 * @param work gets a signal that is aborted by SIGINT and SIGTERM, and throws its reason then; a second one ends the process at once
 * @param what as in `the backup`
 * @throws OperatorError `interrupted`, `terminated`
 */
export async function interruptible<Result>(
  what: string,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController()
  const end = (code: string) => () =>
    controller.abort(new OperatorError(code, `${what} was ${code}, and nothing is left of it`))
  const [interrupt, terminate] = [end('interrupted'), end('terminated')]
  process.once('SIGINT', interrupt).once('SIGTERM', terminate)
  try {
    return await work(controller.signal)
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', terminate)
  }
}
