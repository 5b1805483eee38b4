// Who gets a message, against trying every filter on every topic.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ApplicationMessage, createMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import { Router, type SubscriptionOptions } from './router.ts'
import type { ShareGroup } from './share-group.ts'
import type { Subscriber, Subscription } from './subscription.ts'

/** Written from chapter 4.7, level by level. */
function topicMatches(filter: string, topic: string): boolean {
  const levels = filter.split('/')
  const names = topic.split('/')
  if (topic.startsWith('$') && (levels[0] === '+' || levels[0] === '#')) return false
  const depth = levels.indexOf('#')
  if (depth === -1 ? levels.length !== names.length : names.length < depth) return false
  return levels.every((level, at) => level === '#' || level === '+' || level === names[at])
}

class Recorder implements Subscriber {
  isOnline = true
  readonly isStored = false
  inflightCount = 0
  got: string[] = []

  deliver(
    _message: ApplicationMessage,
    qos: Qos,
    retain: boolean,
    identifiers: readonly number[] | null,
    share: ShareGroup | null,
  ): void {
    const sorted = [...(identifiers ?? [])].sort((a, b) => a - b)
    this.got.push(JSON.stringify({ qos, retain, sorted, share: share === null ? null : share.filter }))
  }

  take(): string[] {
    const { got } = this
    this.got = []
    return got.sort()
  }
}

interface Row extends SubscriptionOptions {
  who: number
}

const word = fc.constantFrom('a', 'b', '', 'ü', 'long-level-name')
const topic = fc.oneof(
  fc.array(word, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/')),
  fc.constantFrom('$x', '$x/a', '$x/a/b'),
)
const filter = fc.oneof(
  { weight: 2, arbitrary: topic },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.array(fc.oneof(word, fc.constant('+'), fc.constant('$x')), { maxLength: 4 }), fc.boolean())
      .map(([levels, isOpen]) => (isOpen ? [...levels, '#'] : levels.length === 0 ? ['+'] : levels).join('/')),
  },
)
const subscriberCount = 4
const row: fc.Arbitrary<Row> = fc.record({
  who: fc.nat(subscriberCount - 1),
  filter: filter.filter((text) => text !== ''),
  shareName: fc.option(fc.constantFrom('g', 'h'), { freq: 4 }),
  qos: fc.constantFrom<Qos>(0, 1, 2),
  noLocal: fc.boolean(),
  retainAsPublished: fc.boolean(),
  identifier: fc.option(fc.integer({ min: 1, max: 9 })),
})
const publication = fc.record({
  topic: topic.filter((text) => text !== ''),
  qos: fc.constantFrom<Qos>(0, 1, 2),
  retain: fc.boolean(),
  publisher: fc.option(fc.nat(subscriberCount - 1)),
})
const step = fc.oneof(
  { weight: 4, arbitrary: row.map((subscribe) => ({ subscribe })) },
  { weight: 2, arbitrary: fc.nat(1000).map((unsubscribe) => ({ unsubscribe })) },
  { weight: 1, arbitrary: fc.nat(15).map((rights) => ({ rights })) },
  { weight: 8, arbitrary: publication.map((publish) => ({ publish })) },
)

class World {
  readonly router: Router
  readonly subscribers = Array.from({ length: subscriberCount }, () => new Recorder())
  readonly rows = new Map<string, { row: Row; subscription: Subscription }>()
  /** Bits of who may not receive what is below `a`. */
  denied = 0

  constructor(cacheLimitBytes: number) {
    this.router = new Router({ shareStrategy: 'round-robin', random: () => 0.5, cacheLimitBytes })
  }

  mayReceive(who: number, name: string): boolean {
    return !(name.startsWith('a') && (this.denied & (1 << who)) !== 0)
  }

  subscribe(one: Row): void {
    const key = JSON.stringify([one.who, one.shareName, one.filter])
    const options = { ...one, noLocal: one.noLocal && one.shareName === null }
    const known = this.rows.get(key)
    const found = this.router.find(this.subscribers[one.who], one.filter, one.shareName)
    assert.equal(found, known?.subscription ?? null)
    if (known === undefined) {
      this.rows.set(key, { row: options, subscription: this.router.add(this.subscribers[one.who], options) })
    } else {
      this.router.update(known.subscription, options)
      known.row = options
    }
  }

  unsubscribe(index: number): void {
    const key = [...this.rows.keys()][index % this.rows.size]
    if (key === undefined) return
    this.router.remove(this.rows.get(key)!.subscription)
    this.rows.delete(key)
  }

  setRights(bits: number): void {
    this.denied = bits
    const { subscribers } = this
    this.router.admitWith(
      bits === 0 ? null : (subscriber, name) => this.mayReceive(subscribers.indexOf(subscriber as Recorder), name),
    )
  }

  publish(one: { topic: string; qos: Qos; retain: boolean; publisher: number | null }): void {
    const { subscribers } = this
    const message = createMessage(one.topic, Buffer.from('x'), { qos: one.qos, retain: one.retain, nowMs: 0 })
    const publisher = one.publisher === null ? null : subscribers[one.publisher]
    const count = this.router.dispatch(this.router.routeOf(one.topic), message, publisher)
    const matching = [...this.rows.values()]
      .map(({ row }) => row)
      .filter(({ filter }) => topicMatches(filter, one.topic))
    const shared = new Map<string, string[]>()
    let expectedCount = 0
    for (const [who, subscriber] of subscribers.entries()) {
      const mine = matching.filter((row) => row.who === who && this.mayReceive(who, one.topic))
      const form = (rows: Row[], share: string | null) =>
        JSON.stringify({
          qos: Math.min(one.qos, Math.max(...rows.map(({ qos }) => qos))),
          retain: one.retain && rows.some(({ retainAsPublished }) => retainAsPublished),
          sorted: rows.flatMap(({ identifier }) => identifier ?? []).sort((a, b) => a - b),
          share,
        })
      const ordinary = mine.filter(
        ({ shareName, noLocal }) => shareName === null && !(noLocal && who === one.publisher),
      )
      const got = subscriber.take()
      const gotOrdinary = got.filter((text) => JSON.parse(text).share === null)
      assert.deepEqual(gotOrdinary, ordinary.length === 0 ? [] : [form(ordinary, null)])
      if (ordinary.length > 0) expectedCount++
      for (const row of mine) {
        if (row.shareName === null) continue
        const key = `${row.shareName}/${row.filter}`
        shared.set(key, [...(shared.get(key) ?? []), form([row], row.filter)])
      }
      this.gotShared.push(...got.filter((text) => JSON.parse(text).share !== null))
    }
    expectedCount += shared.size
    assert.equal(this.gotShared.length, shared.size, 'one of each group')
    for (const allowed of shared.values()) {
      const at = this.gotShared.findIndex((text) => allowed.includes(text))
      assert.notEqual(at, -1)
      this.gotShared.splice(at, 1)
    }
    assert.equal(count, expectedCount)
  }

  readonly gotShared: string[] = []
}

for (const cacheLimitBytes of [1, 1500, 10_000_000]) {
  test(`dispatch gives what trying every filter gives, with a cache of ${cacheLimitBytes} bytes`, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const world = new World(cacheLimitBytes)
        for (const one of steps) {
          if ('subscribe' in one) world.subscribe(one.subscribe)
          else if ('unsubscribe' in one) world.unsubscribe(one.unsubscribe)
          else if ('rights' in one) world.setRights(one.rights)
          else world.publish(one.publish)
        }
        assert.equal(world.router.subscriptionCount, world.rows.size)
        while (world.rows.size > 0) world.unsubscribe(0)
        assert.deepEqual([world.router.subscriptionCount, world.router.sharedSubscriptionCount], [0, 0])
        for (const one of steps) if ('publish' in one) world.publish(one.publish)
      }),
      { numRuns: 150 },
    )
  })
}

test('every change reaches every route that is held, also one that fell out of the cache', () => {
  const { router, subscribers } = new World(1000)
  const [subscriber] = subscribers
  const options = { shareName: null, qos: 0 as Qos, noLocal: false, retainAsPublished: false, identifier: null }
  const topics = Array.from({ length: 20 }, (_, index) => `t/${index}`)
  const routes = topics.map((name) => router.routeOf(name))
  const message = createMessage('t', Buffer.from('x'), { nowMs: 0 })
  const reached = () => routes.map((route) => router.dispatch(route, message, null)).reduce((sum, one) => sum + one)
  assert.equal(reached(), 0)
  const exact = router.add(subscriber, { ...options, filter: 't/7' })
  assert.equal(reached(), 1)
  const wild = router.add(subscriber, { ...options, filter: 't/+' })
  assert.equal(reached(), 20)
  router.admitWith(() => false)
  assert.equal(reached(), 0)
  router.admitWith(null)
  router.remove(wild)
  assert.equal(reached(), 1)
  router.remove(exact)
  assert.equal(reached(), 0)
})

test('topics and filters of very many levels take neither stack nor long', () => {
  const { router, subscribers } = new World(1_000_000)
  const options = { shareName: null, qos: 0 as Qos, noLocal: false, retainAsPublished: false, identifier: null }
  const deep = '/'.repeat(60_000)
  const all = [deep, `${'+/'.repeat(60_000)}+`, `${'/'.repeat(59_999)}#`].map((text) =>
    router.add(subscribers[0], { ...options, filter: text }),
  )
  const message = createMessage('t', Buffer.from('x'), { nowMs: 0 })
  assert.equal(router.dispatch(router.routeOf(deep), message, null), 1)
  for (const subscription of all) router.remove(subscription)
  assert.equal(router.dispatch(router.routeOf(deep), message, null), 0)
})
