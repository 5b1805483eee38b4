// `atoll plan`, `atoll apply` and `atoll reload`: what a changed configuration means for what runs, and doing it.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { safeJson } from '../admin/safe-json.ts'
import type { FleetChange } from '../fleet/fleet.ts'
import { escapeText } from '../observe/log.ts'
import { type AdminFlags, addAdminOptions, openAdmin, printJson, printLine } from './admin-command.ts'
import { exitCodes } from './exit-codes.ts'

const namesShown = 10

type ApplyFlags = AdminFlags & { config?: string }

export function registerPlan(program: Command): void {
  addAdminOptions(program.command('plan'))
    .description('show what apply would change, by instance and key: hot, restart, rejected, or at the next start')
    .option('-c, --config <file>', 'configuration file (default: the one in force)')
    .action((flags: ApplyFlags) => run('fleet.plan', flags))
}

export function registerApply(program: Command): void {
  addAdminOptions(program.command('apply'))
    .description('make the fleet what its configuration says; exit code 1 when something was rejected')
    .option('-c, --config <file>', 'configuration file (default: the one in force)')
    .action((flags: ApplyFlags) => run('fleet.apply', flags))
}

export function registerReload(program: Command): void {
  addAdminOptions(program.command('reload'))
    .description('read the configuration and the files that it names again, as SIGHUP does')
    .action((flags: AdminFlags) => run('fleet.reload', flags))
}

async function run(operation: string, flags: ApplyFlags): Promise<void> {
  const params = flags.config === undefined ? {} : { file: resolve(flags.config) }
  printChanges(await openAdmin(flags).call<FleetChange[]>(operation, { params }), flags)
}

export function printChanges(changes: readonly FleetChange[], flags: AdminFlags): void {
  if (flags.json) printJson(changes)
  else {
    const changed = changes.filter(({ kind }) => kind !== 'unchanged')
    for (const change of changed) printChange(change)
    const read = changes.filter(({ kind, reason }) => kind === 'unchanged' && reason !== null)
    if (read.length > 0) printLine(`files of users and rights were read again: ${namesOf(read)}`)
    else if (changed.length === 0) printLine('nothing changes')
  }
  if (changes.some(({ kind }) => kind === 'rejected')) process.exitCode = exitCodes.failure
}

function namesOf(changes: readonly FleetChange[]): string {
  const names = changes.slice(0, namesShown).map(({ name }) => escapeText(name ?? ''))
  return `${names.join(' ')}${changes.length > namesShown ? ` and ${changes.length - namesShown} more` : ''}`
}

function printChange({ name, kind, keys, reason }: FleetChange): void {
  if (name === null) printLine(`the daemon: ${describeDaemon(kind, keys)}`)
  else printLine(escapeText(`${name}: ${kind}${reason === null ? '' : `: ${reason}`}`))
  const width = keys.some((one) => one.kind === 'next-start') ? 'next-start'.length : 8
  for (const { key, kind: keyKind, from, to } of keys) {
    printLine(`  ${keyKind.padEnd(width)}  ${escapeText(key)}: ${shown(from)} -> ${shown(to)}`)
  }
}

function describeDaemon(kind: FleetChange['kind'], keys: FleetChange['keys']): string {
  if (kind !== 'next-start') return kind
  return keys.some((key) => key.kind === 'hot') ? 'hot, the rest at its next start' : 'waits for its next start'
}

function shown(value: unknown): string {
  return value === undefined || value === null ? 'nothing' : safeJson(value)
}
