// The real broker on a disk whose writes and syncs fail for a while, and a power cut afterwards. Linux with a C compiler only. Many
// more: npm run nightly -- failing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runFailingRound } from './failing-round.ts'
import { whyNotRecorded } from './recorded-broker.ts'

const skip = process.env.REQUIRE_INTEROP === '1' ? false : (whyNotRecorded() ?? false)

for (const [title, words] of [
  ['writes', 'write'],
  ['syncs, which forget what they had to write,', 'flush'],
  ['writes of the head of the file', 'through'],
] as const) {
  test(`${title} fail once and for a while: nothing acknowledged is lost when the power goes`, { skip }, async (t) => {
    const faults = [words, `${words} once`]
    const { acknowledged, refused, crashes, violations } = await runFailingRound({ seed: 1, lives: 2, faults })
    t.diagnostic(`${acknowledged} acknowledged, ${refused} refused, ${crashes} crashes`)
    assert.deepEqual(violations, [])
    assert.ok(acknowledged > 20, `${acknowledged} acknowledged`)
  })
}

test('an engine that takes no notice of a sync that failed is found', { skip }, async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const { violations } = await runFailingRound({ seed, lives: 2, faults: ['flush unseen'] })
    if (violations.some((text) => /are lost|damaged/.test(text))) return
  }
  assert.fail('nothing was lost in six rounds')
})
