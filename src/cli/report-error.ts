// Tells an error to whoever called the command, on the standard error, and says with which code to exit.
import { describeOperatorError, OperatorError } from '../base/errors.ts'
import { escapeText } from '../observe/log.ts'
import { type ExitCode, exitCodes } from './exit-codes.ts'

const alreadyRunningCodes = ['port-in-use', 'socket-in-use', 'directory-locked', 'directory-busy']
const usageCodes = [
  'usage',
  'bad-parameters',
  'user-name-invalid',
  'address-invalid',
  'address-unsupported',
  'not-applicable',
]
const notRunningCodes = ['daemon-not-running', 'not-running']

/** One line for each finding, so that editors and scripts can read `file:line:column`. */
export function reportError(error: unknown): ExitCode {
  if (!(error instanceof OperatorError)) {
    process.stderr.write(`atoll: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    return exitCodes.failure
  }
  const findings = findingsOf(error)
  for (const finding of findings) process.stderr.write(`${describeLine(finding)}\n`)
  return exitCodeOf(error)
}

/** A configuration error holds many findings, any other is its own. */
export function findingsOf(error: OperatorError): readonly OperatorError[] {
  return 'findings' in error && Array.isArray(error.findings) ? error.findings : [error]
}

export function describeLine(error: OperatorError): string {
  const line = escapeText(describeOperatorError(error))
  return error.place?.file === undefined ? `atoll: ${line}` : line
}

export function exitCodeOf(error: OperatorError): ExitCode {
  if (error.code === 'invalid-configuration') return exitCodes.configuration
  if (alreadyRunningCodes.includes(error.code)) return exitCodes.alreadyRunning
  if (notRunningCodes.includes(error.code)) return exitCodes.notRunning
  if (error.code.startsWith('no-such-') || error.code === 'unknown-instance') return exitCodes.notFound
  if (usageCodes.includes(error.code)) return exitCodes.usage
  if (error.code === 'interrupted' || error.code === 'terminated') return exitCodes[error.code]
  // A file named in the configuration, such as the password file.
  return error.place?.line === undefined ? exitCodes.failure : exitCodes.configuration
}
