// Names and patterns with `*` and `?` on the command line, against the names that there are.
import { OperatorError } from '../base/errors.ts'

/**
 * @param patterns each has to match something
 * @param what for the error: `instance`
 * @returns in the order of `names`
 * @throws OperatorError `no-such-instance`
 */
export async function selectNames(
  patterns: readonly string[],
  names: readonly string[],
  what: string,
): Promise<ReadonlySet<string>> {
  const { matches } = await import('../config/include-files.ts')
  const selected = new Set<string>()
  for (const pattern of patterns) {
    const found = names.filter((name) => matches(name, pattern))
    if (found.length === 0) {
      throw new OperatorError(`no-such-${what}`, `there is no ${what} ${pattern}`, { fix: `see atoll ${what} list` })
    }
    for (const name of found) selected.add(name)
  }
  return selected
}
