// Row 53 of the table of faults: the clock of the machine jumps by a day. The broker runs in this process, so `Date.now`
// is replaced for it; nothing else is.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createBroker } from 'atollmq'
import { createMemoryPair, FaultDisk, ManualClock } from 'atollmq/testing'
import { withBroker } from '../kit/broker.ts'
import { RawClient } from '../kit/raw-client.ts'
import { P, type Property, property } from '../kit/wire.ts'

const dayMs = 24 * 60 * 60 * 1000

for (const [name, jumpMs] of [
  ['forward', dayMs],
  ['back', -dayMs],
] as const) {
  test(`fault 53: the clock jumps a day ${name}`, async (context) => {
    const wallMs = Date.now.bind(Date)
    await withBroker({}, async (broker) => {
      const properties: Property[] = [[P.sessionExpiryInterval, 60]]
      const away = await broker.client({ clientId: 'away', properties })
      await away.subscribe([{ filter: 't/#', qos: 1 }])
      await away.disconnect()
      const watcher = await broker.client({ keepAliveSeconds: 60 })
      await watcher.subscribe(['will'])
      const will = { topic: 'will', properties: [[P.willDelayInterval, 60]] as Property[] }
      const lost = await broker.client({ clientId: 'lost', properties, will })
      lost.destroy()
      const publisher = await broker.client({ keepAliveSeconds: 60 })
      await publisher.publish({ topic: 't/ever', qos: 1, payload: 'x' })
      await publisher.publish({ topic: 't/minute', qos: 1, payload: 'x', properties: [[P.messageExpiryInterval, 60]] })
      context.mock.method(Date, 'now', () => wallMs() + jumpMs)
      await sleep(1500) // long enough for whatever the broker does every second
      await watcher.expectNothing() // it is still connected, and no Will came early
      await publisher.fence()
      const back = await broker.connect()
      const connack = await back.handshake({ clientId: 'away', cleanStart: false, properties })
      assert.equal(connack.sessionPresent, true)
      assert.equal((await back.expect('PUBLISH')).topic, 't/ever')
      await publisher.publish({ topic: 't/end', qos: 1, payload: 'x' })
      const next = await back.expect('PUBLISH')
      if (next.topic === 't/minute') {
        const left = Number(property(next, P.messageExpiryInterval))
        assert.ok(left >= 1 && left <= 60, `${left} seconds are left of 60`)
      } else {
        // After a day by the clock on the wall it may count as expired.
        assert.equal(name, 'forward')
        assert.equal(next.topic, 't/end')
      }
    })
  })
}

/** Of one life: it begins at the time that the wall shows then. */
class WallClock extends ManualClock {
  aheadMs = 0

  override wallMs(): number {
    return super.wallMs() + this.aheadMs
  }
}

const nowMs = Date.UTC(2026, 10, 22)
const hourMs = dayMs / 24

/** Lives of a broker one after the other on one disk. */
class Lives {
  readonly #disk = new FaultDisk()
  log = ''

  /** @param body calls `connect` for a Session that is kept for a day: whether it was there */
  async live(
    wallMs: number,
    body: (clock: WallClock, connect: (clientId: string) => Promise<boolean>) => Promise<void>,
  ): Promise<void> {
    const clock = new WallClock(wallMs)
    const writeLog = (line: string) => {
      this.log += line
    }
    const input = { durability: 'fsync', listeners: {}, gracePeriod: 0 } as const
    const broker = createBroker(input, { disk: this.#disk, clock, writeLog })
    await broker.start()
    const connect = async (clientId: string) => {
      const [far, near] = createMemoryPair()
      broker.accept(far)
      const client = RawClient.over(near, 5)
      const properties: Property[] = [[P.sessionExpiryInterval, 86_400]]
      const { sessionPresent } = await client.handshake({ clientId, cleanStart: false, properties })
      await client.disconnect()
      return sessionPresent
    }
    await body(clock, connect)
    await broker.stop()
  }
}

test('fault 53: a life while the clock is wrong moves the end of no Session', async () => {
  for (const wrongMs of [-9 * dayMs, -20_000 * dayMs]) {
    const lives = new Lives()
    await lives.live(nowMs, async (_clock, connect) => void (await connect('away')))
    await lives.live(nowMs + wrongMs, async () => {})
    await lives.live(nowMs + 23 * hourMs, async (_clock, connect) => assert.equal(await connect('away'), true))
    await lives.live(nowMs + 48 * hourMs, async (_clock, connect) => assert.equal(await connect('away'), false))
  }
})

test('fault 53: Sessions whose clients left before the clock was set are there after a restart', async () => {
  for (const aheadMs of [9 * dayMs, -9 * dayMs]) {
    for (const isSeenAtOnce of [true, false]) {
      const lives = new Lives()
      await lives.live(nowMs - aheadMs, async (clock, connect) => {
        await connect('away')
        clock.aheadMs = aheadMs
        // Otherwise it is asleep until it stops.
        if (isSeenAtOnce) clock.advance(1000)
        assert.equal(/the clock of this machine was set/.test(lives.log), isSeenAtOnce)
      })
      await lives.live(nowMs + 23 * hourMs, async (_clock, connect) => assert.equal(await connect('away'), true))
      await lives.live(nowMs + 48 * hourMs, async (_clock, connect) => assert.equal(await connect('away'), false))
    }
  }
})
