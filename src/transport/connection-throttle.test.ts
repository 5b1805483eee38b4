import assert from 'node:assert/strict'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { ConnectionThrottle } from './connection-throttle.ts'

function setUp(ratePerSecond: number) {
  const clock = new ManualClock()
  const admitted: Socket[] = []
  return { clock, admitted, throttle: new ConnectionThrottle(ratePerSecond, clock, (socket) => admitted.push(socket)) }
}

test('one second’s worth at once, one more waits, the rest is refused', () => {
  const { clock, admitted, throttle } = setUp(5)
  const sockets = Array.from({ length: 12 }, () => new Socket())
  const outcomes = sockets.map((socket) => throttle.offer(socket))
  assert.deepEqual(outcomes, [...Array(5).fill('admitted'), ...Array(5).fill('waiting'), 'refused', 'refused'])
  clock.advance(180)
  assert.equal(admitted.length, 5)
  clock.advance(40)
  assert.equal(admitted.length, 6)
  clock.advance(1000)
  assert.deepEqual(admitted, sockets.slice(0, 10))
})

test('tokens gather up to one second’s worth and no more', () => {
  const { clock, throttle } = setUp(2)
  clock.advance(60_000)
  assert.deepEqual(
    [1, 2, 3].map(() => throttle.offer(new Socket())),
    ['admitted', 'admitted', 'waiting'],
  )
})

test('who comes later does not overtake who waits', () => {
  const { clock, admitted, throttle } = setUp(1)
  const [first, second] = [new Socket(), new Socket()]
  throttle.offer(new Socket())
  assert.equal(throttle.offer(first), 'waiting')
  // Due, but the tick has not come yet.
  clock.advance(990)
  assert.equal(throttle.offer(second), 'refused')
  clock.advance(20)
  assert.deepEqual(admitted.slice(1), [first])
})

test('a socket that closed while waiting gives up its place', () => {
  const { clock, admitted, throttle } = setUp(1)
  const [gone, next] = [new Socket(), new Socket()]
  throttle.offer(new Socket())
  throttle.offer(gone)
  throttle.forget(gone)
  assert.equal(throttle.offer(next), 'waiting')
  clock.advance(1000)
  assert.deepEqual(admitted.slice(1), [next])
})

test('close ends what waits, and nothing is admitted any more', () => {
  const { clock, admitted, throttle } = setUp(1)
  const waiting = new Socket()
  throttle.offer(new Socket())
  throttle.offer(waiting)
  throttle.close()
  assert.equal(waiting.destroyed, true)
  clock.advance(5000)
  assert.equal(admitted.length, 1)
})
