// Runs the daemon in the foreground of this process: signals, readiness, reload and an orderly end.
// The only file that installs signal handlers.
import { describeOperatorError, OperatorError } from '../base/errors.ts'
import type { Log } from '../observe/log.ts'
import type { ServiceNotifier, ServiceState } from '../transport/service-notify.ts'
import { type ExitCode, exitCodes } from './exit-codes.ts'
import { findingsOf } from './report-error.ts'

/** What is needed of the daemon. */
export interface ForegroundDaemon {
  /** How long a stop may take, as the configuration says at this moment. */
  readonly gracePeriodSeconds: number
  /** Resolves when all is ready, and has logged so. @throws OperatorError */
  start(): Promise<void>
  /** Makes a start that is under way end soon, one way or the other. */
  abort(): void
  /** Ends within the grace period; what is left then is cut off. */
  stop(): Promise<void>
  /**
   * Reads the configuration, with the files that it names, again, and logs what came of it.
   * @returns the same in one line
   * @throws OperatorError when all of the old one stays in force
   */
  reload(): Promise<string>
  /** How it is, in one line for the service manager. */
  readonly status: string
  reopenLogs(): void
}

export interface ForegroundOptions {
  daemon: ForegroundDaemon
  log: Log
  notifier: ServiceNotifier
  /** Resolves, with the reason, when something other than a signal wants the end. */
  stopRequested: Promise<string>
  /** When all is ready. */
  onReady(): void
}

/** A start takes as long as the stores are large: only one that is silent for so long is to be given up. */
const startSilenceMs = 300_000
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
  const { daemon, log, notifier } = options
  let interruptedAtMs: number | null = null
  let isStopping = false
  let requestStop = (_signal: string) => {}
  const stopRequested = new Promise<string>((resolve) => {
    requestStop = (signal) => {
      isStopping = true
      resolve(signal)
    }
  })
  void options.stopRequested.then(requestStop)
  const late = stopRequested.then(
    () =>
      new Promise<'late'>((resolve) => {
        setTimeout(resolve, daemon.gracePeriodSeconds * 1000 + stopMarginMs, 'late')
      }),
  )

  const reload = async () => {
    if (isStopping) return
    await notifier.notify('RELOADING=1')
    let status: string
    try {
      status = await daemon.reload()
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error
      const findings = findingsOf(error).map(describeOperatorError)
      for (const finding of findings) log.error(finding)
      log.error('nothing was reloaded, the whole old configuration stays in force')
      status = `${daemon.status}, nothing was reloaded: ${findings[0]}`
    }
    await notifier.notify('READY=1', `STATUS=${status}`)
  }

  process.on('SIGTERM', (signal) => {
    requestStop(signal)
  })
  process.on('SIGINT', (signal) => {
    if (interruptedAtMs !== null && performance.now() - interruptedAtMs > sameKeyPressMs) {
      log.warn('stopped at once')
      process.exit(exitCodes.interrupted)
    }
    interruptedAtMs ??= performance.now()
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
  process.on('SIGUSR1', () => daemon.reopenLogs())
  const crash = (error: unknown) => {
    log.error('the broker ends because of a bug', { error: error instanceof Error ? error.stack : String(error) })
    process.exit(exitCodes.failure)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)

  // Signals alone do not keep a process alive, and an instance may have no listener that is open.
  const keptAlive = setInterval(() => {}, 2 ** 30)
  const { watchdogPeriodMs } = notifier
  const everyPeriod = (...states: ServiceState[]) =>
    watchdogPeriodMs === null ? undefined : setInterval(() => void notifier.notify(...states), watchdogPeriodMs)
  let watchdog: NodeJS.Timeout | undefined
  const patience = everyPeriod(`EXTEND_TIMEOUT_USEC=${startSilenceMs * 1000}`)
  const started = daemon.start().finally(() => clearInterval(patience))
  queue = started.catch(() => {})
  void stopRequested.then(() => daemon.abort())
  const ended = async () => {
    await started
    if (!isStopping) {
      options.onReady()
      await notifier.notify('READY=1', `STATUS=${daemon.status}`)
      watchdog = everyPeriod('WATCHDOG=1')
    }
    log.info('stopping', { signal: await stopRequested })
    const told = notifier.notify('STOPPING=1')
    await queue
    await daemon.stop()
    await told
  }
  const outcome = await Promise.race([ended(), late]).finally(() => {
    clearInterval(keptAlive)
    clearInterval(watchdog)
  })
  if (outcome === 'late') {
    log.error('the broker did not stop within the grace period and is cut off')
    return exitCodes.failure
  }
  log.info('stopped')
  return exitCodes.ok
}
