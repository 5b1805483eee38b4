import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ShareGroup, type ShareStrategy } from './share-group.ts'
import { type Subscriber, Subscription } from './subscription.ts'

interface Fake extends Subscriber {
  name: string
  isOnline: boolean
  isStored: boolean
  inflightCount: number
}

function setUp(names: string[]) {
  const group = new ShareGroup('g', 'a/+')
  const members = names.map((name) => {
    const fake: Fake = { name, isOnline: true, isStored: false, inflightCount: 0, deliver: () => {} }
    const subscription = new Subscription(fake, 'a/+', group)
    group.add(subscription)
    return { fake, subscription }
  })
  const choose = (strategy: ShareStrategy, random = 0, admits: ((one: Subscriber) => boolean) | null = null) => {
    const chosen = group.choose(strategy, () => random, admits)
    return chosen === null ? null : (chosen.subscriber as Fake).name
  }
  return { group, members, choose }
}

const strategies: ShareStrategy[] = ['round-robin', 'random', 'sticky', 'least-inflight']

test('round-robin takes turns, also when members leave', () => {
  const { group, members, choose } = setUp(['a', 'b', 'c'])
  assert.equal(Array.from({ length: 7 }, () => choose('round-robin')).join(''), 'abcabca')
  group.remove(members[0].subscription)
  assert.equal(Array.from({ length: 4 }, () => choose('round-robin')).join(''), 'bcbc')
  group.remove(members[2].subscription)
  assert.equal(Array.from({ length: 2 }, () => choose('round-robin')).join(''), 'bb')
})

test('sticky stays with one until it is gone', () => {
  const { group, members, choose } = setUp(['a', 'b', 'c'])
  const first = choose('sticky')
  assert.equal(choose('sticky'), first)
  const held = members.find(({ fake }) => fake.name === first)!
  held.fake.isOnline = false
  const second = choose('sticky')
  assert.notEqual(second, first)
  held.fake.isOnline = true
  assert.equal(choose('sticky'), second)
  group.remove(members.find(({ fake }) => fake.name === second)!.subscription)
  assert.notEqual(choose('sticky'), second)
})

test('least-inflight takes the one with the fewest, and equals take turns', () => {
  const { members, choose } = setUp(['a', 'b', 'c'])
  assert.equal(Array.from({ length: 4 }, () => choose('least-inflight')).join(''), 'abca')
  members[0].fake.inflightCount = 3
  members[1].fake.inflightCount = 1
  members[2].fake.inflightCount = 2
  assert.equal(choose('least-inflight'), 'b')
})

test('random goes by the number that is drawn', () => {
  const { choose } = setUp(['a', 'b', 'c'])
  assert.equal([0, 0.34, 0.67, 0.999].map((drawn) => choose('random', drawn)).join(''), 'abcc')
})

test('whatever the strategy: one that is online before one that is not, one that may, and nobody only when nobody may', () => {
  const member = fc.record({ isOnline: fc.boolean(), isAdmitted: fc.boolean(), inflightCount: fc.nat(3) })
  const drawn = fc.double({ min: 0, max: 0.999, noNaN: true })
  const rounds = fc.array(fc.record({ strategy: fc.constantFrom(...strategies), drawn }), { maxLength: 20 })
  fc.assert(
    fc.property(fc.array(member, { maxLength: 6 }), rounds, (shapes, choices) => {
      const { members, choose } = setUp(shapes.map((_, index) => String(index)))
      for (const [index, { fake }] of members.entries()) Object.assign(fake, shapes[index])
      const admits = (one: Subscriber) => shapes[Number((one as Fake).name)].isAdmitted
      const allowed = shapes.filter(({ isAdmitted }) => isAdmitted)
      for (const one of choices) {
        const chosen = choose(one.strategy, one.drawn, admits)
        if (allowed.length === 0) {
          assert.equal(chosen, null)
          continue
        }
        const shape = shapes[Number(chosen)]
        assert.ok(chosen !== null && shape.isAdmitted)
        assert.equal(
          shape.isOnline,
          allowed.some(({ isOnline }) => isOnline),
        )
        if (one.strategy !== 'least-inflight') continue
        const rivals = allowed.filter(({ isOnline }) => isOnline === shape.isOnline)
        assert.equal(shape.inflightCount, Math.min(...rivals.map(({ inflightCount }) => inflightCount)))
      }
    }),
  )
})
