// `atoll start --detach`: the same command in a process of its own, waited for until it is ready or has failed.
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import { readFleet } from './read-config.ts'
import type { RunOptions } from './run-daemon.ts'
import { describeOutcome, type StartOutcome } from './start-outcome.ts'

/**
 * Prints the process number, and on the standard error which instances have failed. What the daemon says of a failed start
 * comes there too, its exit code is ours.
 */
export async function startDetached(options: RunOptions): Promise<void> {
  const logFile = options.logFile ?? defaultLogFile(options)
  const flags = process.argv.slice(2).filter((word) => word !== '--detach' && word !== '-d')
  const ownLog = options.logFile === undefined ? ['--log-file', logFile] : []
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1], ...flags, ...ownLog], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  child.stderr!.pipe(process.stderr, { end: false })
  const outcome = await new Promise<StartOutcome | number>((resolve, reject) => {
    child.once('message', (message) => resolve(message as StartOutcome))
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
  if (typeof outcome === 'number') {
    process.exitCode = outcome
    return
  }
  process.stdout.write(`${child.pid}\n`)
  for (const line of describeOutcome(outcome)) process.stderr.write(`${line}\n`)
  child.stderr!.destroy()
  child.unref()
}

/** @throws OperatorError */
function defaultLogFile(options: RunOptions): string {
  const { logDir } = readFleet(options).fleet
  try {
    // Instances under accounts of their own reach their folders in it.
    mkdirSync(logDir, { recursive: true, mode: 0o751 })
  } catch (error) {
    throw new OperatorError('directory-missing', `the log directory cannot be created: ${(error as Error).message}`, {
      place: { key: 'logDir' },
      fix: 'set logDir, or name a file with --log-file',
      cause: error,
    })
  }
  return join(logDir, 'atoll.log')
}
