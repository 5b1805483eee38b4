// Topic names and filters, chapter 4.7: what matches what, and what is no topic at all. Seen from outside.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { variantTest } from '../kit/variants.ts'
import { publish, subscribe } from '../kit/wire.ts'

/** Filter, topics it matches, topics it does not match. */
const cases: [string, string[], string[]][] = [
  [
    'sport/tennis/player1/#',
    ['sport/tennis/player1', 'sport/tennis/player1/a', 'sport/tennis/player1/a/b'],
    ['sport/tennis/player', 'sport/tennis'],
  ],
  ['sport/#', ['sport', 'sport/', 'sport//', 'sport/a'], ['sports', 'Sport/a', '/sport/a']],
  ['#', ['a', '/', '/a/b/c', 'a/b', ' '], []],
  ['sport/tennis/+', ['sport/tennis/a', 'sport/tennis/'], ['sport/tennis', 'sport/tennis/a/b']],
  ['sport/+', ['sport/', 'sport/a'], ['sport']],
  ['+', ['a', ' '], ['/a', 'a/', 'a/b', '/']],
  ['+/+', ['/finance', 'a/', '/', 'a/b'], ['a', 'a/b/c', '//']],
  ['/+', ['/finance', '/'], ['finance', '//']],
  ['+/tennis/#', ['a/tennis', '/tennis', 'a/tennis/b/c'], ['tennis', 'a/b/tennis']],
  ['a/+/c/+/#', ['a/b/c/d', 'a//c//', 'a/b/c/d/e/f'], ['a/b/c', 'a/b/d/d']],
  ['a//b', ['a//b'], ['a/b', 'a///b']],
  ['/', ['/'], ['//', 'a']],
  [
    'Accounts payable',
    ['Accounts payable'],
    ['accounts payable', 'ACCOUNTS PAYABLE', 'Accounts  payable', 'Accounts payable/'],
  ],
  ['caf\u00e9/\u212b', ['caf\u00e9/\u212b'], ['cafe\u0301/\u212b', 'caf\u00e9/\u00c5', 'cafe/\u212b']],
  ['\ufeffa', ['\ufeffa'], ['a']],
  ['a\ufeff/+', ['a\ufeff/b'], ['a/b']],
  ['\u{1f600}/+/\u{10fffd}', ['\u{1f600}/x/\u{10fffd}'], ['\u{1f601}/x/\u{10fffd}']],
  ['.*/[a-z]/(x)?', ['.*/[a-z]/(x)?'], ['a/b/x']],
  ['__proto__/+', ['__proto__/constructor'], ['constructor/__proto__']],
]

describe('matching', () => {
  for (const [filter, matching, others] of cases) {
    variantTest(
      `[MQTT-4.7.3-4] [MQTT-3.3.2-3] [MQTT-4.7.1-1] [MQTT-4.7.1-2] filter ${JSON.stringify(filter)} matches what it says`,
      { levels: [4, 5] },
      async ({ client, level }) => {
        const live = await client()
        assert.deepEqual(await live.subscribe([filter]), [0])
        const publisher = await client()
        for (const topic of [...others, ...matching])
          publisher.send(publish({ level, topic, payload: 'x', retain: true }))
        await publisher.fence()
        for (const topic of matching) assert.equal((await live.expect('PUBLISH')).topic, topic)
        await live.expectNothing()
        // The same question asked of the retained messages.
        const late = await client()
        await late.subscribe([filter])
        const retained: string[] = []
        for (const _ of matching) retained.push((await late.expect('PUBLISH')).topic)
        assert.deepEqual(retained.sort(), [...matching].sort())
        await late.expectNothing()
      },
    )
  }
})

describe('filters that are none', () => {
  const invalid = [
    'sport/tennis#',
    'sport/tennis/#/ranking',
    '#/a',
    '##',
    'a/##',
    'a#',
    '#a',
    'sport+',
    '+a/b',
    'a/+b',
    'a/b+/c',
    '++',
  ]
  variantTest(
    '[MQTT-4.7.1-1] [MQTT-4.7.1-2] a misplaced wildcard is refused in SUBACK',
    { levels: [4, 5] },
    async ({ client, level }) => {
      const subscriber = await client()
      const refused = level === 5 ? 0x8f : 0x80
      for (const filter of invalid) {
        assert.deepEqual(await subscriber.subscribe(['ok', filter, 'fine/#']), [0, refused, 0], filter)
      }
      await (await client()).publish({ topic: 'fine/1', payload: 'x' })
      assert.equal((await subscriber.expect('PUBLISH')).topic, 'fine/1')
      await subscriber.expectNothing()
    },
  )

  variantTest('[MQTT-4.7.3-1] an empty filter is refused in SUBACK', { levels: [4, 5] }, async ({ client, level }) => {
    const subscriber = await client()
    assert.deepEqual(await subscriber.subscribe(['', 'ok']), [level === 5 ? 0x8f : 0x80, 0])
  })

  variantTest('[MQTT-4.7.3-2] a filter with U+0000 ends the connection', {}, async ({ client, level }) => {
    const bad = await client()
    bad.send(subscribe({ level, packetId: 1, filters: [{ filter: 'a\0b' }] }))
    await bad.expectDisconnect(0x81)
  })
})

describe('topic names that are none', () => {
  variantTest(
    '[MQTT-4.7.0-1] [MQTT-3.3.2-2] a topic name with a wildcard ends the connection',
    {},
    async ({ client, level }) => {
      const watcher = await client()
      await watcher.subscribe(['#'])
      for (const topic of ['a/+', '+', '#', 'a/#', 'a+b', 'a#b']) {
        const bad = await client()
        bad.send(publish({ level, topic, payload: 'x' }))
        await bad.expectDisconnect(0x90)
      }
      await watcher.expectNothing()
    },
  )

  variantTest('[MQTT-4.7.3-1] an empty topic name ends the connection', {}, async ({ client, level }) => {
    for (const qos of [0, 1, 2]) {
      const bad = await client()
      bad.send(publish({ level, topic: '', payload: 'x', qos, packetId: qos ? 1 : undefined }))
      await bad.expectDisconnect(0x82)
    }
  })

  variantTest('[MQTT-4.7.3-2] a topic name with U+0000 ends the connection', {}, async ({ client, level, connect }) => {
    const bad = await client()
    bad.send(publish({ level, topic: 'a\0b', payload: 'x' }))
    if (level === 5) {
      const answer = await bad.expect('DISCONNECT')
      assert.ok([0x81, 0x90].includes(answer.reasonCode))
    }
    await bad.expectClosed()
    const will = await connect()
    will.sendConnect({ will: { topic: 'a\0b' } })
    await will.expectRefused(0x81)
  })
})

describe('$-topics', { concurrency: true }, () => {
  test('[MQTT-4.7.2-1] a wildcard in the first level does not see $SYS, a filter with $SYS does', () =>
    withBroker({ features: { sysInterval: 1 } }, async (broker) => {
      for (const level of [4, 5] as const) {
        const wild = await broker.client({}, { level })
        await wild.subscribe(['#', '+/#', '+/broker/#', '+/+/#', '+/broker/uptime', '+/broker/version'])
        await wild.expectNothing() // nothing retained in particular
        const named = await broker.client({}, { level })
        await named.subscribe(['$SYS/#'])
        const first = await named.expect('PUBLISH')
        assert.ok(first.topic.startsWith('$SYS/'))
        let packet = await named.expect('PUBLISH')
        while (packet.retain) packet = await named.expect('PUBLISH') // the next round of publications
        await wild.expectNothing()
      }
    }))

  test('$SYS is published every sysInterval and retained', () =>
    withBroker({ features: { sysInterval: 1 } }, async (broker) => {
      const early = await broker.client()
      await early.subscribe(['$SYS/broker/#'])
      let live = await early.expect('PUBLISH')
      while (live.retain) live = await early.expect('PUBLISH')
      const late = await broker.client()
      await late.subscribe([live.topic])
      const retained = await late.expect('PUBLISH')
      assert.equal(retained.retain, true)
      assert.equal(retained.topic, live.topic)
      // And a client can neither write there nor wipe it out.
      assert.equal(await late.publish({ topic: live.topic, qos: 1, payload: '', retain: true }), 0x87)
      const later = await broker.client()
      await later.subscribe([live.topic])
      assert.equal((await later.expect('PUBLISH')).retain, true)
    }))

  variantTest('without an interval there is nothing under $SYS', { levels: [5] }, async ({ client }) => {
    const subscriber = await client()
    assert.deepEqual(await subscriber.subscribe(['$SYS/#']), [0])
    await subscriber.expectNothing()
  })
})

variantTest('[MQTT-4.7.3-3] a topic name of 65535 bytes reaches its subscribers', {}, async ({ client }) => {
  const topic = 'x'.repeat(65535)
  const subscriber = await client()
  assert.deepEqual(await subscriber.subscribe([topic, 'y/#']), [0, 0])
  const publisher = await client()
  await publisher.publish({ topic, payload: 'long' })
  assert.equal((await subscriber.expect('PUBLISH')).topic, topic)
  await publisher.publish({ topic: `y/${'z'.repeat(65533)}`, payload: 'long' })
  assert.equal((await subscriber.expect('PUBLISH')).topic.length, 65535)
})
