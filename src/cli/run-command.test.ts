// What the tests of this folder share: the built command as a real process.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export interface Result {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** A process whose output is collected. */
export class Running {
  readonly child: ChildProcess
  readonly #closed: Promise<unknown>
  stdout = ''
  stderr = ''

  constructor(args: readonly string[], environment: Record<string, string>, input: string | null) {
    this.child = spawn(process.execPath, args, {
      env: { PATH: process.env.PATH, ...environment },
      stdio: [input === null ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    this.#closed = once(this.child, 'close')
    this.child.stdout!.setEncoding('utf8').on('data', (text) => {
      this.stdout += text
    })
    this.child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.stderr += text
    })
    this.child.stdin?.end(input)
  }

  /** Waits until the standard output has `text`; fails when the process ends before. */
  async saw(text: string): Promise<void> {
    while (!this.stdout.includes(text)) {
      const more = await Promise.race([once(this.child.stdout!, 'data'), this.#closed.then(() => null)])
      if (more === null && !this.stdout.includes(text)) {
        throw new Error(`ended without ${JSON.stringify(text)}\n${this.stdout}${this.stderr}`)
      }
    }
  }

  async ended(): Promise<Result> {
    await this.#closed
    return { code: this.child.exitCode, signal: this.child.signalCode, stdout: this.stdout, stderr: this.stderr }
  }
}

export function atoll(args: readonly string[], environment: Record<string, string> = {}, input: string | null = null) {
  return new Running(
    [join(import.meta.dirname, 'main.js'), ...args],
    { HOME: '/nonexistent', ...environment },
    input,
  ).ended()
}
