// An instance with what it holds while it runs in whatever process: the lock on its data directory, its log, its control.
// Knows no supervisor and no channel between processes.
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { isNoSpace, noSpace } from '../base/no-space.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import type { InstanceConfig, LogConfig } from '../config/instance-config.ts'
import { createInstance, type Instance } from '../instance/instance.ts'
import { createLog, type Log } from '../observe/log.ts'
import { LogFile, type LogRotation } from '../observe/log-file.ts'
import type { Loop } from '../transport/loop.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'
import type { AcceptedConnection, Observation } from './member-host.ts'

export interface HostEnvironment {
  clock: Clock
  platform: NodeJS.Platform
  pid: number
  runDir: string
  /** Variables of the process, for socket activation. */
  environment: Readonly<Record<string, string | undefined>>
  /** Shared by all instances of the event loop. */
  loop: Loop
  /** Where log lines go instead of the instance's own file; null for the file. */
  writeLog: ((line: string) => void) | null
}

export interface RunningInstance {
  call(verb: string, params: unknown): Promise<unknown>
  /** @throws OperatorError when the old configuration stays in force */
  reload(member: FleetMember): Promise<void>
  adopt(connection: AcceptedConnection): void
  observe(): Observation
  reopenLog(): void
  /** For a process that is about to end because of a bug. */
  flushLogSync(): void
  /** Ends within the grace period. */
  stop(): Promise<void>
}

export function logPath({ logDir, config }: FleetMember): string {
  return join(logDir, `${config.name}.log`)
}

export function rotationOf({ rotateSizeBytes, rotateAgeSeconds, rotateKeep }: LogConfig): LogRotation {
  return { sizeBytes: rotateSizeBytes, ageSeconds: rotateAgeSeconds, keptFiles: rotateKeep }
}

/**
 * @param signal ends a start that is under way
 * @throws OperatorError, or the reason of the signal; nothing is left then
 */
export async function startInstance(
  member: FleetMember,
  environment: HostEnvironment,
  signal: AbortSignal,
): Promise<RunningInstance> {
  const { clock, platform, pid, runDir } = environment
  const { name } = member.config
  const lock = await lockDirectory({
    directory: member.dataDir,
    holder: `the instance ${name}`,
    key: 'dataDir',
    pid,
    platform,
    clock,
  })
  const file = environment.writeLog === null ? new LogFile(logPath(member), clock, rotationOf(member.config.log)) : null
  const { level, format } = member.config.log
  const writeLine = environment.writeLog ?? ((line: string) => file!.write(line))
  // A log that is somebody else's as well is so because there is one instance only.
  const log = createLog(level, format, clock, writeLine, file === null ? {} : { instance: name })
  const instance = createInstance(ownConfig(member), {
    clock,
    log,
    platform,
    runDir,
    environment: environment.environment,
    pid,
    dataDir: member.dataDir,
    loop: environment.loop,
  })
  try {
    await instance.start(signal)
  } catch (error) {
    const isBug = !(error instanceof OperatorError) && !isOfSystem(error)
    if (error === signal.reason) log.info('stopped before it was ready')
    else {
      const { message, stack } = error as Error
      log.error('the instance does not start', { error: message, ...(isBug ? { stack } : {}) })
    }
    await file?.close()
    lock.release()
    throw error === signal.reason ? error : forOperator(error, member.dataDir)
  }
  // In the daemon's own log the daemon says so.
  if (file !== null) log.info('ready', { pid })
  return new LockedInstance(member, instance, lock, log, file)
}

/** What a call to the operating system throws. */
function isOfSystem(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error
}

/** Its reason stands in a table: no stack. */
function forOperator(error: unknown, dataDir: string): OperatorError {
  if (error instanceof OperatorError) return error
  const { message } = error as Error
  if (isNoSpace(error)) {
    const fix = `make room on the file system of ${dataDir}`
    return new OperatorError(noSpace, `the instance cannot start: ${message}`, { fix, cause: error })
  }
  const fix = isOfSystem(error) ? undefined : 'this is a bug; its stack is in the log of the instance'
  return new OperatorError('cannot-start', `the instance cannot start: ${message}`, { fix, cause: error })
}

class LockedInstance implements RunningInstance {
  #member: FleetMember
  readonly #instance: Instance
  readonly #lock: DirectoryLock
  readonly #log: Log
  readonly #file: LogFile | null
  #control: { call(verb: string, params: unknown): Promise<unknown> } | null = null

  constructor(member: FleetMember, instance: Instance, lock: DirectoryLock, log: Log, file: LogFile | null) {
    this.#member = member
    this.#instance = instance
    this.#lock = lock
    this.#log = log
    this.#file = file
  }

  async call(verb: string, params: unknown): Promise<unknown> {
    // Most instances of a large fleet are never asked anything.
    const { createControl } = await import('../instance/control.ts')
    this.#control ??= createControl(this.#instance)
    return this.#control.call(verb, params)
  }

  async reload(member: FleetMember): Promise<void> {
    await this.#instance.reload(ownConfig(member))
    const { log } = member.config
    // One that was set at run time stays until another one is configured.
    if (log.level !== this.#member.config.log.level) this.#log.setLevel(log.level)
    this.#file?.setRotation(rotationOf(log))
    this.#member = member
    this.#log.info('configuration reloaded')
  }

  adopt({ handle, peer, listener, released }: AcceptedConnection): void {
    const config = this.#member.config.listeners.find(({ name }) => name === listener)
    if (config === undefined || this.#instance.phase !== 'running') {
      handle.close()
      released()
      return
    }
    const { broker } = this.#instance
    broker.accept(new SocketConnection(handle, peer, broker.loop, released), config)
  }

  observe(): Observation {
    const listeners = this.#instance.listeners.map(({ name, address, phase, connections }) => ({
      name,
      address,
      phase,
      connections,
    }))
    const { broker, problem, recovery, damage } = this.#instance
    return { listeners, connections: broker.connections.size, problem, recovery, damage }
  }

  reopenLog(): void {
    this.#file?.reopen()
  }

  flushLogSync(): void {
    this.#file?.flushSync()
  }

  async stop(): Promise<void> {
    this.#lock.announceEnd()
    try {
      await this.#instance.stop()
      // In the daemon's own log the daemon says so.
      if (this.#file !== null) this.#log.info('stopped')
    } finally {
      this.#lock.release()
      await this.#file?.close()
    }
  }
}

/** The listeners of an on-demand instance stay with the supervisor, which hands over what they accept. */
function ownConfig({ config, start }: FleetMember): InstanceConfig {
  if (start !== 'on-demand') return config
  return { ...config, listeners: config.listeners.map((listener) => ({ ...listener, enabled: false })) }
}

/** For who waits for a start that somebody else has ended. */
export function stoppedMeanwhile(name: string): OperatorError {
  return new OperatorError('stopped-meanwhile', `the instance ${name} was stopped before it was ready`)
}

/** What every kind of host answers while nothing runs in it. */
export function notRunning(name: string): OperatorError {
  return new OperatorError('not-running', `the instance ${name} does not run`, {
    fix: `start it with atoll instance start ${name}`,
  })
}
