// Long lists of several instances: page after page, up to a limit of rows that the caller can see and change.
import type { Command } from 'commander'
import { openAdmin, printJson, printTable } from './admin-command.ts'
import { addInstancesCommand, type InstanceFlags, someInstances } from './instance-option.ts'
import { reportError } from './report-error.ts'
import type { Cell } from './table.ts'
import { wholeNumber } from './whole-number.ts'

export interface ListFlags extends InstanceFlags {
  limit: number
}

type Row = Readonly<Record<string, unknown>>

interface Page {
  items: Row[]
  cursor: string | null
}

const pageRows = 500
const defaultRows = 1000
const rowsLimit = 999_999_999

export function addListCommand(group: Command, description: string): Command {
  return addInstancesCommand(group, 'list', description).option(
    '--limit <rows>',
    'print at most so many rows; 0 for all',
    wholeNumber(0, rowsLimit),
    defaultRows,
  )
}

/** @param columns heading and name of the field */
export async function printList(
  operation: string,
  params: Readonly<Record<string, unknown>>,
  columns: readonly (readonly [heading: string, field: string])[],
  flags: ListFlags,
): Promise<void> {
  const admin = openAdmin(flags)
  const limit = flags.limit === 0 ? Number.POSITIVE_INFINITY : flags.limit
  const rows: Row[] = []
  let isCut = false
  const isRunning = ({ phase }: { phase: string }) => phase === 'ready'
  const members = await someInstances(admin, flags)
  // One that was named and does not run is an error, which the daemon tells.
  const asked = flags.instance !== undefined && members.length === 1 ? members : members.filter(isRunning)
  const read = async (instance: string) => {
    let cursor: string | null = null
    do {
      if (rows.length >= limit) {
        isCut = true
        break
      }
      const pageParams: Record<string, unknown> = { ...params, limit: Math.min(pageRows, limit - rows.length), cursor }
      const page: Page = await admin.call<Page>(operation, { instance, params: pageParams })
      for (const item of page.items) rows.push({ instance, ...item })
      cursor = page.cursor
    } while (cursor !== null)
  }
  for (const { name } of asked) {
    try {
      await read(name)
    } catch (error) {
      // One that does not answer keeps nobody from seeing what the others have.
      process.exitCode = reportError(error)
    }
  }
  if (flags.json) printJson(rows)
  else {
    const heads = ['INSTANCE', ...columns.map(([heading]) => heading)]
    printTable(
      heads,
      rows.map((row) => [row.instance as string, ...columns.map(([, field]) => row[field] as Cell)]),
    )
  }
  if (isCut) process.stderr.write(`atoll: the list ends at ${limit} rows, and there may be more; see --limit\n`)
}
