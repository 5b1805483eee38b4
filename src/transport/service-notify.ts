// Tells the service manager how the daemon is: the protocol of sd_notify. Node has no UNIX datagram sockets, so
// systemd-notify carries each message. Without NOTIFY_SOCKET nothing is done at all.
import { execFile } from 'node:child_process'
import type { TransportLog } from './transport-log.ts'

/** Assignments of sd_notify, as `READY=1`, `STOPPING=1`, `RELOADING=1`, `STATUS=…`, `WATCHDOG=1`, `EXTEND_TIMEOUT_USEC=…`. */
export type ServiceState =
  `${'READY' | 'STOPPING' | 'RELOADING' | 'STATUS' | 'WATCHDOG' | 'EXTEND_TIMEOUT_USEC'}=${string}`

export interface ServiceNotifier {
  /** How often the manager wants to hear `WATCHDOG=1`; null when it does not watch this process. */
  readonly watchdogPeriodMs: number | null
  /** @returns whether the manager was told; false also when there is none. Never rejects. */
  notify(...states: ServiceState[]): Promise<boolean>
}

const timeLimitMs = 5000

/**
 * @param environment of the process: NOTIFY_SOCKET (a path or `@abstract`), WATCHDOG_USEC, WATCHDOG_PID and PATH are used
 * @param pid of the daemon. The unit needs NotifyAccess=all, because another process sends the message
 */
export function createServiceNotifier(
  environment: Readonly<Record<string, string | undefined>>,
  pid: number,
  log: TransportLog,
): ServiceNotifier {
  const { NOTIFY_SOCKET, PATH } = environment
  let hasWarned = false
  return {
    watchdogPeriodMs: watchdogPeriodMs(environment, pid),
    notify: (...states) =>
      new Promise((resolve) => {
        if (!NOTIFY_SOCKET) return resolve(false)
        const lines: string[] = states.map((state) => state.replaceAll('\n', ' '))
        // A manager that waits for the end of a reload tells this one from an older one by the time.
        if (lines.includes('RELOADING=1')) lines.push(`MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`)
        const options = { env: { NOTIFY_SOCKET, PATH }, timeout: timeLimitMs }
        execFile('systemd-notify', [`--pid=${pid}`, ...lines], options, (error, _output, errorOutput) => {
          if (error !== null && !hasWarned) {
            hasWarned = true
            const reason =
              error.code === ('ENOENT' as unknown)
                ? 'systemd-notify is not installed'
                : errorOutput.trim() || error.message
            log.warn('the service manager could not be told how the broker is', { reason })
          }
          resolve(error === null)
        })
      }),
  }
}

/** Three times in the time after which the manager takes the daemon for hung. */
function watchdogPeriodMs(environment: Readonly<Record<string, string | undefined>>, pid: number): number | null {
  const { NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC } = environment
  const limitMs = Math.floor(Number(WATCHDOG_USEC) / 1000)
  if (!NOTIFY_SOCKET || !(limitMs >= 3) || (WATCHDOG_PID && Number(WATCHDOG_PID) !== pid)) return null
  return Math.min(Math.floor(limitMs / 3), 2 ** 31 - 1)
}
