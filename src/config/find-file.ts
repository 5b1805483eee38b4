// Where the configuration file is: named on the command line, in ATOLL_CONFIG, or in the folder of the account.
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import { ConfigError } from './config-error.ts'
import type { DefaultPaths } from './default-paths.ts'

export interface FileOptions {
  /** The file of the command line; null for ATOLL_CONFIG, then the default places. */
  file: string | null
  environment: Readonly<Record<string, string | undefined>>
  workingDirectory: string
}

const fileNames = ['atoll.yaml', 'atoll.yml', 'atoll.toml', 'atoll.json']

/**
 * @returns an absolute path; null when no file is named and none is in the folder of the account
 * @throws ConfigError
 */
export function findFile(options: FileOptions, defaults: DefaultPaths | null): string | null {
  const named = options.file ?? options.environment.ATOLL_CONFIG
  if (named !== undefined && named !== '') return resolve(options.workingDirectory, named)
  if (defaults === null) return null
  const present = fileNames.map((name) => join(defaults.configDirectory, name)).filter((path) => existsSync(path))
  if (present.length > 1) {
    throw new ConfigError([
      new OperatorError('ambiguous-file', `there are two configuration files, ${present[0]} and ${present[1]}`, {
        fix: 'remove one, or name one with -c',
      }),
    ])
  }
  return present[0] ?? null
}
