// The shape of a whole InstanceConfig as it crosses a process boundary, from the table of keys: a value is right if people
// could have written it.
import { isDeepStrictEqual } from 'node:util'
import * as z from 'zod'
import type { Key } from '../../config/key-kinds.ts'
import { instanceKeys, type KeyTable, listenerKeys, namePattern, sectionKeys } from '../../config/keys.ts'

const name = z.string('expected a name').regex(namePattern, 'expected a name')

/** The port is part of the address by now. */
const { port: _port, ...listenerFields } = listenerKeys

const listener = z.strictObject({ name, ...fieldsOf(listenerFields) })

/** What is not in the table of keys passes as it is: it comes from a supervisor of the same version. */
export const instanceConfigShape = z.looseObject({
  name,
  listeners: z.array(listener, 'expected a list of listeners'),
  ...mapTables(sectionKeys),
  ...fieldsOf(instanceKeys),
})

function mapTables(tables: Readonly<Record<string, KeyTable>>): Record<string, z.ZodType> {
  return Object.fromEntries(
    Object.entries(tables).map(([section, table]) => [section, z.strictObject(fieldsOf(table))]),
  )
}

function fieldsOf(table: KeyTable): Record<string, z.ZodType> {
  return Object.fromEntries(
    Object.values(table).map((row) => [
      row.field,
      z.custom((value) => isValueOf(row, value), `expected ${row.kind.title}`),
    ]),
  )
}

function isValueOf({ kind }: Key<string, unknown, unknown>, value: unknown): boolean {
  try {
    return isDeepStrictEqual(kind.read(kind.input.parse(kind.show(value))), value)
  } catch {
    return false
  }
}
