// The real broker on its real store, with its power cut: a few rounds. Linux with a C compiler only. Many more:
// npm run crash -- --end power-cut.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { whyNotRecorded } from './recorded-broker.ts'
import { runRecordedRound } from './recorded-round.ts'

const skip = process.env.REQUIRE_INTEROP === '1' ? false : (whyNotRecorded() ?? false)

for (const seed of [4, 6, 31]) {
  test(`fsync: a power cut takes nothing that was acknowledged, seed ${seed}`, { skip }, async () => {
    const { violations, acknowledged } = await runRecordedRound({ seed, durability: 'fsync', count: 3, syncUs: 5000 })
    assert.ok(acknowledged > 0, 'a round in which nothing was acknowledged shows nothing')
    assert.deepEqual(
      violations.map(({ kind, text, story }) => `${kind}: ${text}\n    ${story.join('\n    ')}`),
      [],
    )
  })
}

test('os: after a power cut the broker starts, serves nothing that was never sent, and keeps again', {
  skip,
}, async (t) => {
  let unflushed = 0
  for (const seed of [1, 2]) {
    const { violations, cuts } = await runRecordedRound({ seed, durability: 'os', count: 3, syncUs: 0 })
    assert.deepEqual(
      violations.map(({ kind, text }) => `${kind}: ${text}`),
      [],
    )
    unflushed += cuts.reduce((sum, cut) => sum + cut.unflushed, 0)
  }
  t.diagnostic(`${unflushed} writes were not flushed`)
  assert.ok(unflushed > 10, 'it is told apart from fsync')
})

test('syncs that do nothing are found', { skip }, async () => {
  // A cut may leave everything as it was, and one before anything was acknowledged takes nothing that counts.
  for (let seed = 1; seed <= 6; seed++) {
    const round = { seed, durability: 'fsync', count: 3, syncUs: 0, isDiskLying: true, quietMs: 500 } as const
    const { violations } = await runRecordedRound(round)
    if (violations.some(({ kind }) => kind === 'lost' || kind === 'retained')) return
  }
  assert.fail('nothing was lost in six rounds')
})
