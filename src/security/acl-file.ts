// The ACL file, in Mosquitto's syntax, read into rules; one bad line rejects the whole file. Decides nothing itself
// (acl-authorizer.ts does) and opens no file.
import { OperatorError } from '../base/errors.ts'
import { isSharedFilter, isValidTopicFilter } from '../topic/topic-filter.ts'
import { type AclFilter, splitAclFilter } from './acl-filter.ts'

export type AclAccess = 'read' | 'write' | 'readwrite' | 'deny'

export interface AclRule {
  readonly access: AclAccess
  readonly filter: AclFilter
}

export interface AclRules {
  /** False without an ACL file: everything is allowed. */
  readonly isRestricted: boolean
  /** For clients without a user name. */
  readonly anonymous: readonly AclRule[]
  readonly users: ReadonlyMap<string, readonly AclRule[]>
  /** For every client. */
  readonly patterns: readonly AclRule[]
}

/** The rules of an instance that has no ACL file. */
export const unrestrictedAclRules: AclRules = { isRestricted: false, anonymous: [], users: new Map(), patterns: [] }

const accesses: ReadonlySet<string> = new Set<AclAccess>(['read', 'write', 'readwrite', 'deny'])

/**
 * Reads the text of an ACL file.
 * @param fileName for messages only
 * @throws OperatorError `acl-file-invalid` with file and line
 */
export function parseAclFile(text: string, fileName: string): AclRules {
  const anonymous: AclRule[] = []
  const users = new Map<string, AclRule[]>()
  const patterns: AclRule[] = []
  let current = anonymous

  const lines = text.replace(/^\uFEFF/, '').split('\n')
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index].trim()
    if (line === '' || line.startsWith('#')) continue
    const fail = (message: string, fix: string): never => {
      throw new OperatorError('acl-file-invalid', message, { place: { file: fileName, line: index + 1 }, fix })
    }
    const [keyword, rest] = splitWord(line)
    if (keyword === 'user') {
      if (rest === '') fail('user without a name', 'write: user NAME')
      current = users.get(rest) ?? []
      users.set(rest, current)
    } else if (keyword === 'topic') {
      current.push(parseRule(keyword, rest, fail))
    } else if (keyword === 'pattern') {
      patterns.push(parseRule(keyword, rest, fail))
    } else {
      fail(`unknown keyword ${JSON.stringify(keyword)}`, 'a line begins with user, topic, pattern or #')
    }
  }
  return { isRestricted: true, anonymous, users, patterns }
}

function parseRule(keyword: string, rest: string, fail: (message: string, fix: string) => never): AclRule {
  const [first, remainder] = splitWord(rest)
  const isAccessNamed = accesses.has(first)
  const filter = isAccessNamed ? remainder : rest
  const quoted = JSON.stringify(filter)
  if (filter === '')
    return fail(`${keyword} without a Topic Filter`, `write: ${keyword} read|write|readwrite|deny FILTER`)
  if (!isAccessNamed && remainder !== '') {
    const fix =
      'use read, write, readwrite or deny; it must be given where the filter has spaces; no comment may follow'
    return fail(`unknown access ${JSON.stringify(first)}`, fix)
  }
  if (!isValidTopicFilter(filter)) {
    return fail(
      `${quoted} is not a Topic Filter`,
      '+ and # must fill a level, and # must be the last; no comment may follow',
    )
  }
  if (isSharedFilter(filter)) {
    return fail(
      `${quoted} names a Shared Subscription`,
      'write the filter alone: it also rules its shared subscriptions',
    )
  }
  const isPattern = keyword === 'pattern'
  if (isPattern && filter.split('/').some((level) => level.length > 2 && /%[ucg]/.test(level))) {
    return fail(`${quoted} has a substitution inside a level`, '%u, %c and %g must be the only text of their level')
  }
  return { access: isAccessNamed ? (first as AclAccess) : 'readwrite', filter: splitAclFilter(filter, isPattern) }
}

/** The first word, and what follows it without the space between. */
function splitWord(text: string): [string, string] {
  const space = text.search(/[ \t]/)
  return space === -1 ? [text, ''] : [text.slice(0, space), text.slice(space).trimStart()]
}
