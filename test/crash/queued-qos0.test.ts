// QoS 0 messages that wait in a stored queue: there after a kill, and given at most once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConnectOptions, P, publish, type ServerPacket } from '../kit/wire.ts'
import { CrashPlace } from './place.ts'

const kept: ConnectOptions = { clientId: 'absent', cleanStart: false, properties: [[P.sessionExpiryInterval, 3600]] }
const count = 10_000
const padding = 'x'.repeat(1000)
const mostKills = 3
/** What may be on its way to a client when the broker dies: 64 KiB between the queue and the output, and what the output holds. */
const mostOnTheirWay = 64 + 2 * 64

for (const durability of ['fsync', 'os'] as const) {
  test(`${durability}: queued QoS 0 outlives kills, and none comes twice`, async (t) => {
    const place = new CrashPlace(t, { durability, limits: { queueQos0: true, outputBytes: '64KiB' } })
    await place.broker.start()
    const { client: absent } = await place.client(kept)
    await absent.subscribe(['zero'], { qos: 0 })
    await absent.subscribe(['one'], { qos: 1 })
    await absent.disconnect()
    const { client: publisher } = await place.client()
    for (let number = 0; number < count; number++)
      publisher.send(publish({ topic: 'zero', payload: `${number} ${padding}` }))
    // Its acknowledgement says that what came before is stored too.
    assert.equal(await publisher.publish({ topic: 'one', qos: 1, payload: 'last' }), 0)
    await place.kill()

    const numbers: number[] = []
    let kills = 0
    let isOver = false
    const take = (packet: ServerPacket) => {
      if (packet.type !== 'PUBLISH') return
      if (packet.topic === 'one') isOver = true
      else {
        assert.deepEqual([packet.qos, packet.dup], [0, false])
        numbers.push(Number.parseInt(packet.payload.toString(), 10))
      }
    }
    while (!isOver) {
      await place.broker.start()
      const { client, isPresent } = await place.client(kept)
      assert.equal(isPresent, true)
      const isLast = kills === mostKills
      for (let taken = 0; !isOver && (isLast || taken < 300 * (kills + 1)); taken++) take(await client.receive())
      if (isLast) break
      await place.kill()
      kills++
      // What had come to us before the kill counts as well.
      for (const packet of client.unread) take(packet)
    }
    for (const [index, number] of numbers.entries()) {
      if (index > 0) assert.ok(number > numbers[index - 1], `${number} comes after ${numbers[index - 1]}`)
    }
    assert.equal(numbers[0], 0)
    assert.equal(numbers.at(-1), count - 1)
    const lost = count - numbers.length
    t.diagnostic(`${lost} of ${count} were lost on their way, ${kills} kills`)
    assert.ok(lost <= kills * mostOnTheirWay, `${lost} were lost`)
  })
}
