// The listeners of an on-demand instance. They stay with the supervisor for good, whether the instance runs or not: a
// connection is accepted, held unread until the instance is ready, and handed over. So neither the start, nor a stop for
// idleness, nor a crash refuses anybody. Knows no host.
import type { Clock } from '../base/clock.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import type { ListenerConfig } from '../config/instance-config.ts'
import type { Log } from '../observe/log.ts'
import { createListener, type Listener } from '../transport/listener.ts'
import type { ListenerStatus } from './fleet.ts'
import type { AcceptedConnection } from './member-host.ts'

export interface DoorEnvironment {
  clock: Clock
  log: Log
  platform: NodeJS.Platform
  runDir: string
}

/** Connections of one instance that wait for it; more are closed. */
const heldLimit = 10_000

export class Door {
  readonly #environment: DoorEnvironment
  readonly #onKnock: () => void
  readonly #held: AcceptedConnection[] = []
  #listeners: Listener[] = []
  #isClosed = false
  /** Where connections go; null while nobody is ready for them. */
  #deliver: ((connection: AcceptedConnection) => void) | null = null

  /** @param onKnock called for each connection that has to wait */
  constructor(environment: DoorEnvironment, onKnock: () => void) {
    this.#environment = environment
    this.#onKnock = onKnock
  }

  get isKnocked(): boolean {
    return this.#held.length > 0
  }

  get connections(): number {
    let connections = 0
    for (const listener of this.#listeners) connections += listener.connections
    return connections
  }

  get listeners(): ListenerStatus[] {
    return this.#listeners.map(({ name, address, phase, connections }) => ({ name, address, phase, connections }))
  }

  /** @throws OperatorError; nothing is left open then */
  async open({ config }: FleetMember): Promise<void> {
    try {
      for (const listener of config.listeners) if (listener.enabled) await this.#start(listener)
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /**
   * Listeners that stay as they are stay open. What cannot start brings back what made room for it.
   * @throws OperatorError when everything is as it was
   */
  async change({ config }: FleetMember): Promise<void> {
    const wanted = config.listeners.filter(({ enabled }) => enabled)
    const isWanted = (listener: Listener) => wanted.some((one) => isSame(one, listener.config))
    const stays = this.#listeners.filter(isWanted)
    const leaves = this.#listeners.filter((listener) => !stays.includes(listener))
    const comes = wanted.filter((one) => !stays.some((listener) => isSame(one, listener.config)))
    await Promise.all(leaves.map((listener) => listener.stop()))
    this.#listeners = [...stays]
    try {
      for (const one of comes) await this.#start(one)
    } catch (error) {
      const newer = this.#listeners.filter((listener) => !stays.includes(listener))
      await Promise.all(newer.map((listener) => listener.stop()))
      this.#listeners = [...stays]
      for (const listener of leaves) await this.#start(listener.config)
      throw error
    }
  }

  /** From now on connections go to `deliver`, those that wait first. */
  connect(deliver: (connection: AcceptedConnection) => void): void {
    this.#deliver = deliver
    for (const connection of this.#held.splice(0)) deliver(connection)
  }

  /** From now on connections wait. */
  hold(): void {
    this.#deliver = null
  }

  /** Parts with those that wait: nobody will come for them. */
  refuseHeld(): void {
    for (const { handle, released } of this.#held.splice(0)) {
      handle.close()
      released()
    }
  }

  async close(): Promise<void> {
    this.hold()
    this.#isClosed = true
    const listeners = this.#listeners
    this.#listeners = []
    await Promise.all(listeners.map((listener) => listener.stop()))
    this.refuseHeld()
  }

  #keep(connection: AcceptedConnection): void {
    if (this.#isClosed || this.#held.length >= heldLimit) {
      connection.handle.close()
      connection.released()
      return
    }
    this.#held.push(connection)
    this.#onKnock()
  }

  async #start(config: ListenerConfig): Promise<void> {
    const { clock, log, platform, runDir } = this.#environment
    const inheritedFds = {
      names: new Map<number, string>(),
      problem: 'an on-demand instance takes no inherited sockets',
    }
    const listener = createListener(
      config,
      { platform, runDir, inheritedFds, log, clock },
      (handle, peer, released) => {
        const connection: AcceptedConnection = {
          handle,
          peer,
          listener: config.name,
          released,
          giveBack: () => this.#keep(connection),
        }
        if (this.#deliver !== null) this.#deliver(connection)
        else this.#keep(connection)
      },
    )
    await listener.start()
    this.#listeners.push(listener)
  }
}

function isSame(one: ListenerConfig, other: ListenerConfig): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
