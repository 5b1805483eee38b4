import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Awaiting, InflightWindow } from './inflight-window.ts'

test('any opening, releasing and closing gives what a plain map gives', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ open: fc.constantFrom(1 as const, 2 as const), count: fc.nat(20) }) },
    { weight: 3, arbitrary: fc.record({ close: fc.nat(1000), count: fc.nat(20) }) },
    { weight: 1, arbitrary: fc.record({ release: fc.nat(1000) }) },
    { weight: 1, arbitrary: fc.constant({ shrink: true }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const window = new InflightWindow<string>()
      const model = new Map<number, { awaiting: number; kept: string | null }>()
      const pick = (index: number) => [...model.keys()][index % model.size]
      let opened = 0
      for (const one of steps) {
        if ('open' in one) {
          for (let left = one.count; left > 0; left--) {
            const kept = `message ${opened++}`
            const id = window.open(one.open, kept, opened)
            assert.ok(id >= 1 && id <= 0xffff && !model.has(id))
            model.set(id, { awaiting: one.open === 1 ? Awaiting.puback : Awaiting.pubrec, kept })
          }
        } else if ('close' in one) {
          for (let left = one.count; left > 0 && model.size > 0; left--) {
            const id = pick(one.close)
            window.close(id)
            model.delete(id)
            assert.equal(window.awaiting(id), Awaiting.nothing)
            assert.equal(window.kept(id), null)
            window.close(id)
          }
        } else if ('release' in one) {
          const id = model.size === 0 ? undefined : pick(one.release)
          if (id !== undefined && model.get(id)!.awaiting === Awaiting.pubrec) {
            window.released(id)
            // From here on only PUBREL is sent again, so the message is not needed.
            model.set(id, { awaiting: Awaiting.pubcomp, kept: null })
          }
        } else window.shrink()
        assert.equal(window.count, model.size)
        assert.deepEqual(window.inOrder(), [...model.keys()], 'in the order of opening')
        for (const [id, { awaiting, kept }] of model) {
          assert.equal(window.awaiting(id), awaiting)
          assert.equal(window.kept(id), kept)
        }
      }
    }),
    { numRuns: 100 },
  )
})

test('identifiers wrap at 65535 and pass over those that never get an answer', () => {
  const window = new InflightWindow<null>()
  const stuck = new Set<number>()
  const seen = new Set<number>()
  for (let round = 0; round < 150_000; round++) {
    const id = window.open(1, null, 0)
    assert.ok(id >= 1 && id <= 0xffff && !stuck.has(id))
    seen.add(id)
    if (round % 20_000 === 5) stuck.add(id)
    else window.close(id)
  }
  assert.equal(window.count, stuck.size)
  assert.ok(seen.has(1) && seen.has(0xffff) && seen.size > 30_000)
  for (const id of stuck) assert.equal(window.awaiting(id), Awaiting.puback)
})

test('nearly all identifiers can be open at once', () => {
  const window = new InflightWindow<null>()
  const open = new Set<number>()
  for (let count = 0; count < 0xffff; count++) open.add(window.open(2, null, 0))
  assert.equal(open.size, 0xffff)
  assert.equal(window.count, 0xffff)
  window.close(12_345)
  assert.equal(window.open(1, null, 0), 12_345)
})

test('an identifier that was never opened is not open, whatever it shares a slot with', () => {
  const window = new InflightWindow<string>()
  assert.equal(window.awaiting(1), Awaiting.nothing)
  const id = window.open(1, 'kept', 1)
  for (const other of [0, id + 16, id + 32, id + 1024, 0xffff]) {
    assert.equal(window.awaiting(other), Awaiting.nothing)
    assert.equal(window.kept(other), null)
    window.close(other)
  }
  assert.equal(window.count, 1)
})
