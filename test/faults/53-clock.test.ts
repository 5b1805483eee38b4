// Row 53 of the table of faults: the clock of the machine jumps by a day. The broker runs in this process, so `Date.now`
// is replaced for it; nothing else is.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { withBroker } from '../kit/broker.ts'
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
