// The daemon: the supervisor of a fleet and the admin API in front of it, which come, reload and go together.

import type { AdminServer } from '../admin/admin-server.ts'
import { OperatorError } from '../base/errors.ts'
import { noSpace } from '../base/no-space.ts'
import type { FleetConfig } from '../config/fleet-config.ts'
import { withDaemon } from '../config/fleet-plan.ts'
import type { SavedChanges } from '../config/saved-changes.ts'
import type { FleetChange } from '../fleet/fleet.ts'
import type { Supervisor } from '../fleet/supervisor.ts'
import type { Log } from '../observe/log.ts'
import type { ForegroundDaemon } from './foreground.ts'

export interface FleetDaemonOptions {
  supervisor: Supervisor
  admin: AdminServer
  changes: SavedChanges
  log: Log
  pid: number
  /** @throws OperatorError when this host lacks something that the fleet needs */
  checkHost(): Promise<void>
  /** Reads a configuration, by default again that which is in force. @throws ConfigError */
  read(file: string | null): ReadFleet
  /** Where the log of the daemon is a file. */
  reopenLog: (() => void) | null
}

export interface ReadFleet {
  fleet: FleetConfig
  /** Makes its file the one in force. */
  take(): void
}

/** What became of a configuration, and in one line for the service manager. */
export interface Applied {
  changes: FleetChange[]
  status: string
}

export class FleetDaemon implements ForegroundDaemon {
  readonly #options: FleetDaemonOptions
  #isAborted = false

  constructor(options: FleetDaemonOptions) {
    this.#options = options
  }

  get gracePeriodSeconds(): number {
    return this.#options.supervisor.config.gracePeriodSeconds
  }

  async start(): Promise<void> {
    const { supervisor, admin, log, pid, checkHost } = this.#options
    // First, so that a second daemon gives up before it touches anything, and a long start can be watched.
    await admin.start()
    try {
      await checkHost()
      await supervisor.start()
      if (this.#isAborted) return
      this.#expectSoleInstance()
    } catch (error) {
      await supervisor.stop()
      await admin.stop()
      throw error
    }
    const { members } = supervisor.status()
    if (members.length !== 1) {
      const ready = members.filter(({ phase }) => phase === 'ready' || phase === 'waiting').length
      if (members.length === 0) log.info('there is no instance yet: atoll instance create makes one')
      log.info('ready', { instances: members.length, ready, pid })
      return
    }
    for (const { name, listeners, isolation } of members) {
      for (const { name: listener, address, phase } of listeners) {
        // In the daemon itself they have said so already.
        if (phase === 'listening' && isolation !== 'inline') log.info('listening', { listener, address })
      }
      log.info('ready', { instance: name, pid })
    }
  }

  /** A daemon whose only instance cannot start has nothing to look after. @throws OperatorError why it cannot */
  #expectSoleInstance(): void {
    const { supervisor } = this.#options
    const [only, ...others] = supervisor.status().members
    if (others.length > 0 || only === undefined) return
    const failure = supervisor.failureOf(only.name)
    const isWithoutRoom = failure instanceof OperatorError && failure.code === noSpace
    if (only.phase !== 'failed' && !isWithoutRoom) return
    throw failure ?? new OperatorError('not-ready', only.reason ?? 'it does not start')
  }

  async reload(): Promise<string> {
    return (await this.apply(null)).status
  }

  /** For the service manager. */
  get status(): string {
    const { members } = this.#options.supervisor.status()
    const ready = members.filter(({ phase }) => phase === 'ready' || phase === 'waiting').length
    return `${ready} of ${members.length} instances ready`
  }

  /**
   * @param file null for the one in force
   * @throws ConfigError, and nothing was done
   */
  apply(file: string | null): Promise<Applied> {
    const { supervisor, changes, read } = this.#options
    return changes.exclusively(async () => {
      const next = read(file)
      const daemonKeys = supervisor.planDaemon(next.fleet)
      const ofMembers = await supervisor.apply(next.fleet)
      const rejected = ofMembers.filter(({ kind }) => kind === 'rejected')
      const isOfDaemon = daemonKeys.some(({ kind }) => kind === 'hot')
      const isNothing = rejected.length > 0 && rejected.length === ofMembers.length && !isOfDaemon
      if (!isNothing) next.take()
      const applied = withDaemon(ofMembers, daemonKeys)
      return { changes: applied, status: this.#tell(applied, isNothing) }
    })
  }

  /** Each change, and then in one line what is true of the whole. */
  #tell(changes: readonly FleetChange[], isNothing: boolean): string {
    const { supervisor, log } = this.#options
    for (const change of changes) logChange(change, supervisor.config.members.length === 1, log)
    if (isNothing) {
      log.error(nothingReloaded)
      return nothingReloaded
    }
    const file = supervisor.config.files[0]
    const rejected = changes.flatMap(({ name, kind }) => (kind === 'rejected' ? [name] : []))
    const changed = changes.filter(isDone).length
    if (rejected.length === 0) {
      log.info('configuration reloaded', { file, changed })
      return `${this.status}, configuration reloaded`
    }
    const names = listed(rejected)
    log.error('the configuration was reloaded in part', { file, changed, rejected: names })
    return `${this.status}, reloaded in part, rejected: ${names}`
  }

  reopenLogs(): void {
    this.#options.reopenLog?.()
    this.#options.supervisor.reopenLogs()
    this.#options.log.debug('log files reopened')
  }

  abort(): void {
    this.#isAborted = true
    this.#options.supervisor.abort()
  }

  async stop(): Promise<void> {
    const { supervisor, admin } = this.#options
    await supervisor.stop()
    await admin.stop()
  }
}

const nothingReloaded = 'nothing was reloaded, the whole old configuration stays in force'
const namesShown = 10

function listed(names: readonly (string | null)[]): string {
  const more = names.length - namesShown
  return names.slice(0, namesShown).join(' ') + (more > 0 ? ` and ${more} more` : '')
}

function isDone({ kind, keys }: FleetChange): boolean {
  if (kind === 'next-start') return keys.some((key) => key.kind === 'hot')
  return kind !== 'rejected' && kind !== 'unchanged'
}

function logChange({ name, kind, keys, reason }: FleetChange, isOnly: boolean, log: Log): void {
  // What waits for the next start the supervisor tells, key by key.
  const listedKeys = keys.flatMap(({ key, kind: keyKind }) => (keyKind === 'next-start' ? [] : [key])).join(' ')
  if (name === null) {
    if (listedKeys !== '') log.info('a change of the daemon was applied', { keys: listedKeys })
  } else if (kind === 'rejected' && isOnly) log.error(reason ?? 'rejected')
  else if (kind === 'rejected') log.error('a change was rejected', { instance: name, reason })
  else if (kind !== 'unchanged') log.info('a change was applied', { instance: name, kind, keys: listedKeys || null })
}
