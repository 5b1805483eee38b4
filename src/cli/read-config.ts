// Loads the configuration for this process: the one place where its environment and account come in.
import { type LoadedConfig, loadConfig } from '../config/load-config.ts'
import { addressGrammar } from '../instance/address-grammar.ts'

/** The options that `start` and `check` share, as commander gives them. */
export interface ConfigOptions {
  config?: string
  listen: string[]
  set: string[]
}

/** @throws ConfigError with every finding */
export function readConfig(options: ConfigOptions): LoadedConfig {
  return loadConfig({
    file: options.config ?? null,
    environment: process.env,
    listen: options.listen,
    settings: options.set,
    workingDirectory: process.cwd(),
    uid: process.getuid?.() ?? 0,
    grammar: addressGrammar(process.platform),
  })
}
