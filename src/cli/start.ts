// `atoll start`: runs the broker of a configuration in the foreground.
import type { Command } from 'commander'
import { addConfigOptions } from './config-options.ts'
import type { ConfigOptions } from './read-config.ts'

export function registerStart(program: Command): void {
  addConfigOptions(program.command('start'))
    .description('run the broker in the foreground; SIGHUP reloads, SIGTERM and SIGINT stop')
    .option('--print-config', 'print the whole resulting configuration as YAML and start nothing')
    .action(start)
}

async function start(options: ConfigOptions & { printConfig?: true }): Promise<void> {
  const { readConfig } = await import('./read-config.ts')
  const loaded = readConfig(options)
  if (options.printConfig) {
    const { showConfig } = await import('../config/show-config.ts')
    process.stdout.write(showConfig(loaded.config, loaded.paths))
    return
  }
  const { createSystemClock } = await import('../base/clock.ts')
  const { createLog } = await import('../observe/log.ts')
  const { createServiceNotifier } = await import('../transport/service-notify.ts')
  const { createInstance } = await import('../instance/instance.ts')
  const { prepareRunDirectory } = await import('./run-directory.ts')
  const { runForeground } = await import('./foreground.ts')
  const { reportError } = await import('./report-error.ts')

  const uid = process.getuid?.() ?? 0
  prepareRunDirectory(loaded, uid)
  const clock = createSystemClock()
  const { level, format } = loaded.config.log
  const log = createLog(level, format, clock, (line) => process.stdout.write(`${line}\n`))
  log.info('starting', {
    instance: loaded.config.name,
    configuration: loaded.sources.join(', ') || 'built-in defaults',
  })
  const instance = createInstance(loaded.config, {
    clock,
    log,
    platform: process.platform,
    runDir: loaded.paths.runDir,
    environment: process.env,
    pid: process.pid,
  })
  const code = await runForeground({
    instance,
    loaded,
    log,
    notifier: createServiceNotifier(process.env, process.pid, log),
    readAgain: () => readConfig(options),
  }).catch(reportError)
  // Not left to the event loop: a broker that has ended must not be kept alive by a handle that someone forgot.
  process.exit(code)
}
