// Holds a tree against a schema and says what is wrong with it in the operator's words, with places and suggestions.
import type * as z from 'zod'
import { OperatorError } from '../base/errors.ts'
import { closestName } from './closest-name.ts'
import { type ConfigNode, childOf, describeNode, keyPlaceOf, placeOf, plainValue } from './config-node.ts'
import { documentKeyNames, instanceKeyNames } from './document-schema.ts'
import { listenerKeys, namePattern, sectionKeys } from './keys.ts'
import { quote } from './quantities.ts'

/** Keys that belong to the product, but not to this version. */
const laterKeys = new Map([
  ['admin', 'this version has no admin API'],
  ['templates', 'this version runs one instance and has no templates'],
  ['template', 'this version runs one instance and has no templates'],
  ['include', 'this version reads one file and includes no others'],
])

/** @returns every finding, empty for a faultless tree */
export function findFaults(schema: z.ZodType, root: ConfigNode): OperatorError[] {
  const findings = checkNames(root)
  const result = schema.safeParse(plainValue(root))
  if (!result.success) for (const issue of result.error.issues) report(issue, [])
  return findings

  function report(issue: z.core.$ZodIssue, prefix: readonly PropertyKey[]): void {
    const path = [...prefix, ...issue.path]
    const node = nodeAt(root, path)
    switch (issue.code) {
      case 'unrecognized_keys':
        for (const key of issue.keys) findings.push(unknownKey(root, path, key))
        return
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
  const check = (what: string, node: ConfigNode | null) => {
    if (node?.kind !== 'map') return
    for (const [name, { keyPlace }] of node.entries) {
      if (namePattern.test(name)) continue
      findings.push(
        new OperatorError('wrong-name', `${quote(name)} is no name for ${what}`, {
          place: keyPlace,
          fix: 'use up to 64 letters, digits, - and _, beginning with a letter or digit',
        }),
      )
    }
  }
  const instances = childOf(root, 'instances')
  const parts = [root, childOf(root, 'defaults')]
  if (instances?.kind === 'map') parts.push(...[...instances.entries.values()].map(({ value }) => value))
  check('an instance', instances)
  for (const part of parts) check('a listener', childOf(part, 'listeners'))
  return findings
}

function unknownKey(root: ConfigNode, path: readonly PropertyKey[], key: string): OperatorError {
  const place = keyPlaceOf(root, path, key)
  const later = laterKeys.get(key)
  if (later !== undefined && !isInSection(path)) {
    return new OperatorError('not-in-this-version', later, { place, fix: `take ${key} out` })
  }
  const near = closestName(key, namesAt(path))
  const elsewhere = near === null ? sectionOf(key) : null
  const meant = near ?? elsewhere
  return new OperatorError('unknown-key', `unknown key ${quote(key)}`, {
    place,
    ...(meant === null ? {} : { fix: `did you mean ${meant}?` }),
  })
}

function withoutInstance(path: readonly PropertyKey[]): readonly PropertyKey[] {
  return path[0] === 'defaults' ? path.slice(1) : path[0] === 'instances' ? path.slice(2) : path
}

function isInSection(path: readonly PropertyKey[]): boolean {
  return withoutInstance(path).length > 0
}

function namesAt(path: readonly PropertyKey[]): readonly string[] {
  const inner = withoutInstance(path)
  if (inner.length === 0) return path.length === 0 ? documentKeyNames : instanceKeyNames
  if (inner[0] === 'listeners') return Object.keys(listenerKeys)
  const section = Object.entries(sectionKeys).find(([name]) => name === inner[0])
  return section === undefined ? [] : Object.keys(section[1])
}

/** Where a key would belong that stands in the wrong section: `limits.connections`. */
function sectionOf(key: string): string | null {
  for (const [section, table] of Object.entries(sectionKeys)) {
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
