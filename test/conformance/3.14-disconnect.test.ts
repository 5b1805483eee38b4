// DISCONNECT in both directions, chapter 3.14, seen from outside, with what it does to the Will and to the session.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { forEachVariant, variantTest } from '../kit/variants.ts'
import { disconnect, P, packet, pingreq, property, publish, TYPE } from '../kit/wire.ts'

const will = { topic: 'will', payload: 'gone' }

variantTest(
  '[MQTT-3.14.0-1] a CONNECT that is turned down gets no DISCONNECT',
  { levels: [5] },
  async ({ connect }) => {
    const bad = await connect()
    bad.sendConnect({ properties: [[P.receiveMaximum, 0]] })
    await bad.expectRefused(0x82)
  },
)

variantTest('[MQTT-3.14.0-1] before CONNECT there is no DISCONNECT either', {}, async ({ connect }) => {
  for (const first of [disconnect(), pingreq(), publish({ topic: 't' })]) {
    const bad = await connect()
    bad.send(first)
    await bad.expectClosed()
  }
})

variantTest(
  '[MQTT-3.14.1-1] DISCONNECT with flags is malformed, and the Will is published',
  { levels: [4, 5] },
  async ({ client }) => {
    const watcher = await client()
    await watcher.subscribe(['will'])
    for (const flags of [1, 2, 8, 15]) {
      const bad = await client({ will })
      bad.send(packet({ type: TYPE.DISCONNECT, flags }))
      await bad.expectDisconnect(0x81)
      assert.equal((await watcher.expect('PUBLISH')).payload.toString(), 'gone')
    }
  },
)

variantTest(
  '[MQTT-3.14.2-1] DISCONNECT with a reason code that is not listed is an error',
  { levels: [5] },
  async ({ client }) => {
    const watcher = await client()
    await watcher.subscribe(['will'])
    for (const reasonCode of [0x01, 0x03, 0x7f, 0xff]) {
      const bad = await client({ will })
      bad.send(disconnect({ reasonCode }))
      const answer = await bad.expect('DISCONNECT')
      assert.ok([0x81, 0x82].includes(answer.reasonCode))
      await bad.expectClosed()
      await watcher.expect('PUBLISH')
    }
  },
)

variantTest(
  '[MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] the server says why, says no more and closes',
  { levels: [5] },
  async ({ client }) => {
    const older = await client({ clientId: 'same', properties: [[P.sessionExpiryInterval, 60]] })
    const newer = await client({ clientId: 'same' })
    const last = await older.expect('DISCONNECT')
    assert.equal(last.reasonCode, 0x8e)
    assert.equal(property(last, P.sessionExpiryInterval), undefined)
    older.send(pingreq())
    await older.expectClosed()
    await newer.expectNothing()
  },
)

variantTest(
  '[MQTT-3.14.2-3] [MQTT-3.14.2-4] DISCONNECT fits into a small Maximum Packet Size',
  { levels: [5] },
  async ({ client }) => {
    const older = await client({ clientId: 'same', properties: [[P.maximumPacketSize, 50]] })
    await client({ clientId: 'same' })
    const last = await older.expect('DISCONNECT')
    assert.equal(last.reasonCode, 0x8e)
    assert.ok(last.bytes.length <= 50)
  },
)

variantTest('with Request Problem Information 0 a DISCONNECT still comes', { levels: [5] }, async ({ client }) => {
  const bad = await client({ properties: [[P.requestProblemInformation, 0]] })
  bad.send(publish({ topic: 'a/+' }))
  assert.equal((await bad.expect('DISCONNECT')).reasonCode, 0x90)
  await bad.expectClosed()
})

variantTest('[MQTT-3.14.4-1] what a client sends after DISCONNECT is not looked at', {}, async ({ client, level }) => {
  const watcher = await client()
  await watcher.subscribe(['#'])
  const leaving = await client({ will })
  leaving.send(disconnect({ level }), publish({ level, topic: 't', payload: 'too late' }), Buffer.from([0, 0, 0]))
  await leaving.expectClosed()
  await watcher.expectNothing()
})

variantTest('[MQTT-3.14.4-2] the server closes after the DISCONNECT of a client', {}, async ({ client }) => {
  await (await client()).disconnect()
})

variantTest(
  '[MQTT-3.14.4-3] [MQTT-3.1.2-10] a normal DISCONNECT throws the Will away',
  {},
  async ({ client, level }) => {
    const watcher = await client()
    await watcher.subscribe(['will'])
    const short = await client({ will })
    await short.disconnect()
    if (level === 5) {
      for (const options of [{ reasonCode: 0 }, { reasonCode: 0, properties: [] }]) {
        const long = await client({ will })
        long.send(disconnect(options))
        await long.expectClosed()
      }
    }
    await watcher.expectNothing()
  },
)

variantTest('DISCONNECT with any other reason publishes the Will', { levels: [5] }, async ({ client }) => {
  const watcher = await client()
  await watcher.subscribe(['will'])
  for (const reasonCode of [0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]) {
    const leaving = await client({ will })
    leaving.send(disconnect({ reasonCode }))
    await leaving.expectClosed()
    assert.equal((await watcher.expect('PUBLISH')).payload.toString(), 'gone')
  }
  await watcher.expectNothing()
})

variantTest('a connection that is cut publishes the Will', {}, async ({ client }) => {
  const watcher = await client()
  await watcher.subscribe(['will'])
  const lost = await client({ will })
  lost.destroy()
  assert.equal((await watcher.expect('PUBLISH')).payload.toString(), 'gone')
  await watcher.expectNothing()
})

variantTest('DISCONNECT can end a session that was to be kept', { levels: [5] }, async ({ client, connect }) => {
  const first = await client({ clientId: 'a', properties: [[P.sessionExpiryInterval, 60]] })
  first.send(disconnect({ reasonCode: 0, properties: [[P.sessionExpiryInterval, 0]] }))
  await first.expectClosed()
  const second = await connect()
  assert.equal((await second.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, false)
})

variantTest(
  'DISCONNECT can lengthen the life of a session',
  { levels: [5], transports: ['unix'] },
  async ({ client, connect }) => {
    const first = await client({ clientId: 'a', properties: [[P.sessionExpiryInterval, 1]] })
    first.send(disconnect({ reasonCode: 0, properties: [[P.sessionExpiryInterval, 60]] }))
    await first.expectClosed()
    await new Promise((resolve) => setTimeout(resolve, 1300))
    const second = await connect()
    assert.equal((await second.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, true)
  },
)

variantTest('DISCONNECT cannot keep a session that was to end', { levels: [5] }, async ({ client, connect }) => {
  const first = await client({ clientId: 'a' })
  first.send(disconnect({ reasonCode: 0, properties: [[P.sessionExpiryInterval, 60]] }))
  await first.expectDisconnect(0x82)
  const second = await connect()
  assert.equal((await second.handshake({ clientId: 'a', cleanStart: false })).sessionPresent, false)
})

variantTest('DISCONNECT with a property that it cannot have is malformed', { levels: [5] }, async ({ client }) => {
  const bad = await client()
  bad.send(disconnect({ reasonCode: 0, properties: [[P.topicAlias, 1]] }))
  await bad.expectDisconnect(0x81)
})

forEachVariant(
  ({ level, transport, name }) => {
    test(`a broker that stops tells its clients 0x8B (${name})`, () =>
      withBroker({}, async (broker) => {
        const client = await broker.client({}, { level, transport })
        const stopped = broker.stop()
        await client.expectDisconnect(0x8b)
        await stopped
      }))
  },
  { levels: [4, 5] },
)

variantTest(
  '[MQTT-3.14.4-1] a takeover under load ends every older connection cleanly',
  { levels: [5] },
  async ({ client }) => {
    const publisher = await client()
    let current = await client({ clientId: 'same' })
    for (let round = 0; round < 20; round++) {
      await current.subscribe(['load'])
      for (let number = 0; number < 20; number++) publisher.send(publish({ topic: 'load', payload: `${number}` }))
      const next = await client({ clientId: 'same' })
      let packetType = ''
      while (packetType !== 'DISCONNECT') packetType = (await current.receive()).type
      await current.expectClosed() // the kit fails if anything came after DISCONNECT
      current = next
    }
  },
)
