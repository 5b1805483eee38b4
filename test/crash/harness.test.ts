// That the crash harness can be trusted: it finds nothing where nothing is wrong, and what is lost where nothing is promised.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runRound } from './harness.ts'

test('finds nothing while nobody is killed', async () => {
  const { violations, acknowledged } = await runRound({ seed: 3, durability: 'memory', kills: 0 })
  assert.ok(acknowledged > 50, `only ${acknowledged} messages were acknowledged`)
  assert.deepEqual(violations, [])
})

test('finds lost messages, Sessions and retained messages where only memory holds them', async () => {
  const missing = new Set<string>(['lost', 'session-present', 'retained'])
  // A kill may come when nobody has to wait for anything.
  for (let seed = 1; seed <= 6 && missing.size > 0; seed++) {
    const { violations } = await runRound({ seed, durability: 'memory', kills: 1, quietMs: 300 })
    for (const { kind } of violations) missing.delete(kind)
  }
  assert.deepEqual([...missing], [], 'not found in six rounds')
})
