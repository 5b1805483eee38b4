// A replay of retained messages that has to wait, and what may happen meanwhile.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMessage } from '../codec/application-message.ts'
import { RetainedStore } from '../routing/retained-store.ts'
import type { Subscription } from '../routing/subscription.ts'
import type { Session } from '../session/session.ts'
import { Loop } from '../transport/loop.ts'
import type { Broker } from './broker.ts'
import { RetainedReplay } from './retained-replay.ts'

function setUp() {
  const retained = new RetainedStore()
  const held = new Set<Subscription>()
  const broker = {
    retained,
    loop: new Loop(),
    limits: { outputBytes: 1_000_000 },
    router: { find: (_: unknown, filter: string) => [...held].find((one) => one.filter === filter) ?? null },
    mayReceiveRetained: () => true,
  }
  const got: string[] = []
  const session = {
    outlet: {} as object | null,
    hasRoom: true,
    hasRoomFor: (qos: number): boolean => qos === 0 || session.hasRoom,
    refill: null as (() => void) | null,
    deliver: ({ payload }: { payload: Buffer }) => void got.push(payload.toString()),
  }
  const output = { isBlocked: false, queuedBytes: 0 }
  const newReplay = () => new RetainedReplay(broker as unknown as Broker, session as unknown as Session, output)
  const subscribe = (filter: string) => {
    const subscription = { filter, qos: 1, identifiers: null } as unknown as Subscription
    held.add(subscription)
    return subscription
  }
  const retain = (topic: string, text: string) =>
    retained.set(topic, createMessage(topic, Buffer.from(text), { qos: 1, retain: true, nowMs: 0 }))
  return { retained, retain, held, session, output, got, newReplay, subscribe }
}

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

test('a message that waited for room and was replaced meanwhile is sent in its new form', () => {
  const { retain, retained, session, got, newReplay, subscribe } = setUp()
  retain('a', 'old')
  retain('b', 'removed soon')
  session.hasRoom = false
  const replay = newReplay()
  replay.add(subscribe('a'))
  const second = subscribe('b')
  replay.add(second)
  replay.go()
  retain('a', 'new')
  session.hasRoom = true
  session.refill!()
  assert.deepEqual(got, ['new', 'removed soon'])

  session.hasRoom = false
  replay.add(second)
  replay.go()
  retained.delete('b')
  session.hasRoom = true
  session.refill!()
  assert.equal(got.length, 2)
})

test('nothing more is sent for a subscription that is gone', () => {
  const { retain, held, session, got, newReplay, subscribe } = setUp()
  retain('a', '1')
  session.hasRoom = false
  const replay = newReplay()
  replay.add(subscribe('#'))
  replay.go()
  held.clear()
  session.hasRoom = true
  session.refill!()
  assert.deepEqual(got, [])
})

test('many messages are sent over several turns, and waits for a blocked output end with it', async () => {
  const { retain, session, output, got, newReplay, subscribe } = setUp()
  for (let index = 0; index < 1200; index++) retain(`t/${index}`, String(index))
  const replay = newReplay()
  replay.add(subscribe('t/+'))
  replay.go()
  assert.equal(got.length, 500)
  output.isBlocked = true
  output.queuedBytes = 128 * 1024
  await turns(3)
  assert.equal(got.length, 500)
  output.isBlocked = false
  replay.go()
  await turns(3)
  assert.equal(got.length, 1200)
  assert.equal(new Set(got).size, 1200)
  assert.equal(session.refill, null)
})

test('a replay ends with its connection, also when another one has the session already', async () => {
  const { retain, session, got, newReplay, subscribe } = setUp()
  for (let index = 0; index < 600; index++) retain(`t/${index}`, String(index))
  const replay = newReplay()
  replay.add(subscribe('t/+'))
  replay.go()
  session.outlet = {}
  const refillOfTheOther = () => {}
  session.refill = refillOfTheOther
  await turns(3)
  assert.equal(got.length, 500)
  assert.equal(session.refill, refillOfTheOther)
})
