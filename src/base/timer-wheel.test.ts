import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ManualClock } from './clock.ts'
import { Timer, TimerWheel } from './timer-wheel.ts'

const tickMs = 100

interface Probe {
  timer: Timer<Probe>
  dueMs: number
  firedMs: number[]
}

function setUp() {
  const clock = new ManualClock()
  const wheel = new TimerWheel(clock, tickMs)
  const probe = (onFire: (probe: Probe) => void = () => {}): Probe => {
    const one: Probe = { timer: null as unknown as Timer<Probe>, dueMs: Number.POSITIVE_INFINITY, firedMs: [] }
    one.timer = new Timer<Probe>(one, (self) => {
      assert.equal(self, one)
      assert.equal(self.timer.isSet, false)
      self.firedMs.push(clock.monotonicMs())
      assert.ok(clock.monotonicMs() >= self.dueMs, 'too early')
      assert.ok(clock.monotonicMs() <= self.dueMs + 2 * tickMs, 'too late')
      self.dueMs = Number.POSITIVE_INFINITY
      onFire(self)
    })
    return one
  }
  const set = (one: Probe, delayMs: number) => {
    one.dueMs = clock.monotonicMs() + delayMs
    wheel.set(one.timer, delayMs)
  }
  return { clock, wheel, probe, set }
}

test('no timer fires early, more than two ticks late, twice, or after it was cleared', () => {
  const step = fc.oneof(
    fc.record({ set: fc.nat(9), delayMs: fc.oneof(fc.nat(2000), fc.nat(200_000)) }),
    fc.record({ clear: fc.nat(9) }),
    fc.record({ passMs: fc.oneof(fc.nat(500), fc.nat(120_000)) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { clock, wheel, probe, set } = setUp()
      const probes = Array.from({ length: 10 }, () => probe())
      for (const one of steps) {
        if ('set' in one) set(probes[one.set], one.delayMs)
        else if ('clear' in one) {
          wheel.clear(probes[one.clear].timer)
          probes[one.clear].dueMs = Number.POSITIVE_INFINITY
        } else clock.advance(one.passMs)
        for (const { timer, dueMs } of probes) {
          assert.ok(dueMs + 2 * tickMs >= clock.monotonicMs(), 'a timer was forgotten')
          assert.equal(timer.isSet, dueMs !== Number.POSITIVE_INFINITY)
        }
      }
    }),
    { numRuns: 60 },
  )
})

test('a timer may set itself again, set others and clear others while it fires', () => {
  const { clock, wheel, probe, set } = setUp()
  const never = probe(() => assert.fail('was cleared by the one before it'))
  const later = probe()
  let left = 5
  const first = probe((self) => {
    wheel.clear(never.timer)
    set(later, 1000)
    if (--left > 0) set(self, 300)
  })
  set(never, 250)
  set(first, 250)
  // Timers of one tick may fire in any order, so the one that clears comes a tick earlier.
  set(never, 350)
  clock.advance(10_000)
  assert.equal(first.firedMs.length, 5)
  assert.equal(later.firedMs.length, 1)
  assert.equal(never.firedMs.length, 0)
})

test('a delay of 0 fires at the next tick, not at once', () => {
  const { clock, probe, set } = setUp()
  const one = probe()
  set(one, 0)
  assert.equal(one.firedMs.length, 0)
  clock.advance(tickMs)
  assert.equal(one.firedMs.length, 1)
})

test('after the machine has slept for long everything that is due fires at once, and nothing else', () => {
  let nowMs = 0
  let tick = () => {}
  const wheel = new TimerWheel(
    {
      monotonicMs: () => nowMs,
      wallMs: () => nowMs,
      every: (_, callback) => {
        tick = callback
        return () => {}
      },
    },
    tickMs,
  )
  const fired: number[] = []
  const timers = [50, 1000, 60_000, 3_599_000, 3_700_000].map(
    (delayMs) => new Timer(delayMs, (owner) => void fired.push(owner)),
  )
  for (const timer of timers) wheel.set(timer, timer.owner)
  nowMs = 3_600_000
  tick()
  assert.deepEqual(
    fired.sort((a, b) => a - b),
    [50, 1000, 60_000, 3_599_000],
  )
  nowMs = 3_700_200
  tick()
  assert.equal(fired.length, 5)
})

test('the clock ticks only while a timer is set, and hardly before it is due', () => {
  let ticks = 0
  let ticking = 0
  const clock = new ManualClock()
  const counting = {
    monotonicMs: () => clock.monotonicMs(),
    wallMs: () => clock.wallMs(),
    every: (periodMs: number, tick: () => void) => {
      ticking++
      const stop = clock.every(periodMs, () => {
        ticks++
        tick()
      })
      return () => {
        ticking--
        stop()
      }
    },
  }
  const wheel = new TimerWheel(counting, tickMs)
  assert.equal(ticking, 0)
  let fired = 0
  const timer = new Timer(null, () => fired++)
  for (let round = 1; round <= 3; round++) {
    wheel.set(timer, 500)
    assert.equal(ticking, 1)
    clock.advance(1000)
    assert.deepEqual([ticking, fired], [0, round])
  }
  ticks = 0
  const far = new Timer(null, () => fired++)
  wheel.set(far, 3_600_000)
  clock.advance(1_800_000)
  // One round of the wheel is about 50 s.
  assert.ok(ticks <= 40, `${ticks} ticks`)
  wheel.set(timer, 300)
  clock.advance(500)
  assert.equal(fired, 4)
  clock.advance(1_800_000)
  assert.deepEqual([ticking, fired], [0, 5])
})

test('a timer that stops the wheel is the last', () => {
  const { clock, wheel, probe, set } = setUp()
  const last = probe(() => wheel.stop())
  const never = probe()
  set(last, 1000)
  set(never, 2000)
  clock.advance(10_000)
  assert.deepEqual([last.firedMs.length, never.firedMs.length], [1, 0])
})
