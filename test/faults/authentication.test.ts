// Authenticators that throw, hang or answer rubbish, and clients that do not wait for their answer: always closed, never open.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { variantTest } from '../kit/variants.ts'
import { connect, type Level, publish, subscribe } from '../kit/wire.ts'

type Answer = unknown
const onlyFor = (clientId: string, answer: () => Answer) => ({
  hooks: {
    authenticate: (given: { clientId: string }) => (given.clientId === clientId ? answer() : { allowed: true }),
  },
})

describe('authenticators', { concurrency: 32 }, () => {
  const failing: [string, () => Answer][] = [
    [
      'throws',
      () => {
        throw new Error('out of order')
      },
    ],
    ['rejects', () => Promise.reject(new Error('out of order'))],
    ['rejects with nothing', () => Promise.reject(undefined)],
    [
      'throws later',
      async () => {
        await null
        throw new Error('out of order')
      },
    ],
  ]
  for (const [name, answer] of failing) {
    variantTest(
      `one that ${name} refuses with 0x88`,
      { broker: onlyFor('a', answer) },
      async ({ connect: open, client }) => {
        const a = await open()
        a.sendConnect({ clientId: 'a' })
        await a.expectRefused(0x88, 3)
        await (await client({ clientId: 'b' })).expectNothing()
      },
    )
  }

  const rubbish: [string, Answer][] = [
    ['nothing', undefined],
    ['null', null],
    ['a string', 'yes'],
    ['an empty object', {}],
    ['allowed: "true"', { allowed: 'true' }],
    ['a number', 1],
  ]
  for (const [name, answer] of rubbish) {
    variantTest(
      `one that answers ${name} lets nobody in`,
      { levels: [4, 5], broker: onlyFor('a', () => answer) },
      async ({ connect: open }) => {
        const a = await open()
        a.sendConnect({ clientId: 'a' })
        await a.expectRefused(null)
      },
    )
  }

  const hanging = { ...onlyFor('a', () => new Promise(() => {})), listener: { connectTimeout: '1s' } }
  variantTest(
    'one that hangs is given up with the connect timeout',
    { broker: hanging },
    async ({ connect: open, client }) => {
      const a = await open()
      a.sendConnect({ clientId: 'a' })
      await (await client({ clientId: 'b' })).expectNothing()
      await a.expectRefused(null)
    },
  )

  const slowNo = onlyFor(
    'a',
    () => new Promise((resolve) => setTimeout(resolve, 200, { allowed: false, reasonCode: 0x87, reason: 'no' })),
  )
  variantTest(
    '[MQTT-3.1.4-6] what is sent before a refusal is not processed',
    { broker: slowNo },
    async ({ connect: open, client, level }) => {
      const observer = await client()
      await observer.subscribe(['#'])
      const a = await open()
      a.send(connect({ level, clientId: 'a' }), subscribe({ level, packetId: 1, filters: [{ filter: '#' }] }))
      for (let index = 0; index < 1000; index++) a.send(publish({ level, topic: 't', payload: 'x'.repeat(100) }))
      await a.expectRefused(0x87, 5)
      await observer.expectNothing()
    },
  )

  const slowYes = onlyFor('a', () => new Promise((resolve) => setTimeout(resolve, 100, { allowed: true })))
  variantTest(
    'what is sent before an acceptance is processed after it, in order',
    { broker: slowYes },
    async ({ connect: open, client, level }) => {
      const observer = await client()
      await observer.subscribe(['t'])
      const a = await open()
      a.send(connect({ level, clientId: 'a' }))
      for (let index = 0; index < 100; index++) a.send(publish({ level, topic: 't', payload: `${index}` }))
      await a.expect('CONNACK')
      for (let index = 0; index < 100; index++) {
        assert.equal((await observer.expect('PUBLISH')).payload.toString(), `${index}`)
      }
    },
  )

  const never = { ...onlyFor('a', () => new Promise(() => {})), listener: { connectTimeout: '1s' } }
  const five: Level[] = [5]
  variantTest(
    'a flood during authentication is not piled up',
    { levels: five, broker: never },
    async ({ connect: open, client }) => {
      const before = process.memoryUsage().arrayBuffers
      const a = await open()
      a.send(connect({ clientId: 'a' }))
      const block = publish({ topic: 't', payload: Buffer.alloc(60_000) })
      let peakBytes = 0
      for (let index = 0; index < 400 && !a.isClosed; index++) {
        a.send(block)
        await new Promise((resolve) => setImmediate(resolve))
        peakBytes = Math.max(peakBytes, process.memoryUsage().arrayBuffers - before)
      }
      // What this client itself still holds back counts here too: 24 MB at most.
      assert.ok(peakBytes < 40e6, `${peakBytes} bytes are held`)
      await (await client({ clientId: 'b' })).expectNothing()
      await a.expectRefused(null)
    },
  )

  const closedDuring = onlyFor('a', () => new Promise((resolve) => setTimeout(resolve, 100, { allowed: true })))
  variantTest(
    "a client that goes away during authentication is in nobody's way",
    { broker: closedDuring },
    async ({ connect: open, client }) => {
      const observer = await client()
      await observer.subscribe(['will'])
      const a = await open()
      a.sendConnect({ clientId: 'a', will: { topic: 'will', payload: 'x' } })
      a.destroy()
      const back = await client({ clientId: 'a' })
      await back.subscribe(['own'])
      await back.publish({ topic: 'elsewhere', qos: 2 })
      await back.expectNothing()
      await observer.fence()
      assert.ok(observer.unread.length <= 1, 'its will may be published, but not twice')
    },
  )
})

describe('wills and rights', { concurrency: 8 }, () => {
  const guarded = {
    hooks: {
      authorize: ({ action, topic }: { action: string; topic: string }) =>
        !(action === 'publish' && topic === 'forbidden'),
    },
  }
  variantTest(
    'a will whose topic is not permitted is refused with 0x87',
    { broker: guarded },
    async ({ connect: open, client }) => {
      const observer = await client()
      await observer.subscribe(['#'])
      const a = await open()
      a.sendConnect({ will: { topic: 'forbidden', payload: 'x' } })
      await a.expectRefused(0x87, 5)
      await observer.expectNothing()
    },
  )

  variantTest('a will is checked again when it is published', {}, async ({ broker, client }) => {
    let isPermitted = true
    broker.library?.use({
      authorize: ({ action, topic }: { action: string; topic: string }) =>
        isPermitted || action !== 'publish' || topic !== 'will',
    })
    const observer = await client()
    await observer.subscribe(['#'])
    const first = await client({ clientId: 'first', will: { topic: 'will', payload: 'permitted' } })
    const second = await client({ clientId: 'second', will: { topic: 'will', payload: 'not any more' } })
    first.destroy()
    assert.equal((await observer.expect('PUBLISH')).payload.toString(), 'permitted')
    isPermitted = false
    broker.library?.rightsChanged()
    second.destroy()
    // The takeover proves that the broker has seen the end of the older connection.
    await client({ clientId: 'second' })
    await observer.expectNothing()
  })
})
