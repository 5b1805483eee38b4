import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { isValidTopicFilter, matchesFilter } from '../topic/topic-filter.ts'
import { aclFilterMatches, bindAclFilter, filterCovers, filtersOverlap, splitAclFilter } from './acl-filter.ts'
import type { Identity } from './authority.ts'

const nobody: Identity = { clientId: 'x', username: null, group: null }

/** Every Topic Name of one to four levels over a small alphabet; `c` stands in no filter, so that + needs no luck. */
const topics: string[] = []
for (let level = 0, grown = ['']; level < 4; level++) {
  grown = grown.flatMap((start) => ['a', 'b', 'c', '', '$s'].map((text) => (level === 0 ? text : `${start}/${text}`)))
  topics.push(...grown.filter((topic) => topic !== ''))
}

const someFilter = fc
  .tuple(fc.array(fc.constantFrom('a', 'b', '', '$s', '+'), { maxLength: 3 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'))
  .filter(isValidTopicFilter)

const split = (filter: string) => splitAclFilter(filter, false)

describe('ACL filters agree with a model that tries every topic', () => {
  test('matching', () => {
    fc.assert(
      fc.property(someFilter, fc.constantFrom(...topics), (filter, topic) => {
        assert.equal(aclFilterMatches(split(filter), topic, nobody, 'grant'), matchesFilter(filter, topic))
      }),
      { numRuns: 2000 },
    )
  })

  test('overlap', () => {
    fc.assert(
      fc.property(someFilter, someFilter, (a, b) => {
        const expected = topics.some((topic) => matchesFilter(a, topic) && matchesFilter(b, topic))
        assert.equal(filtersOverlap(split(a), split(b)), expected, `${a} and ${b}`)
      }),
      { numRuns: 1000 },
    )
  })

  test('cover', () => {
    fc.assert(
      fc.property(someFilter, someFilter, (wide, narrow) => {
        const expected = topics.every((topic) => !matchesFilter(narrow, topic) || matchesFilter(wide, topic))
        assert.equal(filterCovers(split(wide), split(narrow)), expected, `${wide} over ${narrow}`)
      }),
      { numRuns: 1000 },
    )
  })
})

test('what a client calls itself is one literal level or nothing', () => {
  const anyName = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom('+', '#', 'a/b', '', '%u', '__proto__', 'constructor', '$SYS'),
  )
  const otherName = fc.string({ minLength: 1, maxLength: 3 }).filter((name) => !/[+#]/.test(name))
  fc.assert(
    fc.property(anyName, otherName, (username, other) => {
      const identity = { ...nobody, username }
      const pattern = splitAclFilter('home/%u/#', true)
      const others = `home/${other}/door`
      if (aclFilterMatches(pattern, others, identity, 'grant')) assert.equal(others, `home/${username}/door`)
      const bound = bindAclFilter(pattern, identity, 'grant')
      if (bound !== null && filtersOverlap(bound, split(others))) assert.equal(others, `home/${username}/door`)
    }),
    { numRuns: 2000 },
  )
})

test('a topic of 65 000 levels is no danger', () => {
  const deep = '/'.repeat(65_000)
  assert.equal(aclFilterMatches(split('a/#'), deep, nobody, 'grant'), false)
  assert.equal(aclFilterMatches(split('#'), deep, nobody, 'grant'), true)
  assert.equal(aclFilterMatches(split(deep), deep, nobody, 'grant'), true)
  assert.equal(filtersOverlap(split(deep), split(`${deep}+`)), true)
  assert.equal(filterCovers(split(`${deep}+`), split(deep)), true)
})
