import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { TokenBucket } from './token-bucket.ts'

test('it holds one second worth, and tells how long a debt takes', () => {
  const bucket = new TokenBucket(10, 0)
  for (let left = 10; left > 0; left--) assert.equal(bucket.take(1, 0), 0)
  assert.equal(bucket.take(1, 0), 100)
  assert.equal(bucket.take(1, 0), 200)
  assert.equal(bucket.take(1, 250), 50)
  assert.equal(bucket.take(10, 100_000), 0, 'it never holds more than a second of tokens')
  assert.equal(bucket.take(1, 100_000), 100)
})

test('who waits as told never gets more than the rate and one second of it', () => {
  const demand = fc.record({ amount: fc.integer({ min: 1, max: 50 }), pauseMs: fc.nat(400) })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), fc.array(demand, { maxLength: 60 }), (perSecond, demands) => {
      const bucket = new TokenBucket(perSecond, 0)
      let nowMs = 0
      let taken = 0
      for (const { amount, pauseMs } of demands) {
        nowMs += pauseMs
        const waitMs = bucket.take(amount, nowMs)
        taken += amount
        nowMs += waitMs
        assert.ok(taken <= perSecond + (nowMs * perSecond) / 1000 + 1e-6)
      }
    }),
  )
})
