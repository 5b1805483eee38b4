import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { LostMessages } from './lost-messages.ts'

function setUp() {
  const clock = new ManualClock()
  const lines: string[] = []
  const lost = new LostMessages(clock, ({ clientId, messages, messagesInAll }) => {
    lines.push(`${clientId ?? 'others'} ${messages} of ${messagesInAll}`)
  })
  const told = () => lines.splice(0)
  return { clock, lost, told }
}

test('the first loss is told at once, what comes after it later and together', () => {
  const { clock, lost, told } = setUp()
  lost.note('a', 3)
  assert.deepEqual(told(), ['a 3 of 3'])
  assert.equal(lost.tell(), false)
  lost.note('a', 1)
  lost.note('b', 5)
  lost.note('a', 1)
  assert.equal(lost.tell(), true)
  assert.deepEqual(told(), [])
  clock.advance(10_000)
  assert.equal(lost.tell(), false)
  assert.deepEqual(told(), ['a 2 of 10', 'b 5 of 10'])
})

test('many clients have no line each', () => {
  const { clock, lost, told } = setUp()
  for (let index = 0; index <= 1000; index++) lost.note(`c${index}`, 2)
  assert.equal(told().length, 1)
  clock.advance(10_000)
  lost.tell()
  const lines = told()
  assert.equal(lines.length, 11)
  assert.equal(lines[10], 'others 1980 of 2002')
})

test('what is not told yet can be told at the end', () => {
  const { lost, told } = setUp()
  lost.note('a', 1)
  lost.note('b', 2)
  told()
  lost.tellAll()
  assert.deepEqual(told(), ['b 2 of 3'])
  lost.tellAll()
  assert.deepEqual(told(), [])
})
