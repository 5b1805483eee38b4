// `key=value` on the command line as a part of a configuration document: `limits.connections=50` is a key in a section, and the
// value is read as YAML reads it.
import { parse } from 'yaml'
import { UsageError } from './usage-error.ts'

/** @throws UsageError naming the argument */
export function readSettings(settings: readonly string[]): Record<string, unknown> {
  const root = new Map<string, unknown>()
  for (const setting of settings) {
    const at = setting.indexOf('=')
    if (at < 1) throw wrong(setting, 'is no key=value')
    put(root, setting.slice(0, at).split('.'), readValue(setting, setting.slice(at + 1)), setting)
  }
  return plain(root)
}

function readValue(setting: string, text: string): unknown {
  try {
    return text === '' ? '' : parse(text, { maxAliasCount: 0 })
  } catch {
    throw wrong(setting, 'has a value that YAML cannot read')
  }
}

function put(root: Map<string, unknown>, path: readonly string[], value: unknown, setting: string): void {
  let section = root
  for (const name of path.slice(0, -1)) {
    const below = section.get(name) ?? new Map()
    if (!(below instanceof Map)) throw wrong(setting, 'contradicts another one')
    section.set(name, below)
    section = below
  }
  section.set(path.at(-1)!, value)
}

function plain(section: ReadonlyMap<string, unknown>): Record<string, unknown> {
  return Object.fromEntries([...section].map(([name, value]) => [name, value instanceof Map ? plain(value) : value]))
}

function wrong(setting: string, what: string): UsageError {
  return new UsageError(`${JSON.stringify(setting)} ${what}`, 'write it as port=1885')
}
