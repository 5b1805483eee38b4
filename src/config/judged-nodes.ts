// What is known of the parts of trees: the instances of a fleet have most of theirs in common, and a part is held against its
// schema once, not once for each of them. Good for one reading of the configuration.
import type * as z from 'zod'
import type { OperatorError } from '../base/errors.ts'
import { type ConfigNode, childOf, type MapNode, plainValue } from './config-node.ts'
import {
  instanceKeyNames,
  instanceKeysSchema,
  instanceSchema,
  listenerSchema,
  sectionSchemas,
} from './document-schema.ts'
import { findFaults } from './find-faults.ts'
import { type KeyTable, listenerKeys, namePattern, type SectionOutput } from './keys.ts'
import { sectionValues } from './section-values.ts'

type SectionName = keyof typeof sectionSchemas

export class JudgedNodes {
  /** Parts in which nothing is wrong, and the key of the instance under which they stand. */
  readonly #faultless = new Map<ConfigNode, string>()
  /** By schema or table, and by part; null stands for one that is not there. */
  readonly #outputs = new Map<unknown, Map<ConfigNode | null, unknown>>()

  /** @returns every finding about one instance, as far as it is judged key by key */
  findFaults(root: MapNode): OperatorError[] {
    const isKnown = (name: string, node: ConfigNode) =>
      this.#faultless.get(node) === name || (name === 'listeners' && this.#areFaultless(node))
    const unknown = [...root.entries].filter(([name, { value }]) => !isKnown(name, value))
    if (unknown.length === 0) return []
    const options = { keyNames: instanceKeyNames }
    if (findFaults(instanceSchema, { ...root, entries: new Map(unknown) }, options).length > 0) {
      return findFaults(instanceSchema, root, options)
    }
    for (const [name, { value }] of unknown) this.#faultless.set(value, name)
    return []
  }

  /** Each instance has addresses of its own, so its listeners are judged key by key. */
  #areFaultless(listeners: ConfigNode): boolean {
    if (listeners.kind !== 'map') return false
    return [...listeners.entries].every(([name, { value }]) => namePattern.test(name) && this.listener(value) !== null)
  }

  /** The values of a listener in either form, defaults filled in; null for one that its schema refuses. */
  listener(node: ConfigNode): SectionOutput<typeof listenerKeys> | null {
    return this.#once(listenerSchema, node, () => {
      const schemas: Readonly<Record<string, z.ZodType>> = listenerSchema.shape
      if (node.kind === 'map' && [...node.entries.keys()].some((name) => !Object.hasOwn(schemas, name))) return null
      const values: Record<string, unknown> = {}
      for (const [name, { field }] of Object.entries(listenerKeys)) {
        const part = node.kind === 'map' ? childOf(node, name) : name === 'address' ? node : null
        const judge = () => schemas[name].safeParse(part === null ? undefined : plainValue(part))
        const parsed = this.#once(schemas[name], part, judge) as z.ZodSafeParseResult<unknown>
        if (!parsed.success) return null
        values[field] = parsed.data
      }
      return values
    }) as SectionOutput<typeof listenerKeys> | null
  }

  /** The values of one section of a faultless instance, defaults filled in; instances share them. */
  section<Table extends KeyTable>(root: ConfigNode, name: SectionName, table: Table): SectionOutput<Table> {
    const node = childOf(root, name)
    const isThere = node !== null && !(node.kind === 'scalar' && node.value === null)
    const judge = () => sectionValues(table, sectionSchemas[name].parse(isThere ? plainValue(node) : {}))
    return this.#once(table, isThere ? node : null, judge) as SectionOutput<Table>
  }

  /** The values of keys that stand in no section, defaults filled in. */
  keys<Table extends KeyTable>(root: ConfigNode, table: Table): SectionOutput<Table> {
    const schemas = instanceKeysSchema.shape as Readonly<Record<string, z.ZodType>>
    const values = Object.keys(table).map((name) => {
      const node = childOf(root, name)
      const judge = () => schemas[name].parse(node === null ? undefined : plainValue(node))
      return [name, this.#once(schemas[name], node, judge)]
    })
    return sectionValues(table, Object.fromEntries(values))
  }

  #once(what: unknown, node: ConfigNode | null, judge: () => unknown): unknown {
    const outputs = this.#outputs.get(what) ?? new Map<ConfigNode | null, unknown>()
    this.#outputs.set(what, outputs)
    if (!outputs.has(node)) outputs.set(node, judge())
    return outputs.get(node)
  }
}
