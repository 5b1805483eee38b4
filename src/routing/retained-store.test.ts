// Retained messages by topic, against a plain map.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ApplicationMessage, createMessage } from '../codec/application-message.ts'
import { matchesFilter } from '../topic/topic-filter.ts'
import { RetainedStore } from './retained-store.ts'

const messageOf = (topic: string, text: string, expirySeconds: number | null = null, nowMs = 0) =>
  createMessage(topic, Buffer.from(text), {
    retain: true,
    properties: expirySeconds === null ? {} : { messageExpiryInterval: expirySeconds },
    nowMs,
  })

const textOf = (message: ApplicationMessage | null) => (message === null ? null : message.payload.toString())

function all(store: RetainedStore, filter: string): string[] {
  const found: string[] = []
  for (const message of store.matching(filter)) if (message !== null) found.push(`${message.topic} ${textOf(message)}`)
  return found.sort()
}

const topic = fc.oneof(
  fc
    .array(fc.constantFrom('a', 'b', '', 'c', 'a-longer-name'), { minLength: 1, maxLength: 4 })
    .map((levels) => levels.join('/'))
    .filter((text) => text !== ''),
  fc.constantFrom('$x', '$x/a'),
)
const filters = [
  '#',
  '+',
  'a',
  'a/#',
  '+/+',
  '+/b',
  'a/+/c',
  '/+',
  '/#',
  '+/',
  '+/#',
  'b/+/#',
  '$x/#',
  '$x/+',
  '$x',
  'a/b',
]

test('any setting and deleting gives what a map gives, for every filter', () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ set: topic, text: fc.string({ minLength: 1, maxLength: 5 }) }) },
    { weight: 1, arbitrary: fc.record({ remove: topic }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const store = new RetainedStore()
      const model = new Map<string, string>()
      for (const one of steps) {
        if ('set' in one) {
          store.set(one.set, messageOf(one.set, one.text))
          model.set(one.set, one.text)
        } else assert.equal(store.delete(one.remove), model.delete(one.remove))
      }
      assert.equal(store.count, model.size)
      for (const [name, text] of model) assert.equal(textOf(store.get(name)), text)
      for (const filter of filters) {
        const expected = [...model].filter(([name]) => matchesFilter(filter, name))
        assert.deepEqual(all(store, filter), expected.map(([name, text]) => `${name} ${text}`).sort(), filter)
      }
      for (const name of model.keys()) store.delete(name)
      assert.deepEqual([store.count, store.bytes], [0, 0])
      assert.deepEqual(all(store, '#'), [])
    }),
    { numRuns: 150 },
  )
})

test('a walk goes on while the store changes: what stays is seen once, what was never there is not', () => {
  const change = fc.record({ topic, isSet: fc.boolean(), after: fc.nat(6) })
  fc.assert(
    fc.property(
      fc.uniqueArray(topic, { maxLength: 20 }),
      fc.array(change, { maxLength: 12 }),
      fc.constantFrom(...filters),
      (topics, changes, filter) => {
        const store = new RetainedStore()
        for (const name of topics) store.set(name, messageOf(name, 'first'))
        const touched = new Set<string>()
        const seen: string[] = []
        const pending = [...changes]
        let sinceChange = 0
        for (const message of store.matching(filter)) {
          if (message !== null) seen.push(message.topic)
          const next = pending[0]
          if (next === undefined || sinceChange++ < next.after) continue
          pending.shift()
          sinceChange = 0
          touched.add(next.topic)
          if (next.isSet) store.set(next.topic, messageOf(next.topic, 'second'))
          else store.delete(next.topic)
        }
        assert.equal(new Set(seen).size, seen.length, 'nothing is seen twice')
        for (const name of seen) {
          assert.ok(matchesFilter(filter, name))
          assert.ok(topics.includes(name) || touched.has(name))
        }
        for (const name of topics) {
          if (matchesFilter(filter, name) && !touched.has(name)) assert.ok(seen.includes(name), name)
        }
      },
    ),
    { numRuns: 200 },
  )
})

test('a long walk without a match pauses now and then', () => {
  const store = new RetainedStore()
  for (let index = 0; index < 5000; index++) store.set(`t/${index}/x`, messageOf('t', 'x'))
  const yielded = [...store.matching('t/+/y')]
  assert.ok(yielded.length > 5 && yielded.every((one) => one === null))
})

test('limits: replacing counts as one message, and a larger one must fit', () => {
  const store = new RetainedStore()
  store.set('a', messageOf('a', 'x'.repeat(100)))
  assert.equal(store.hasRoom('b', 10, 1, 1_000_000), false)
  assert.equal(store.hasRoom('a', 10, 1, 1_000_000), true)
  assert.equal(store.hasRoom('b', 10, 2, 1_000_000), true)
  assert.equal(store.hasRoom('b', 10, 2, store.bytes), false)
  assert.equal(store.hasRoom('a', 10, 1, store.bytes), true)
  assert.equal(store.hasRoom('a', 100_000, 1, store.bytes), false)
  const { bytes } = store
  store.set('a', messageOf('a', 'x'.repeat(90)))
  assert.equal(store.bytes, bytes - 10)
})

test('messages are copies of their own, of whatever size', () => {
  const store = new RetainedStore()
  for (const length of [1, 4000, 4096, 5000, 20_000, 100_000]) {
    const message = messageOf('t', 'x'.repeat(length))
    store.set(`t/${length}`, message)
    message.buffer.fill(0)
  }
  for (const length of [1, 4000, 4096, 5000, 20_000, 100_000]) {
    assert.equal(textOf(store.get(`t/${length}`)), 'x'.repeat(length))
  }
})

test('a sweep drops what is over, in slices, and forgets what was replaced or removed', () => {
  const store = new RetainedStore()
  for (let index = 0; index < 100; index++) store.set(`t/${index}`, messageOf('t', 'x', index % 2 === 0 ? 10 : 1000))
  store.set('t/0', messageOf('t', 'for ever'))
  store.delete('t/2')
  store.set('t/4', messageOf('t', 'y', 1000))
  assert.equal(store.sweep(9999, 1000), 0)
  let dropped = 0
  for (let round = 0; round < 20; round++) dropped += store.sweep(10_000, 10)
  assert.equal(dropped, 47)
  assert.equal(store.count, 100 - 1 - 47)
  assert.equal(textOf(store.get('t/0')), 'for ever')
  assert.equal(textOf(store.get('t/4')), 'y')
  assert.equal(store.sweep(2_000_000, 1000), 51)
  assert.equal(store.count, 1)
})
