// What every store keeps to, over whatever keeps it: one suite, run for each engine. `open` opens what the last one left.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { createSystemClock } from '../base/clock.ts'
import { Slices } from '../base/slices.ts'
import type {
  DeliveryRecord,
  MessageRecord,
  SessionRecord,
  Store,
  StoredDelivery,
  StoredSession,
  SubscriptionRecord,
} from './store.ts'

export interface StoreUnderTest {
  open(): Promise<Store>
  /** Removes what is left of it; all stores are closed. */
  remove(): void
}

export function sessionRecord(sessionNumber: number, changes: Partial<SessionRecord> = {}): SessionRecord {
  return {
    sessionNumber,
    clientId: `client-${sessionNumber}`,
    username: null,
    group: null,
    listener: 'tcp',
    mountPoint: '',
    level: 5,
    expirySeconds: 3600,
    detachedAtMs: null,
    will: null,
    maybeSentBefore: 0,
    ...changes,
  }
}

export function messageRecord(packet: string | Buffer, changes: Partial<MessageRecord> = {}): MessageRecord {
  return { packet: Buffer.from(packet), isVersion5: true, receivedAtMs: 1_700_000_000_000, ...changes }
}

export function deliveryRecord(messageNumber: number, changes: Partial<DeliveryRecord> = {}): DeliveryRecord {
  return {
    messageNumber,
    sizeBytes: 2,
    qos: 1,
    retain: false,
    identifiers: null,
    share: null,
    packetId: 0,
    isReleased: false,
    ...changes,
  }
}

function subscriptionRecord(filter: string, changes: Partial<SubscriptionRecord> = {}): SubscriptionRecord {
  return { filter, shareName: null, options: 1, identifier: null, ...changes }
}

const hostileNames = [
  'a',
  'A',
  '',
  ' ',
  '__proto__',
  'constructor',
  '../../etc/passwd',
  'a/b',
  'a\u0001b',
  'ä',
  'a\u0308',
  '\u{1F600}'.repeat(20),
  'x'.repeat(511),
  'x'.repeat(512),
  'x'.repeat(513),
  'x'.repeat(65_534),
  'x'.repeat(65_535),
  `${'x'.repeat(65_534)}y`,
  'ü'.repeat(32_767),
]

export function testStore(name: string, create: () => StoreUnderTest): void {
  const run = (title: string, body: (under: StoreUnderTest) => Promise<void>) =>
    test(`${name}: ${title}`, async () => {
      const under = create()
      try {
        await body(under)
      } finally {
        under.remove()
      }
    })
  /** Closes a store and reads it anew. */
  const reopen = async (under: StoreUnderTest, store: Store) => {
    await store.close()
    return under.open()
  }
  const bySession = (store: Store) =>
    new Map([...store.sessions()].map((stored): [number, StoredSession] => [stored.session.sessionNumber, stored]))

  run('every kind of record comes back as it was put', async (under) => {
    let store = await under.open()
    const first = store.nextSessionNumber
    const message = store.nextMessageNumber
    const sessions = [
      sessionRecord(first),
      sessionRecord(first + 1, {
        username: '',
        group: 'g',
        mountPoint: 'm/',
        level: 3,
        expirySeconds: 0xffff_ffff,
        detachedAtMs: 1_700_000_000_123,
        will: { packet: Buffer.from([0x30, 0, 255]), delaySeconds: 0xffff_ffff },
      }),
      sessionRecord(first + 2, { username: 'u'.repeat(65_535), will: { packet: Buffer.alloc(0), delaySeconds: 0 } }),
      sessionRecord(first + 3, { username: 'ö', detachedAtMs: 0, listener: '', clientId: '' }),
    ]
    const subscriptions = [
      subscriptionRecord('a/+'),
      subscriptionRecord('a/+', { shareName: 'g', options: 0x2e, identifier: 268_435_455 }),
      subscriptionRecord('#', { identifier: 1 }),
    ]
    const packets = [Buffer.alloc(0), Buffer.from('payload'), Buffer.alloc(200_000, 7)]
    const deliveries = [
      deliveryRecord(message),
      deliveryRecord(message + 1, { qos: 2, retain: true, packetId: 65_535, identifiers: [1, 268_435_455] }),
      deliveryRecord(message + 2, { share: { shareName: 'g', filter: 'f/#' }, identifiers: [] }),
      deliveryRecord(message + 1, { qos: 2, packetId: 1, isReleased: true }),
    ]
    for (const session of sessions) store.putSession(session)
    for (const subscription of subscriptions) store.putSubscription(first, subscription)
    for (const packetId of [65_535, 1, 300]) store.putInbound(first + 1, packetId)
    packets.forEach((packet, index) => {
      store.putMessage(message + index, messageRecord(packet, { isVersion5: index !== 1, receivedAtMs: 1 + index }))
    })
    deliveries.forEach((delivery, index) => {
      store.putDelivery(first, 10 + index, delivery)
    })
    store.putRetained('t/1', messageRecord('one'))
    store.putRetained('t/2', messageRecord('', { isVersion5: false }))
    const check = () => {
      const read = store.deliveries(first, 0, 100)
      assert.deepEqual(
        read.map(({ order }) => order),
        [10, 11, 12, 13],
      )
      assert.deepEqual(
        read.map(({ delivery }) => delivery),
        deliveries,
      )
      assert.deepEqual(
        read.map((stored) => stored.message?.packet ?? null),
        [...packets, null],
      )
      assert.deepEqual(
        read.slice(0, 3).map((stored) => [stored.message?.isVersion5, stored.message?.receivedAtMs]),
        [
          [true, 1],
          [false, 2],
          [true, 3],
        ],
      )
    }
    check()
    await store.flush()
    check()
    store = await reopen(under, store)
    check()
    const read = bySession(store)
    assert.deepEqual(
      [...read.values()].map(({ session }) => session),
      sessions,
    )
    const sorted = (records: readonly SubscriptionRecord[]) =>
      [...records].sort((a, b) => (a.filter + a.shareName < b.filter + b.shareName ? -1 : 1))
    assert.deepEqual(sorted(read.get(first)?.subscriptions ?? []), sorted(subscriptions))
    assert.deepEqual(read.get(first + 1)?.inbound, [1, 300, 65_535])
    assert.deepEqual(read.get(first + 2)?.inbound, [])
    const retained = [...store.retained()].sort((a, b) => (a.topic < b.topic ? -1 : 1))
    assert.deepEqual(retained, [
      { topic: 't/1', message: messageRecord('one') },
      { topic: 't/2', message: messageRecord('', { isVersion5: false }) },
    ])
    await store.close()
  })

  run('names of any length and content stay apart', async (under) => {
    let store = await under.open()
    const first = store.nextSessionNumber
    hostileNames.forEach((clientId, index) => {
      store.putSession(sessionRecord(first + index, { clientId, username: clientId }))
      store.putRetained(clientId, messageRecord(`r${index}`))
      store.putSubscription(first, subscriptionRecord(clientId, { identifier: index + 1 }))
      store.putSubscription(first, subscriptionRecord(clientId, { shareName: 'g', identifier: index + 1 }))
    })
    // Parts that are the same when put together.
    store.putSubscription(first + 1, subscriptionRecord('bc', { shareName: 'a' }))
    store.putSubscription(first + 1, subscriptionRecord('c', { shareName: 'ab' }))
    store.putSubscription(first + 1, subscriptionRecord('abc', { shareName: '' }))
    store.putSubscription(first + 1, subscriptionRecord('abc'))
    await store.flush()
    store = await reopen(under, store)
    const sessions = bySession(store)
    hostileNames.forEach((clientId, index) => {
      assert.equal(sessions.get(first + index)?.session.clientId, clientId)
    })
    const subscriptions = sessions.get(first)?.subscriptions ?? []
    assert.equal(subscriptions.length, 2 * hostileNames.length)
    for (const { filter, identifier } of subscriptions) assert.equal(filter, hostileNames[(identifier ?? 0) - 1])
    assert.equal(sessions.get(first + 1)?.subscriptions.length, 4)
    const retained = new Map([...store.retained()].map(({ topic, message }) => [topic, message.packet.toString()]))
    assert.deepEqual(
      [...retained].sort(),
      hostileNames.map((topic, index): [string, string] => [topic, `r${index}`]).sort(),
    )
    for (const topic of hostileNames.slice(1)) store.deleteRetained(topic)
    for (const filter of hostileNames.slice(1)) store.deleteSubscription(first, filter, 'g')
    store.deleteSubscription(first + 1, 'bc', 'a')
    store = await reopen(under, store)
    assert.deepEqual(
      [...store.retained()].map(({ topic }) => topic),
      [hostileNames[0]],
    )
    const left = bySession(store)
    assert.equal(left.get(first)?.subscriptions.length, hostileNames.length + 1)
    assert.equal(left.get(first + 1)?.subscriptions.length, 3)
    await store.close()
  })

  run('putting replaces, deleting what is not there is no error', async (under) => {
    let store = await under.open()
    const session = store.nextSessionNumber
    const message = store.nextMessageNumber
    store.deleteSession(12_345)
    store.deleteMessage(12_345)
    store.deleteDelivery(12_345, 1)
    store.deleteInbound(12_345, 1)
    store.deleteRetained('nothing')
    store.deleteSubscription(12_345, 'nothing', null)
    store.putSession(sessionRecord(session))
    store.putMessage(message, messageRecord('x'))
    store.putDelivery(session, 1, deliveryRecord(message, { qos: 2 }))
    store.putInbound(session, 7)
    store.putRetained('t', messageRecord('first'))
    await store.flush()
    store.putSession(sessionRecord(session, { expirySeconds: 1 }))
    store.putDelivery(session, 1, deliveryRecord(message, { qos: 2, packetId: 9 }))
    store.putInbound(session, 7)
    store.putRetained('t', messageRecord('second'))
    await store.flush()
    store.deleteMessage(message)
    store.putDelivery(session, 1, deliveryRecord(message, { qos: 2, packetId: 9, isReleased: true }))
    store = await reopen(under, store)
    const [stored] = store.sessions()
    assert.equal(stored.session.expirySeconds, 1)
    assert.deepEqual(stored.inbound, [7])
    const released = deliveryRecord(message, { qos: 2, packetId: 9, isReleased: true })
    assert.deepEqual(store.deliveries(session, 0, 10), [{ order: 1, delivery: released, message: null }])
    assert.deepEqual(
      [...store.retained()].map((retained) => retained.message.packet.toString()),
      ['second'],
    )
    await store.close()
  })

  run('what is put and deleted again in one batch, or in the next, is gone', async (under) => {
    let store = await under.open()
    const session = store.nextSessionNumber
    const message = store.nextMessageNumber
    store.putSession(sessionRecord(session))
    store.putMessage(message, messageRecord('kept'))
    store.putDelivery(session, 1, deliveryRecord(message))
    await store.flush()
    const bytes = store.pendingBytes
    store.putMessage(message + 1, messageRecord('passing'))
    store.putDelivery(session, 2, deliveryRecord(message + 1))
    store.putDelivery(session, 2, deliveryRecord(message + 1, { packetId: 5 }))
    store.deleteDelivery(session, 2)
    store.deleteMessage(message + 1)
    assert.equal(store.pendingBytes, bytes, 'nothing is left to write')
    assert.equal(store.isDirty, true, 'and who waits for the batch is told nevertheless')
    await store.flush()
    // An older record, replaced and deleted in one batch.
    store.putDelivery(session, 1, deliveryRecord(message, { packetId: 5 }))
    store.deleteDelivery(session, 1)
    store.putMessage(message + 2, messageRecord('next batch'))
    store.putDelivery(session, 3, deliveryRecord(message + 2))
    await new Promise((resolve) => setImmediate(resolve))
    store.deleteDelivery(session, 3)
    store.deleteMessage(message + 2)
    assert.deepEqual(store.deliveries(session, 0, 10), [])
    assert.equal(store.deliveryCount(session), 0)
    store = await reopen(under, store)
    assert.deepEqual(store.deliveries(session, 0, 10), [])
    assert.equal(store.deliveryCount(session), 0)
    await store.close()
  })

  run('deliveries are read in order and in pages, with what is not written yet', async (under) => {
    let store = await under.open()
    const session = store.nextSessionNumber
    const message = store.nextMessageNumber
    const orders = (from: number, limit: number) => store.deliveries(session, from, limit).map(({ order }) => order)
    for (const number of [session, session + 1, session + 2]) store.putSession(sessionRecord(number))
    for (let order = 1; order <= 600; order += 2) {
      store.putMessage(message + order, messageRecord(`m${order}`))
      store.putDelivery(session, order, deliveryRecord(message + order))
      store.putDelivery(session + 1, order, deliveryRecord(message + order))
    }
    await store.flush()
    // The other half waits, in between and behind; some of the first half goes again.
    for (let order = 2; order <= 600; order += 2) {
      store.putMessage(message + order, messageRecord(`m${order}`))
      store.putDelivery(session, order, deliveryRecord(message + order))
    }
    const check = () => {
      assert.deepEqual(orders(0, 5), [1, 2, 3, 4, 5])
      assert.deepEqual(orders(598, 5), [598, 599, 600])
      assert.deepEqual(orders(601, 5), [])
      assert.deepEqual(orders(1, 0), [])
      // Packets of two bytes each, `m1` to `m9`, then of three.
      const ordersWithin = (bytes: number) => store.deliveries(session, 1, 100, bytes).map(({ order }) => order)
      assert.deepEqual(ordersWithin(0), [])
      assert.deepEqual(ordersWithin(1), [1])
      assert.deepEqual(ordersWithin(7), [1, 2, 3, 4])
      assert.equal(ordersWithin(10_000).length, 100)
      const all: StoredDelivery[] = []
      for (let from = 0; ; from = all[all.length - 1].order + 1) {
        const page = store.deliveries(session, from, 7)
        all.push(...page)
        if (page.length < 7) break
      }
      assert.deepEqual(
        all.map((stored) => [stored.order, stored.message?.packet.toString()]),
        Array.from({ length: 600 }, (_, index) => [index + 1, `m${index + 1}`]),
      )
      assert.equal(store.deliveryCount(session), 600)
      assert.equal(store.deliveryCount(session + 1), 300)
      assert.equal(store.deliveryCount(session + 2), 0)
    }
    check()
    store = await reopen(under, store)
    check()
    for (let order = 1; order <= 100; order++) store.deleteDelivery(session, order)
    assert.deepEqual(orders(0, 2), [101, 102])
    assert.equal(store.deliveryCount(session), 500)
    store.putDelivery(session, 101, deliveryRecord(message + 101, { packetId: 4 }))
    assert.equal(store.deliveries(session, 101, 1)[0].delivery.packetId, 4)
    assert.equal(store.deliveryCount(session), 500)
    await store.close()
  })

  run(
    'messages of a queue are found wherever their numbers lead: on, far on, back, twice, to what is not there',
    async (under) => {
      let store = await under.open()
      const session = store.nextSessionNumber
      const message = store.nextMessageNumber
      store.putSession(sessionRecord(session))
      for (let number = 0; number < 40; number++) {
        if (number % 7 !== 3) store.putMessage(message + number, messageRecord(`m${number}`))
      }
      const ways = [
        0, 1, 2, 4, 5, 6, 7, 9, 11, 12, 3, 4, 16, 17, 18, 19, 19, 18, 20, 30, 31, 33, 36, 39, 40, 41, 50, 0, 1, 38, 39,
      ]
      ways.forEach((number, index) => {
        store.putDelivery(session, index + 1, deliveryRecord(message + number))
      })
      store = await reopen(under, store)
      assert.deepEqual(
        store.deliveries(session, 0, 100).map((stored) => stored.message!.packet.toString()),
        ways.filter((number) => number < 40 && number % 7 !== 3).map((number) => `m${number}`),
      )
      await store.close()
    },
  )

  run('deleting a Session takes all that is its own, however much, and nothing else', async (under) => {
    let store = await under.open()
    const session = store.nextSessionNumber
    const message = store.nextMessageNumber
    store.putMessage(message, messageRecord('shared'))
    for (const number of [session, session + 1, session + 256]) {
      store.putSession(sessionRecord(number))
      store.putSubscription(number, subscriptionRecord('a/#'))
      store.putInbound(number, 3)
    }
    for (let order = 1; order <= 10_000; order++) {
      store.putDelivery(session, order, deliveryRecord(message))
      if (order <= 10) store.putDelivery(session + 1, order, deliveryRecord(message))
    }
    await store.flush()
    store.putDelivery(session, 10_001, deliveryRecord(message))
    store.deleteSession(session)
    const check = () => {
      assert.deepEqual(store.deliveries(session, 0, 10), [])
      assert.equal(store.deliveryCount(session), 0)
      assert.equal(store.deliveryCount(session + 1), 10)
    }
    check()
    await store.flush()
    check()
    store = await reopen(under, store)
    check()
    const sessions = bySession(store)
    assert.deepEqual([...sessions.keys()], [session + 1, session + 256])
    for (const stored of sessions.values()) {
      assert.deepEqual(stored.inbound, [3])
      assert.equal(stored.subscriptions.length, 1)
    }
    // What is left of the deleted Session goes with the next batches; nothing refers to it any more then.
    while (store.isDirty) await store.flush()
    assert.equal((await store.tallyDeliveries()).references.get(message), 10)
    await store.close()
  })

  run('deliveries are tallied, and messages without any are deleted', async (under) => {
    let store = await under.open()
    const session = store.nextSessionNumber
    const message = store.nextMessageNumber
    for (let index = 0; index < 5; index++) store.putMessage(message + index, messageRecord(`m${index}`))
    store.putDelivery(session, 1, deliveryRecord(message))
    store.putDelivery(session, 2, deliveryRecord(message + 1, { sizeBytes: 500 }))
    store.putDelivery(session + 1, 1, deliveryRecord(message + 1))
    store.putDelivery(session + 2, 1, deliveryRecord(message + 1, { packetId: 1 }))
    store.putDelivery(session, 3, deliveryRecord(message + 2, { qos: 2, isReleased: true, packetId: 1 }))
    store.putDelivery(session, 4, deliveryRecord(message + 4))
    store.putDelivery(session + 1, 2, deliveryRecord(message + 4))
    store = await reopen(under, store)
    const { references, queues } = await store.tallyDeliveries()
    assert.deepEqual(
      [...references].sort(),
      [
        [message + 1, 3],
        [message + 4, 2],
      ].sort(),
    )
    assert.deepEqual(
      [...queues].sort(([a], [b]) => a - b),
      [
        [session, { messages: 3, bytes: 2 + 500 + 2, lastOrder: 4, lastInflight: 3 }],
        [session + 1, { messages: 2, bytes: 4, lastOrder: 2, lastInflight: 0 }],
      ],
    )
    store = await reopen(under, store)
    store.putDelivery(session + 9, 1, deliveryRecord(message + 2))
    store.putDelivery(session + 9, 2, deliveryRecord(message + 3))
    store.putDelivery(session + 9, 3, deliveryRecord(message + 4))
    assert.deepEqual(
      store.deliveries(session + 9, 0, 10).map(({ order }) => order),
      [3],
    )
    await store.close()
  })

  run('what is read in slices is complete, whatever is written between them', async (under) => {
    let store = await under.open()
    const session = store.nextSessionNumber
    const message = store.nextMessageNumber
    const count = 300
    for (let index = 0; index < count; index++) {
      store.putSession(sessionRecord(session + index))
      store.putSubscription(session + index, subscriptionRecord(`f/${index}`))
      store.putInbound(session + index, 7)
      store.putRetained(`r/${index}`, messageRecord('r'))
      store.putMessage(message + index, messageRecord(`m${index}`))
      if (index % 3 === 0) continue
      store.putDelivery(session + (index % 10), index, deliveryRecord(message + index))
      store.putDelivery(session + (index % 7), count + index, deliveryRecord(message + index, { packetId: index }))
    }
    for (const topic of hostileNames) store.putRetained(topic, messageRecord('h'))
    store = await reopen(under, store)
    const whole = await store.tallyDeliveries()
    store = await reopen(under, store)
    for (let index = 0; index < count; index += 3) store.putMessage(message + index, messageRecord('again'))
    store = await reopen(under, store)
    const clock = { ...createSystemClock(), monotonicMs: () => performance.now() + 5 * ++looks }
    let looks = 0
    let turns = 0
    const nextTurn = async () => {
      turns++
      // An even one is written, an odd one is being written while the next slice reads.
      store.putRetained(`r/${turns % count}`, messageRecord('changed'))
      if (turns % 2 === 0) await store.flush()
      else await turn()
    }
    const slices = new Slices(clock, { nextTurn })
    assert.deepEqual(await store.tallyDeliveries(slices), whole)
    await store.flush()
    for (let index = 0; index < count; index++)
      assert.equal(store.hasMessage(message + index), index % 3 > 0, `${index}`)
    const topics: string[] = []
    const read = (last: { topic: string } | null) => store.retained(last?.topic)
    await slices.each<{ topic: string }>(read, ({ topic }) => topics.push(topic))
    const names = Array.from({ length: count }, (_, index) => `r/${index}`)
    assert.deepEqual(topics.sort(), [...names, ...hostileNames].sort())
    const found: StoredSession[] = []
    await slices.each<StoredSession>(
      (last) => store.sessions(last?.session.sessionNumber),
      (stored) => found.push(stored),
    )
    assert.deepEqual(found, [...store.sessions()])
    assert.deepEqual(
      found.map((stored) => [stored.session.sessionNumber, stored.subscriptions.length, stored.inbound]),
      Array.from({ length: count }, (_, index) => [session + index, 1, [7]]),
    )
    assert.ok(turns > count / 2, `${turns} turns`)
    await store.close()
  })

  run('numbers are never given out again', async (under) => {
    let store = await under.open()
    let session = store.nextSessionNumber
    let message = store.nextMessageNumber
    assert.ok(session >= 1 && message >= 1)
    for (let round = 0; round < 3; round++) {
      store.putSession(sessionRecord(session))
      store.putMessage(message, messageRecord('x'))
      assert.equal(store.nextSessionNumber, session + 1)
      assert.equal(store.nextMessageNumber, message + 1)
      await store.flush()
      store.deleteSession(session)
      store.deleteMessage(message)
      store = await reopen(under, store)
      assert.ok(store.nextSessionNumber > session)
      assert.ok(store.nextMessageNumber > message)
      session = store.nextSessionNumber
      message = store.nextMessageNumber
    }
    await store.close()
  })

  run('a number that cannot be a key is a bug of the caller, told at once', async (under) => {
    const store = await under.open()
    for (const wrong of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      assert.throws(() => store.putMessage(wrong, messageRecord('x')), /assertion/)
      assert.throws(() => store.deleteMessage(wrong), /assertion/)
      assert.throws(() => store.putDelivery(1, wrong, deliveryRecord(1)), /assertion/)
      assert.throws(() => store.deleteSession(wrong), /assertion/)
    }
    assert.equal(store.isDirty, false)
    await store.close()
  })

  run('a batch is named when it is durable, in order, and not within a change', async (under) => {
    const store = await under.open()
    const named: number[] = []
    let isChanging = false
    store.onDurable = (batch) => {
      assert.equal(isChanging, false)
      named.push(batch)
    }
    assert.equal(store.isDirty, false)
    const message = store.nextMessageNumber
    const wanted = new Set<number>()
    for (let turn = 0; turn < 50; turn++) {
      isChanging = true
      const { batch } = store
      for (let index = 0; index < 3; index++) {
        store.putMessage(message + 3 * turn + index, messageRecord('x'))
        assert.equal(store.batch, batch, 'the changes of a turn are one batch')
      }
      assert.equal(store.isDirty, true)
      assert.ok(!named.includes(batch))
      wanted.add(batch)
      isChanging = false
      await new Promise((resolve) => setImmediate(resolve))
    }
    await store.flush()
    assert.deepEqual(named, [...wanted])
    assert.equal(store.isDirty, false)
    assert.equal(store.pendingBytes, 0)
    assert.equal(store.problem, null)
    assert.equal(store.recovery, null)
    await store.flush()
    await store.close()
  })
}
