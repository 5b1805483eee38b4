// Slices end by the clock, and each goes on where the last one ended.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from './clock.ts'
import { Slices, sliceMs } from './slices.ts'

test('a slice is over when its time is, and stays so until the next', async () => {
  const clock = new ManualClock()
  const slices = new Slices(clock)
  const looks = () => Array.from({ length: 20 }, () => slices.isOver)
  assert.ok(!looks().includes(true))
  clock.advance(sliceMs)
  assert.deepEqual(looks().slice(10), Array(10).fill(true))
  await slices.next()
  assert.ok(!looks().includes(true))
})

test('others have their turn between two slices', async () => {
  const clock = new ManualClock()
  const slices = new Slices(clock)
  const seen: string[] = []
  setImmediate(() => seen.push('somebody else'))
  await slices.next()
  seen.push('the next slice')
  assert.deepEqual(seen, ['somebody else', 'the next slice'])
})

test('everything is visited once, read anew in each slice', async () => {
  for (const count of [0, 1, 7, 8, 9, 100]) {
    const clock = new ManualClock()
    const slices = new Slices(clock)
    const seen: number[] = []
    let readings = 0
    await slices.each<number>(
      function* (last) {
        readings++
        for (let number = last === null ? 0 : last + 1; number < count; number++) yield number
      },
      (number) => {
        seen.push(number)
        clock.advance(sliceMs)
      },
    )
    assert.deepEqual(
      seen,
      Array.from({ length: count }, (_, index) => index),
    )
    assert.ok(readings >= count / 8 && readings <= count + 1, `${readings} readings of ${count}`)
  }
})

test('work that is aborted ends between two slices', async () => {
  const controller = new AbortController()
  const slices = new Slices(new ManualClock(), { signal: controller.signal })
  await slices.next()
  controller.abort(new Error('enough'))
  await assert.rejects(slices.next(), { message: 'enough' })
})
