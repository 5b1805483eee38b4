// What outlives a connection: windows, queues and their limits, what is sent again, and how Sessions end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { ProtocolError } from '../base/errors.ts'
import { TimerWheel } from '../base/timer-wheel.ts'
import { type ApplicationMessage, createMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import { Counters } from '../observe/counters.ts'
import { ShareGroup } from '../routing/share-group.ts'
import type { Delivery } from './delivery.ts'
import type { Outlet } from './outlet.ts'
import { neverExpires, type Session } from './session.ts'
import type { SessionContext, SessionLimits } from './session-context.ts'
import { SessionRegistry } from './session-registry.ts'

class FakeOutlet implements Outlet {
  isWritable = true
  accepts = true
  readonly sent: string[] = []
  parted: number | null = null
  readonly #onDisconnect: () => void

  constructor(onDisconnect: () => void = () => {}) {
    this.#onDisconnect = onDisconnect
  }

  sendQos0(message: ApplicationMessage): boolean {
    this.sent.push(`0 ${message.payload}`)
    return true
  }

  sendPublish(
    message: ApplicationMessage,
    qos: Qos,
    _r: boolean,
    _i: unknown,
    id: number,
    isDuplicate: boolean,
  ): boolean {
    if (this.accepts) this.sent.push(`${qos} ${message.payload} #${id}${isDuplicate ? ' dup' : ''}`)
    return this.accepts
  }

  sendPubrel(packetId: number, reasonCode: number): void {
    this.sent.push(`pubrel #${packetId} ${reasonCode}`)
  }

  disconnect(reasonCode: number): void {
    this.parted = reasonCode
    this.#onDisconnect()
  }

  take(): string[] {
    return this.sent.splice(0)
  }
}

function setUp(limits: Partial<SessionLimits> = {}, limitBytes = 1_000_000) {
  const clock = new ManualClock()
  const memory = { isHigh: false }
  const context: SessionContext = {
    limits: {
      queueMessages: 100,
      queueBytes: 100_000,
      queueAgeSeconds: 0,
      queuePolicy: 'drop-oldest',
      queueQos0: false,
      ...limits,
    },
    counters: new Counters(),
    queues: { messages: 0, bytes: 0, memoryBytes: 0, memoryLimitBytes: 1_000_000, limitBytes, inflightBytes: 0 },
    willBytes: 0,
    nowMs: () => clock.monotonicMs(),
    isMemoryHigh: () => memory.isHigh,
    mayReceive: null,
    rightsGeneration: 0,
    journal: null,
    orphaned: (left) => void orphans.push(...left),
    storeRefused: () => {},
    queueFull: () => void context.counters.droppedQueueFull++,
    queueAged: () => void context.counters.droppedQueueAge++,
    queueLost: () => {},
  }
  const wills: string[] = []
  const ended: string[] = []
  const orphans: Delivery[] = []
  const registry = new SessionRegistry(context, new TimerWheel(clock), {
    publishWill: (session, will) => void wills.push(`${session.clientId} ${will.message.payload}`),
    ended: (session, left) => {
      ended.push(session.clientId)
      orphans.push(...left)
    },
  })
  const create = (clientId: string, expirySeconds: number): Session => {
    const session = registry.create(clientId)
    session.expirySeconds = expirySeconds
    session.isDurable = expirySeconds > 0
    return session
  }
  const connect = (session: Session, window = 10): FakeOutlet => {
    const outlet = new FakeOutlet()
    session.attach(outlet, window)
    registry.attached()
    session.pump()
    return outlet
  }
  const give = (
    session: Session,
    text: string,
    qos: Qos = 1,
    expirySeconds?: number,
    share: ShareGroup | null = null,
  ) => {
    const properties = expirySeconds === undefined ? {} : { messageExpiryInterval: expirySeconds }
    const message = createMessage('t', Buffer.from(text), { qos, properties, nowMs: clock.monotonicMs() })
    session.deliver(message, qos, false, null, share)
  }
  const setWill = (session: Session, delaySeconds: number) => {
    const message = createMessage('will', Buffer.from('gone'), { nowMs: 0 })
    session.will = { mayPublish: () => true, message, topic: 'will', delaySeconds }
  }
  return { clock, memory, context, registry, wills, ended, orphans, create, connect, give, setWill }
}

test('no more are in flight than the window holds; the rest follows in order', () => {
  const { context, create, connect, give } = setUp()
  const session = create('c', 100)
  const outlet = connect(session, 2)
  for (const text of ['a', 'b', 'c', 'd']) give(session, text)
  give(session, 'free', 0)
  assert.deepEqual(outlet.take(), ['1 a #1', '1 b #2', '0 free'])
  assert.equal(session.queuedMessages, 2)
  session.puback(2)
  session.puback(1)
  assert.deepEqual(outlet.take(), ['1 c #3', '1 d #4'])
  session.puback(77)
  assert.equal(context.counters.acknowledgementsUnknown, 1)
  assert.deepEqual([context.queues.bytes, context.queues.messages, session.queuedBytes], [0, 0, 0])
})

test('an output that takes nothing keeps QoS 1 and 2 waiting, and a pump sends them', () => {
  const { create, connect, give } = setUp()
  const session = create('c', 0)
  const outlet = connect(session)
  outlet.isWritable = false
  give(session, 'a')
  give(session, 'b', 2)
  assert.deepEqual(outlet.take(), [])
  outlet.isWritable = true
  session.pump()
  assert.deepEqual(outlet.take(), ['1 a #1', '2 b #2'])
})

test('on the next connection all that is open is sent again, in its order, before the queue', () => {
  const { context, registry, create, connect, give } = setUp()
  const session = create('c', 100)
  const first = connect(session, 3)
  give(session, 'a', 1)
  give(session, 'b', 2)
  give(session, 'c', 2)
  give(session, 'd', 1)
  session.pubrec(2, 0)
  assert.deepEqual(first.take(), ['1 a #1', '2 b #2', '2 c #3', 'pubrel #2 0'])
  registry.detached(session, true)
  give(session, 'e', 2)
  give(session, 'lost', 0)
  registry.resume(session)
  const second = connect(session, 2)
  assert.deepEqual(second.take(), ['1 a #1 dup', 'pubrel #2 0'])
  session.puback(1)
  assert.deepEqual(second.take(), ['2 c #3 dup'])
  session.pubcomp(2)
  assert.deepEqual(second.take(), ['1 d #4'])
  session.pubrec(3, 0x80)
  assert.deepEqual(second.take(), ['2 e #5'], 'a refused message is over, without PUBREL')
  session.puback(4)
  session.pubrec(5, 0)
  session.pubrec(5, 0)
  session.pubcomp(5)
  assert.deepEqual(second.take(), ['pubrel #5 0', 'pubrel #5 0'])
  assert.equal(session.inflightCount, 0)
  assert.equal(context.queues.inflightBytes, 0)
})

test('acknowledgements of the wrong kind are protocol errors; PUBREC of the unknown is answered 0x92', () => {
  const { create, connect, give } = setUp()
  const session = create('c', 100)
  const outlet = connect(session)
  give(session, 'a', 1)
  give(session, 'b', 2)
  outlet.take()
  assert.throws(() => session.pubrec(1, 0), ProtocolError)
  assert.throws(() => session.pubcomp(1), ProtocolError)
  assert.throws(() => session.puback(2), ProtocolError)
  assert.throws(() => session.pubcomp(2), ProtocolError)
  session.pubrec(9, 0)
  session.pubrec(9, 0x97)
  assert.deepEqual(outlet.take(), ['pubrel #9 146'])
})

test('drop-oldest keeps the newest, drop-newest the oldest, disconnect parts with the client', () => {
  const run = (queuePolicy: SessionLimits['queuePolicy']) => {
    const { context, create, connect, give } = setUp({ queueMessages: 2, queuePolicy })
    const session = create('c', 100)
    const outlet = connect(session, 1)
    for (const text of ['sent', 'a', 'b', 'c']) give(session, text)
    assert.equal(context.counters.droppedQueueFull, 1)
    assert.equal(session.queuedMessages, 2)
    outlet.take()
    session.puback(1)
    session.puback(2)
    return [
      outlet
        .take()
        .map((one) => one[2])
        .join(''),
      outlet.parted,
    ]
  }
  assert.deepEqual(run('drop-oldest'), ['bc', null])
  assert.deepEqual(run('drop-newest'), ['ab', null])
  assert.deepEqual(run('disconnect'), ['ab', 0x97])
})

test('a message that could never fit drops nothing but itself', () => {
  const { context, create, give } = setUp({ queueBytes: 1000 })
  const session = create('c', 100)
  give(session, 'a')
  give(session, 'b')
  give(session, 'x'.repeat(2000))
  assert.equal(session.queuedMessages, 2)
  assert.equal(context.counters.droppedQueueFull, 1)
  give(session, 'y'.repeat(900))
  assert.equal(session.queuedMessages, 1)
  assert.ok(session.queuedBytes <= 1000 && context.queues.bytes === session.queuedBytes)
})

test('the queues of all together have a limit, too', () => {
  const { context, create, give } = setUp({ queuePolicy: 'drop-newest' }, 500)
  const sessions = ['a', 'b', 'c'].map((name) => create(name, 100))
  for (let round = 0; round < 10; round++) for (const session of sessions) give(session, 'some text')
  assert.ok(context.queues.bytes <= 500 && context.queues.bytes > 300)
  assert.equal(context.queues.messages + context.counters.droppedQueueFull, 30)
})

test('what has expired while it waited is not sent', () => {
  const { clock, context, create, connect, give } = setUp()
  const session = create('c', 1000)
  give(session, 'short', 1, 5)
  give(session, 'long', 1, 50)
  clock.advance(5000)
  const outlet = connect(session)
  assert.deepEqual(outlet.take(), ['1 long #1'])
  assert.equal(context.counters.droppedExpired, 1)
})

test('rights that were taken away while a message waited are asked again, once they changed', () => {
  const { context, registry, create, connect, give } = setUp()
  const session = create('c', 1000)
  connect(session, 1)
  give(session, 'in flight')
  give(session, 'queued')
  registry.detached(session, true)
  let asked = 0
  context.mayReceive = () => {
    asked++
    return false
  }
  context.rightsGeneration++
  registry.resume(session)
  const outlet = connect(session)
  assert.deepEqual(outlet.take(), [])
  assert.deepEqual([asked, context.counters.droppedDenied, session.inflightCount], [2, 2, 0])
  assert.deepEqual([context.queues.bytes, context.queues.inflightBytes], [0, 0])
})

test('a message too large for the client counts as sent', () => {
  const { create, connect, give } = setUp()
  const session = create('c', 1000)
  const outlet = connect(session, 1)
  outlet.accepts = false
  give(session, 'large')
  assert.equal(session.inflightCount, 0)
  outlet.accepts = true
  give(session, 'next')
  assert.deepEqual(outlet.take(), ['1 next #2'])
})

test('a session ends when its time is over, and not before', () => {
  const { clock, registry, ended, create, connect } = setUp()
  const session = create('c', 10)
  const forever = create('forever', neverExpires)
  connect(session)
  connect(forever)
  clock.advance(60_000)
  registry.detached(session, true)
  registry.detached(forever, true)
  clock.advance(9999)
  registry.resume(session)
  connect(session)
  registry.detached(session, true)
  clock.advance(9999)
  assert.deepEqual(ended, [])
  clock.advance(201)
  assert.deepEqual(ended, ['c'])
  clock.advance(400 * 86_400_000)
  assert.deepEqual([...registry.values()], [forever])
  assert.equal(registry.attachedCount, 0)
})

test('a session of many years is not ended by the limits of timers', () => {
  const { clock, registry, ended, create, connect } = setUp()
  const seconds = 100 * 86_400
  const session = create('c', seconds)
  connect(session)
  registry.detached(session, true)
  clock.advance(seconds * 1000 - 1)
  assert.deepEqual(ended, [])
  clock.advance(500)
  assert.deepEqual(ended, ['c'])
})

test('a Will comes once: after its delay or when the session ends, whichever is first, and never after a return', () => {
  const run = (delaySeconds: number, expirySeconds: number, returnsAfterMs: number | null) => {
    const { clock, registry, wills, create, connect, setWill } = setUp()
    const session = create('c', expirySeconds)
    connect(session)
    setWill(session, delaySeconds)
    registry.detached(session, false)
    const times: number[] = []
    const startMs = clock.monotonicMs()
    const watch = (untilMs: number) => {
      while (clock.monotonicMs() < startMs + untilMs) {
        clock.advance(1)
        while (times.length < wills.length) times.push(clock.monotonicMs() - startMs)
      }
    }
    while (times.length < wills.length) times.push(0)
    if (returnsAfterMs !== null) {
      watch(returnsAfterMs)
      registry.resume(session)
    }
    watch(8000)
    return times
  }
  const isDue = (times: number[], atMs: number) => times.length === 1 && times[0] >= atMs && times[0] <= atMs + 200
  assert.deepEqual(run(0, 5, null), [0])
  assert.deepEqual(run(3, 0, null), [0])
  assert.ok(isDue(run(3, 5, null), 3000))
  assert.ok(isDue(run(5, 3, null), 3000))
  assert.ok(isDue(run(4, 4, null), 4000))
  assert.deepEqual(run(3, 5, 2999), [])
})

test('after an orderly DISCONNECT there is no Will', () => {
  const { clock, registry, wills, create, connect, setWill } = setUp()
  const session = create('c', 5)
  connect(session)
  setWill(session, 2)
  registry.detached(session, true)
  clock.advance(10_000)
  assert.deepEqual(wills, [])
})

test('what a group gave to a session that ends is for others, but no QoS 2 delivery that has begun', () => {
  const { context, registry, orphans, create, connect, give } = setUp()
  const share = new ShareGroup('g', 't')
  const session = create('c', 0)
  connect(session, 2)
  give(session, 'in flight 1', 1, undefined, share)
  give(session, 'in flight 2', 2, undefined, share)
  give(session, 'its own', 1)
  give(session, 'queued', 2, undefined, share)
  registry.detached(session, true)
  assert.deepEqual(
    orphans.map(({ message }) => String(message.payload)),
    ['in flight 1', 'queued'],
  )
  assert.deepEqual([context.queues.bytes, context.queues.messages, context.queues.inflightBytes], [0, 0, 0])
  give(session, 'too late')
  assert.equal(context.queues.messages, 0)
  assert.equal(registry.size, 0)
})

test('queueQos0: QoS 0 waits for a kept Session that is away, in the order of all, and is sent as QoS 0', () => {
  const { context, create, connect, give } = setUp({ queueQos0: true })
  const kept = create('kept', 100)
  const fleeting = create('fleeting', 0)
  for (const session of [kept, fleeting]) {
    give(session, 'a', 0)
    give(session, 'b', 1)
    give(session, 'c', 0)
  }
  assert.equal(kept.queuedMessages, 3)
  assert.deepEqual(connect(kept).take(), ['0 a', '1 b #1', '0 c'])
  assert.deepEqual(connect(fleeting).take(), ['1 b #1'])
  assert.deepEqual([context.queues.bytes, context.queues.messages], [0, 0])
})

test('queueQos0: what the output or the window holds back comes before what is new', () => {
  const { create, connect, give } = setUp({ queueQos0: true })
  const session = create('c', 100)
  const outlet = connect(session, 1)
  outlet.isWritable = false
  give(session, 'a', 0)
  outlet.isWritable = true
  give(session, 'b', 0)
  assert.deepEqual(outlet.take(), [])
  session.pump()
  assert.deepEqual(outlet.take(), ['0 a', '0 b'])
  for (const text of ['c', 'd']) give(session, text, 1)
  give(session, 'e', 0)
  assert.deepEqual(outlet.take(), ['1 c #1'])
  // It needs no room in the window, but comes in its turn.
  session.puback(1)
  assert.deepEqual(outlet.take(), ['1 d #2', '0 e'])
})

test('queueQos0: while memory is short QoS 0 is dropped, QoS 1 kept', () => {
  const { memory, context, create, connect, give } = setUp({ queueQos0: true })
  const session = create('c', 100)
  give(session, 'a', 0)
  memory.isHigh = true
  give(session, 'b', 0)
  give(session, 'c', 1)
  assert.equal(context.counters.droppedOutputFull, 1)
  assert.deepEqual(connect(session).take(), ['0 a', '1 c #1'])
})

test('queueQos0: a full queue gives up QoS 0 before QoS 1 and 2, and parts with nobody for it', () => {
  const full = (queuePolicy: SessionLimits['queuePolicy'], given: [string, Qos][]) => {
    const { create, connect, give } = setUp({ queueQos0: true, queuePolicy, queueMessages: 3 })
    const session = create('c', 100)
    for (const [text, qos] of given) give(session, text, qos)
    assert.equal(session.droppedMessages, given.length - 3)
    const outlet = connect(session)
    assert.equal(outlet.parted, null)
    return outlet.take().map((text) => text.slice(0, 3))
  }
  const zeros: [string, Qos][] = ['a', 'b', 'c', 'd'].map((text) => [text, 0])
  const oldOnes: [string, Qos][] = [...['a', 'b', 'c'].map((text): [string, Qos] => [text, 1]), ['d', 0]]
  assert.deepEqual(full('drop-oldest', zeros), ['0 b', '0 c', '0 d'])
  assert.deepEqual(full('drop-newest', zeros), ['0 a', '0 b', '0 c'])
  for (const policy of ['drop-oldest', 'drop-newest', 'disconnect'] as const) {
    assert.deepEqual(full(policy, oldOnes), ['1 a', '1 b', '1 c'])
  }
})
