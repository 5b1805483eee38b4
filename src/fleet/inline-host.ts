// A host in the daemon itself: no process, no channel, and no protection from each other either.
import type { FleetMember } from '../config/fleet-config.ts'
import { type AcceptedConnection, type MemberHost, nothingSeen, type Observation } from './member-host.ts'
import {
  type HostEnvironment,
  notRunning,
  type RunningInstance,
  startInstance,
  stoppedMeanwhile,
} from './running-instance.ts'

export class InlineHost implements MemberHost {
  readonly #environment: HostEnvironment
  #name = ''
  #running: RunningInstance | null = null
  readonly #start = new AbortController()

  constructor(environment: HostEnvironment) {
    this.#environment = environment
  }

  get pid(): number | null {
    return this.#running === null ? null : this.#environment.pid
  }

  async start(member: FleetMember): Promise<void> {
    this.#name = member.config.name
    this.#running = await startInstance(member, this.#environment, this.#start.signal)
  }

  async call(verb: string, params: unknown): Promise<unknown> {
    return this.#started().call(verb, params)
  }

  async reload(member: FleetMember): Promise<void> {
    await this.#started().reload(member)
  }

  adopt(connection: AcceptedConnection): void {
    this.#started().adopt(connection)
  }

  observe(): Observation {
    return this.#running?.observe() ?? nothingSeen
  }

  /** Nobody else could ask. */
  async ask(): Promise<void> {}

  reopenLog(): void {
    this.#running?.reopenLog()
  }

  async stop(): Promise<void> {
    const running = this.#running
    await running?.stop()
    this.#running = null
  }

  abort(): void {
    this.#start.abort(stoppedMeanwhile(this.#name))
  }

  #started(): RunningInstance {
    if (this.#running === null) throw notRunning(this.#name)
    return this.#running
  }
}
