// One thing with all that is known of it.
import { type AdminFlags, printJson } from './admin-command.ts'
import { readableTimes } from './readable-times.ts'
import { type Cell, formatPairs } from './table.ts'

export function printRow(row: Readonly<Record<string, unknown>>, flags: AdminFlags): void {
  if (flags.json) printJson(row)
  else process.stdout.write(formatPairs(readableTimes(row).map(([name, value]) => [name, cellOf(value)])))
}

function cellOf(value: unknown): Cell {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : (value as Cell)
}
