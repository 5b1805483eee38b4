// Many connections that want the same client id at the same time: one has it in the end, and nothing is left of the others.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { Stopwatch } from '../kit/stopwatch.ts'
import { variantTest } from '../kit/variants.ts'
import { type ConnectOptions, P, type Property, publish } from '../kit/wire.ts'

const sleep = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))
const session: Property[] = [[P.sessionExpiryInterval, 60]]

/** Sends CONNECT on every connection at once. */
function connectAll(clients: RawClient[], options: ConnectOptions): void {
  for (const client of clients) client.sendConnect({ clientId: 'same', ...options })
}

/** One after the other, so that no accept queue overflows. */
async function openMany(count: number, open: () => Promise<RawClient>): Promise<RawClient[]> {
  const clients: RawClient[] = []
  while (clients.length < count) clients.push(await open())
  return clients
}

/** Whether this client was let in before somebody took its place; either way its connection has to end. */
async function wasAccepted(client: RawClient): Promise<boolean> {
  const isAccepted = await client.expect('CONNACK').then(
    ({ reasonCode }) => reasonCode === 0,
    () => false,
  )
  if (isAccepted) await client.expectDisconnect(0x8e)
  else await client.expectClosed()
  return isAccepted
}

// The suites run side by side: those that wait for time to pass cost none of their own.
describe('takeovers and wills', { concurrency: true }, () => {
  describe('takeover', { concurrency: 4 }, () => {
    for (const count of [2, 30, 200]) {
      const slow = { hooks: { authenticate: () => new Promise((resolve) => setImmediate(resolve, { allowed: true })) } }
      for (const [how, broker] of [
        ['', {}],
        [' with a slow authenticator', slow],
      ] as const) {
        variantTest(
          `${count} connections take over one client id${how}: exactly one survives`,
          { broker, levels: [4, 5] },
          async ({ connect, client }) => {
            const observer = await client()
            await observer.subscribe(['will'])
            const clients = await openMany(count, connect)
            connectAll(clients, { cleanStart: false, properties: session, will: { topic: 'will', payload: 'w' } })
            // The last to come ends all before it: when it answers, it is the only one.
            const last = await client({ clientId: 'same', cleanStart: false, properties: session })
            let accepted = 0
            for (const one of clients) if (await wasAccepted(one)) accepted++
            assert.ok(accepted > 0)
            for (let index = 0; index < accepted; index++) await observer.expect('PUBLISH')
            await observer.expectNothing()
            await last.subscribe(['t'], { qos: 1 })
            await last.publish({ topic: 'elsewhere', qos: 2 })
            last.send(publish({ level: last.level, topic: 't', payload: 'x' }))
            assert.equal((await last.expect('PUBLISH')).payload.toString(), 'x')
          },
        )
      }
    }

    variantTest('without a last one, one of them keeps the client id', {}, async ({ connect }) => {
      const clients = await openMany(40, connect)
      connectAll(clients, {})
      const outcomes = await Promise.all(
        clients.map((one) =>
          one
            .expect('CONNACK')
            .then(() => one.fence())
            .then(
              () => 'connected',
              () => 'ended',
            ),
        ),
      )
      assert.ok(outcomes.filter((outcome) => outcome === 'connected').length >= 1)
      assert.equal(clients.filter((one) => !one.isClosed).length, 1)
    })

    variantTest(
      'messages sent during takeovers are neither lost nor doubled',
      { levels: [4, 5] },
      async ({ client }) => {
        const kept = { clientId: 'same', cleanStart: false, properties: session }
        let current = await client(kept)
        await current.subscribe(['t'], { qos: 2 })
        const publisher = await client()
        for (let index = 0; index < 15; index++) {
          await publisher.publish({ topic: 't', payload: `${index}`, qos: 2 })
          if (index % 3 === 0) current = await client(kept)
        }
        const payloads = new Map<string, number>()
        const packetIds = new Set<number>()
        for (let index = 0; index < 15; index++) {
          const message = await current.expect('PUBLISH')
          assert.ok(!packetIds.has(message.packetId!), 'no identifier twice')
          packetIds.add(message.packetId!)
          payloads.set(message.payload.toString(), (payloads.get(message.payload.toString()) ?? 0) + 1)
        }
        await current.expectNothing()
        assert.deepEqual(
          [...payloads.keys()],
          Array.from({ length: 15 }, (_, index) => `${index}`),
        )
      },
    )
  })

  describe('wills at the edge', { concurrency: true }, () => {
    variantTest(
      'a reconnect at the very moment a will falls due: one will at most, and everything goes on',
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will/+'])
        const delays = [960, 980, 990, 995, 1000, 1005, 1010, 1020, 1040]
        await Promise.all(
          delays.map(async (delayMs) => {
            const clientId = `c${delayMs}`
            const properties: Property[] = [[P.sessionExpiryInterval, 60]]
            const will = {
              topic: `will/${clientId}`,
              payload: 'w',
              properties: [[P.willDelayInterval, 1]] as Property[],
            }
            const a = await client({ clientId, properties, will })
            a.destroy()
            await sleep(delayMs)
            const back = await client({ clientId, cleanStart: false, properties })
            await back.expectNothing()
          }),
        )
        await sleep(1500)
        await observer.fence()
        const topics = observer.unread.map((packet) => (packet.type === 'PUBLISH' ? packet.topic : packet.type))
        assert.equal(new Set(topics).size, topics.length, `wills came twice: ${topics.join(' ')}`)
      },
    )

    for (const [willDelay, sessionExpiry] of [
      [5, 1],
      [1, 5],
      [0, 5],
    ] as const) {
      variantTest(
        `will delay ${willDelay} and session expiry ${sessionExpiry}: one will, at the earlier end`,
        { levels: [5] },
        async ({ client }) => {
          const observer = await client()
          await observer.subscribe(['will'])
          const will = { topic: 'will', payload: 'w', properties: [[P.willDelayInterval, willDelay]] as Property[] }
          const a = await client({ properties: [[P.sessionExpiryInterval, sessionExpiry]], will })
          const stopwatch = new Stopwatch()
          a.destroy()
          await observer.expect('PUBLISH')
          const dueMs = Math.min(willDelay, sessionExpiry) * 1000
          stopwatch.assertBetween(dueMs - 100, dueMs + 3000, 'came')
          await sleep(1500)
          await observer.expectNothing()
        },
      )
    }
  })
})
