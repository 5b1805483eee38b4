// A configuration document as a tree in which every value knows where it was written, whatever the syntax of the file.
import { OperatorError, type Place } from '../base/errors.ts'
import { quote } from './quantities.ts'

interface NodeOrigin {
  readonly place: Place
  /** What a relative path in this value is relative to. */
  readonly baseDirectory: string
}

export interface ScalarNode extends NodeOrigin {
  readonly kind: 'scalar'
  readonly value: string | number | boolean | null
}

export interface ListNode extends NodeOrigin {
  readonly kind: 'list'
  readonly items: readonly ConfigNode[]
}

export interface MapNode extends NodeOrigin {
  readonly kind: 'map'
  readonly entries: ReadonlyMap<string, MapEntry>
}

export interface MapEntry {
  readonly keyPlace: Place
  readonly value: ConfigNode
}

export type ConfigNode = ScalarNode | ListNode | MapNode

/** Files of more bytes, values or nesting than this are no configuration. */
export const documentLimitBytes = 1024 * 1024
export const documentLimitNodes = 100_000
export const documentLimitDepth = 32

export function emptyMap(baseDirectory: string, place: Place = {}): MapNode {
  return { kind: 'map', entries: new Map(), place, baseDirectory }
}

/** The child of a map, or null. */
export function childOf(node: ConfigNode | null, name: string): ConfigNode | null {
  return node?.kind === 'map' ? (node.entries.get(name)?.value ?? null) : null
}

/** The place of a path's value, or of the nearest thing around it. */
export function placeOf(root: ConfigNode, path: readonly PropertyKey[]): Place {
  let node = root
  for (const [index, step] of path.entries()) {
    const child =
      node.kind === 'map'
        ? node.entries.get(String(step))?.value
        : node.kind === 'list'
          ? node.items[Number(step)]
          : undefined
    if (child === undefined) {
      const keys = [node.place.key, ...path.slice(index).map(String)].filter((key) => key !== undefined && key !== '')
      return { ...node.place, key: keys.join('.') }
    }
    node = child
  }
  return node.place
}

/** Whether there is a value at all; null says nothing. */
export function isSaid(root: ConfigNode, path: readonly string[]): boolean {
  let node: ConfigNode | null = root
  for (const step of path) node = childOf(node, step)
  return node !== null && !(node.kind === 'scalar' && node.value === null)
}

/** The place of a key itself, as against its value. */
export function keyPlaceOf(root: ConfigNode, path: readonly PropertyKey[], key: string): Place {
  let node: ConfigNode | undefined = root
  for (const step of path) {
    node = node?.kind === 'map' ? node.entries.get(String(step))?.value : undefined
  }
  return (node?.kind === 'map' ? node.entries.get(key)?.keyPlace : undefined) ?? placeOf(root, [...path, key])
}

/** Plain values for a schema; objects have no prototype, so that no key is special. */
export function plainValue(node: ConfigNode): unknown {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(plainValue)
  const object: Record<string, unknown> = Object.create(null)
  for (const [name, entry] of node.entries) object[name] = plainValue(entry.value)
  return object
}

/** `over` laid on `under`: maps are merged key by key, an empty section says nothing, everything else is replaced. */
export function mergeNodes(under: ConfigNode, over: ConfigNode): ConfigNode {
  if (under.kind === 'map' && over.kind === 'scalar' && over.value === null) return under
  if (under.kind !== 'map' || over.kind !== 'map') return over
  const entries = new Map(under.entries)
  for (const [name, entry] of over.entries) {
    const below = entries.get(name)
    entries.set(name, below === undefined ? entry : { ...entry, value: mergeNodes(below.value, entry.value) })
  }
  // A map that a variable of the environment has opened stands where the file has it.
  const { place, baseDirectory } = over.place.line === undefined ? under : over
  return { kind: 'map', entries, place, baseDirectory }
}

/**
 * A copy of `root` in which `path` holds `value`; maps on the way are made where there are none.
 * @param value its place names the whole key, the last steps of which are `path`
 */
export function withValue(root: MapNode, path: readonly string[], value: ConfigNode): MapNode {
  const [name, ...rest] = path
  const entries = new Map(root.entries)
  const below = entries.get(name!)
  const place = {
    ...value.place,
    key: value.place.key
      ?.split('.')
      .slice(0, -rest.length || undefined)
      .join('.'),
  }
  const next =
    rest.length === 0
      ? value
      : withValue(below?.value.kind === 'map' ? below.value : emptyMap(value.baseDirectory, place), rest, value)
  entries.set(name!, { keyPlace: below?.keyPlace ?? place, value: next })
  return { ...root, entries }
}

/** What stands there, for a message: `"abc"`, `12`, `a list`. */
export function describeNode(node: ConfigNode | null): string {
  if (node === null) return 'nothing'
  if (node.kind === 'list') return 'a list'
  if (node.kind === 'map') return 'a mapping'
  if (node.value === null) return 'nothing'
  if (typeof node.value === 'string') return quote(node.value)
  // A program may hand over what no file can hold.
  return typeof node.value === 'number' || typeof node.value === 'boolean'
    ? String(node.value)
    : `a ${typeof node.value}`
}

/** A tree of plain values that a program hands over; undefined stands for a key that is not there. */
export function nodeFromValue(value: unknown, baseDirectory: string, path: readonly string[] = []): ConfigNode {
  const place: Place = path.length > 0 ? { key: path.join('.') } : {}
  if (path.length > documentLimitDepth)
    throw new OperatorError('syntax', 'nested too deeply for a configuration', { place })
  if (Array.isArray(value)) {
    const items = value.map((item, index) => nodeFromValue(item, baseDirectory, [...path, String(index)]))
    return { kind: 'list', items, place, baseDirectory }
  }
  if (typeof value === 'object' && value !== null) {
    const entries = new Map<string, MapEntry>()
    for (const [name, child] of Object.entries(value)) {
      if (child === undefined) continue
      const keyPath = [...path, name]
      entries.set(name, {
        keyPlace: { key: keyPath.join('.') },
        value: nodeFromValue(child, baseDirectory, keyPath),
      })
    }
    return { kind: 'map', entries, place, baseDirectory }
  }
  return { kind: 'scalar', value: value as ScalarNode['value'], place, baseDirectory }
}
