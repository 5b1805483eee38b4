// One instance: from a tree to what the broker reads, with everything checked that needs more than one key.
import { resolve } from 'node:path'
import type { OperatorError } from '../base/errors.ts'
import { type AddressGrammar, checkListeners } from './check-listeners.ts'
import { ConfigError } from './config-error.ts'
import { type ConfigNode, childOf, emptyMap, nodeFromValue } from './config-node.ts'
import { brokerSchema } from './document-schema.ts'
import { findFaults } from './find-faults.ts'
import type { InstanceConfig } from './instance-config.ts'
import { JudgedNodes } from './judged-nodes.ts'
import { authKeys, featureKeys, type InstanceInput, instanceKeys, limitKeys, logKeys } from './keys.ts'

/**
 * @param root already held against the schema, its faults being in `findings`
 * @param findings receives what is wrong between keys
 * @returns null when anything is wrong
 */
export function resolveInstance(
  name: string,
  root: ConfigNode,
  grammar: AddressGrammar,
  findings: OperatorError[],
  judged = new JudgedNodes(),
): InstanceConfig | null {
  const passwords = childOf(childOf(root, 'auth'), 'passwords')
  const hasPasswords = passwords?.kind === 'scalar' && passwords.value !== null
  const listeners = checkListeners(root, hasPasswords, grammar, findings, judged)
  if (findings.length > 0) return null

  const auth = judged.section(root, 'auth', authKeys)
  const file = (key: 'passwords' | 'acl'): string | null => {
    const value = auth[key]
    const base = childOf(childOf(root, 'auth'), key)?.baseDirectory
    return value === null || base === undefined ? null : resolve(base, value)
  }
  return {
    name,
    listeners,
    auth:
      auth.passwords === null && auth.acl === null ? auth : { ...auth, passwords: file('passwords'), acl: file('acl') },
    limits: judged.section(root, 'limits', limitKeys),
    features: judged.section(root, 'features', featureKeys),
    log: judged.section(root, 'log', logKeys),
    ...judged.keys(root, instanceKeys),
  }
}

/**
 * The configuration of an embedded broker. Without `listeners` it has none.
 * @param options relative paths are relative to this `workingDirectory`
 * @throws ConfigError
 */
export function instanceFromInput(
  input: InstanceInput,
  options: { name: string; workingDirectory: string; grammar: AddressGrammar },
): InstanceConfig {
  // Who embeds a broker and names no durability has no folder for its data either.
  const isObject = typeof input === 'object' && input !== null && !Array.isArray(input)
  const given = nodeFromValue(isObject ? { durability: 'memory', ...input } : input, options.workingDirectory)
  const root = given.kind === 'scalar' && given.value === undefined ? emptyMap(options.workingDirectory) : given
  const findings = findFaults(brokerSchema, root, { keyNames: Object.keys(brokerSchema.shape) })
  const config = resolveInstance(options.name, root, options.grammar, findings)
  if (config === null) throw new ConfigError(findings)
  return config
}
