import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { Counters } from '../observe/counters.ts'
import { createLog } from '../observe/log.ts'
import { StoreRefusals } from './store-refusals.ts'

test('the first message that the store cannot take is told at once, those that follow together and with their sum', () => {
  const clock = new ManualClock()
  const counters = new Counters()
  const lines: string[] = []
  const log = createLog('warn', 'text', clock, (line) => lines.push(line))
  const refusals = new StoreRefusals(clock, log, counters)
  const told = () => lines.splice(0).map((line) => line.replace(/.* warn +/, ''))
  const line = 'messages are refused, the store cannot take them'
  assert.equal(refusals.tell(), false)
  refusals.note('no space')
  assert.deepEqual(told(), [`${line} refused=1 refusedInAll=1 reason="no space"`])
  for (let count = 0; count < 100; count++) refusals.note('no space')
  refusals.note('too large')
  assert.equal(refusals.tell(), true)
  assert.deepEqual(told(), [])
  clock.advance(10_000)
  assert.equal(refusals.tell(), false)
  assert.deepEqual(told(), [`${line} refused=101 refusedInAll=102 reason="too large"`])
  refusals.note('no space')
  refusals.tellAll()
  refusals.tellAll()
  assert.deepEqual(told(), [`${line} refused=1 refusedInAll=103 reason="no space"`])
  assert.equal(counters.refusedByStore, 103)
})
