// What the environment and the command line say on top of the file: ATOLL_LIMITS__QUEUE_MESSAGES=5, limits.queueMessages=5.
// The result is a tree of its own, to be laid over what the files say. Knows no process: it is given the variables.
import { OperatorError, type Place } from '../base/errors.ts'
import { closestName } from './closest-name.ts'
import { type ConfigNode, emptyMap, type MapNode, withValue } from './config-node.ts'
import type { Key } from './key-kinds.ts'
import {
  adminKeys,
  directoryKeys,
  fileInstanceKeys,
  fileSectionKeys,
  type KeyTable,
  listenerKeys,
  namePattern,
} from './keys.ts'
import { quote } from './quantities.ts'

const prefix = 'ATOLL_'
/** Read by the command line itself. */
const reserved: readonly string[] = ['ATOLL_ADDRESS', 'ATOLL_ADMIN', 'ATOLL_CONFIG']
/** Kubernetes puts these into every container beside a service that is called `atoll`. */
const kubernetes = /^ATOLL_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/

export interface KnownInstances {
  /** Names of all instances, and of the listeners that the files give each. */
  readonly listeners: ReadonlyMap<string, readonly string[]>
  /** The one whose listeners are meant where no instance is named; null when there are several. */
  readonly alone: string | null
}

const topTable: KeyTable = { ...fileInstanceKeys, ...directoryKeys }
const sections = new Map<string, KeyTable>(Object.entries(fileSectionKeys))
const admin: KeyTable = adminKeys

/** What the `ATOLL_…` variables of `environment` say. */
export function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  known: KnownInstances,
  baseDirectory: string,
  findings: OperatorError[],
): { root: MapNode; applied: string[] } {
  let root = emptyMap(baseDirectory)
  const applied: string[] = []
  for (const variable of Object.keys(environment).sort()) {
    const text = environment[variable]
    if (text === undefined || !variable.startsWith(prefix)) continue
    if (reserved.includes(variable) || kubernetes.test(variable)) continue
    const path = pathOfVariable(variable, known)
    const place: Place = { file: variable }
    const row = path === null ? null : keyAt(path, known)
    if (path === null || row === null) {
      const near = closestName(variable, knownVariables(variable, known))
      findings.push(
        new OperatorError('unknown-variable', 'no configuration key has this environment variable', {
          place,
          fix: near === null ? 'unset it; the reference of keys names them all' : `did you mean ${near}?`,
        }),
      )
      continue
    }
    if (needsInstance(path, known, place, variableOfPath(['instances', 'NAME', ...path]), findings)) continue
    root = withOverride(root, path, row, text, place, baseDirectory)
    applied.push(variable)
  }
  return { root, applied }
}

/** What `key.path=value` of the command line says, laid over `root`. */
export function applySettings(
  root: MapNode,
  settings: readonly string[],
  known: KnownInstances,
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
    const row = keyAt(path, known)
    if (row === null) {
      const near = closestName(keyText, knownPaths(path, known))
      findings.push(
        new OperatorError('unknown-key', `unknown key ${quote(keyText)}`, {
          place,
          ...(near === null ? {} : { fix: `did you mean ${near}?` }),
        }),
      )
      continue
    }
    if (needsInstance(path, known, place, `instances.NAME.${keyText}`, findings)) continue
    result = withOverride(result, path, row, setting.slice(equals + 1), place, baseDirectory)
  }
  return result
}

/** The listeners that `--listen` puts into the place of all others: listen1, listen2 … */
export function listenersOf(addresses: readonly string[], baseDirectory: string): MapNode {
  let listeners = emptyMap(baseDirectory, { file: '--listen', key: 'listeners' })
  for (const [index, address] of addresses.entries()) {
    const name = `listen${index + 1}`
    const place: Place = { file: '--listen', key: `listeners.${name}` }
    listeners = withValue(listeners, [name, 'address'], { kind: 'scalar', value: address, place, baseDirectory })
  }
  return listeners
}

/** What is said of all instances can be no listener: two cannot listen in one place. */
function needsInstance(
  path: readonly string[],
  known: KnownInstances,
  place: Place,
  better: string,
  findings: OperatorError[],
): boolean {
  const { size } = known.listeners
  if (path[0] !== 'listeners' || known.alone !== null || size === 0) return false
  const message = `there are ${size} instances, and a listener belongs to one`
  findings.push(new OperatorError('wrong-place', message, { place, fix: `name the instance: ${better}` }))
  return true
}

function withOverride(
  root: MapNode,
  path: readonly string[],
  row: Key<string, unknown, unknown>,
  text: string,
  place: Place,
  baseDirectory: string,
): MapNode {
  const { inner } = splitPath(path)
  const target = inner[0] === 'listeners' && inner.length === 2 ? [...path, 'address'] : path
  return withValue(root, target, nodeOf(row.kind.fromText(text), { ...place, key: target.join('.') }, baseDirectory))
}

function nodeOf(value: unknown, place: Place, baseDirectory: string): ConfigNode {
  if (Array.isArray(value)) {
    return { kind: 'list', items: value.map((item) => nodeOf(item, place, baseDirectory)), place, baseDirectory }
  }
  return { kind: 'scalar', value: value as string | number | boolean | null, place, baseDirectory }
}

/** `instances.NAME.limits.memory` → NAME and `limits.memory`; a path of no single instance is all its own. */
function splitPath(path: readonly string[]): { instance: string | null; inner: readonly string[] } {
  return path[0] === 'instances' ? { instance: path[1] ?? '', inner: path.slice(2) } : { instance: null, inner: path }
}

/**
 * The row of a path: `durability`, `limits.memory`, `listeners.NAME.mode`, each also behind `instances.NAME`;
 * `listeners.NAME` itself stands for its address.
 */
function keyAt(path: readonly string[], known: KnownInstances): Key<string, unknown, unknown> | null {
  const { instance, inner } = splitPath(path)
  if (instance !== null && !known.listeners.has(instance)) return null
  if (inner[0] === 'listeners') {
    if (inner.length < 2 || inner.length > 3 || !namePattern.test(inner[1]!)) return null
    return rowOf(listenerKeys, inner[2] ?? 'address')
  }
  if (inner.length === 1) return rowOf(instance === null ? topTable : fileInstanceKeys, inner[0]!)
  if (inner.length !== 2) return null
  const table = instance === null && inner[0] === 'admin' ? admin : sections.get(inner[0]!)
  return table === undefined ? null : rowOf(table, inner[1]!)
}

function rowOf(table: KeyTable, name: string): Key<string, unknown, unknown> | null {
  return Object.hasOwn(table, name) ? table[name]! : null
}

/** `ATOLL_LISTENERS__LOCAL__MAX_CONNECTIONS` → listeners, local, maxConnections. Two underscores part the levels. */
function pathOfVariable(variable: string, known: KnownInstances): string[] | null {
  const levels = variable.slice(prefix.length).split('__')
  if (levels[0] !== 'INSTANCES') return pathOfLevels(levels, listenersAlone(known), topTable)
  // Names of instances may hold two underscores themselves.
  for (let end = 2; end < levels.length; end++) {
    const level = levels.slice(1, end).join('__')
    const names = [...known.listeners.keys()].filter((name) => levelOfChosen(name) === level)
    if (names.length !== 1) continue
    const inner = pathOfLevels(levels.slice(end), known.listeners.get(names[0]!)!, fileInstanceKeys)
    if (inner !== null) return ['instances', names[0]!, ...inner]
  }
  return null
}

function listenersAlone({ listeners, alone }: KnownInstances): readonly string[] {
  return alone === null ? [] : (listeners.get(alone) ?? [])
}

function pathOfLevels(levels: readonly string[], listeners: readonly string[], table: KeyTable): string[] | null {
  if (levels[0] === 'LISTENERS') {
    const [, listener, keyLevel, ...more] = levels
    if (listener === undefined || listener === '' || more.length > 0) return null
    const path = ['listeners', listenerNamed(listener, listeners)]
    if (keyLevel === undefined) return path
    const name = nameOfLevel(keyLevel, Object.keys(listenerKeys))
    return name === null ? null : [...path, name]
  }
  if (levels.length === 1) {
    const name = nameOfLevel(levels[0]!, Object.keys(table))
    return name === null ? null : [name]
  }
  const section = nameOfLevel(levels[0]!, [...sections.keys(), 'admin'])
  if (section === null || levels.length !== 2) return null
  const name = nameOfLevel(levels[1]!, Object.keys(sections.get(section) ?? admin))
  return name === null ? null : [section, name]
}

/** A listener of the file whose name is written like that in a variable; else a new one in small letters. */
function listenerNamed(level: string, names: readonly string[]): string {
  return names.find((name) => levelOfChosen(name) === level.toUpperCase()) ?? level.toLowerCase()
}

/** The name of an instance or a listener. */
function levelOfChosen(name: string): string {
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
  const isChosen = (index: number) => path[index - 1] === 'listeners' || (index === 1 && path[0] === 'instances')
  return prefix + path.map((step, index) => (isChosen(index) ? levelOfChosen(step) : levelOfName(step))).join('__')
}

/** For suggestions: the paths of all keys, and those of the one instance that may have been meant. */
function knownPaths(path: readonly string[], known: KnownInstances): string[] {
  const ofInstance = (table: KeyTable, listeners: readonly string[]) => [
    ...Object.keys(table),
    ...[...sections].flatMap(([section, rows]) => Object.keys(rows).map((name) => `${section}.${name}`)),
    ...listeners.flatMap((listener) => Object.keys(listenerKeys).map((name) => `listeners.${listener}.${name}`)),
  ]
  if (path[0] !== 'instances') {
    return [...ofInstance(topTable, listenersAlone(known)), ...Object.keys(admin).map((name) => `admin.${name}`)]
  }
  const names = known.listeners.keys()
  const meant = path[1] === undefined ? null : known.listeners.has(path[1]) ? path[1] : closestName(path[1], names)
  if (meant === null) return []
  return ofInstance(fileInstanceKeys, known.listeners.get(meant)!).map((one) => `instances.${meant}.${one}`)
}

function knownVariables(variable: string, known: KnownInstances): string[] {
  const [first, level] = variable.slice(prefix.length).split('__')
  const names = [...known.listeners.keys()]
  const near = level === undefined ? null : closestName(level, names.map(levelOfChosen))
  const meant = names.find((name) => levelOfChosen(name) === near) ?? ''
  const path = first === 'INSTANCES' ? ['instances', meant] : []
  return [...reserved, ...knownPaths(path, known).map((one) => variableOfPath(one.split('.')))]
}
