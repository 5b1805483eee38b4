// What faulty instances name outside the configuration, files and accounts, as far as it can be read: so that a check can
// look at it in one go with all that is wrong. Looks at values only and judges none.
import { resolve } from 'node:path'
import type { OperatorError, Place } from '../base/errors.ts'
import { ConfigError } from './config-error.ts'
import { type ConfigNode, childOf, type ScalarNode } from './config-node.ts'

export interface NamedThings {
  /** Absolute paths, for each instance that names one. */
  files: { passwords: string | null; acl: string | null }[]
  /** Each place once. */
  accounts: NamedAccount[]
}

export interface NamedAccount {
  kind: 'user' | 'group'
  account: string
  place: Place
}

/** A fleet with something wrong in it. */
export class FaultyFleetError extends ConfigError {
  readonly named: NamedThings

  constructor(findings: readonly OperatorError[], named: NamedThings) {
    super(findings)
    this.named = named
  }
}

/** @param roots everything that is said about each instance */
export function namedThings(roots: Iterable<ConfigNode>): NamedThings {
  const files: NamedThings['files'] = []
  // Of a template all its instances have the same node.
  const accounts = new Map<ConfigNode, NamedAccount>()
  const name = (kind: NamedAccount['kind'], node: ConfigNode | null) => {
    if (isText(node)) accounts.set(node, { kind, account: node.value, place: node.place })
  }
  for (const root of roots) {
    const auth = childOf(root, 'auth')
    files.push({ passwords: pathOf(childOf(auth, 'passwords')), acl: pathOf(childOf(auth, 'acl')) })
    const listeners = childOf(root, 'listeners')
    for (const { value } of listeners?.kind === 'map' ? listeners.entries.values() : []) {
      name('user', childOf(value, 'owner'))
      name('group', childOf(value, 'group'))
    }
    name('user', childOf(root, 'user'))
    name('group', childOf(root, 'group'))
  }
  return { files, accounts: [...accounts.values()] }
}

function pathOf(node: ConfigNode | null): string | null {
  return isText(node) ? resolve(node.baseDirectory, node.value) : null
}

function isText(node: ConfigNode | null): node is ScalarNode & { value: string } {
  return node?.kind === 'scalar' && typeof node.value === 'string' && node.value !== ''
}
