// Topic Filters as access rules see them: split once into levels, compared level by level, with %u %c %g as levels of
// their own. What a peer chose is only ever compared with a level; it never becomes part of a filter. Knows no users.
import type { Identity } from './authority.ts'

const anyLevel = Symbol('+')
const allLevels = Symbol('#')

export type Substitution = 'username' | 'clientId' | 'group'

/** A string is a literal level; wildcards and substitutions can't be mistaken for one. */
type Level = string | typeof anyLevel | typeof allLevels | { readonly substitution: Substitution }

export type AclFilter = readonly Level[]

const substitutions: ReadonlyMap<string, Substitution> = new Map([
  ['%u', 'username'],
  ['%c', 'clientId'],
  ['%g', 'group'],
])

/** Splits a valid Topic Filter; with `isPattern`, the levels %u, %c and %g stand for what the client is. */
export function splitAclFilter(filter: string, isPattern: boolean): AclFilter {
  return filter.split('/').map((text): Level => {
    if (text === '+') return anyLevel
    if (text === '#') return allLevels
    const substitution = isPattern ? substitutions.get(text) : undefined
    return substitution === undefined ? text : { substitution }
  })
}

export function hasWildcard(filter: AclFilter): boolean {
  return filter.some((level) => level === anyLevel || level === allLevels)
}

export function hasSubstitution(filter: AclFilter): boolean {
  return filter.some((level) => typeof level === 'object')
}

/** What a rule does when it matches: values that a client must not gain anything by still count against it. */
export type AclEffect = 'grant' | 'deny'

/** Whether the Topic Name is one of those that the filter stands for, to this client. Allocates nothing. */
export function aclFilterMatches(filter: AclFilter, topicName: string, identity: Identity, effect: AclEffect): boolean {
  let start = 0
  for (let index = 0; index < filter.length; index++) {
    const level = filter[index]
    // [MQTT-4.7.2-1] a leading wildcard does not match a leading $
    const isHidden = index === 0 && topicName.charCodeAt(0) === 0x24
    if (level === allLevels) return !isHidden
    if (start > topicName.length) return false
    const slash = topicName.indexOf('/', start)
    const end = slash === -1 ? topicName.length : slash
    if (level === anyLevel) {
      if (isHidden) return false
    } else {
      const literal = typeof level === 'string' ? level : identity[level.substitution]
      if (literal === null || literal.length !== end - start || !topicName.startsWith(literal, start)) return false
      if (effect === 'grant' && typeof level === 'object' && !isSafeLevel(literal, index)) return false
    }
    start = end + 1
  }
  return start > topicName.length
}

/** The filter with the client's own values in place as literal levels; null where it can't match this client. */
export function bindAclFilter(filter: AclFilter, identity: Identity, effect: AclEffect): AclFilter | null {
  const bound: Level[] = []
  for (let index = 0; index < filter.length; index++) {
    const level = filter[index]
    if (typeof level !== 'object') {
      bound.push(level)
      continue
    }
    const value = identity[level.substitution]
    if (value === null || (effect === 'grant' && !isSafeLevel(value, index))) return null
    bound.push(value)
  }
  return bound
}

/** Whether some Topic Name matches both. Neither may hold a substitution any more: see `bindAclFilter`. */
export function filtersOverlap(left: AclFilter, right: AclFilter): boolean {
  const a = canonical(left)
  const b = canonical(right)
  for (let index = 0; ; index++) {
    // A final # also stands for the level above it, so that nothing more is needed on the other side.
    if (a[index] === allLevels) return index > 0 || !isHiddenLevel(b[0])
    if (b[index] === allLevels) return index > 0 || !isHiddenLevel(a[0])
    if (index === a.length || index === b.length) return a.length === b.length
    if (a[index] === anyLevel || b[index] === anyLevel) {
      if (index === 0 && (isHiddenLevel(a[0]) || isHiddenLevel(b[0]))) return false
    } else if (a[index] !== b[index]) {
      return false
    }
  }
}

/** Whether every Topic Name that matches `narrow` also matches `wide`. Neither may hold a substitution any more. */
export function filterCovers(wide: AclFilter, narrow: AclFilter): boolean {
  const a = canonical(wide)
  const b = canonical(narrow)
  for (let index = 0; ; index++) {
    if (a[index] === allLevels) return index > 0 || !isHiddenLevel(b[0])
    if (b[index] === allLevels) return false
    if (index === a.length || index === b.length) return a.length === b.length
    if (a[index] === anyLevel) {
      if (index === 0 && isHiddenLevel(b[0])) return false
    } else if (a[index] !== b[index]) {
      return false
    }
  }
}

/** One spelling for filters that mean the same because no Topic Name is empty: `+/#` is `#`, and `/#` is `/+/#`. */
function canonical(filter: AclFilter): AclFilter {
  if (filter.length !== 2 || filter[1] !== allLevels) return filter
  if (filter[0] === anyLevel) return [allLevels]
  return filter[0] === '' ? ['', anyLevel, allLevels] : filter
}

function isHiddenLevel(level: Level | undefined): boolean {
  return typeof level === 'string' && level.charCodeAt(0) === 0x24
}

/**
 * Whether a client may gain something by what it calls itself. Never by wildcards, separators or control characters
 * (CVE-2017-7650), nor by an empty name; and a client called $SYS does not come by the broker's own topics.
 */
function isSafeLevel(value: string, index: number): boolean {
  if (value === '' || (index === 0 && value.charCodeAt(0) === 0x24)) return false
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at)
    if (code < 0x20 || (code >= 0x7f && code <= 0x9f)) return false
    if (code === 0x23 || code === 0x2b || code === 0x2f) return false // # + /
  }
  return true
}
