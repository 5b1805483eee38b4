import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Deque } from './deque.ts'

test('any pushes and shifts give what an array gives', () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.nat(40).map((count) => ({ push: count })) },
    { weight: 2, arbitrary: fc.nat(60).map((count) => ({ shift: count })) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const deque = new Deque<number>()
      const array: number[] = []
      let next = 0
      for (const one of steps) {
        if ('push' in one) {
          for (let left = one.push; left > 0; left--) {
            deque.push(next)
            array.push(next++)
          }
        } else for (let left = one.shift; left > 0; left--) assert.equal(deque.shift(), array.shift())
        assert.equal(deque.length, array.length)
        assert.equal(deque.peek(), array[0])
        assert.deepEqual([...deque], array)
      }
    }),
  )
})

test('what has been shifted out is not kept alive', async () => {
  const deque = new Deque<object>()
  for (let index = 0; index < 9; index++) deque.push({ index })
  const kept = new WeakRef(deque.peek()!)
  for (let left = 3; left > 0; left--) deque.shift()
  const { setFlagsFromString } = await import('node:v8')
  const { runInNewContext } = await import('node:vm')
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  // A WeakRef holds its target until the end of the job.
  await new Promise((resolve) => setImmediate(resolve))
  collect()
  assert.equal(kept.deref(), undefined)
  assert.equal(deque.length, 6)
})
