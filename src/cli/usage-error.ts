// An error of the command line itself: whoever called the command has to write it otherwise. Ends it with code 64.
import { OperatorError } from '../base/errors.ts'

export class UsageError extends OperatorError {
  constructor(message: string, fix?: string) {
    super('usage', message, { fix })
  }
}

/** Reads or checks arguments: what is wrong with them is wrong with the command line. @throws UsageError */
export function readArguments<Result>(read: () => Result): Result {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    const { message, fix, place } = error
    throw new UsageError(place?.key === undefined ? message : `${place.key}: ${message}`, fix ?? undefined)
  }
}
