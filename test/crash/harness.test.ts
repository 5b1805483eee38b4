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
  const { violations } = await runRound({ seed: 1, durability: 'memory', kills: 1, quietMs: 300 })
  const kinds = new Set(violations.map(({ kind }) => kind))
  for (const kind of ['lost', 'session-present', 'retained'] as const) assert.ok(kinds.has(kind), `none is ${kind}`)
})
