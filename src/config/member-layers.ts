// What is said about one instance, layer over layer: top level, `defaults`, template, its own entry, environment, command
// line. Knows in which order they count, and no key but `listeners`.
import type { Place } from '../base/errors.ts'
import { type ConfigNode, childOf, emptyMap, type MapEntry, type MapNode, mergeNodes } from './config-node.ts'
import type { MemberSource } from './member-sources.ts'

/** Keys of the top level that say nothing about instances. */
const fleetKeyNames = ['instances', 'defaults', 'templates', 'include', 'admin', 'runDir', 'dataDir', 'logDir']

/** The files' layers of each instance, the last word last; instances that are counted have them in common. */
export function fileLayers(
  document: MapNode,
  sources: readonly MemberSource[],
  isFleet: boolean,
): Map<string, MapNode[]> {
  const shared = sharedLayer(document)
  const defaults = childOf(document, 'defaults')
  const below = defaults?.kind === 'map' ? withLongListeners(defaults) : emptyMap(document.baseDirectory)
  const templates = new Map<MapNode, MapNode>()
  const layers = new Map<string, MapNode[]>()
  const known = new Map<MapNode, MapNode[]>()
  for (const { name, template, entry } of sources) {
    const same = known.get(entry)
    if (same !== undefined) {
      layers.set(name, same)
      continue
    }
    // Without instances the top level is the instance, and wins over `defaults`.
    const own = isFleet ? [shared, below] : [below, shared]
    if (template !== null) {
      if (!templates.has(template.root)) {
        templates.set(template.root, withLongListeners(without(template.root, ['variables'])))
      }
      own.push(templates.get(template.root)!)
    }
    own.push(withLongListeners(entry))
    known.set(entry, own)
    layers.set(name, own)
  }
  return layers
}

/** What a tree of overrides says of one instance: of all, then of this one. */
export function overrideLayers(root: MapNode, name: string): MapNode[] {
  if (root.entries.size === 0) return [root, root]
  const own = childOf(childOf(root, 'instances'), name)
  return [sharedLayer(root), own?.kind === 'map' ? own : emptyMap(root.baseDirectory)]
}

export function mergeLayers(layers: readonly MapNode[]): MapNode {
  const saysNothing = ({ entries, place }: MapNode) => entries.size === 0 && place.line === undefined
  return layers.reduce((under, over) => (saysNothing(over) ? under : (mergeNodes(under, over) as MapNode)))
}

export function listenerNames(root: MapNode): string[] {
  const listeners = childOf(root, 'listeners')
  return listeners?.kind === 'map' ? [...listeners.entries.keys()] : []
}

/**
 * For an instance of which no file names a listener: a socket in the run directory, and for one that is alone the loopback
 * address too. Another account may not write there, so its socket has a folder of its own.
 */
export function withDefaultListeners(root: MapNode, name: string, runDir: string, isAlone: boolean): MapNode {
  if (childOf(root, 'listeners') !== null) return root
  const { baseDirectory } = root
  const user = childOf(root, 'user')
  const folder = user?.kind === 'scalar' && user.value !== null ? `${runDir}/${name}` : runDir
  // The path is no text of the instance, so nothing in it is a variable.
  const addresses = [['local', `unix://${folder.replaceAll('${', () => '$${')}/${name}.sock`]]
  if (isAlone) addresses.unshift(['tcp', 'tcp://127.0.0.1:1883'])
  const listeners = addresses.map(([listener, value]): [string, MapEntry] => {
    const keyPlace = { key: `listeners.${listener}` }
    const place = { key: `listeners.${listener}.address` }
    const address: ConfigNode = { kind: 'scalar', value: value!, place, baseDirectory }
    return [listener!, mapEntry(keyPlace, baseDirectory, [['address', { keyPlace: place, value: address }]])]
  })
  const entries = new Map(root.entries)
  return { ...root, entries: entries.set('listeners', mapEntry({ key: 'listeners' }, baseDirectory, listeners)) }
}

function mapEntry(place: Place, baseDirectory: string, entries: [string, MapEntry][]): MapEntry {
  return { keyPlace: place, value: { kind: 'map', entries: new Map(entries), place, baseDirectory } }
}

export function without(root: MapNode, names: readonly string[]): MapNode {
  return { ...root, entries: new Map([...root.entries].filter(([name]) => !names.includes(name))) }
}

function sharedLayer(root: MapNode): MapNode {
  return withLongListeners(without(root, fleetKeyNames))
}

/** Listeners in the short form have no room for what another layer says of them: they become mappings. */
function withLongListeners(root: MapNode): MapNode {
  const listeners = childOf(root, 'listeners')
  if (listeners?.kind !== 'map') return root
  const isShort = (node: ConfigNode) => node.kind === 'scalar' && typeof node.value === 'string'
  const entries = new Map(listeners.entries)
  for (const [name, entry] of entries) {
    const { value } = entry
    if (!isShort(value)) continue
    const address = { keyPlace: entry.keyPlace, value }
    entries.set(name, { ...entry, value: { ...value, kind: 'map', entries: new Map([['address', address]]) } })
  }
  return {
    ...root,
    entries: new Map(root.entries).set('listeners', {
      ...root.entries.get('listeners')!,
      value: { ...listeners, entries },
    }),
  }
}
