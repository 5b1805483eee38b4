// Answers that are larger than the client's Maximum Packet Size: it is parted with, since it would wait for ever.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { P, subscribe, unsubscribe } from '../kit/wire.ts'

test('CONNACK does not fit: the connection is closed, and nobody is connected', () =>
  withBroker({}, async (broker) => {
    const events: string[] = []
    broker.library!.on('clientConnected', ({ clientId }) => events.push(clientId))
    const client = await broker.connect()
    client.sendConnect({ properties: [[P.maximumPacketSize, 6]] })
    await client.expectClosed()
    assert.deepEqual([broker.library!.connectedClients, broker.library!.counters.sessions, events], [0, 0, []])
  }))

for (const build of [
  (filters: string[]) => unsubscribe({ level: 5, packetId: 1, filters }),
  (filters: string[]) => {
    const list = filters.map((filter) => ({ filter, qos: 0 as const }))
    return subscribe({ level: 5, packetId: 1, filters: list })
  },
]) {
  test('SUBACK or UNSUBACK does not fit: DISCONNECT 0x95', () =>
    withBroker({}, async (broker) => {
      const client = await broker.client({ properties: [[P.maximumPacketSize, 60]] })
      client.send(build(Array.from({ length: 100 }, (_, index) => `f/${index}`)))
      await client.expectDisconnect(0x95)
    }))
}
