// A resolved configuration in the form that people write, complete, so that it can be read and used as a file.
import { stringify } from 'yaml'
import type { FleetConfig, FleetMember } from './fleet-config.ts'
import type { InstanceConfig } from './instance-config.ts'
import {
  adminKeys,
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
} from './keys.ts'
import { dependentKeys } from './resolve-member.ts'

/** YAML text that `loadFleet` reads back to the same fleet; templates and included files have become part of it. */
export function showFleet(fleet: FleetConfig): string {
  return stringify({
    admin: showSection(adminKeys, fleet.admin),
    runDir: fleet.runDir,
    dataDir: fleet.dataDir,
    logDir: fleet.logDir,
    // Each instance says so of itself again.
    log: showSection(logKeys, fleet.log),
    instances: Object.fromEntries(
      fleet.members.map((member) => [member.config.name, withoutVariables(showMember(member))]),
    ),
  })
}

function showMember(member: FleetMember): Record<string, unknown> {
  const instance = showInstance(member.config)
  const shown: Record<string, unknown> = {
    ...instance,
    limits: { ...(instance.limits as object), ...showSection(processLimitKeys, member) },
    ...showSection({ ...memberKeys, ...memberDirectoryKeys }, member),
    restart: showSection(restartKeys, member.restart),
  }
  // What has no effect is refused when it is read.
  for (const { path, on, value } of dependentKeys) {
    if (member[on] === value) continue
    const section = path.length === 1 ? shown : (shown[path[0]!] as Record<string, unknown>)
    delete section[path.at(-1)!]
  }
  return shown
}

function showInstance(config: InstanceConfig): Record<string, unknown> {
  return {
    listeners: Object.fromEntries(
      config.listeners.map((listener) => [listener.name, showSection(listenerKeys, listener, listener.address)]),
    ),
    auth: showSection(authKeys, config.auth),
    limits: showSection(limitKeys, config.limits),
    features: showSection(featureKeys, config.features),
    log: showSection(logKeys, config.log),
    ...showSection(instanceKeys, config),
  }
}

function showSection(table: KeyTable, values: object, address?: string): Record<string, unknown> {
  const fields = values as Record<string, unknown>
  const shown: Record<string, unknown> = {}
  for (const [name, row] of Object.entries(table)) {
    // The port is part of the address by now, and rights are refused where there is no socket file.
    if (!(row.field in fields)) continue
    if (['mode', 'owner', 'group'].includes(name) && address !== undefined && !address.startsWith('unix:///')) continue
    shown[name] = row.kind.show(fields[row.field])
  }
  return shown
}

/** All variables have been replaced; whatever looks like one is meant as it stands. */
function withoutVariables(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('${', () => '$${')
  if (Array.isArray(value)) return value.map(withoutVariables)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, withoutVariables(child)]))
}
