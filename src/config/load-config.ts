// The configuration of a fleet of one.
import { OperatorError } from '../base/errors.ts'
import { ConfigError } from './config-error.ts'
import type { InstanceConfig } from './instance-config.ts'
import { type LoadOptions, loadFleet } from './load-fleet.ts'

export interface ConfigPaths {
  runDir: string
  dataDir: string
  logDir: string
}

export interface LoadedConfig {
  config: InstanceConfig
  paths: ConfigPaths
  /** Whether `runDir` is the default of the account, and nobody's choice. */
  isDefaultRunDir: boolean
  /** Absolute path; null when there is no file. */
  file: string | null
  /** What took part after the built-in defaults, in order of precedence: the file, variables, options. */
  sources: string[]
}

/** @throws ConfigError with every finding, or because there are several instances */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const { fleet, isDefaultRunDir, file, sources, findPlace } = loadFleet(options)
  const [first, second] = fleet.members
  if (second !== undefined) {
    throw new ConfigError([
      new OperatorError('not-in-this-version', 'one instance runs here, and the configuration describes several', {
        place: findPlace(second.config.name, []),
      }),
    ])
  }
  const { runDir, dataDir, logDir } = fleet
  return { config: first!.config, paths: { runDir, dataDir, logDir }, isDefaultRunDir, file, sources }
}
