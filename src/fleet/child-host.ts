// A host in another process, its own or a shared one: the same requests either way. Who provides the process, and when it
// is given up, is decided elsewhere.
import { OperatorError } from '../base/errors.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import type { HostProcess } from './host-process.ts'
import { toJson } from './host-protocol.ts'
import {
  type AcceptedConnection,
  type MemberHost,
  nothingSeen,
  type Observation,
  type OnHostEnd,
} from './member-host.ts'
import { notRunning } from './running-instance.ts'

/** A process that says nothing for so long while an instance starts in it has failed. How long the start takes is a matter of its store. */
const startSilenceLimitMs = 30_000
const startLookMs = 5000
const callTimeLimitMs = 30_000
/** A process that says nothing for so long does not answer, whatever it was asked. */
const silenceLimitMs = 2000
/** How long after its grace period a stop that hangs is given up. */
const stopMarginMs = 2000

/** A process in which one instance has a place. */
export interface Lease {
  host: HostProcess
  /** Gives up the place, and with the last one the process. Resolves when a process that was given up has ended. */
  release(): Promise<void>
}

export interface ChildHostOptions {
  name: string
  runDir: string
  /** @throws OperatorError */
  acquire(member: FleetMember): Promise<Lease>
  /** Whether nobody else is in the process. */
  isAlone: boolean
  onEnd: OnHostEnd
}

export class ChildHost implements MemberHost {
  readonly #options: ChildHostOptions
  #graceSeconds = 0
  #lease: Lease | null = null
  #observation: Observation = nothingSeen
  #killTimer: NodeJS.Timeout | undefined
  #phase: 'created' | 'starting' | 'aborted' | 'running' | 'stopping' | 'ended' = 'created'

  constructor(options: ChildHostOptions) {
    this.#options = options
  }

  get pid(): number | null {
    return this.#lease?.host.pid ?? null
  }

  async start(member: FleetMember): Promise<void> {
    const { name, runDir, acquire, isAlone } = this.#options
    this.#phase = 'starting'
    this.#graceSeconds = member.config.gracePeriodSeconds
    const lease = await acquire(member)
    this.#lease = lease
    const { host } = lease
    host.attach(name, {
      ended: (reason) => this.#ended(reason),
      observed: (observation) => {
        this.#observation = observation
      },
    })
    // It has not begun with anything.
    if (isAlone && this.#is('aborted')) host.kill()
    try {
      const started = host.request({ kind: 'start', member, runDir }, Number.POSITIVE_INFINITY)
      if (this.#is('aborted')) host.abort(name)
      await whileAnswering(host, started)
    } catch (error) {
      if ((error as OperatorError).code === 'no-answer') host.kill()
      await this.#leave(lease)
      throw error
    } finally {
      clearTimeout(this.#killTimer)
    }
    this.#phase = 'running'
  }

  #ended(reason: string): void {
    const wasRunning = this.#is('running')
    this.#phase = 'ended'
    if (this.#lease !== null) void this.#leave(this.#lease)
    if (wasRunning) this.#options.onEnd(reason)
  }

  async #leave(lease: Lease): Promise<void> {
    this.#phase = 'ended'
    this.#lease = null
    lease.host.detach(this.#options.name)
    await lease.release()
  }

  async call(verb: string, params: unknown): Promise<unknown> {
    const json = toJson(params, 'the request')
    const host = this.#running()
    if (host.isSilent) throw this.#noAnswer(host)
    const answer = host.request({ kind: 'call', name: this.#options.name, verb, json }, callTimeLimitMs)
    // What is asked for may take its time. That somebody is there shows sooner.
    const silence = host.isAnswering(silenceLimitMs).then((isThere) => {
      if (!isThere) throw this.#noAnswer(host)
      return answer
    })
    return Promise.race([answer, silence])
  }

  #noAnswer(host: HostProcess): OperatorError {
    const { name } = this.#options
    return new OperatorError('no-answer', `${name}: ${describeSilence(host)}`, {
      fix: `atoll instance restart ${name} ends the process after its grace period and starts another`,
    })
  }

  async reload(member: FleetMember): Promise<void> {
    await this.#running().request({ kind: 'reload', member }, callTimeLimitMs)
    this.#graceSeconds = member.config.gracePeriodSeconds
  }

  adopt(connection: AcceptedConnection): void {
    this.#running().adopt(this.#options.name, connection)
  }

  observe(): Observation {
    const host = this.#lease?.host
    if (!host?.isSilent) return this.#observation
    return { ...this.#observation, problem: describeSilence(host) }
  }

  async ask(): Promise<void> {
    await this.#lease?.host.isAnswering(silenceLimitMs)
  }

  reopenLog(): void {
    this.#lease?.host.reopenLog(this.#options.name)
  }

  async stop(): Promise<void> {
    const lease = this.#lease
    if (lease === null) return
    if (this.#is('running')) {
      this.#phase = 'stopping'
      const timeLimitMs = this.#graceSeconds * 1000 + stopMarginMs
      await lease.host.request({ kind: 'stop', name: this.#options.name }, timeLimitMs).catch(() => lease.host.kill())
    }
    await this.#leave(lease)
  }

  abort(): void {
    if (this.#phase !== 'starting') return
    this.#phase = 'aborted'
    const host = this.#lease?.host
    if (host === undefined) return
    host.abort(this.#options.name)
    // In a process with others a start that hangs takes its time, and is undone afterwards.
    if (this.#options.isAlone) this.#killTimer = setTimeout(() => host.kill(), stopMarginMs)
  }

  #running(): HostProcess {
    if (this.#lease === null || !this.#is('running')) throw notRunning(this.#options.name)
    return this.#lease.host
  }

  #is(phase: 'running' | 'aborted'): boolean {
    return this.#phase === phase
  }
}

/** @throws OperatorError `no-answer` when the process falls silent meanwhile; otherwise what `started` rejects with */
async function whileAnswering(host: HostProcess, started: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  let isOver = false
  const silence = new Promise<never>((_resolve, reject) => {
    const look = () => {
      if (!isOver)
        timer = setTimeout(() => {
          host.request({ kind: 'ping' }, startSilenceLimitMs).then(look, reject)
        }, startLookMs)
    }
    look()
  })
  // It may fall silent after the start.
  silence.catch(() => {})
  try {
    await Promise.race([started, silence])
  } finally {
    isOver = true
    clearTimeout(timer)
  }
}

function describeSilence({ pid }: HostProcess): string {
  return `its process ${pid} does not answer, and has not for ${silenceLimitMs / 1000} s or more`
}
