// What changes between the fleet that runs and the one that is wanted, instance by instance and key by key, and whether a
// change counts at once or after a restart. Which it is stands with each key in the table of keys. Changes nothing itself.
import { isOneBroker } from './daemon-log.ts'
import type { FleetConfig, FleetMember } from './fleet-config.ts'
import type { ListenerConfig } from './instance-config.ts'
import {
  adminKeys,
  authKeys,
  directoryKeys,
  featureKeys,
  instanceKeys,
  type KeyTable,
  limitKeys,
  listenerKeys,
  logKeys,
  memberDirectoryKeys,
  memberKeys,
  processLimitKeys,
  restartKeys,
} from './keys.ts'

export type ChangeKind = 'unchanged' | 'hot' | 'restart' | 'created' | 'removed' | 'rejected'

export interface KeyChange {
  /** `limits.queueMessages`. */
  key: string
  /** next-start: the running value stays until the daemon starts again. */
  kind: 'hot' | 'restart' | 'next-start'
  /** As people write it; null for a listener that is not there. */
  from: unknown
  to: unknown
}

export interface MemberChange {
  name: string
  kind: ChangeKind
  keys: KeyChange[]
  /** Why it was rejected or rolled back; of a removed one, where its data is kept; of an unchanged one, that its users were read again. */
  reason: string | null
}

/** Every value of a member, by the path that people write. */
const memberTables: readonly { prefix: string; table: KeyTable; part(member: FleetMember): object }[] = [
  { prefix: 'auth.', table: authKeys, part: ({ config }) => config.auth },
  { prefix: 'limits.', table: limitKeys, part: ({ config }) => config.limits },
  { prefix: 'limits.', table: processLimitKeys, part: (member) => member },
  { prefix: 'features.', table: featureKeys, part: ({ config }) => config.features },
  { prefix: 'log.', table: logKeys, part: ({ config }) => config.log },
  { prefix: '', table: instanceKeys, part: ({ config }) => config },
  { prefix: '', table: { ...memberKeys, ...memberDirectoryKeys }, part: (member) => member },
  { prefix: 'restart.', table: restartKeys, part: ({ restart }) => restart },
]

/**
 * What `apply` would do, for every instance of either fleet: those of `next` in their order, then those that go. From which
 * file or template an instance comes is no change.
 */
export function planFleet(running: FleetConfig, next: FleetConfig): MemberChange[] {
  const old = new Map(running.members.map((member) => [member.config.name, member]))
  const changes = next.members.map((member): MemberChange => {
    const { name } = member.config
    const before = old.get(name)
    old.delete(name)
    if (before === undefined) return { name, kind: 'created', keys: [], reason: null }
    const keys = planMember(before, member)
    const kind = keys.length === 0 ? 'unchanged' : keys.some((one) => one.kind === 'restart') ? 'restart' : 'hot'
    return { name, kind, keys, reason: null }
  })
  for (const [name, { dataDir }] of old) {
    changes.push({ name, kind: 'removed', keys: [], reason: `its data is kept in ${dataDir}` })
  }
  return changes
}

/** What changes for the daemon itself. What an instance of its process needs a restart for, it can only take when it starts. */
export function planFleetKeys(running: FleetConfig, next: FleetConfig): KeyChange[] {
  const directories = compare('', { runDir: directoryKeys.runDir }, running, next)
  const admin = compare('admin.', adminKeys, running.admin, next.admin)
  // One broker alone has the log, and its change tells.
  const log = isOneBroker(running) || isOneBroker(next) ? [] : compare('log.', logKeys, running.log, next.log)
  return [...directories, ...admin, ...log].map((change) =>
    change.kind === 'restart' ? { ...change, kind: 'next-start' } : change,
  )
}

/** The daemon's own part of a plan. */
export interface DaemonChange {
  /** It is no instance. */
  name: null
  /** hot: all of it counts at once. next-start: something waits for the next start of the daemon. */
  kind: 'hot' | 'next-start'
  keys: KeyChange[]
  reason: null
}

/** A whole plan: the instances, and the daemon when something changes for it. */
export function withDaemon(
  changes: readonly MemberChange[],
  keys: readonly KeyChange[],
): (MemberChange | DaemonChange)[] {
  if (keys.length === 0) return [...changes]
  const kind = keys.some((key) => key.kind === 'next-start') ? 'next-start' : 'hot'
  return [...changes, { name: null, kind, keys: [...keys], reason: null }]
}

function planMember(before: FleetMember, after: FleetMember): KeyChange[] {
  const keys = memberTables.flatMap(({ prefix, table, part }) => compare(prefix, table, part(before), part(after)))
  const judged = keys.map((change) => ({ ...change, kind: kindOf(change, before, after) }))
  return [...planListeners(before.config.listeners, after.config.listeners), ...judged]
}

function kindOf({ key, kind }: KeyChange, before: FleetMember, after: FleetMember): KeyChange['kind'] {
  // Whether it starts with the fleet counts from the next start of the fleet; who holds the listeners does not.
  if (key === 'start' && ![before.start, after.start].includes('on-demand')) return 'hot'
  return kind
}

function planListeners(before: readonly ListenerConfig[], after: readonly ListenerConfig[]): KeyChange[] {
  const old = new Map(before.map((listener) => [listener.name, listener]))
  const changes: KeyChange[] = []
  for (const listener of after) {
    const { name, address } = listener
    const earlier = old.get(name)
    old.delete(name)
    if (earlier === undefined) changes.push({ key: `listeners.${name}`, kind: 'hot', from: null, to: address })
    else changes.push(...compare(`listeners.${name}.`, listenerKeys, earlier, listener))
  }
  for (const { name, address } of old.values()) {
    changes.push({ key: `listeners.${name}`, kind: 'hot', from: address, to: null })
  }
  return changes
}

function compare(prefix: string, table: KeyTable, before: object, after: object): KeyChange[] {
  const changes: KeyChange[] = []
  for (const name in table) {
    const { field, kind, takesEffect } = table[name]
    // The port of a listener is part of its address by now.
    if (!(field in after)) continue
    const running = (before as Record<string, unknown>)[field]
    const wanted = (after as Record<string, unknown>)[field]
    if (running === wanted) continue
    const from = kind.show(running)
    const to = kind.show(wanted)
    if (JSON.stringify(from) === JSON.stringify(to)) continue
    const change = takesEffect === 'at once' ? 'hot' : takesEffect === 'restart' ? 'restart' : 'next-start'
    changes.push({ key: prefix + name, kind: change, from, to })
  }
  return changes
}
