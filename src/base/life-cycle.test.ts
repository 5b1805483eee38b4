import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LifeCycle } from './life-cycle.ts'

const door = { open: ['closed'], closed: ['open', 'locked'], locked: ['closed'] } as const

test('a legal transition changes the phase', () => {
  const life = new LifeCycle<'open' | 'closed' | 'locked'>(door, 'open')
  assert.equal(life.current, 'open')
  life.to('closed')
  life.to('locked')
  assert.equal(life.current, 'locked')
})

test('an illegal transition throws and leaves the phase as it was', () => {
  const life = new LifeCycle<'open' | 'closed' | 'locked'>(door, 'open')
  assert.throws(() => life.to('locked'), /illegal transition from open to locked/)
  assert.equal(life.current, 'open')
  assert.throws(() => life.to('open'), /illegal transition from open to open/)
})
