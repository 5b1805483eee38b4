// Answers what a client may do from the rules of an ACL file, compiled once per user: deny first, then what is granted,
// else refused. Knows no file, no connection, and keeps nothing per client.
import type { AclAccess, AclRule, AclRules } from './acl-file.ts'
import {
  type AclEffect,
  type AclFilter,
  aclFilterMatches,
  bindAclFilter,
  filterCovers,
  filtersOverlap,
  hasSubstitution,
  hasWildcard,
  splitAclFilter,
} from './acl-filter.ts'
import type { Authorizer, Identity } from './authority.ts'

export interface AclAuthorizer extends Authorizer {
  /** Puts other rules in force from the next question on. */
  update(rules: AclRules): void
}

export function createAclAuthorizer(rules: AclRules): AclAuthorizer {
  let generation = 1
  let compiled = compile(rules)
  return {
    get generation() {
      return generation
    },
    update(newRules) {
      compiled = compile(newRules)
      generation++
    },
    mayPublish: (identity, topicName) => compiled === null || isGranted(compiled, 'write', identity, topicName),
    mayReceive: (identity, topicName) => compiled === null || isGranted(compiled, 'read', identity, topicName),
    maySubscribe: (identity, topicFilter) => compiled === null || couldReceive(compiled, identity, topicFilter),
  }
}

type Purpose = 'read' | 'write' | 'deny'

/** Rules of one purpose: those for exactly one topic are looked up, the others are tried one by one. */
interface FilterSet {
  readonly exact: ReadonlySet<string>
  readonly tried: readonly AclFilter[]
  readonly all: readonly AclFilter[]
}

type RuleSet = Readonly<Record<Purpose, FilterSet>>

interface CompiledRules {
  readonly anonymous: RuleSet
  readonly users: ReadonlyMap<string, RuleSet>
  /** For users of whom the file does not speak: the patterns only. */
  readonly others: RuleSet
}

const purposes: Readonly<Record<AclAccess, readonly Purpose[]>> = {
  read: ['read'],
  write: ['write'],
  readwrite: ['read', 'write'],
  deny: ['deny'],
}

function compile(rules: AclRules): CompiledRules | null {
  if (!rules.isRestricted) return null
  const users = new Map<string, RuleSet>()
  for (const [username, own] of rules.users) users.set(username, compileRules([...own, ...rules.patterns]))
  return {
    anonymous: compileRules([...rules.anonymous, ...rules.patterns]),
    users,
    others: compileRules(rules.patterns),
  }
}

function compileRules(rules: readonly AclRule[]): RuleSet {
  const filtersFor = (purpose: Purpose): FilterSet => {
    const exact = new Set<string>()
    const tried: AclFilter[] = []
    const all: AclFilter[] = []
    for (const { access, filter } of rules) {
      if (!purposes[access].includes(purpose)) continue
      all.push(filter)
      if (hasWildcard(filter) || hasSubstitution(filter)) tried.push(filter)
      else exact.add(filter.join('/'))
    }
    return { exact, tried, all }
  }
  return { read: filtersFor('read'), write: filtersFor('write'), deny: filtersFor('deny') }
}

function rulesOf(compiled: CompiledRules, identity: Identity): RuleSet {
  if (identity.username === null) return compiled.anonymous
  return compiled.users.get(identity.username) ?? compiled.others
}

function isGranted(compiled: CompiledRules, purpose: Purpose, identity: Identity, topicName: string): boolean {
  const rules = rulesOf(compiled, identity)
  return (
    !includesTopic(rules.deny, 'deny', identity, topicName) &&
    includesTopic(rules[purpose], 'grant', identity, topicName)
  )
}

function includesTopic(filters: FilterSet, effect: AclEffect, identity: Identity, topicName: string): boolean {
  if (filters.exact.has(topicName)) return true
  for (const filter of filters.tried) if (aclFilterMatches(filter, topicName, identity, effect)) return true
  return false
}

/** False when nothing could ever be delivered: a deny covers the whole filter, or nothing readable lies within it. */
function couldReceive(compiled: CompiledRules, identity: Identity, topicFilter: string): boolean {
  const rules = rulesOf(compiled, identity)
  const wanted = splitAclFilter(topicFilter, false)
  for (const filter of rules.deny.all) {
    const bound = bindAclFilter(filter, identity, 'deny')
    if (bound !== null && filterCovers(bound, wanted)) return false
  }
  for (const filter of rules.read.all) {
    const bound = bindAclFilter(filter, identity, 'grant')
    if (bound !== null && filtersOverlap(bound, wanted)) return true
  }
  return false
}
