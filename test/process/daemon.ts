// The broker as its users run it: `atoll start` in a process and a folder of its own. What it writes is waited for by
// its text; what is still alive at the end of a test is killed.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { DEADLINE_MS, RawClient } from '../kit/raw-client.ts'
import type { Level } from '../kit/wire.ts'
import { projectFolder } from './run-program.ts'

const command = join(projectFolder, 'dist/cli/main.js')
/** Beyond the grace period of any test. */
const orphansLimitMs = 4 * DEADLINE_MS

/** What a configuration file may say: the tests write it as JSON. */
export type Configuration = Record<string, unknown>

export interface StartOptions {
  environment?: Record<string, string>
  /** Descriptors from 3 on. */
  descriptors?: number[]
}

export class Daemon {
  readonly child: ChildProcess
  readonly #closed: Promise<unknown>
  stdout = ''
  stderr = ''
  /** Processes of instances that were there when the daemon was killed: they see that it has gone, and end by themselves. */
  #orphans: number[] = []
  #wake = () => {}

  constructor(args: readonly string[], { environment = {}, descriptors = [] }: StartOptions) {
    // The shell tells the broker its own process number, as a service manager does.
    const script = descriptors.length > 0 ? 'export LISTEN_PID=$$; exec "$0" "$@"' : 'exec "$0" "$@"'
    const stdio: StdioOptions = ['ignore', 'pipe', 'pipe', ...descriptors]
    this.child = spawn('/bin/sh', ['-c', script, process.execPath, command, ...args], {
      env: { PATH: process.env.PATH, HOME: '/nonexistent', ...environment },
      stdio,
    })
    const hear = (name: 'stdout' | 'stderr') => (text: string) => {
      this[name] += text
      this.#wake()
    }
    this.child.stdout!.setEncoding('utf8').on('data', hear('stdout'))
    this.child.stderr!.setEncoding('utf8').on('data', hear('stderr'))
    this.#closed = once(this.child, 'close').then(() => this.#wake())
  }

  /** Waits until what it has written to the standard output since the position `from` matches. */
  async said(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    const endAtMs = performance.now() + 2 * DEADLINE_MS
    for (;;) {
      const found = pattern.exec(this.stdout.slice(from))
      if (found !== null) return found
      const leftMs = endAtMs - performance.now()
      if (leftMs <= 0 || this.child.exitCode !== null || this.child.signalCode !== null) {
        assert.fail(`the broker did not say ${pattern}:\n${this.stdout}${this.stderr}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  async ready(): Promise<this> {
    await this.said(/ ready instance=/)
    return this
  }

  /** SIGHUP, and what it says about it. @returns the lines that the reload has written */
  async reload(): Promise<string> {
    const from = this.stdout.length
    this.child.kill('SIGHUP')
    await this.said(/configuration reloaded|reloaded in part|nothing was reloaded/, from)
    return this.stdout.slice(from)
  }

  kill(signal: NodeJS.Signals): void {
    if (signal === 'SIGKILL' && this.#isAlive) {
      // It starts no more of them while it is looked at.
      this.child.kill('SIGSTOP')
      this.#orphans = childrenOf(this.child.pid!)
    }
    this.child.kill(signal)
  }

  get #isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** The exit code, or the signal that ended it; fails when it lives on. */
  async ended(): Promise<number | NodeJS.Signals> {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      this.child.kill('SIGKILL')
    }, 2 * DEADLINE_MS)
    await this.#closed
    clearTimeout(timer)
    if (isLate) assert.fail(`the broker did not end:\n${this.stdout}${this.stderr}`)
    return this.child.exitCode ?? this.child.signalCode!
  }

  /** Ends it, if nobody has, and waits until nobody is left who could write into its folders. */
  async leave(): Promise<void> {
    this.kill('SIGKILL')
    await this.ended()
    const endAtMs = performance.now() + orphansLimitMs
    for (const pid of this.#orphans) {
      while (isThere(pid)) {
        if (performance.now() > endAtMs) assert.fail(`the host process ${pid} outlives its daemon:\n${this.stdout}`)
        await delay(10)
      }
    }
  }
}

function childrenOf(pid: number): number[] {
  return processes().flatMap(([own, parent]) => (parent === pid ? [own!] : []))
}

/** Number and parent of every process. */
function processes(): number[][] {
  if (process.platform !== 'linux') {
    const rows = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
    return rows.map((row) => row.trim().split(/\s+/).map(Number))
  }
  return readdirSync('/proc').flatMap((name) => {
    try {
      // The name of the program stands in parentheses and may hold anything; state and parent come after it.
      const [, parent] = readFileSync(`/proc/${Number(name)}/stat`, 'utf8')
        .split(') ')
        .at(-1)!
        .split(' ')
      return [[Number(name), Number(parent)]]
    } catch {
      // No process, or one that has ended meanwhile.
      return []
    }
  })
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** A folder with the configuration, sockets and brokers of one test. */
export class Workplace {
  readonly folder: string
  readonly socketPath: string
  readonly configFile: string
  readonly #daemons: Daemon[] = []
  readonly #clients: RawClient[] = []

  constructor(context: TestContext) {
    this.folder = mkdtempSync(join(tmpdir(), 'atoll-process-'))
    this.socketPath = join(this.folder, 'x.sock')
    this.configFile = join(this.folder, 'atoll.json')
    context.after(() => this.#leave())
  }

  async #leave(): Promise<void> {
    for (const client of this.#clients) client.destroy()
    for (const daemon of this.#daemons) await daemon.leave()
    rmSync(this.folder, { recursive: true, force: true })
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  write(name: string, text: string): string {
    writeFileSync(this.path(name), text, { mode: 0o600 })
    return this.path(name)
  }

  read(name: string): string {
    return readFileSync(this.path(name), 'utf8')
  }

  configure(configuration: Configuration): void {
    const folders = { runDir: this.path('run'), dataDir: this.path('data'), logDir: this.path('log') }
    const common = { ...folders, features: { sysInterval: 0 } }
    writeFileSync(this.configFile, JSON.stringify({ ...common, ...configuration }, null, 2))
  }

  /** The broker of the configuration, not yet ready. */
  start(options: StartOptions = {}): Daemon {
    const daemon = new Daemon(['start', '-c', this.configFile], options)
    this.#daemons.push(daemon)
    return daemon
  }

  /** A connected client over the socket, or over a tcp port. */
  async client(place: { port: number } | { path: string } = { path: this.socketPath }, level: Level = 5) {
    const client = await this.connect(place, level)
    await client.handshake()
    return client
  }

  /** A connection on which nothing was sent. */
  async connect(place: { port: number } | { path: string }, level: Level = 5): Promise<RawClient> {
    const client = await RawClient.connect(place, { level })
    this.#clients.push(client)
    return client
  }
}

/** The port that the broker was given for the listener. */
export async function portOf(daemon: Daemon, listener: string, from = 0): Promise<number> {
  const pattern = new RegExp(`listening listener=${listener} address=tcp://127\\.0\\.0\\.1:(\\d+)\n`)
  return Number((await daemon.said(pattern, from))[1])
}
