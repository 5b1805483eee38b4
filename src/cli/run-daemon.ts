// Puts the daemon of this process together: configuration, log, supervisor, admin API.
import { createAdminServer } from '../admin/admin-server.ts'
import { LongWork } from '../admin/long-work.ts'
import { createSystemClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { noSpace } from '../base/no-space.ts'
import { daemonLogOf, isOneBroker } from '../config/daemon-log.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import { logPath, rotationOf } from '../fleet/running-instance.ts'
import { createSupervisor } from '../fleet/supervisor.ts'
import { controlVerbs } from '../instance/control-verbs.ts'
import { version } from '../instance/version.ts'
import { createLog, type Log } from '../observe/log.ts'
import { LogFile } from '../observe/log-file.ts'
import { createServiceNotifier } from '../transport/service-notify.ts'
import type { ExitCode } from './exit-codes.ts'
import { expectHost } from './expect-host.ts'
import { FleetDaemon, type ReadFleet } from './fleet-daemon.ts'
import { runForeground } from './foreground.ts'
import { removePidFile, writePidFile } from './pid-file.ts'
import { type ConfigOptions, openSavedChanges, readFleet } from './read-config.ts'
import { prepareRunDirectory } from './run-directory.ts'
import { startOutcome } from './start-outcome.ts'
import { letYoungGenerationGrow } from './young-generation.ts'

export interface RunOptions extends ConfigOptions {
  /** null for the standard output. */
  logFile?: string
  pidFile?: string
}

/** Runs until it is told to stop. @throws OperatorError when it cannot start */
export async function runDaemon(options: RunOptions): Promise<ExitCode> {
  const changes = openSavedChanges(options)
  const loaded = readFleet(options, changes)
  const { fleet } = loaded
  prepareRunDirectory(loaded, process.getuid?.() ?? 0)

  const clock = createSystemClock()
  const logConfig = daemonLogOf(fleet)
  const { level, format } = logConfig
  const logFile = options.logFile === undefined ? null : new LogFile(options.logFile, clock, rotationOf(logConfig))
  const writeLine = (line: string): void => {
    if (logFile === null) process.stdout.write(`${line}\n`)
    else logFile.write(line)
  }
  // One instance in the daemon itself is all there is to log.
  const isInlineAlone = isOneBroker(fleet)
  const log = createLog(level, format, clock, writeLine)
  log.info('starting', {
    ...(fleet.members.length === 1 ? { instance: fleet.members[0].config.name } : { instances: fleet.members.length }),
    configuration: loaded.sources.join(', ') || 'built-in defaults',
  })

  let { file } = loaded
  const read = (next: string | null): ReadFleet => {
    const around = next === null ? changes : changes.beside(next)
    const again = readFleet({ ...options, config: next ?? file ?? options.config }, around)
    return {
      fleet: again.fleet,
      take() {
        file = again.file
        changes.become(around)
      },
    }
  }
  const supervisor = createSupervisor(fleet, {
    clock,
    // Of a sole instance all is said by its own lines.
    log: isInlineAlone ? createLog('warn', format, clock, writeLine) : log,
    platform: process.platform,
    pid: process.pid,
    uid: process.getuid?.() ?? 0,
    environment: process.env,
    writeInlineLog: isInlineAlone ? writeLine : null,
  })
  let configuredLevel = level
  supervisor.subscribe((event) => {
    if (event.kind !== 'applied') return
    const next = daemonLogOf(supervisor.config)
    logFile?.setRotation(rotationOf(next))
    // One that was set at run time stays until another one is configured.
    if (next.level !== configuredLevel) log.setLevel(next.level)
    configuredLevel = next.level
  })
  const notifier = createServiceNotifier(process.env, process.pid, log)
  let requestStop = (_reason: string) => {}
  const stopRequested = new Promise<string>((resolve) => {
    requestStop = resolve
  })
  const context = {
    fleet: supervisor,
    verbs: controlVerbs,
    changes,
    longWork: new LongWork(),
    platform: process.platform,
    uid: process.getuid?.() ?? 0,
    log,
    clock,
    logFileOf: (member: FleetMember) =>
      member.isolation === 'inline' && isInlineAlone ? (options.logFile ?? null) : logPath(member),
    readConfig: (next: string | null) => read(next).fleet,
    async applyConfig(next: string | null) {
      const { changes: applied, status } = await daemon.apply(next)
      void notifier.notify(`STATUS=${status}`)
      return applied
    },
    requestStop,
  }
  const admin = createAdminServer(context, {
    listen: fleet.admin.listen,
    mode: fleet.admin.mode,
    runDir: fleet.runDir,
    platform: process.platform,
    version,
  })
  const daemon = new FleetDaemon({
    supervisor,
    admin,
    changes,
    log,
    pid: process.pid,
    checkHost: () => expectHost(loaded, process.platform, log),
    read,
    reopenLog: logFile === null ? null : () => logFile.reopen(),
  })
  try {
    return await runForeground({
      daemon,
      log,
      notifier,
      stopRequested,
      onReady() {
        letYoungGenerationGrow()
        if (options.pidFile !== undefined) tellPid(options.pidFile, log)
        // The one who has started us in the background waits for this.
        if (process.send === undefined) return
        process.send(startOutcome(supervisor.status().members), () => process.disconnect())
      },
    })
  } finally {
    if (options.pidFile !== undefined) removePidFile(options.pidFile, process.pid)
    await logFile?.close()
  }
}

/** A full disk stops no broker that runs. */
function tellPid(file: string, log: Log): void {
  try {
    writePidFile(file, process.pid)
  } catch (error) {
    if (!(error instanceof OperatorError && error.code === noSpace)) throw error
    log.warn('there is no pid file', { file, error: error.message })
  }
}
