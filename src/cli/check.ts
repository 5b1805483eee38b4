// `atoll check`: says everything that is wrong with a configuration and the files that it names, and starts nothing.
import type { Command } from 'commander'
import { OperatorError } from '../base/errors.ts'
import { addConfigOptions } from './config-options.ts'
import { exitCodes } from './exit-codes.ts'
import type { ConfigOptions } from './read-config.ts'
import { describeLine, findingsOf } from './report-error.ts'

export function registerCheck(program: Command): void {
  addConfigOptions(program.command('check'))
    .description('check a configuration: one line per finding on the standard error, and exit code 2')
    .option('--json', 'print the result as JSON on the standard output')
    .action(check)
}

async function check(options: ConfigOptions & { json?: true }): Promise<void> {
  const { readConfig } = await import('./read-config.ts')
  const { checkAuthFiles } = await import('./check-auth-files.ts')
  let listeners = 0
  let findings: readonly OperatorError[]
  try {
    const { config } = readConfig(options)
    listeners = config.listeners.length
    findings = checkAuthFiles(config.auth)
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    findings = findingsOf(error)
  }
  const isOk = findings.length === 0
  if (options.json) {
    const shown = findings.map(({ code, message, fix, place }) => ({ code, message, fix, ...place }))
    const result = isOk ? { ok: true, instances: 1, listeners, findings: shown } : { ok: false, findings: shown }
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  } else if (isOk) {
    process.stdout.write(`ok: 1 instance, ${listeners} ${listeners === 1 ? 'listener' : 'listeners'}\n`)
  } else {
    for (const finding of findings) process.stderr.write(`${describeLine(finding)}\n`)
  }
  process.exitCode = isOk ? exitCodes.ok : exitCodes.configuration
}
