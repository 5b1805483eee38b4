import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Batch } from './batch.ts'
import { growthPages } from './page-need.ts'
import { changesOf, splitBatch } from './split-batch.ts'
import { deliveryRecord, messageRecord, sessionRecord } from './store-contract.test.support.ts'

test('what is new, and what changes hands, goes first and together; what goes away goes last, messages after deliveries', () => {
  const batch = new Batch(1, 100, 10)
  batch.deleteMessage(7)
  batch.deleteDelivery(1, 1)
  batch.deleteSession(2)
  batch.putSession(sessionRecord(3))
  batch.changeInbound(3, 5, false)
  batch.changeRetained('t', null)
  batch.putMessage(100, messageRecord('new'))
  batch.putDelivery(3, 9, deliveryRecord(100))
  batch.putDelivery(3, 10, deliveryRecord(8))
  batch.putDelivery(3, 4, deliveryRecord(6, { packetId: 1 }))
  const { first, steps } = splitBatch(batch, (sessionNumber, order) => sessionNumber === 3 && order === 4)
  assert.deepEqual(first.sessions, batch.sessions)
  assert.deepEqual(first.inbound, batch.inbound)
  assert.deepEqual(first.retained, batch.retained)
  assert.deepEqual([...first.messages.keys()], [100])
  assert.deepEqual([...first.deliveries.get(3)!.keys()], [9, 10], 'a delivery that comes from elsewhere is new')
  assert.equal(first.deliveries.has(1), false)
  const brief = steps.map((step) =>
    'messageNumber' in step ? step.messageNumber : [step.order, step.record?.packetId],
  )
  assert.deepEqual(brief, [[4, 1], [1, undefined], 7])
  const rest = changesOf(steps, batch)
  assert.equal(rest.sessions.size + rest.inbound.size + rest.retained.size, 0)
  assert.deepEqual([...rest.messages], [[7, null]])
  assert.equal(rest.deliveries.get(1)?.get(1), null)
  assert.equal(rest.deliveries.get(3)?.get(4)?.packetId, 1)
})

test('free pages count as far as whatever is taken must find them', () => {
  assert.equal(growthPages({ single: 10, long: 0, longest: 0 }, []), 10)
  assert.equal(growthPages({ single: 10, long: 0, longest: 1 }, [1, 2, 3]), 4)
  assert.equal(growthPages({ single: 0, long: 33, longest: 33 }, [32, 32, 32]), 33, 'none is long enough')
  assert.equal(growthPages({ single: 0, long: 66, longest: 33 }, [33, 65]), 32, 'the rest of a run may be too short')
  assert.equal(growthPages({ single: 10, long: 5, longest: 5 }, new Array(20).fill(1)), 5)
  assert.equal(
    growthPages({ single: 10, long: 5, longest: 5 }, new Array(12).fill(1)),
    8,
    'long ones may take what is single',
  )
})
