import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isSharedFilter, isValidTopicFilter, matchesFilter, parseSharedFilter } from './topic-filter.ts'
import { isValidTopicName } from './topic-name.ts'

/** Chapter 4.7 word by word, level by level. */
function modelMatches(filter: string[], topic: string[]): boolean {
  if (topic[0].startsWith('$') && (filter[0] === '+' || filter[0] === '#')) return false
  return levelsMatch(filter, topic)
}

function levelsMatch(filter: string[], topic: string[]): boolean {
  if (filter[0] === '#' && filter.length === 1) return true
  if (filter.length === 0) return topic.length === 0
  if (topic.length === 0) return false
  return (filter[0] === '+' || filter[0] === topic[0]) && levelsMatch(filter.slice(1), topic.slice(1))
}

function modelIsValid(filter: string): boolean {
  if (filter === '') return false
  const levels = filter.split('/')
  return levels.every((level, index) => {
    if (level === '#') return index === levels.length - 1
    return level === '+' || (!level.includes('+') && !level.includes('#'))
  })
}

const name = fc.constantFrom('', 'a', 'b', 'ab', '$a', 'ü')
const topic = fc.array(name, { minLength: 1, maxLength: 5 }).filter((levels) => levels.join('/') !== '')
const filter = fc
  .tuple(fc.array(fc.oneof(name, fc.constant('+')), { maxLength: 5 }), fc.boolean())
  .map(([levels, hasHash]) => (hasHash ? [...levels, '#'] : levels))
  .filter((levels) => levels.join('/') !== '')

test('matching is that of the specification', () => {
  fc.assert(
    fc.property(filter, topic, (filterLevels, topicLevels) => {
      const expected = modelMatches(filterLevels, topicLevels)
      assert.equal(matchesFilter(filterLevels.join('/'), topicLevels.join('/')), expected)
    }),
    { numRuns: 20_000 },
  )
})

test('the examples of the specification', () => {
  const rows: [filter: string, topic: string, isMatch: boolean][] = [
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/ranking', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['sport/tennis/+', 'sport/tennis/player1', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/monitor/Clients', false],
    ['+/monitor/Clients', '$SYS/monitor/Clients', false],
    ['$SYS/#', '$SYS/monitor/Clients', true],
    ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
  ]
  for (const [filterText, topicText, isMatch] of rows) {
    assert.ok(isValidTopicFilter(filterText), filterText)
    assert.equal(matchesFilter(filterText, topicText), isMatch, filterText)
  }
})

test('what a topic filter is', () => {
  const character = fc.constantFrom('a', '/', '+', '#', '$')
  fc.assert(
    fc.property(fc.array(character, { maxLength: 7 }), (characters) => {
      const text = characters.join('')
      assert.equal(isValidTopicFilter(text), modelIsValid(text), text)
    }),
    { numRuns: 10_000 },
  )
  assert.equal(isValidTopicFilter('a\0b'), false)
  assert.equal(isValidTopicFilter('a\ud800'), false)
  assert.equal(isValidTopicFilter('x'.repeat(65_535)), true)
  assert.equal(isValidTopicFilter('x'.repeat(65_536)), false)
  assert.equal(isValidTopicFilter('ü'.repeat(32_768)), false)
})

test('what a topic name is', () => {
  for (const good of ['a', '/', 'a b', '$a', 'ü/x', 'x'.repeat(65_535)])
    assert.equal(isValidTopicName(good), true, good)
  for (const bad of ['', 'a+', '#', 'a\0', '\ud800', 'x'.repeat(65_536)])
    assert.equal(isValidTopicName(bad), false, bad)
})

test('shared subscriptions', () => {
  assert.deepEqual(parseSharedFilter('$share/x/a/+/#'), { shareName: 'x', filter: 'a/+/#' })
  assert.deepEqual(parseSharedFilter('$share/x//'), { shareName: 'x', filter: '/' })
  for (const bad of [
    '$share/x',
    '$share//a',
    '$share/a+/b',
    '$share/#/b',
    '$share/x/',
    '$share/x/a/#/b',
    '$share',
    'a/b',
  ]) {
    assert.equal(parseSharedFilter(bad), null, bad)
  }
  for (const shared of ['$share', '$share/', '$share/x/a']) assert.equal(isSharedFilter(shared), true, shared)
  for (const other of ['$shared/x/a', '$SHARE/x/a', 'share/x/a', '/$share/x'])
    assert.equal(isSharedFilter(other), false, other)
})

test('a topic of 65535 levels is matched without recursion', () => {
  const deep = '/'.repeat(65_535)
  assert.equal(matchesFilter(deep, deep), true)
  assert.equal(matchesFilter('+' + '/+'.repeat(32_767), '/'.repeat(32_767)), true)
  assert.equal(matchesFilter('#', deep), true)
})
