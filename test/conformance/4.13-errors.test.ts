// What an error of one client leads to, chapter 4.13: the reason, the closed connection, and neighbours who notice nothing.
// The errors themselves are tested with the packets they occur in.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { variantTest } from '../kit/variants.ts'
import { connect, disconnect, P, packet, publish, subscribe, TYPE } from '../kit/wire.ts'

variantTest(
  '[MQTT-4.13.1-1] a malformed packet or protocol error closes the connection, with its reason in v5',
  {},
  async ({ client, level }) => {
    const neighbour = await client()
    await neighbour.subscribe(['will'])
    const cases: [string, Buffer, number][] = [
      ['packet type 0', packet({ type: 0 }), 0x81],
      ['a length of five bytes', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]), 0x81],
      ['QoS 3', publish({ level, topic: 't', fixedFlags: 6, packetId: 1 }), 0x81],
      ['packet identifier 0', publish({ level, topic: 't', qos: 1, packetId: 0 }), 0x82],
      ['a second CONNECT', connect({ level, clientId: 'x' }), 0x82],
      ['a body that ends early', packet({ type: TYPE.SUBSCRIBE, flags: 2, body: Buffer.from([0]) }), 0x81],
      ['a packet that only servers send', packet({ type: TYPE.CONNACK, body: Buffer.from([0, 0, 0]) }), 0x82],
    ]
    for (const [name, bytes, reasonCode] of cases) {
      const bad = await client({ will: { topic: 'will', payload: name } })
      bad.send(bytes)
      await bad.expectDisconnect(reasonCode)
      // An error is no normal disconnection.
      assert.equal((await neighbour.expect('PUBLISH')).payload.toString(), name)
    }
    await neighbour.expectNothing()
  },
)

variantTest(
  '[MQTT-4.13.1-1] what was in order before the error has its effect, what follows it has none',
  {},
  async ({ client, level }) => {
    const watcher = await client()
    await watcher.subscribe(['#'])
    const bad = await client()
    bad.send(
      publish({ level, topic: 'before', payload: 'x' }),
      packet({ type: 0 }),
      publish({ level, topic: 'after', payload: 'x' }),
    )
    await bad.expectDisconnect(0x81)
    assert.equal((await watcher.expect('PUBLISH')).topic, 'before')
    await watcher.expectNothing()
  },
)

variantTest(
  '[MQTT-4.13.2-1] a CONNACK of 0x80 or more is the end of the connection',
  {},
  async ({ connect: open, level }) => {
    const bad = await open()
    const list = level === 5 ? { properties: [[P.receiveMaximum, 0]] as [number, number][] } : { connectFlags: 0x03 }
    bad.send(connect({ level, clientId: 'x', ...list }), subscribe({ level, packetId: 1, filters: [{ filter: 'a' }] }))
    await bad.expectRefused(0x82)
  },
)

test('[MQTT-4.13.2-1] a DISCONNECT of 0x80 or more from a client ends the connection and keeps the session', () =>
  withBroker({}, async (broker) => {
    const client = await broker.client({ clientId: 'a', properties: [[P.sessionExpiryInterval, 60]] })
    client.send(disconnect({ reasonCode: 0x80 }))
    await client.expectClosed()
    const back = await broker.connect()
    assert.equal((await back.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, true)
  }))
