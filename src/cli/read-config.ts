// Loads the configuration for this process: the one place where its environment and account come in.
import { join } from 'node:path'
import { defaultPaths } from '../config/default-paths.ts'
import { findFile } from '../config/find-file.ts'
import { type LoadedFleet, type LoadOptions, loadFleet } from '../config/load-fleet.ts'
import { SavedChanges, savedChangesFile } from '../config/saved-changes.ts'
import { addressGrammar } from '../instance/address-grammar.ts'

/** The options that `start` and `check` share, as commander gives them. */
export interface ConfigOptions {
  config?: string
  listen: string[]
  set: string[]
}

/**
 * @param changes what commands have added; by default what was saved
 * @throws ConfigError with every finding
 */
export function readFleet(options: ConfigOptions, changes = openSavedChanges(options)): LoadedFleet {
  return loadFleet({ ...loadOptions(options), changes })
}

/** What was saved beside the configuration file, or beside where it would be. @throws ConfigError */
export function openSavedChanges(options: ConfigOptions): SavedChanges {
  const found = loadOptions(options)
  const defaults = defaultPaths(found.uid, found.environment)
  const file = findFile(found, defaults) ?? (defaults === null ? null : join(defaults.configDirectory, 'atoll.yaml'))
  return new SavedChanges(file === null ? null : savedChangesFile(file))
}

function loadOptions(options: ConfigOptions): LoadOptions {
  return {
    file: options.config ?? null,
    environment: process.env,
    listen: options.listen,
    settings: options.set,
    workingDirectory: process.cwd(),
    uid: process.getuid?.() ?? 0,
    grammar: addressGrammar(process.platform),
  }
}
