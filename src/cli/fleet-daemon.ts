// The daemon: the supervisor of a fleet and the admin API in front of it, which come, reload and go together.

import type { AdminServer } from '../admin/admin-server.ts'
import { OperatorError } from '../base/errors.ts'
import type { FleetConfig } from '../config/fleet-config.ts'
import type { SavedChanges } from '../config/saved-changes.ts'
import type { MemberChange } from '../fleet/fleet.ts'
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
  /** Reads the configuration that is in force again. @throws ConfigError */
  readAgain(): FleetConfig
  /** Where the log of the daemon is a file. */
  reopenLog: (() => void) | null
}

export class FleetDaemon implements ForegroundDaemon {
  readonly #options: FleetDaemonOptions

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
      this.#expectSoleInstance()
    } catch (error) {
      await supervisor.stop()
      await admin.stop()
      throw error
    }
    const { members } = supervisor.status()
    if (members.length > 1) {
      const ready = members.filter(({ phase }) => phase === 'ready' || phase === 'waiting').length
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
    if (others.length > 0 || only?.phase !== 'failed') return
    throw supervisor.failureOf(only.name) ?? new OperatorError('not-ready', only.reason ?? 'it does not start')
  }

  async reload(): Promise<void> {
    const { supervisor, changes, log, readAgain } = this.#options
    const applied = await changes.exclusively(() => supervisor.apply(readAgain()))
    for (const change of applied) logChange(change, log)
    const rejected = applied.filter(({ kind }) => kind === 'rejected')
    if (rejected.length < applied.length || applied.length === 0) {
      log.info('configuration reloaded', { file: supervisor.config.files[0] })
      return
    }
    const [{ reason }] = rejected
    throw new OperatorError('rejected', rejected.length === 1 ? (reason ?? 'rejected') : 'every instance was rejected')
  }

  reopenLogs(): void {
    this.#options.reopenLog?.()
    this.#options.supervisor.reopenLogs()
    this.#options.log.debug('log files reopened')
  }

  async stop(): Promise<void> {
    const { supervisor, admin } = this.#options
    await supervisor.stop()
    await admin.stop()
  }
}

function logChange({ name, kind, keys, reason }: MemberChange, log: Log): void {
  if (kind === 'rejected') log.error('a change was rejected', { instance: name, reason })
  else if (kind !== 'unchanged') {
    log.info('a change was applied', { instance: name, kind, keys: keys.map(({ key }) => key).join(' ') })
  }
}
