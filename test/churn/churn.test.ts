// A short month: the file of the store is as large as what is kept at its fullest, and not as what has passed through it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runChurn } from './churn.ts'

test('a month of coming and going does not let the store grow', async (t) => {
  const { fileBytes, writtenBytes } = await runChurn({ seed: 1, steps: 400, measuredAt: [0.1, 0.5, 1] })
  const [early, middle, late] = fileBytes
  t.diagnostic(`${early}, ${middle}, ${late} bytes after 10, 50 and 100 %; ${writtenBytes} bytes passed through`)
  assert.ok(early > 100_000, 'something was kept')
  assert.ok(late <= middle * 1.5, `${middle} bytes in the middle, ${late} at the end`)
  assert.ok(late < writtenBytes / 4, `${late} bytes for ${writtenBytes} that passed through`)
})
