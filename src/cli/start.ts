// `atoll start`: runs the fleet of a configuration, in the foreground or in a process of its own.
import type { Command } from 'commander'
import { addConfigOptions } from './config-options.ts'
import type { ConfigOptions } from './read-config.ts'
import { keepYoungGenerationSmall } from './young-generation.ts'

interface StartOptions extends ConfigOptions {
  printConfig?: true
  detach?: true
  logFile?: string
  pidFile?: string
}

export function registerStart(program: Command): void {
  addConfigOptions(program.command('start'))
    .description('run the brokers of a configuration in the foreground; SIGHUP reloads, SIGTERM and SIGINT stop')
    .option('--print-config', 'print the whole resulting configuration as YAML and start nothing')
    .option('-d, --detach', 'return when all is ready, and go on in the background')
    .option('--log-file <file>', "write the daemon's log there (with --detach by default atoll.log in logDir)")
    .option('--pid-file <file>', 'write the process number there, for those who want it; it is never read')
    .action(start)
}

async function start(options: StartOptions): Promise<void> {
  if (options.printConfig) {
    const { readFleet } = await import('./read-config.ts')
    const { showFleet } = await import('../config/show-fleet.ts')
    process.stdout.write(showFleet(readFleet(options).fleet))
    return
  }
  if (options.detach) {
    const { startDetached } = await import('./detach.ts')
    await startDetached(options)
    return
  }
  keepYoungGenerationSmall()
  const { runDaemon } = await import('./run-daemon.ts')
  const { reportError } = await import('./report-error.ts')
  const code = await runDaemon(options).catch(reportError)
  // Not left to the event loop: a broker that has ended must not be kept alive by a handle that someone forgot.
  process.exit(code)
}
