// The same for several names, one after the other: one that fails keeps none of the others from it, and what was done is told.
import { type AdminFlags, printJson } from './admin-command.ts'
import { reportError } from './report-error.ts'

/**
 * Sets the exit code of the last failure.
 * @param describe lines for people; with `--json` all results are printed at the end
 */
export async function oneByOne<Result>(
  names: readonly string[],
  flags: AdminFlags,
  act: (name: string) => Promise<Result>,
  describe: (name: string, result: Result) => string,
): Promise<void> {
  const results: Result[] = []
  for (const name of names) {
    try {
      const result = await act(name)
      results.push(result)
      if (!flags.json) process.stdout.write(`${describe(name, result)}\n`)
    } catch (error) {
      process.exitCode = reportError(error)
    }
  }
  if (flags.json) printJson(results)
}
