// Runs one broker in the foreground of this process: signals, readiness, reload and an orderly end.
// The only file that installs signal handlers.
import { describeOperatorError, OperatorError } from '../base/errors.ts'
import type { InstanceConfig } from '../config/instance-config.ts'
import type { LoadedConfig } from '../config/load-config.ts'
import type { Log } from '../observe/log.ts'
import type { ServiceNotifier } from '../transport/service-notify.ts'
import { type ExitCode, exitCodes } from './exit-codes.ts'
import { findingsOf } from './report-error.ts'

/** What is needed of an instance. */
export interface ForegroundInstance {
  readonly listeners: Iterable<{ readonly name: string; readonly address: string; readonly phase: string }>
  /** @throws OperatorError */
  start(): Promise<void>
  /** Ends within the grace period; what is left then is cut off. */
  stop(): Promise<void>
  /**
   * Takes all of the new configuration, with the files that it names, or nothing of it.
   * @throws OperatorError when the old one stays in force
   */
  reload(config: InstanceConfig): Promise<unknown>
}

export interface ForegroundOptions {
  instance: ForegroundInstance
  loaded: LoadedConfig
  log: Log
  notifier: ServiceNotifier
  /** Reads the configuration again, as at the start. @throws ConfigError */
  readAgain(): LoadedConfig
}

/** How long after the grace period a stop that hangs is given up. */
const stopMarginMs = 1000
/** Ctrl-C under npm comes twice: from the terminal to the whole group, and passed on by npm. */
const sameKeyPressMs = 100

/**
 * A second SIGINT, and an error that nobody caught, end the process at once.
 * @returns the exit code, when the broker has ended
 * @throws OperatorError when it could not start
 */
export async function runForeground(options: ForegroundOptions): Promise<ExitCode> {
  const { instance, log, notifier } = options
  let { config } = options.loaded
  let interruptedAtMs: number | null = null
  let isStopping = false
  let requestStop = (_signal: string) => {}
  const stopRequested = new Promise<string>((resolve) => {
    requestStop = resolve
  })
  const late = stopRequested.then(
    () =>
      new Promise<'late'>((resolve) => {
        setTimeout(resolve, config.gracePeriodSeconds * 1000 + stopMarginMs, 'late')
      }),
  )

  const reload = async () => {
    if (isStopping) return
    await notifier.notify('RELOADING=1')
    try {
      const next = options.readAgain()
      await instance.reload(next.config)
      config = next.config
      log.info('configuration reloaded', { file: next.file })
      for (const key of keysFixedAtStart(options.loaded, next)) {
        log.warn('a new value counts from the next start', { key })
      }
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error
      for (const finding of findingsOf(error)) log.error(describeOperatorError(finding))
      log.error('nothing was reloaded, the whole old configuration stays in force')
    }
    await notifier.notify('READY=1')
  }

  process.on('SIGTERM', (signal) => {
    isStopping = true
    requestStop(signal)
  })
  process.on('SIGINT', (signal) => {
    if (interruptedAtMs !== null && performance.now() - interruptedAtMs > sameKeyPressMs) {
      log.warn('stopped at once')
      process.exit(exitCodes.interrupted)
    }
    interruptedAtMs ??= performance.now()
    isStopping = true
    requestStop(signal)
  })
  let queue: Promise<unknown> = Promise.resolve()
  let reloadsWaiting = 0
  // Handled from the beginning: by default SIGHUP would end a broker that is still starting.
  process.on('SIGHUP', () => {
    // The second that waits will read whatever is on the disk by then; a third has nothing to add.
    if (isStopping || reloadsWaiting >= 2) return
    reloadsWaiting += 1
    queue = queue.then(reload).then(() => {
      reloadsWaiting -= 1
    })
  })
  process.on('SIGUSR1', () => log.debug('there is no log file to reopen'))
  const crash = (error: unknown) => {
    log.error('the broker ends because of a bug', { error: error instanceof Error ? error.stack : String(error) })
    process.exit(exitCodes.failure)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)

  // Signals alone do not keep a process alive, and an instance may have no listener that is open.
  const keptAlive = setInterval(() => {}, 2 ** 30)
  const started = instance.start()
  queue = started.catch(() => {})
  const ended = async () => {
    await started
    if (!isStopping) {
      for (const { name, address, phase } of instance.listeners) {
        if (phase === 'listening') log.info('listening', { listener: name, address })
      }
      log.info('ready', { instance: config.name, pid: process.pid })
      await notifier.notify('READY=1')
    }
    log.info('stopping', { signal: await stopRequested })
    const told = notifier.notify('STOPPING=1')
    await queue
    await instance.stop()
    await told
  }
  const outcome = await Promise.race([ended(), late]).finally(() => clearInterval(keptAlive))
  if (outcome === 'late') {
    log.error('the broker did not stop within the grace period and is cut off')
    return exitCodes.failure
  }
  log.info('stopped')
  return exitCodes.ok
}

/** What this process, and not the instance, has taken from the configuration, and cannot change while it runs. */
function keysFixedAtStart(first: LoadedConfig, next: LoadedConfig): string[] {
  const paths = (['runDir', 'dataDir', 'logDir'] as const).filter((key) => next.paths[key] !== first.paths[key])
  const log = (['level', 'format'] as const).filter((key) => next.config.log[key] !== first.config.log[key])
  return [...paths, ...log.map((key) => `log.${key}`)]
}
