import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { createLog } from '../observe/log.ts'
import { LostMessages } from './lost-messages.ts'

function setUp() {
  const clock = new ManualClock()
  const lines: string[] = []
  const lost = new LostMessages(
    createLog('info', 'text', clock, (line) => void lines.push(line)),
    clock,
  )
  const told = () => lines.splice(0).map((line) => / (client\S* lost=\d+ lostInAll=\d+) fix=/.exec(line)?.[1])
  return { clock, lost, told }
}

test('the first loss is told at once, what comes after it later and together', () => {
  const { clock, lost, told } = setUp()
  lost.note('a', 3)
  assert.deepEqual(told(), ['client=a lost=3 lostInAll=3'])
  assert.equal(lost.tell(), false)
  lost.note('a', 1)
  lost.note('b', 5)
  lost.note('a', 1)
  assert.equal(lost.tell(), true)
  assert.deepEqual(told(), [])
  clock.advance(10_000)
  assert.equal(lost.tell(), false)
  assert.deepEqual(told(), ['client=a lost=2 lostInAll=10', 'client=b lost=5 lostInAll=10'])
})

test('many clients have no line each', () => {
  const { clock, lost, told } = setUp()
  for (let index = 0; index <= 1000; index++) lost.note(`c${index}`, 2)
  assert.equal(told().length, 1)
  clock.advance(10_000)
  lost.tell()
  const lines = told()
  assert.equal(lines.length, 11)
  assert.equal(lines[10], 'clients=others lost=1980 lostInAll=2002')
})
