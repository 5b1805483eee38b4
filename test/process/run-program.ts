// A program as a process of its own, run to its end: what it wrote and how it ended. Knows nothing of brokers.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** The folder of the project: tests run from build/test/<folder>. */
export const projectFolder = join(import.meta.dirname, '../../..')

export interface ProgramResult {
  code: number | null
  stdout: string
  stderr: string
}

export interface ProgramOptions {
  cwd?: string
  environment?: Record<string, string>
  /** A program that takes longer is killed, and its code is null. */
  deadlineMs?: number
}

export async function runProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramResult> {
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...environment, ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.deadlineMs ?? 60_000,
    killSignal: 'SIGKILL',
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}
