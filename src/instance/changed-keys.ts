// What differs between two configurations of one instance, key by key as people write them. Listeners are compared as a
// whole, elsewhere: one that changed is opened anew.
import { isDeepStrictEqual } from 'node:util'
import type { InstanceConfig } from '../config/instance-config.ts'
import { instanceKeys, type KeyTable, sectionKeys } from '../config/keys.ts'

/** @returns `limits.queueMessages`, `gracePeriod` … in the order of the table of keys */
export function changedKeys(from: InstanceConfig, to: InstanceConfig): string[] {
  const changed = Object.entries(sectionKeys).flatMap(([section, table]) => {
    const name = section as keyof typeof sectionKeys
    return changedIn(table, from[name], to[name]).map((key) => `${section}.${key}`)
  })
  return [...changed, ...changedIn(instanceKeys, from, to)]
}

function changedIn(table: KeyTable, from: object, to: object): string[] {
  const before = from as Record<string, unknown>
  const after = to as Record<string, unknown>
  return Object.entries(table)
    .filter(([, { field }]) => !isDeepStrictEqual(before[field], after[field]))
    .map(([name]) => name)
}
