// A handful of rounds of the crash harness for what is promised. Many more: npm run crash.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type RoundOptions, runRound } from './harness.ts'

async function brokenPromises(options: RoundOptions): Promise<string[]> {
  const { violations, acknowledged } = await runRound(options)
  assert.ok(acknowledged > 0, 'a round in which nothing was acknowledged shows nothing')
  return violations.map(({ kind, text, story }) => `${kind}: ${text}\n    ${story.join('\n    ')}`)
}

for (const [durability, seeds] of [
  ['fsync', [11, 12, 13]],
  ['os', [21, 22]],
] as const) {
  for (const seed of seeds) {
    test(`kill -9 loses nothing acknowledged with ${durability}, seed ${seed}`, async () => {
      assert.deepEqual(await brokenPromises({ seed, durability }), [])
    })
  }
}
