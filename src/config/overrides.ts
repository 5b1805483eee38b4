// What the environment and the command line say on top of the file: ATOLL_LIMITS__QUEUE_MESSAGES=5, limits.queueMessages=5.
// Knows no process: it is given the variables.
import { OperatorError, type Place } from '../base/errors.ts'
import { closestName } from './closest-name.ts'
import { type ConfigNode, childOf, emptyMap, type MapNode, withValue } from './config-node.ts'
import type { Key } from './key-kinds.ts'
import { directoryKeys, instanceKeys, type KeyTable, listenerKeys, namePattern, sectionKeys } from './keys.ts'
import { quote } from './quantities.ts'

const prefix = 'ATOLL_'
/** Read by the command line itself. */
const reserved: readonly string[] = ['ATOLL_ADMIN', 'ATOLL_CONFIG']
/** Kubernetes puts these into every container beside a service that is called `atoll`. */
const kubernetes = /^ATOLL_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/

const topTable: KeyTable = { ...instanceKeys, ...directoryKeys }
const tables = new Map<string, KeyTable>(Object.entries(sectionKeys))

/** Lays the `ATOLL_…` variables of `environment` over `root`. */
export function applyEnvironment(
  root: MapNode,
  environment: Readonly<Record<string, string | undefined>>,
  baseDirectory: string,
  findings: OperatorError[],
): { root: MapNode; applied: string[] } {
  let result = root
  const applied: string[] = []
  for (const variable of Object.keys(environment).sort()) {
    const text = environment[variable]
    if (text === undefined || !variable.startsWith(prefix)) continue
    if (reserved.includes(variable) || kubernetes.test(variable)) continue
    const path = pathOfVariable(variable, result)
    const place: Place = { file: variable }
    const row = path === null ? null : keyAt(path)
    if (path === null || row === null) {
      const near = closestName(variable, knownVariables(result))
      findings.push(
        new OperatorError('unknown-variable', 'no configuration key has this environment variable', {
          place,
          fix: near === null ? 'unset it; the reference of keys names them all' : `did you mean ${near}?`,
        }),
      )
      continue
    }
    result = withOverride(result, path, row, text, place, baseDirectory)
    applied.push(variable)
  }
  return { root: result, applied }
}

/** Lays `key.path=value` of the command line over `root`. */
export function applySettings(
  root: MapNode,
  settings: readonly string[],
  baseDirectory: string,
  findings: OperatorError[],
): MapNode {
  let result = root
  for (const setting of settings) {
    const equals = setting.indexOf('=')
    const keyText = equals < 0 ? setting : setting.slice(0, equals)
    const place: Place = { file: '--set', key: keyText }
    if (equals < 0) {
      findings.push(new OperatorError('wrong-setting', 'has no value', { place, fix: 'write --set key=value' }))
      continue
    }
    const path = keyText.split('.')
    const row = keyAt(path)
    if (row === null) {
      const near = closestName(keyText, knownPaths(result))
      findings.push(
        new OperatorError('unknown-key', `unknown key ${quote(keyText)}`, {
          place,
          ...(near === null ? {} : { fix: `did you mean ${near}?` }),
        }),
      )
      continue
    }
    result = withOverride(result, path, row, setting.slice(equals + 1), place, baseDirectory)
  }
  return result
}

/** Replaces all listeners by one for each address: listen1, listen2 … */
export function applyListen(root: MapNode, addresses: readonly string[], baseDirectory: string): MapNode {
  if (addresses.length === 0) return root
  let listeners = emptyMap(baseDirectory, { file: '--listen', key: 'listeners' })
  for (const [index, address] of addresses.entries()) {
    const name = `listen${index + 1}`
    const place: Place = { file: '--listen', key: `listeners.${name}` }
    listeners = withValue(listeners, [name], { kind: 'scalar', value: address, place, baseDirectory })
  }
  return withValue(root, ['listeners'], listeners)
}

function withOverride(
  root: MapNode,
  path: readonly string[],
  row: Key<string, unknown, unknown>,
  text: string,
  place: Place,
  baseDirectory: string,
): MapNode {
  let base = root
  if (path[0] === 'listeners') {
    // The short form has no room for a second key.
    const listenerPath = path.slice(0, 2)
    const listener = childOf(childOf(root, 'listeners'), path[1]!)
    if (listener?.kind === 'scalar') {
      const long = withValue(emptyMap(listener.baseDirectory, listener.place), ['address'], listener)
      base = withValue(root, listenerPath, long)
    }
  }
  const target = path[0] === 'listeners' && path.length === 2 ? [...path, 'address'] : path
  return withValue(base, target, nodeOf(row.kind.fromText(text), { ...place, key: target.join('.') }, baseDirectory))
}

function nodeOf(value: unknown, place: Place, baseDirectory: string): ConfigNode {
  if (Array.isArray(value)) {
    return { kind: 'list', items: value.map((item) => nodeOf(item, place, baseDirectory)), place, baseDirectory }
  }
  return { kind: 'scalar', value: value as string | number | boolean | null, place, baseDirectory }
}

/** The row of a path: `durability`, `limits.memory`, `listeners.NAME.mode`; `listeners.NAME` itself stands for its address. */
function keyAt(path: readonly string[]): Key<string, unknown, unknown> | null {
  if (path[0] === 'listeners') {
    if (path.length < 2 || path.length > 3 || !namePattern.test(path[1]!)) return null
    return rowOf(listenerKeys, path[2] ?? 'address')
  }
  if (path.length === 1) return rowOf(topTable, path[0]!)
  const table = path.length === 2 ? tables.get(path[0]!) : undefined
  return table === undefined ? null : rowOf(table, path[1]!)
}

function rowOf(table: KeyTable, name: string): Key<string, unknown, unknown> | null {
  return Object.hasOwn(table, name) ? table[name]! : null
}

/** `ATOLL_LISTENERS__LOCAL__MAX_CONNECTIONS` → listeners, local, maxConnections. Two underscores part the levels. */
function pathOfVariable(variable: string, root: MapNode): string[] | null {
  const levels = variable.slice(prefix.length).split('__')
  if (levels[0] === 'LISTENERS') {
    const [, listener, keyLevel, ...more] = levels
    if (listener === undefined || listener === '' || more.length > 0) return null
    const path = ['listeners', listenerNamed(listener, root)]
    if (keyLevel === undefined) return path
    const name = nameOfLevel(keyLevel, Object.keys(listenerKeys))
    return name === null ? null : [...path, name]
  }
  if (levels.length === 1) {
    const name = nameOfLevel(levels[0]!, Object.keys(topTable))
    return name === null ? null : [name]
  }
  const section = nameOfLevel(levels[0]!, [...tables.keys()])
  if (section === null || levels.length !== 2) return null
  const name = nameOfLevel(levels[1]!, Object.keys(tables.get(section)!))
  return name === null ? null : [section, name]
}

/** A listener of the file whose name is written like that in a variable; else a new one in small letters. */
function listenerNamed(level: string, root: MapNode): string {
  const listeners = childOf(root, 'listeners')
  const names = listeners?.kind === 'map' ? [...listeners.entries.keys()] : []
  return names.find((name) => listenerLevel(name) === level.toUpperCase()) ?? level.toLowerCase()
}

function listenerLevel(name: string): string {
  return name.toUpperCase().replaceAll('-', '_')
}

function nameOfLevel(level: string, names: readonly string[]): string | null {
  return names.find((name) => levelOfName(name) === level) ?? null
}

/** `queueMessages` → `QUEUE_MESSAGES`. */
function levelOfName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
}

/** The environment variable of a key path. */
export function variableOfPath(path: readonly string[]): string {
  const levels = path.map((step, index) =>
    path[0] === 'listeners' && index === 1 ? listenerLevel(step) : levelOfName(step),
  )
  return prefix + levels.join('__')
}

function knownPaths(root: MapNode): string[] {
  const listeners = childOf(root, 'listeners')
  const names = listeners?.kind === 'map' ? [...listeners.entries.keys()] : []
  return [
    ...Object.keys(topTable),
    ...[...tables].flatMap(([section, table]) => Object.keys(table).map((name) => `${section}.${name}`)),
    ...names.flatMap((listener) => Object.keys(listenerKeys).map((name) => `listeners.${listener}.${name}`)),
  ]
}

function knownVariables(root: MapNode): string[] {
  return [...reserved, ...knownPaths(root).map((path) => variableOfPath(path.split('.')))]
}
