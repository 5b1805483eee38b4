// One host process as the supervisor holds it: starts it, speaks with it, keeps its last words, and sees to it that it
// ends. Which instances run in it, and why, is the business of others.
import { type ChildProcess, fork, type Serializable } from 'node:child_process'
import { constants, setPriority } from 'node:os'
import { OperatorError } from '../base/errors.ts'
import type { StreamHandle } from '../transport/stream-handle.ts'
import { errorOf, type FromHost, fromJson, type HostRequest, type ToHost } from './host-protocol.ts'
import type { AcceptedConnection, Observation } from './member-host.ts'

export interface HostProcessOptions {
  /** File of the entry, `host-main.js`. */
  entry: string
  environment: Readonly<Record<string, string | undefined>>
  /** Whether many instances share it, most of them idle. */
  isShared: boolean
  /** Limit of the JavaScript heap, 0 for Node's own. */
  heapBytes: number
  /** null leaves those of the daemon. */
  uid: number | null
  gid: number | null
  nice: number
  /** Descriptors that it gets under the same numbers: 3, 4 … without a gap. */
  inheritedFds: readonly number[]
  /** What it writes to its standard output and error, line by line. */
  onLine: (line: string) => void
}

/** An instance in the process. */
export interface Guest {
  /** @param reason for people */
  ended(reason: string): void
  observed(observation: Observation): void
}

interface PendingRequest {
  resolve(result: unknown): void
  reject(error: OperatorError): void
  timer: NodeJS.Timeout | undefined
}

const helloTimeLimitMs = 30_000
/** How long a process without instances may take to end. */
const endTimeLimitMs = 2000
const lineLimitChars = 8192
const lastWordsLimit = 50
const mib = 1024 * 1024
/** Variables by which service managers speak to the daemon and to nobody else. */
const privateVariables = ['NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC', 'LISTEN_PID']
const socketVariables = ['LISTEN_FDS', 'LISTEN_FDNAMES']
/**
 * A process keeps for good what it needed at the busiest moment of its start, so one with many instances starts them in little:
 * this is the largest size of the young generation that costs no speed.
 */
const sharedFlags = ['--max-semi-space-size=4']
/**
 * glibc takes from its heap what is larger than anything freed before. An environment of LMDB has megabytes of tables of which
 * it touches little; from the heap they would be zeroed, and each instance that starts again would hold them in full.
 */
const sharedVariables: Readonly<Record<string, string>> = { MALLOC_MMAP_THRESHOLD_: '65536' }

export class HostProcess {
  readonly #child: ChildProcess
  readonly #guests = new Map<string, Guest>()
  readonly #pending = new Map<number, PendingRequest>()
  /** Handed over and not yet known to have arrived. */
  readonly #travelling = new Map<number, AcceptedConnection>()
  /** For each connection in the host what is to be called when it has closed. */
  readonly #released = new Map<number, () => void>()
  readonly #lastWords: string[] = []
  readonly #ended: Promise<void>
  #asking: Promise<boolean> | null = null
  #isSilent = false
  #nextId = 1
  #endReason: string | null = null
  #sayHello: () => void = () => {}

  /**
   * Resolves when the process listens to us.
   * @throws OperatorError `host-failed` or `host-ended`; `nice-not-permitted`
   */
  static async launch(options: HostProcessOptions): Promise<HostProcess> {
    const host = new HostProcess(options)
    await host.#greeted(options.nice)
    return host
  }

  private constructor(options: HostProcessOptions) {
    const env: Record<string, string | undefined> = {
      ...(options.isShared ? sharedVariables : {}),
      ...options.environment,
    }
    for (const name of privateVariables) delete env[name]
    if (options.inheritedFds.length === 0) for (const name of socketVariables) delete env[name]
    this.#child = fork(options.entry, [], {
      env,
      execArgv: [
        ...(options.isShared ? sharedFlags : []),
        ...(options.heapBytes === 0 ? [] : [`--max-old-space-size=${Math.ceil(options.heapBytes / mib)}`]),
      ],
      stdio: ['ignore', 'pipe', 'pipe', ...options.inheritedFds, 'ipc'],
      uid: options.uid ?? undefined,
      gid: options.gid ?? undefined,
    })
    const onLine = (line: string) => {
      if (this.#lastWords.push(line) > lastWordsLimit) this.#lastWords.shift()
      options.onLine(line)
    }
    const open = [splitLines(this.#child.stdout!, options.onLine), splitLines(this.#child.stderr!, onLine)]
    this.#child.on('message', (message) => this.#received(message as FromHost))
    this.#ended = new Promise((resolve) => {
      const end = async (reason: string) => {
        if (this.#endReason !== null) return
        this.#endReason = reason
        // The last words may still be on their way.
        await Promise.race([Promise.all(open), new Promise((late) => setTimeout(late, 200).unref())])
        this.#endReason = `${reason}${this.#cause()}`
        this.#forgetAll(this.#endReason)
        resolve()
      }
      this.#child.once('exit', (code, signal) => {
        void end(
          signal === null ? `the host process ended with exit code ${code}` : `the host process was ended by ${signal}`,
        )
      })
      // Without a process there is no 'exit'.
      this.#child.on('error', (error) => {
        if (this.#child.pid === undefined) void end(`the host process cannot be started: ${error.message}`)
      })
    })
  }

  get pid(): number | null {
    return this.#endReason === null ? (this.#child.pid ?? null) : null
  }

  get isAlive(): boolean {
    return this.#endReason === null && this.#child.connected
  }

  async #greeted(nice: number): Promise<void> {
    const { promise, resolve, reject } = withResolvers()
    this.#sayHello = resolve
    const late = () => reject(new OperatorError('host-failed', 'the host process did not come up in time'))
    const timer = setTimeout(late, helloTimeLimitMs)
    const ended = () => reject(this.#endedError())
    void this.#ended.then(ended)
    try {
      if (nice !== 0 && this.#child.pid !== undefined) setNice(this.#child.pid, nice)
      await promise
    } catch (error) {
      this.kill()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  attach(name: string, guest: Guest): void {
    this.#guests.set(name, guest)
  }

  detach(name: string): void {
    this.#guests.delete(name)
  }

  /** Lets go of a process without instances; one that does not end then is killed. */
  async end(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect()
    const timer = setTimeout(() => this.kill(), endTimeLimitMs)
    await this.#ended
    clearTimeout(timer)
  }

  /** @param timeLimitMs may be infinite. @throws OperatorError: what the host answers, `no-answer` after the limit, `host-ended` */
  request(request: HostRequest, timeLimitMs: number): Promise<unknown> {
    if (!this.isAlive) return Promise.reject(this.#endedError())
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const late = () => {
        this.#pending.delete(id)
        reject(new OperatorError('no-answer', `the host process has not answered within ${timeLimitMs / 1000} s`))
      }
      const timer = timeLimitMs === Number.POSITIVE_INFINITY ? undefined : setTimeout(late, timeLimitMs)
      this.#pending.set(id, { resolve, reject, timer })
      this.#send({ ...request, id })
    })
  }

  /** Was asked whether it is there, and has said nothing since. */
  get isSilent(): boolean {
    return this.#isSilent
  }

  /** Asks whether it is there. One that has left a question open is not asked again: it may still answer that one. */
  isAnswering(timeLimitMs: number): Promise<boolean> {
    if (this.#isSilent || !this.isAlive) return Promise.resolve(!this.#isSilent)
    this.#asking ??= this.request({ kind: 'ping' }, timeLimitMs)
      .catch((error: OperatorError) => {
        this.#isSilent = error.code === 'no-answer'
      })
      .then(() => {
        this.#asking = null
        return !this.#isSilent
      })
    return this.#asking
  }

  adopt(name: string, connection: AcceptedConnection): void {
    if (!this.isAlive) {
      connection.giveBack()
      return
    }
    const id = this.#nextId++
    this.#travelling.set(id, connection)
    const { listener, peer, handle } = connection
    this.#send({ kind: 'connection', id, name, listener, peer }, handle)
  }

  reopenLog(name: string): void {
    this.#send({ kind: 'reopen-log', name })
  }

  /** Ends a start that is under way; its request is answered with a failure then, unless it is nearly done. */
  abort(name: string): void {
    this.#send({ kind: 'abort', name })
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #send(message: ToHost, handle?: StreamHandle): void {
    if (!this.#child.connected) return
    // What cannot be sent any more is answered by the end of the process.
    const nothing = () => {}
    const sent = handle as unknown as import('node:net').Socket | undefined
    this.#child.send(message as Serializable, sent, {}, nothing)
  }

  #received(message: FromHost): void {
    this.#isSilent = false
    switch (message.kind) {
      case 'hello':
        this.#sayHello()
        return
      case 'answer':
        this.#settle(message.id)?.resolve(fromJson(message.json))
        return
      case 'failure':
        this.#settle(message.id)?.reject(errorOf(message.failure))
        return
      case 'observed':
        this.#guests.get(message.name)?.observed(message.observation)
        return
      case 'adopted':
        this.#arrived(message.id)
        return
      case 'released':
        this.#released.get(message.id)?.()
        this.#released.delete(message.id)
    }
  }

  #arrived(id: number): void {
    const connection = this.#travelling.get(id)
    if (connection === undefined) return
    this.#travelling.delete(id)
    this.#released.set(id, connection.released)
    connection.handle.close()
  }

  #settle(id: number): PendingRequest | undefined {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    clearTimeout(pending?.timer)
    return pending
  }

  #forgetAll(reason: string): void {
    for (const id of [...this.#pending.keys()]) this.#settle(id)!.reject(this.#endedError())
    for (const connection of this.#travelling.values()) connection.giveBack()
    this.#travelling.clear()
    for (const released of this.#released.values()) released()
    this.#released.clear()
    const guests = [...this.#guests.values()]
    for (const guest of guests) guest.ended(reason)
  }

  #endedError(): OperatorError {
    return new OperatorError('host-ended', this.#endReason ?? 'the host process is ending')
  }

  /** The line among its last words that says most. */
  #cause(): string {
    const words = this.#lastWords
    const line = words.find((one) => /\berror\b/i.test(one)) ?? words.findLast((one) => one.trim() !== '')
    return line === undefined ? '' : `: ${line.trim().slice(0, 300)}`
  }
}

/** @throws OperatorError `nice-not-permitted` */
function setNice(pid: number, nice: number): void {
  const { PRIORITY_HIGHEST: lowest, PRIORITY_LOW: highest } = constants.priority
  try {
    setPriority(pid, Math.max(lowest, Math.min(highest, nice)))
  } catch (error) {
    // A process that has gone in the meantime says so itself.
    if ((error as { info?: { code?: string } }).info?.code === 'ESRCH') return
    throw new OperatorError('nice-not-permitted', `this account may not give a process the niceness ${nice}`, {
      place: { key: 'nice' },
      fix: 'give 0 or a positive number, or run the daemon as root',
      cause: error,
    })
  }
}

/** Resolves at the end of the stream. A line that is too long comes in pieces. */
function splitLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): Promise<void> {
  return new Promise((resolve) => {
    let rest = ''
    stream.setEncoding('utf8')
    stream.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()!
      for (const line of lines) onLine(line)
      for (; rest.length > lineLimitChars; rest = rest.slice(lineLimitChars)) onLine(rest.slice(0, lineLimitChars))
    })
    stream.on('error', () => resolve())
    stream.on('close', () => {
      if (rest !== '') onLine(rest)
      resolve()
    })
  })
}

function withResolvers() {
  let resolve = () => {}
  let reject = (_error: Error) => {}
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve
    reject = onReject
  })
  return { promise, resolve, reject }
}
