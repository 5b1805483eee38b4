// From the names that people write to the fields that the broker reads.
import type { KeyTable, SectionOutput } from './keys.ts'

/** @param parsed what the schema of the same table has returned */
export function sectionValues<Table extends KeyTable>(table: Table, parsed: unknown): SectionOutput<Table> {
  const values = parsed as Record<string, unknown>
  return Object.fromEntries(
    Object.entries(table).map(([name, row]) => [row.field, values[name]]),
  ) as SectionOutput<Table>
}
