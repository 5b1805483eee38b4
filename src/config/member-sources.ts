// Which instances the files of a fleet describe: their names, their templates and their variables. What an instance is
// made of is put together here and judged elsewhere.
import { basename, extname } from 'node:path'
import { OperatorError, type Place } from '../base/errors.ts'
import { closestName } from './closest-name.ts'
import { type ConfigNode, childOf, emptyMap, type MapNode, plainValue } from './config-node.ts'
import { documentSchema, entryKeysSchema, entrySchema, instanceKeyNames, partSchema } from './document-schema.ts'
import { findFaults } from './find-faults.ts'
import type { ConfigFile } from './include-files.ts'
import { entryKeys, namePattern } from './keys.ts'
import { quote, ValueError } from './quantities.ts'
import { sectionValues } from './section-values.ts'
import { expandText, hasVariables, type Scope, type VariableValue, variablesIn } from './variables.ts'

/** One instance as the files describe it. */
export interface MemberSource {
  readonly name: string
  /** Its own entry, without the keys that are about the entry; empty for the instance that no file names. */
  readonly entry: MapNode
  readonly template: Template | null
  /** Null when a variable has no value, or a wrong one: the instance cannot be put together. */
  readonly scope: Scope | null
  /** Where it is named. */
  readonly place: Place
  readonly file: string | null
}

export interface Template {
  readonly name: string
  readonly root: MapNode
  /** Names that stand in it as `${…}`, with the first place of each. */
  readonly variables: ReadonlyMap<string, Place>
}

interface Entry {
  readonly key: string
  readonly keyPlace: Place
  readonly value: ConfigNode
  readonly file: string
}

const membersLimit = 10_000
/** Every variable has a key beside those of an instance, so none may be called like one. */
const takenNames: readonly string[] = [...instanceKeyNames, ...Object.keys(entryKeys), 'variables', 'name']
const partMarks = ['instances', 'templates', 'include']

/**
 * @param main null when there is no file
 * @param findings receives every fault of the files as they are written, and of names, templates and counts
 */
export function memberSources(
  main: ConfigFile | null,
  included: readonly ConfigFile[],
  findings: OperatorError[],
): MemberSource[] {
  const files = main === null ? included : [main, ...included]
  const parts = included.filter(isPart)
  const templates = collectTemplates(main === null ? parts : [main, ...parts], findings)
  const variablesOf = (entry: ConfigNode | null): readonly string[] | null => {
    const name = childOf(entry, 'template')
    if (name?.kind !== 'scalar' || typeof name.value !== 'string') return []
    const template = templates.get(name.value)
    return template === undefined ? null : [...template.variables.keys()]
  }
  const variablesAt = (root: MapNode) => (path: readonly PropertyKey[]) =>
    path[0] === 'instances' && path.length === 2
      ? variablesOf(childOf(childOf(root, 'instances'), String(path[1])))
      : []

  const entries: Entry[] = []
  for (const { file, root } of files) {
    if (file !== main?.file && !isPart({ file, root })) {
      const keyNames = [...instanceKeyNames, ...Object.keys(entryKeys)]
      const ownVariables = (path: readonly PropertyKey[]) => (path.length === 0 ? variablesOf(root) : [])
      findings.push(...findFaults(entrySchema, root, { isRaw: true, keyNames, variablesAt: ownVariables }))
      entries.push({ key: basename(file, extname(file)), keyPlace: root.place, value: root, file })
      continue
    }
    const schema = file === main?.file ? documentSchema : partSchema
    const faults = findFaults(schema, root, { isRaw: true, variablesAt: variablesAt(root) })
    // A missing key may still come from another layer: only the sum of all layers shows.
    findings.push(...faults.filter(({ code }) => code !== 'missing-key'))
    const instances = childOf(root, 'instances')
    if (instances?.kind !== 'map') continue
    for (const [key, { keyPlace, value }] of instances.entries) entries.push({ key, keyPlace, value, file })
  }
  return nameMembers(entries, templates, findings)
}

/** Whether an included file holds parts of a fleet; otherwise it is one instance, named as the file. */
function isPart({ root }: ConfigFile): boolean {
  return partMarks.some((key) => root.entries.has(key))
}

function collectTemplates(files: readonly ConfigFile[], findings: OperatorError[]): ReadonlyMap<string, Template> {
  const templates = new Map<string, Template>()
  for (const { root } of files) {
    const node = childOf(root, 'templates')
    if (node?.kind !== 'map') continue
    for (const [name, { keyPlace, value }] of node.entries) {
      const earlier = templates.get(name)
      if (earlier !== undefined) {
        findings.push(
          new OperatorError(
            'duplicate-name',
            `there is a template ${name} already, ${describePlace(earlier.root.place)}`,
            {
              place: keyPlace,
              fix: 'rename one of them',
            },
          ),
        )
        continue
      }
      const own = value.kind === 'map' ? value : emptyMap(value.baseDirectory, value.place)
      const variables = new Map<string, Place>()
      const note = (variable: string, place: Place) => {
        if (variable === 'name' || variable === 'index' || variables.has(variable)) return
        variables.set(variable, place)
        if (!takenNames.includes(variable)) return
        const message = `${variable} is a key of an instance and cannot be a variable`
        findings.push(new OperatorError('wrong-name', message, { place, fix: 'choose another name' }))
      }
      const declared = childOf(own, 'variables')
      if (declared?.kind === 'map') for (const [variable, entry] of declared.entries) note(variable, entry.keyPlace)
      noteVariables(own, note, findings)
      templates.set(name, { name, root: own, variables })
    }
  }
  return templates
}

/** Finds all variables of a tree, and texts that are no right use of any. */
function noteVariables(
  node: ConfigNode,
  note: (variable: string, place: Place) => void,
  findings: OperatorError[],
): void {
  if (node.kind === 'list') for (const item of node.items) noteVariables(item, note, findings)
  if (node.kind === 'map') for (const { value } of node.entries.values()) noteVariables(value, note, findings)
  if (node.kind !== 'scalar' || typeof node.value !== 'string' || !hasVariables(node.value)) return
  try {
    for (const variable of variablesIn(node.value)) note(variable, node.place)
  } catch (error) {
    findings.push(asFinding(error, node.place))
  }
}

function nameMembers(
  entries: readonly Entry[],
  templates: ReadonlyMap<string, Template>,
  findings: OperatorError[],
): MemberSource[] {
  const members = new Map<string, MemberSource>()
  const nextIndex = new Map<Template, number>()
  for (const { key, keyPlace, value, file } of entries) {
    const own = value.kind === 'map' ? value : emptyMap(value.baseDirectory, keyPlace)
    const parsed = entryKeysSchema.safeParse(plainValue(own))
    if (!parsed.success) {
      findings.push(...findFaults(entryKeysSchema, own))
      continue
    }
    const about = sectionValues(entryKeys, parsed.data)
    const template = about.template === null ? null : (templates.get(about.template) ?? null)
    if (about.template !== null && template === null) {
      const near = closestName(about.template, templates.keys())
      findings.push(
        new OperatorError('unknown-template', `there is no template ${quote(about.template)}`, {
          place: childOf(own, 'template')!.place,
          fix: near === null ? 'describe it under templates' : `did you mean ${near}?`,
        }),
      )
      continue
    }
    const isMany = hasVariables(key)
    if (isMany !== (about.count !== null)) {
      findings.push(
        isMany
          ? new OperatorError('missing-key', 'must be given, because the name of the instance holds a variable', {
              place: { ...keyPlace, key: `${keyPlace.key}.count` },
            })
          : new OperatorError('wrong-name', `instances that are counted need \${index} in their name`, {
              place: keyPlace,
              fix: `call them ${key}-\${index}, or take count out`,
            }),
      )
      continue
    }
    const count = about.count ?? 1
    const first = about.index ?? (template === null ? 0 : (nextIndex.get(template) ?? 0))
    if (template !== null) nextIndex.set(template, first + count)
    if (members.size + count > membersLimit) {
      findings.push(
        new OperatorError('out-of-range', `more than ${membersLimit} instances`, {
          place: keyPlace,
          fix: 'describe fewer',
        }),
      )
      return [...members.values()]
    }
    const entry = withoutAbout(own, template)
    const hasIndex = template !== null || about.count !== null || about.index !== null
    for (let index = first; index < first + count; index++) {
      const name = nameOf(key, keyPlace, index, findings)
      if (name === null) break
      const earlier = members.get(name)
      if (earlier !== undefined) {
        findings.push(
          new OperatorError('duplicate-name', `there is an instance ${name} already, ${describePlace(earlier.place)}`, {
            place: keyPlace,
            fix: 'rename one of them',
          }),
        )
        break
      }
      const basic = new Map<string, VariableValue>([['name', name]])
      if (hasIndex) basic.set('index', index)
      const scope = scopeOf(own, template, basic, name, keyPlace, findings)
      members.set(name, { name, entry, template, scope, place: keyPlace, file })
    }
  }
  return [...members.values()]
}

function nameOf(key: string, place: Place, index: number, findings: OperatorError[]): string | null {
  let name = key
  try {
    if (hasVariables(key)) name = String(expandText(key, new Map([['index', index]])))
  } catch (error) {
    findings.push(asFinding(error, place))
    return null
  }
  if (namePattern.test(name)) return name
  findings.push(
    new OperatorError('wrong-name', `${quote(name)} is no name for an instance`, {
      place,
      fix: 'use up to 64 letters, digits, - and _, beginning with a letter or digit',
    }),
  )
  return null
}

/** The variables of one instance: its own values, else what the template declares. */
function scopeOf(
  own: MapNode,
  template: Template | null,
  basic: Scope,
  name: string,
  keyPlace: Place,
  findings: OperatorError[],
): Scope | null {
  if (template === null) return basic
  const scope = new Map(basic)
  let isComplete = true
  const declared = childOf(template.root, 'variables')
  for (const [variable, usedAt] of template.variables) {
    const given = own.entries.get(variable)?.value ?? null
    const node =
      given === null || (given.kind === 'scalar' && given.value === null) ? childOf(declared, variable) : given
    if (node?.kind === 'scalar' && node.value !== null) {
      try {
        scope.set(variable, typeof node.value === 'string' ? expandText(node.value, basic) : node.value)
      } catch (error) {
        findings.push(asFinding(error, node.place))
        isComplete = false
      }
      continue
    }
    isComplete = false
    if (takenNames.includes(variable)) continue
    const key = [keyPlace.key, variable].filter((step) => step !== undefined).join('.')
    const near = closestName(variable, scope.keys())
    const fix = `give ${name} a key ${variable}, or the template a default`
    findings.push(
      node === null || node.kind === 'scalar'
        ? new OperatorError(
            'missing-variable',
            `the template ${template.name} needs a value for \${${variable}}, ${describePlace(usedAt)}`,
            { place: { ...keyPlace, key }, fix: near === null ? fix : `did you mean \${${near}}? Else ${fix}` },
          )
        : new OperatorError('wrong-type', 'expected text, a number, true or false', { place: node.place }),
    )
  }
  return isComplete ? scope : null
}

/** The entry as a layer over its template: without what is about the entry, and without variables. */
function withoutAbout(own: MapNode, template: Template | null): MapNode {
  const left = (key: string) => !Object.hasOwn(entryKeys, key) && !template?.variables.has(key)
  return { ...own, entries: new Map([...own.entries].filter(([key]) => left(key))) }
}

function asFinding(error: unknown, place: Place): OperatorError {
  if (!(error instanceof ValueError)) throw error
  return new OperatorError(error.code, error.message, { place, ...(error.fix === null ? {} : { fix: error.fix }) })
}

/** `in /etc/atoll/atoll.yaml, line 5`, for the second place of a finding. */
export function describePlace({ file, line, key }: Place): string {
  if (line !== undefined) return `in ${file}, line ${line}`
  return `in ${[file, key].filter((part) => part !== undefined).join(', ')}`
}
