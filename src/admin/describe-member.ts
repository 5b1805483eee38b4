// One instance as a configuration file would describe it: complete, and independent of templates and defaults. What export
// gives away and clone starts from.
import { isDeepStrictEqual } from 'node:util'
import type { FleetMember } from '../config/fleet-config.ts'
import {
  authKeys,
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
} from '../config/keys.ts'

/** Rights are refused where there is no socket file, and the port is part of the address by now. */
const rightsKeys: readonly string[] = ['mode', 'owner', 'group']

export function describeMember(member: FleetMember): Record<string, unknown> {
  const { config, restart } = member
  const listeners = config.listeners.map((listener) => {
    const shown = describe(listenerKeys, listener)
    if (!listener.address.startsWith('unix:///')) for (const key of rightsKeys) delete shown[key]
    return [listener.name, shown] as const
  })
  return {
    listeners: Object.fromEntries(listeners),
    auth: describe(authKeys, config.auth),
    limits: {
      ...describe(limitKeys, config.limits),
      ...describeSet(processLimitKeys, member),
    },
    features: describe(featureKeys, config.features),
    log: describe(logKeys, config.log),
    restart: describe(restartKeys, restart),
    ...describe(instanceKeys, config),
    ...describeSet(memberKeys, member),
    ...describe(memberDirectoryKeys, member),
  }
}

/** Without what is as by default: many of these keys are refused where they mean nothing. */
function describeSet(table: KeyTable, values: object): Record<string, unknown> {
  const shown = describe(table, values)
  for (const [name, { kind, default: value }] of Object.entries(table)) {
    if (isDeepStrictEqual(shown[name], kind.show(kind.read(kind.input.parse(value))))) delete shown[name]
  }
  return shown
}

function describe(table: KeyTable, values: object): Record<string, unknown> {
  const fields = values as Record<string, unknown>
  return Object.fromEntries(
    Object.entries(table)
      .filter(([, row]) => row.field in fields)
      .map(([name, row]) => [name, row.kind.show(fields[row.field])]),
  )
}
