import assert from 'node:assert/strict'
import { test } from 'node:test'
import { growthPages } from './page-need.ts'

test('free pages count as far as whatever is taken must find them', () => {
  assert.equal(growthPages({ single: 10, long: 0, longest: 0 }, []), 10)
  assert.equal(growthPages({ single: 10, long: 0, longest: 1 }, [1, 2, 3]), 4)
  assert.equal(growthPages({ single: 0, long: 33, longest: 33 }, [32, 32, 32]), 33, 'none is long enough')
  assert.equal(growthPages({ single: 0, long: 66, longest: 33 }, [33, 65]), 32, 'the rest of a run may be too short')
  assert.equal(growthPages({ single: 10, long: 5, longest: 5 }, new Array(20).fill(1)), 5)
  assert.equal(
    growthPages({ single: 10, long: 5, longest: 5 }, new Array(12).fill(1)),
    8,
    'long ones may take what is single',
  )
})
