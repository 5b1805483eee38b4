// `atoll status`: the daemon and its instances, in one look.
import type { Command } from 'commander'
import type { FleetStatus, MemberStatus } from '../fleet/fleet.ts'
import { escapeText } from '../observe/log.ts'
import { type AdminFlags, addAdminOptions, openAdmin, printJson, printLine, printTable } from './admin-command.ts'
import { exitCodes } from './exit-codes.ts'
import { troublePhases } from './start-outcome.ts'

export function registerStatus(program: Command): void {
  addAdminOptions(program.command('status'))
    .description(
      'show the daemon and its instances; exit code 1 when an instance does not start or has a problem, 4 when no daemon runs',
    )
    .action(async (flags: AdminFlags) => {
      const status = await openAdmin(flags).call<FleetStatus>('fleet.status')
      if (flags.json) printJson(status)
      else {
        printLine(`atoll ${status.version} pid ${status.pid} since ${new Date(status.startedAtMs).toISOString()}`)
        printInstances(status.members)
      }
      if (status.members.some(({ phase, problem }) => troublePhases.includes(phase) || problem !== null))
        process.exitCode = exitCodes.failure
    })
}

export function printInstances(members: readonly MemberStatus[]): void {
  printTable(
    ['NAME', 'PHASE', 'PID', 'CONNECTIONS', 'RESTARTS', 'LISTENERS', 'REASON'],
    members.map((member) => [
      member.name,
      member.phase,
      member.pid,
      member.connections,
      member.restarts,
      member.listeners.map(({ address }) => address).join(' '),
      reasonOf(member),
    ]),
  )
  for (const { name, problem, recovery, damage } of members) {
    if (problem !== null) printLine(`${name} IS NOT READY: ${escapeText(problem)}`)
    if (recovery !== null) printLine(`${name}: ${escapeText(recovery)}`)
    if (damage !== null) printLine(`${name}: ${escapeText(damage)}`)
  }
}

/** What is over by now says so, and when it was. */
function reasonOf({ reason, lastFailure, lastFailureAtMs }: MemberStatus): string | null {
  if (reason !== null || lastFailure === null || lastFailureAtMs === null) return reason
  return `earlier, at ${new Date(lastFailureAtMs).toISOString()}: ${lastFailure}`
}
