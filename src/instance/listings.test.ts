import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { TimerWheel } from '../base/timer-wheel.ts'
import { Listings } from './listings.ts'

function* numbers(limit: number): Generator<{ number: number }, void, void> {
  for (let number = 0; number < limit; number++) yield { number }
}

function* texts(limit: number): Generator<{ text: string }, void, void> {
  for (let number = 0; number < limit; number++) yield { text: 'x'.repeat(65_535) }
}

test('a walk that nobody goes on with is given up after a minute', async () => {
  const clock = new ManualClock()
  const listings = new Listings(new TimerWheel(clock))
  const { cursor } = await listings.page('n', { limit: 1 }, () => numbers(9))
  clock.advance(59_000)
  const second = await listings.page('n', { limit: 1, cursor: cursor! }, () => assert.fail())
  assert.deepEqual(second.items, [{ number: 1 }])
  clock.advance(62_000)
  const late = listings.page('n', { limit: 1, cursor: second.cursor! }, () => assert.fail())
  await assert.rejects(late, { code: 'unknown-cursor', place: { key: 'cursor' } })
})

test('of too many walks the oldest is given up', async () => {
  const listings = new Listings(new TimerWheel(new ManualClock()))
  const begin = () => listings.page('n', { limit: 1 }, () => numbers(9))
  const pages = [await begin(), await begin()]
  for (let more = 0; more < 31; more++) await begin()
  const next = (cursor: string | null) => listings.page('n', { limit: 1, cursor: cursor! }, () => assert.fail())
  await assert.rejects(next(pages[0].cursor), { code: 'unknown-cursor' })
  assert.deepEqual((await next(pages[1].cursor)).items, [{ number: 1 }])
})

test('a page ends early when its texts are very long', async () => {
  const listings = new Listings(new TimerWheel(new ManualClock()))
  const { items, cursor } = await listings.page('t', { limit: 1000 }, () => texts(1000))
  assert.equal(items.length, 65)
  assert.notEqual(cursor, null)
})
