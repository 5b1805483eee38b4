// Puts the daemon of this process together: configuration, log, supervisor, admin API.
import { createAdminServer } from '../admin/admin-server.ts'
import { createSystemClock } from '../base/clock.ts'
import type { FleetConfig } from '../config/fleet-config.ts'
import { logPath, rotationOf } from '../fleet/running-instance.ts'
import { createSupervisor } from '../fleet/supervisor.ts'
import { controlVerbs } from '../instance/control-verbs.ts'
import { version } from '../instance/version.ts'
import { createLog } from '../observe/log.ts'
import { LogFile } from '../observe/log-file.ts'
import { createServiceNotifier } from '../transport/service-notify.ts'
import type { ExitCode } from './exit-codes.ts'
import { expectHost } from './expect-host.ts'
import { FleetDaemon } from './fleet-daemon.ts'
import { runForeground } from './foreground.ts'
import { removePidFile, writePidFile } from './pid-file.ts'
import { type ConfigOptions, openSavedChanges, readFleet } from './read-config.ts'
import { prepareRunDirectory } from './run-directory.ts'

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
  const rotation = rotationOf(fleet.members[0].config.log)
  const logFile = options.logFile === undefined ? null : new LogFile(options.logFile, clock, rotation)
  const writeLine = (line: string): void => {
    if (logFile === null) process.stdout.write(`${line}\n`)
    else logFile.write(line)
  }
  // One instance in the daemon itself is all there is to log.
  const isInlineAlone = fleet.members.length === 1 && fleet.members[0].isolation === 'inline'
  const { level, format } = fleet.members[0].config.log
  const log = createLog(isInlineAlone ? level : 'info', format, clock, writeLine)
  log.info('starting', {
    ...(fleet.members.length === 1 ? { instance: fleet.members[0].config.name } : { instances: fleet.members.length }),
    configuration: loaded.sources.join(', ') || 'built-in defaults',
  })

  // An apply with another file makes that the one in force.
  let { file } = loaded
  const read = (next: string | null): FleetConfig => {
    const again = readFleet({ ...options, config: next ?? file ?? options.config }, changes)
    if (next !== null) file = again.file
    return again.fleet
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
  supervisor.subscribe((event) => {
    const [first] = supervisor.config.members
    if (event.kind !== 'applied' || first === undefined) return
    logFile?.setRotation(rotationOf(first.config.log))
    if (isInlineAlone) log.setLevel(first.config.log.level)
  })
  let requestStop = (_reason: string) => {}
  const stopRequested = new Promise<string>((resolve) => {
    requestStop = resolve
  })
  const context = {
    fleet: supervisor,
    verbs: controlVerbs,
    changes,
    platform: process.platform,
    log,
    clock,
    logFileOf: (member: FleetConfig['members'][number]) =>
      member.isolation === 'inline' && isInlineAlone ? (options.logFile ?? null) : logPath(member),
    readConfig: read,
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
    readAgain: () => read(null),
    reopenLog: logFile === null ? null : () => logFile.reopen(),
  })
  try {
    return await runForeground({
      daemon,
      log,
      notifier: createServiceNotifier(process.env, process.pid, log),
      stopRequested,
      onReady() {
        if (options.pidFile !== undefined) writePidFile(options.pidFile, process.pid)
        // The one who has started us in the background waits for this.
        if (process.send !== undefined) process.send({ isReady: true }, () => process.disconnect())
      },
    })
  } finally {
    if (options.pidFile !== undefined) removePidFile(options.pidFile, process.pid)
    await logFile?.close()
  }
}
