import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { Loop } from './loop.ts'
import { Pulse } from './pulse.ts'

function setUp() {
  const clock = new ManualClock()
  const loop = new Loop()
  let beats = 0
  const state = { isNeeded: false }
  const beat = () => {
    beats++
    loop.run(() => {})
    return state.isNeeded
  }
  const pulse = new Pulse(loop, clock, 1000, beat)
  pulse.start()
  /** Beats within so many seconds. */
  const beatsWithin = (seconds: number) => {
    const before = beats
    clock.advance(seconds * 1000)
    return beats - before
  }
  return { clock, loop, pulse, state, beatsWithin }
}

test('it beats while there is work, once more, and then sleeps until there is work again', () => {
  const { loop, beatsWithin } = setUp()
  assert.equal(beatsWithin(100), 2)
  loop.enter()
  loop.leaveRead()
  assert.equal(beatsWithin(1), 1)
  loop.run(() => {})
  assert.equal(beatsWithin(1), 1)
  assert.equal(beatsWithin(100), 1)
  // However much work wakes it, it wakes once.
  for (let index = 0; index < 5; index++) loop.run(() => {})
  assert.equal(beatsWithin(1), 1)
  assert.equal(beatsWithin(100), 1)
})

test('it goes on while it is needed', () => {
  const { state, beatsWithin } = setUp()
  state.isNeeded = true
  assert.equal(beatsWithin(100), 100)
  state.isNeeded = false
  assert.equal(beatsWithin(100), 1)
})

test('once stopped it is never woken', () => {
  const { loop, pulse, beatsWithin } = setUp()
  beatsWithin(10)
  pulse.stop()
  loop.run(() => {})
  assert.equal(beatsWithin(10), 0)
})
