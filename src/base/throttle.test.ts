import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from './clock.ts'
import { Throttle } from './throttle.ts'

test('the first passes at once, then one per period that tells how many were held back', () => {
  const clock = new ManualClock()
  const throttle = new Throttle(clock, 1000)
  assert.equal(throttle.pass(), 0)
  assert.equal(throttle.pass(), null)
  clock.advance(999)
  assert.equal(throttle.pass(), null)
  clock.advance(1)
  assert.equal(throttle.pass(), 2)
  assert.equal(throttle.pass(), null)
})

test('what was told once is not told again, and a pause longer than the period counts for one', () => {
  const clock = new ManualClock()
  const throttle = new Throttle(clock, 1000)
  for (let count = 0; count < 3; count++) throttle.pass()
  clock.advance(5000)
  assert.equal(throttle.pass(), 2)
  clock.advance(1000)
  assert.equal(throttle.pass(), 0)
  assert.equal(throttle.pass(), null)
})
