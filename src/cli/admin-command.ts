// What the commands that talk to the daemon have in common: their options, and how they print.
import type { Command } from 'commander'
import { safeJson } from '../admin/safe-json.ts'
import { AdminClient, findAdminSocket } from './admin-client.ts'
import { type Cell, formatTable } from './table.ts'

export interface AdminFlags {
  admin?: string
  json?: true
}

export function addAdminOptions(command: Command): Command {
  return command
    .option(
      '--admin <address>',
      'admin socket of the daemon, unix:///path (default: ATOLL_ADMIN, then that of the account)',
    )
    .option('--json', 'print JSON')
}

export function openAdmin({ admin }: AdminFlags): AdminClient {
  return new AdminClient(findAdminSocket(admin, process.env, process.getuid?.() ?? 0))
}

export function printJson(value: unknown): void {
  process.stdout.write(`${safeJson(value, 2)}\n`)
}

export function printTable(head: readonly string[], rows: readonly (readonly Cell[])[]): void {
  process.stdout.write(formatTable(head, rows, process.stdout.isTTY ? process.stdout.columns : null))
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`)
}
