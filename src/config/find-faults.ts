// Holds a tree against a schema and says what is wrong with it in the operator's words, with places and suggestions.
import type * as z from 'zod'
import { OperatorError } from '../base/errors.ts'
import { closestName } from './closest-name.ts'
import { type ConfigNode, childOf, describeNode, keyPlaceOf, placeOf, plainValue } from './config-node.ts'
import { documentKeyNames, instanceKeyNames } from './document-schema.ts'
import { adminKeys, entryKeys, fileSectionKeys, listenerKeys, namePattern } from './keys.ts'
import { quote } from './quantities.ts'
import { entryNamePattern, isExpandable, variableNamePattern } from './variables.ts'

/** Keys that belong to the product, but not to this version. */
const laterKeys = new Map([['admin.http', 'this version manages a fleet through its UNIX socket alone']])

/** Keys whose texts are taken as they stand; everywhere else below an instance `${…}` is replaced later. */
const fleetKeyNames: readonly unknown[] = ['admin', 'runDir', 'dataDir', 'logDir', 'include']

export interface FaultOptions {
  /** Whether the tree is as it was written: what holds variables is judged when they have been replaced. */
  isRaw?: boolean
  /** Names of keys at the top of the tree, for suggestions. */
  keyNames?: readonly string[]
  /** The variables that an entry at this path may set, or null for any. */
  variablesAt?(path: readonly PropertyKey[]): readonly string[] | null
}

/** @returns every finding, empty for a faultless tree */
export function findFaults(schema: z.ZodType, root: ConfigNode, options: FaultOptions = {}): OperatorError[] {
  const findings = checkNames(root)
  const variablesAt = options.variablesAt ?? (() => [])
  const result = schema.safeParse(plainValue(root))
  if (!result.success) for (const issue of result.error.issues) report(issue, [])
  return findings

  function report(issue: z.core.$ZodIssue, prefix: readonly PropertyKey[]): void {
    const path = [...prefix, ...issue.path]
    const node = nodeAt(root, path)
    if (options.isRaw && isExpandable(node) && !fleetKeyNames.includes(path[0]) && !isEntryKey(path)) return
    switch (issue.code) {
      case 'unrecognized_keys': {
        const variables = variablesAt(path)
        for (const key of issue.keys) {
          if (variables !== null && !variables.includes(key)) {
            findings.push(unknownKey(root, path, key, [...namesAt(path, options.keyNames), ...variables]))
          }
        }
        return
      }
      case 'invalid_union': {
        // A union of an address and a mapping: when the type fits one of them, what is wrong inside it says more.
        const fitting = issue.errors.filter(
          (errors) => !errors.some(({ path: inner }) => inner.length === 0) || isStrict(errors),
        )
        if (fitting.length === 1) for (const inner of fitting[0]!) report(inner, path)
        else findings.push(wrongType(issue.message, node, path))
        return
      }
      case 'custom': {
        const { code, fix } = issue.params as { code: string; fix: string | null }
        findings.push(
          new OperatorError(code, issue.message, { place: placeOf(root, path), ...(fix === null ? {} : { fix }) }),
        )
        return
      }
      case 'invalid_key':
        return // checkNames has said so
      default:
        findings.push(wrongType(issue.message, node, path))
    }
  }

  function wrongType(message: string, node: ConfigNode | null, path: readonly PropertyKey[]): OperatorError {
    const place = placeOf(root, path)
    if (node === null) return new OperatorError('missing-key', 'must be given', { place })
    return new OperatorError('wrong-type', `${message}, not ${describeNode(node)}`, { place })
  }
}

/** Whether the only fault at the top is a key too many: the type itself fits. */
function isStrict(errors: readonly z.core.$ZodIssue[]): boolean {
  return errors.every(({ code, path }) => path.length > 0 || code === 'unrecognized_keys')
}

/** Names that people choose. Not left to the schema: it passes over `__proto__`. */
function checkNames(root: ConfigNode): OperatorError[] {
  const findings: OperatorError[] = []
  const check = (what: string, node: ConfigNode | null, pattern = namePattern) => {
    if (node?.kind !== 'map') return
    for (const [name, { keyPlace }] of node.entries) {
      if (pattern.test(name)) continue
      const fix =
        pattern === variableNamePattern
          ? 'use letters, digits and _, beginning with a letter'
          : 'use up to 64 letters, digits, - and _, beginning with a letter or digit'
      findings.push(new OperatorError('wrong-name', `${quote(name)} is no name for ${what}`, { place: keyPlace, fix }))
    }
  }
  const instances = childOf(root, 'instances')
  const templates = childOf(root, 'templates')
  check('an instance', instances, entryNamePattern)
  check('a template', templates)
  for (const part of [root, childOf(root, 'defaults'), ...childrenOf(instances), ...childrenOf(templates)]) {
    check('a listener', childOf(part, 'listeners'))
  }
  for (const template of childrenOf(templates)) check('a variable', childOf(template, 'variables'), variableNamePattern)
  return findings
}

function childrenOf(node: ConfigNode | null): ConfigNode[] {
  return node?.kind === 'map' ? [...node.entries.values()].map(({ value }) => value) : []
}

function unknownKey(
  root: ConfigNode,
  path: readonly PropertyKey[],
  key: string,
  names: readonly string[],
): OperatorError {
  const place = keyPlaceOf(root, path, key)
  const later = laterKeys.get([...path, key].join('.'))
  if (later !== undefined) return new OperatorError('not-in-this-version', later, { place, fix: `take ${key} out` })
  const near = closestName(key, names)
  const elsewhere = near === null ? sectionOf(key) : null
  const meant = near ?? elsewhere
  return new OperatorError('unknown-key', `unknown key ${quote(key)}`, {
    place,
    ...(meant === null ? {} : { fix: `did you mean ${meant}?` }),
  })
}

function withoutInstance(path: readonly PropertyKey[]): readonly PropertyKey[] {
  if (path[0] === 'defaults') return path.slice(1)
  return path[0] === 'instances' || path[0] === 'templates' ? path.slice(2) : path
}

/** `count` and its like are needed before anything is replaced. */
function isEntryKey(path: readonly PropertyKey[]): boolean {
  const inner = withoutInstance(path)
  return inner.length === 1 && Object.hasOwn(entryKeys, inner[0]!)
}

function namesAt(path: readonly PropertyKey[], keyNames: readonly string[] = documentKeyNames): readonly string[] {
  if (path.length === 0) return keyNames
  const inner = withoutInstance(path)
  if (inner.length === 0) {
    if (path[0] === 'instances') return [...instanceKeyNames, ...Object.keys(entryKeys)]
    return path[0] === 'templates' ? [...instanceKeyNames, 'variables'] : instanceKeyNames
  }
  if (inner[0] === 'listeners') return Object.keys(listenerKeys)
  if (path[0] === 'admin') return Object.keys(adminKeys)
  const section = Object.entries(fileSectionKeys).find(([name]) => name === inner[0])
  return section === undefined ? [] : Object.keys(section[1])
}

/** Where a key would belong that stands in the wrong section: `limits.connections`. */
function sectionOf(key: string): string | null {
  for (const [section, table] of Object.entries(fileSectionKeys)) {
    if (Object.hasOwn(table, key)) return `${section}.${key}`
  }
  return Object.hasOwn(listenerKeys, key) ? `listeners.NAME.${key}` : null
}

function nodeAt(root: ConfigNode, path: readonly PropertyKey[]): ConfigNode | null {
  let node: ConfigNode | null = root
  for (const step of path)
    node = node?.kind === 'list' ? (node.items[Number(step)] ?? null) : childOf(node, String(step))
  return node
}
