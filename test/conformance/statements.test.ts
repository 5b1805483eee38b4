// The table of statements itself: complete, in order, and without reasons for what does not exist.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reasons, statements } from './statements.ts'

const numbers = (id: string): number[] => id.slice('MQTT-'.length).split(/[.-]/).map(Number)

test('there are 251 statements, each once and in the order of the specification', () => {
  assert.equal(statements.length, 251)
  for (const [index, { id }] of statements.entries()) {
    if (index === 0) continue
    const [before, now] = [numbers(statements[index - 1].id), numbers(id)]
    const at = now.findIndex((number, part) => number !== before[part])
    assert.ok(at >= 0 && now[at] > (before[at] ?? -1), `${id} follows ${statements[index - 1].id}`)
  }
})

test('each says whom it binds and what it says', () => {
  for (const { id, applies, wording } of statements) {
    assert.ok(['server', 'client', 'both'].includes(applies), id)
    assert.match(wording, /^\S.{10,}\.$/, id)
  }
})

test('reasons are given for statements that exist', () => {
  const known = new Set(statements.map(({ id }) => id))
  for (const [id, reason] of reasons) {
    assert.ok(known.has(id), id)
    assert.match(reason, /^\S.{10,}\.$/, id)
  }
})
