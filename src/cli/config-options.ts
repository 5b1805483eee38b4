// The options by which a command takes a configuration.
import type { Command } from 'commander'

const collect = (value: string, values: string[]): string[] => [...values, value]

export function addConfigOptions(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration file (default: ATOLL_CONFIG, then the folder of the account)')
    .option('--listen <address>', 'listen here instead of on the configured listeners; can be repeated', collect, [])
    .option('--set <key=value>', 'set one key, as limits.queueMessages=50; can be repeated', collect, [])
}
