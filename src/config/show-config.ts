// A resolved configuration in the form that people write, complete, so that it can be read and used as a file.
import { stringify } from 'yaml'
import type { InstanceConfig } from './instance-config.ts'
import { authKeys, featureKeys, type KeyTable, limitKeys, listenerKeys, logKeys } from './keys.ts'
import type { ConfigPaths } from './load-config.ts'
import { formatDuration } from './quantities.ts'

/** YAML text that `loadConfig` reads back to the same instance and paths. */
export function showConfig(config: InstanceConfig, paths: ConfigPaths): string {
  return stringify({
    runDir: paths.runDir,
    dataDir: paths.dataDir,
    logDir: paths.logDir,
    instances: {
      [config.name]: {
        listeners: Object.fromEntries(
          config.listeners.map((listener) => [listener.name, showSection(listenerKeys, listener, listener.address)]),
        ),
        auth: showSection(authKeys, config.auth),
        limits: showSection(limitKeys, config.limits),
        features: showSection(featureKeys, config.features),
        log: showSection(logKeys, config.log),
        durability: config.durability,
        gracePeriod: formatDuration(config.gracePeriodSeconds),
      },
    },
  })
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
