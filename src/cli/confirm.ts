// Asks before something is lost. Without a terminal nobody can answer, so that the answer has to be on the command line.
import { createInterface } from 'node:readline/promises'
import { OperatorError } from '../base/errors.ts'
import { escapeText } from '../observe/log.ts'

/**
 * @param what as in `delete the instance a`
 * @throws OperatorError `not-confirmed`
 */
export async function confirm(what: string, isConfirmed: boolean): Promise<void> {
  if (isConfirmed) return
  const fix = 'say so with --yes'
  if (!process.stdin.isTTY) throw new OperatorError('not-confirmed', `to ${what} has to be confirmed`, { fix })
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question(`Really ${escapeText(what)}? [y/N] `)
    if (!/^y(es)?$/i.test(answer.trim())) throw new OperatorError('not-confirmed', `did not ${what}`)
  } finally {
    terminal.close()
  }
}
