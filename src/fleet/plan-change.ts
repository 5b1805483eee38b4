// From the old description of an instance to the new one: which keys differ, as people write them, and whether each can
// change while the instance runs. Which can is said by the table of keys.
import type { FleetMember } from '../config/fleet-config.ts'
import type { ListenerConfig } from '../config/instance-config.ts'
import { fileInstanceKeys, fileSectionKeys, type KeyTable, listenerKeys } from '../config/keys.ts'
import type { KeyChange, MemberChange } from './fleet.ts'

/** A log keeps its format as long as it lives. */
const fixedInTheLog = ['log.format']
/** Keys that mean something for one kind of isolation only. */
const isolationOf = new Map([
  ['pool', 'shared'],
  ['poolSize', 'shared'],
  ['user', 'process'],
  ['group', 'process'],
  ['nice', 'process'],
  ['limits.heap', 'process'],
])

export function planChange(from: FleetMember, to: FleetMember): MemberChange {
  const keys: KeyChange[] = []
  const compare = (prefix: string, table: KeyTable, before: object, after: object) => {
    for (const [name, { field, kind, takesEffect }] of Object.entries(table)) {
      const [old, next] = [fieldOf(before, field), fieldOf(after, field)]
      if (JSON.stringify(old) === JSON.stringify(next)) continue
      const key = `${prefix}${name}`
      const change = isHot(key, takesEffect, from, to) ? 'hot' : 'restart'
      keys.push({ key, kind: change, from: shown(kind, old), to: shown(kind, next) })
    }
  }
  for (const [section, table] of Object.entries(fileSectionKeys)) {
    compare(`${section}.`, table, sectionOf(from, section), sectionOf(to, section))
  }
  compare('', fileInstanceKeys, { ...from.config, ...from }, { ...to.config, ...to })
  compareListeners(from.config.listeners, to.config.listeners, keys, compare)
  const kind = keys.length === 0 ? 'unchanged' : keys.some((one) => one.kind === 'restart') ? 'restart' : 'hot'
  return { name: to.config.name, kind, keys, reason: null }
}

function compareListeners(
  from: readonly ListenerConfig[],
  to: readonly ListenerConfig[],
  keys: KeyChange[],
  compare: (prefix: string, table: KeyTable, before: object, after: object) => void,
): void {
  for (const name of new Set([...from, ...to].map((listener) => listener.name))) {
    const before = from.find((listener) => listener.name === name)
    const after = to.find((listener) => listener.name === name)
    if (before !== undefined && after !== undefined) compare(`listeners.${name}.`, listenerKeys, before, after)
    else {
      keys.push({
        key: `listeners.${name}`,
        kind: 'hot',
        from: before?.address ?? null,
        to: after?.address ?? null,
      })
    }
  }
}

function isHot(key: string, takesEffect: string, from: FleetMember, to: FleetMember): boolean {
  const isolation = isolationOf.get(key)
  if (isolation !== undefined) return isolation !== from.isolation || isolation !== to.isolation
  // Whether it starts with the fleet counts from the next start of the fleet; who holds the listeners does not.
  if (key === 'start') return from.start !== 'on-demand' && to.start !== 'on-demand'
  return takesEffect === 'at once' && !fixedInTheLog.includes(key)
}

/** Where the values of a section stand: some are the supervisor's, most the instance's. */
function sectionOf(member: FleetMember, section: string): object {
  const own = { ...fieldOf(member.config, section), ...fieldOf(member, section) }
  // As in the file, where no limit is no number.
  return section === 'limits' ? { ...own, heapBytes: member.heapBytes || null } : own
}

// biome-ignore lint/suspicious/noExplicitAny: the table of keys knows the types
function fieldOf(of: object, field: string): any {
  return (of as Record<string, unknown>)[field]
}

function shown(kind: KeyTable[string]['kind'], value: unknown): unknown {
  return value === undefined || value === null ? null : kind.show(value)
}
