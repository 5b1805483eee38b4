// What commands have added to the files of the configuration: instances and listeners. Those that are to survive a restart stand
// in a file of their own beside the configuration, which nobody else writes; the files of the operator are never touched. The
// others are forgotten with the process. Knows nothing of what runs.
import { closeSync, existsSync, fsyncSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import { stringify } from 'yaml'
import { OperatorError } from '../base/errors.ts'
import { ConfigError } from './config-error.ts'
import {
  type ConfigNode,
  childOf,
  emptyMap,
  type MapEntry,
  type MapNode,
  nodeFromValue,
  plainValue,
} from './config-node.ts'
import type { ConfigFile } from './include-files.ts'
import { readDocument } from './read-document.ts'

interface Change {
  readonly node: ConfigNode
  readonly isSaved: boolean
}

/** Never changed in place, so that an attempt can be taken back. */
interface Changes {
  readonly instances: ReadonlyMap<string, Change>
  /** By instance and listener. */
  readonly listeners: ReadonlyMap<string, ReadonlyMap<string, Change>>
}

/** Stands in the place of a file for what is not saved. */
export const unsavedFile = '(made by a command)'

const sections: readonly string[] = ['instances', 'listeners']
const head = `# Written by atoll: what was created with --save. It counts beside the configuration file of the same name.
# Change it with atoll instance and atoll listener; it may also be edited while the daemon does not run.
`

/** Where the changes beside a configuration file are kept: `atoll.saved.yaml` for `atoll.yaml`. */
export function savedChangesFile(configFile: string): string {
  return join(dirname(configFile), `${basename(configFile, extname(configFile))}.saved.yaml`)
}

export class SavedChanges {
  #file: string | null
  #changes: Changes
  #queue: Promise<unknown> = Promise.resolve()

  /** @throws ConfigError when there is a file, and it cannot be understood */
  constructor(file: string | null) {
    this.#file = file
    this.#changes = file === null || !existsSync(file) ? noChanges : readChanges(file)
  }

  /** Absolute; null where nothing can be saved, because there is no place for it. */
  get file(): string | null {
    return this.#file
  }

  /**
   * What counts beside another configuration file: what was saved there, and what is not saved and goes on with the daemon.
   * @throws ConfigError when what was saved there cannot be understood
   */
  beside(configFile: string): SavedChanges {
    const file = savedChangesFile(configFile)
    if (file === this.#file) return this
    const other = new SavedChanges(file)
    const { instances, listeners } = other.#changes
    const ownListeners = new Map(listeners)
    for (const [instance, own] of this.#changes.listeners) {
      const unsaved = unsavedOnly(own)
      if (unsaved.size > 0) ownListeners.set(instance, new Map([...(listeners.get(instance) ?? []), ...unsaved]))
    }
    const ownInstances = new Map([...instances, ...unsavedOnly(this.#changes.instances)])
    other.#changes = { instances: ownInstances, listeners: ownListeners }
    return other
  }

  /** From now on this is what `beside` has given, and saves there. What was saved so far stays where it is. */
  become(other: SavedChanges): void {
    this.#file = other.#file
    this.#changes = other.#changes
  }

  /** The instances, as parts of a configuration that includes them. */
  parts(): ConfigFile[] {
    const { instances } = this.#changes
    const part = (file: string, isSaved: boolean) => {
      const entries = new Map([...instances].filter(([, change]) => change.isSaved === isSaved))
      return { file, root: inSection('instances', nodesOf(entries), this.#directory) }
    }
    return [part(this.file ?? unsavedFile, true), part(unsavedFile, false)].filter(
      ({ root }) => (childOf(root, 'instances') as MapNode).entries.size > 0,
    )
  }

  /** Whether an instance that is described there was made by a command. */
  isPart(file: string | null): boolean {
    return file !== null && (file === this.file || file === unsavedFile)
  }

  /** The listeners that an instance has beside those of its description, as a layer over that. */
  listenersOf(instance: string): MapNode {
    const own = this.#changes.listeners.get(instance)
    return own === undefined ? emptyMap(this.#directory) : inSection('listeners', nodesOf(own), this.#directory)
  }

  hasInstance(instance: string): boolean {
    return this.#changes.instances.has(instance)
  }

  hasListener(instance: string, listener: string): boolean {
    return this.#changes.listeners.get(instance)?.has(listener) ?? false
  }

  /** Whether it is there at the next start. */
  isSaved(instance: string, listener: string | null = null): boolean {
    const { instances, listeners } = this.#changes
    return (listener === null ? instances.get(instance) : listeners.get(instance)?.get(listener))?.isSaved ?? false
  }

  /**
   * Runs one change of the fleet at a time. What `act` has changed here, also on the disk, is taken back when it fails.
   * @throws what `act` throws, or OperatorError when the file cannot be written
   */
  exclusively<Result>(act: () => Promise<Result>): Promise<Result> {
    const result = this.#queue.then(async () => {
      const before = this.#changes
      const file = this.#file
      try {
        return await act()
      } catch (error) {
        this.#file = file
        this.#replace(before)
        throw error
      }
    })
    this.#queue = result.catch(() => {})
    return result
  }

  /**
   * @param document as a file describes it: plain JSON
   * @throws OperatorError when it cannot be saved
   */
  putInstance(instance: string, document: object, isSaved: boolean): void {
    const { instances, listeners } = this.#changes
    const node = nodeFromValue(document, this.#directory, ['instances', instance])
    this.#replace({ instances: new Map(instances).set(instance, { node, isSaved }), listeners })
  }

  /** With the listeners that it was given. @throws OperatorError when the file cannot be written */
  deleteInstance(instance: string): void {
    const instances = new Map(this.#changes.instances)
    const listeners = new Map(this.#changes.listeners)
    instances.delete(instance)
    listeners.delete(instance)
    this.#replace({ instances, listeners })
  }

  /**
   * @param document as a file describes it: plain JSON
   * @throws OperatorError when it cannot be saved
   */
  putListener(instance: string, listener: string, document: object, isSaved: boolean): void {
    const { instances, listeners } = this.#changes
    const node = nodeFromValue(document, this.#directory, ['instances', instance, 'listeners', listener])
    const own = new Map(listeners.get(instance)).set(listener, { node, isSaved })
    this.#replace({ instances, listeners: new Map(listeners).set(instance, own) })
  }

  /** @throws OperatorError when the file cannot be written */
  deleteListener(instance: string, listener: string): void {
    const own = new Map(this.#changes.listeners.get(instance))
    own.delete(listener)
    const listeners = new Map(this.#changes.listeners)
    if (own.size > 0) listeners.set(instance, own)
    else listeners.delete(instance)
    this.#replace({ instances: this.#changes.instances, listeners })
  }

  /** What relative paths are relative to. */
  get #directory(): string {
    return this.file === null ? '/' : dirname(this.file)
  }

  #replace(changes: Changes): void {
    const text = textOf(changes)
    if (text !== textOf(this.#changes)) this.#write(text)
    this.#changes = changes
  }

  #write(text: string | null): void {
    const { file } = this
    if (file === null) {
      throw new OperatorError('cannot-save', 'there is no configuration directory in which to save', {
        fix: 'start the daemon with -c FILE, or leave --save out',
      })
    }
    try {
      if (text !== null) writeAtomically(file, text)
      else if (existsSync(file)) unlinkSync(file)
    } catch (error) {
      throw new OperatorError('cannot-save', `cannot be written: ${(error as Error).message}`, {
        place: { file },
        fix: 'give the account of the daemon the right to write there, or leave --save out',
        cause: error,
      })
    }
  }
}

const noChanges: Changes = { instances: new Map(), listeners: new Map() }

function nodesOf(changes: ReadonlyMap<string, Change>): ReadonlyMap<string, MapEntry> {
  return new Map([...changes].map(([key, { node }]) => [key, { keyPlace: node.place, value: node }]))
}

function inSection(section: string, entries: ReadonlyMap<string, MapEntry>, baseDirectory: string): MapNode {
  const value: MapNode = { kind: 'map', entries, place: { key: section }, baseDirectory }
  return { kind: 'map', entries: new Map([[section, { keyPlace: value.place, value }]]), place: {}, baseDirectory }
}

/** Null when there is nothing to save. */
function textOf({ instances, listeners }: Changes): string | null {
  const saved = savedOnly(instances)
  const savedListeners = new Map(
    [...listeners].map(([instance, own]) => [instance, savedOnly(own)] as const).filter(([, own]) => own.size > 0),
  )
  if (saved.size === 0 && savedListeners.size === 0) return null
  return head + stringify({ instances: saved, listeners: savedListeners })
}

function unsavedOnly(changes: ReadonlyMap<string, Change>): Map<string, Change> {
  return new Map([...changes].filter(([, { isSaved }]) => !isSaved))
}

function savedOnly(changes: ReadonlyMap<string, Change>): Map<string, unknown> {
  return new Map([...changes].filter(([, { isSaved }]) => isSaved).map(([key, { node }]) => [key, plainValue(node)]))
}

/** What instances and listeners hold is judged with the rest of the configuration. @throws ConfigError */
function readChanges(file: string): Changes {
  const findings: OperatorError[] = []
  const root = readDocument(file, findings)
  const fix = 'mend it, or remove the file and with it what was saved'
  const entriesOf = (node: ConfigNode | null): [string, ConfigNode][] => {
    if (node === null) return []
    if (node.kind === 'map') return [...node.entries].map(([key, { value }]) => [key, value])
    findings.push(new OperatorError('wrong-type', 'expected a mapping', { place: node.place, fix }))
    return []
  }
  for (const [key, { keyPlace }] of root.entries) {
    if (!sections.includes(key))
      findings.push(new OperatorError('unknown-key', 'is no key of this file', { place: keyPlace, fix }))
  }
  const saved = (node: ConfigNode | null) =>
    new Map(entriesOf(node).map(([key, value]) => [key, { node: value, isSaved: true }]))
  const instances = saved(childOf(root, 'instances'))
  const listeners = new Map(entriesOf(childOf(root, 'listeners')).map(([instance, own]) => [instance, saved(own)]))
  if (findings.length > 0) throw new ConfigError(findings)
  return { instances, listeners }
}

/** A reader sees the old file or the new one, also after a power failure. */
function writeAtomically(file: string, text: string): void {
  const draft = `${file}.new`
  const descriptor = openSync(draft, 'w', 0o600)
  try {
    writeFileSync(descriptor, text)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  renameSync(draft, file)
  const directory = openSync(dirname(file), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
