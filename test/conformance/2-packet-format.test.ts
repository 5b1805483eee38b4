// Chapter 2: fixed header, packet identifiers, properties, and packets that are longer or shorter than their fields.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { variantTest } from '../kit/variants.ts'
import {
  auth,
  connect,
  disconnect,
  type Level,
  P,
  type Property,
  packet,
  puback,
  pubcomp,
  publish,
  pubrec,
  pubrel,
  subscribe,
  TYPE,
  u16,
  unsubscribe,
} from '../kit/wire.ts'

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')

describe('2.1 Structure of a packet', { concurrency: 16 }, () => {
  const withFlags: [string, (level: Level, fixedFlags: number) => Buffer, number[]][] = [
    ['PUBACK', (level, fixedFlags) => puback({ level, packetId: 1, fixedFlags }), [1, 2, 8]],
    ['PUBREC', (level, fixedFlags) => pubrec({ level, packetId: 1, fixedFlags }), [2]],
    ['[MQTT-3.6.1-1] PUBREL', (level, fixedFlags) => pubrel({ level, packetId: 1, fixedFlags }), [0, 3, 6, 10]],
    ['PUBCOMP', (level, fixedFlags) => pubcomp({ level, packetId: 1, fixedFlags }), [4]],
    [
      '[MQTT-3.8.1-1] SUBSCRIBE',
      (level, fixedFlags) => subscribe({ level, packetId: 1, filters: [{ filter: 't' }], fixedFlags }),
      [0, 3, 10],
    ],
    [
      '[MQTT-3.10.1-1] UNSUBSCRIBE',
      (level, fixedFlags) => unsubscribe({ level, packetId: 1, filters: ['t'], fixedFlags }),
      [0, 3, 10],
    ],
    ['PINGREQ', (_level, flags) => packet({ type: TYPE.PINGREQ, flags }), [1, 8]],
    ['[MQTT-3.14.1-1] DISCONNECT', (_level, flags) => packet({ type: TYPE.DISCONNECT, flags }), [1, 2]],
  ]
  for (const [name, build, wrongFlags] of withFlags) {
    for (const flags of wrongFlags) {
      // MQTT 3.1 has DUP and QoS bits in several of these headers, so it is left out.
      variantTest(`[MQTT-2.1.3-1] ${name} with flags ${flags} is refused`, { levels: [4, 5] }, async ({ client }) => {
        const a = await client()
        a.send(build(a.level, flags))
        await a.expectDisconnect(0x81)
      })
    }
  }

  variantTest('[MQTT-2.1.3-1] [MQTT-3.15.1-1] AUTH with flags is refused', { levels: [5] }, async ({ client }) => {
    const a = await client()
    a.send(auth({ reasonCode: 0x19, properties: [[P.authenticationMethod, 'x']], fixedFlags: 2 }))
    await a.expectDisconnect(0x81)
  })

  variantTest('[MQTT-2.1.3-1] CONNECT with flags is refused', {}, async ({ connect: open }) => {
    const a = await open()
    a.sendConnect({ fixedFlags: 1 })
    await a.expectRefused(null)
  })

  variantTest('[MQTT-2.1.3-1] packet type 0 is refused', {}, async ({ client }) => {
    const a = await client()
    a.send(packet({ type: 0 }))
    await a.expectDisconnect(0x81)
  })

  variantTest('[MQTT-2.1.3-1] packet type 15 is refused before MQTT 5', { levels: [3, 4] }, async ({ client }) => {
    const a = await client()
    a.send(packet({ type: TYPE.AUTH }))
    await a.expectClosed()
  })

  const fromServers: [string, (level: Level) => Buffer][] = [
    ['CONNACK', (level) => packet({ type: TYPE.CONNACK, body: bytes(level === 5 ? '000000' : '0000') })],
    ['SUBACK', (level) => packet({ type: TYPE.SUBACK, body: bytes(level === 5 ? '00010000' : '000100') })],
    ['UNSUBACK', (level) => packet({ type: TYPE.UNSUBACK, body: bytes(level === 5 ? '00010000' : '0001') })],
    ['PINGRESP', () => packet({ type: TYPE.PINGRESP })],
  ]
  for (const [name, build] of fromServers) {
    variantTest(`[MQTT-4.13.1-1] ${name} from a client is refused`, {}, async ({ client }) => {
      const a = await client()
      a.send(build(a.level))
      await a.expectDisconnect(0x82)
    })
  }

  const wrongLength: [string, Level[], (level: Level) => Buffer][] = [
    ['PINGREQ with a body', [3, 4, 5], () => packet({ type: TYPE.PINGREQ, body: bytes('00') })],
    ['DISCONNECT with a body', [3, 4], () => packet({ type: TYPE.DISCONNECT, body: bytes('00') })],
    [
      'DISCONNECT with a byte left over',
      [5],
      () => disconnect({ reasonCode: 0, properties: [], trailing: bytes('00') }),
    ],
    ['PUBACK of one byte', [3, 4, 5], () => packet({ type: TYPE.PUBACK, body: bytes('00') })],
    ['PUBACK of no byte', [3, 4, 5], () => packet({ type: TYPE.PUBACK })],
    ['PUBACK with a byte left over', [3, 4], (level) => puback({ level, packetId: 1, trailing: bytes('00') })],
    [
      'PUBACK with a byte left over',
      [5],
      () => puback({ packetId: 1, reasonCode: 0, properties: [], trailing: bytes('00') }),
    ],
    ['PUBREL of one byte', [3, 4, 5], () => packet({ type: TYPE.PUBREL, flags: 2, body: bytes('00') })],
    ['PUBLISH without a topic', [3, 4, 5], () => packet({ type: TYPE.PUBLISH })],
    ['PUBLISH whose topic is cut', [3, 4, 5], () => packet({ type: TYPE.PUBLISH, body: bytes('000561') })],
    [
      'PUBLISH QoS 1 that ends before its packet identifier',
      [3, 4, 5],
      () => packet({ type: TYPE.PUBLISH, flags: 2, body: bytes('00017400') }),
    ],
    ['PUBLISH without property length', [5], () => packet({ type: TYPE.PUBLISH, body: bytes('000174') })],
    ['SUBSCRIBE without a packet identifier', [3, 4, 5], () => packet({ type: TYPE.SUBSCRIBE, flags: 2 })],
    [
      'SUBSCRIBE whose filter has no options',
      [3, 4, 5],
      (level) => packet({ type: TYPE.SUBSCRIBE, flags: 2, body: bytes(level === 5 ? '000100000174' : '0001000174') }),
    ],
    [
      'SUBSCRIBE with a byte left over',
      [3, 4, 5],
      (level) => subscribe({ level, packetId: 1, filters: [{ filter: 't' }], trailing: bytes('00') }),
    ],
    [
      'UNSUBSCRIBE whose filter is cut',
      [3, 4, 5],
      (level) => packet({ type: TYPE.UNSUBSCRIBE, flags: 2, body: bytes(level === 5 ? '000100000574' : '0001000574') }),
    ],
  ]
  for (const [name, levels, build] of wrongLength) {
    variantTest(`[MQTT-4.13.1-1] ${name} is refused`, { levels }, async ({ client }) => {
      const a = await client()
      a.send(build(a.level))
      await a.expectDisconnect(0x81)
    })
  }
})

describe('2.2.1 Packet Identifier', { concurrency: 16 }, () => {
  variantTest('[MQTT-2.2.1-2] QoS 0 goes out without a packet identifier', {}, async ({ client }) => {
    const subscriber = await client()
    await subscriber.subscribe(['t'], { qos: 2 })
    const publisher = await client()
    await publisher.publish({ topic: 't', payload: 'x', qos: 0 })
    const message = await subscriber.expect('PUBLISH')
    const expected = message.bytes[1] === 5 ? '3005000174' + '0078' : '300400017478'
    assert.equal(message.bytes.toString('hex'), expected)
  })

  const withId: [string, (level: Level, packetId: number) => Buffer][] = [
    ['PUBLISH QoS 1', (level, packetId) => publish({ level, topic: 't', qos: 1, packetId })],
    ['PUBLISH QoS 2', (level, packetId) => publish({ level, topic: 't', qos: 2, packetId })],
    ['SUBSCRIBE', (level, packetId) => subscribe({ level, packetId, filters: [{ filter: 't' }] })],
    ['UNSUBSCRIBE', (level, packetId) => unsubscribe({ level, packetId, filters: ['t'] })],
  ]
  for (const [name, build] of withId) {
    variantTest(`[MQTT-2.2.1-3] ${name} with packet identifier 0 is refused`, {}, async ({ client }) => {
      const a = await client()
      a.send(build(a.level, 0))
      await a.expectDisconnect(0x82)
    })
  }

  variantTest(
    '[MQTT-2.2.1-3] QoS 1 with an identifier open in QoS 2 is refused with 0x91',
    { levels: [5] },
    async ({ client }) => {
      const a = await client()
      a.send(publish({ topic: 't', qos: 2, packetId: 9 }))
      await a.expect('PUBREC')
      a.send(publish({ topic: 't', qos: 1, packetId: 9 }))
      const puback = await a.expect('PUBACK')
      assert.equal(puback.packetId, 9)
      assert.equal(puback.reasonCode, 0x91)
    },
  )

  variantTest('[MQTT-2.2.1-4] open messages have different identifiers, none 0', {}, async ({ client }) => {
    const subscriber = await client()
    await subscriber.subscribe(['t'], { qos: 2 })
    const publisher = await client()
    const open = new Set<number>()
    for (let index = 0; index < 20; index++) {
      await publisher.publish({ topic: 't', payload: `${index}`, qos: 1 + (index % 2) })
      const message = await subscriber.expect('PUBLISH') // the kit refuses identifier 0
      assert.ok(!open.has(message.packetId!), `identifier ${message.packetId} is used twice`)
      open.add(message.packetId!)
    }
    assert.equal(open.size, 20)
  })

  variantTest(
    '[MQTT-2.2.1-4] identifiers wrap around and go past the one still open',
    { levels: [5], transports: ['unix'] },
    async ({ client }) => {
      const subscriber = await client()
      await subscriber.subscribe(['t'], { qos: 1 })
      const publisher = await client()
      await publisher.publish({ topic: 't', qos: 1 })
      const { packetId: held } = await subscriber.expect('PUBLISH')
      const batchSize = 500
      for (let sent = 0; sent < 66_000; sent += batchSize) {
        const batch = Array.from({ length: batchSize }, (_, index) =>
          publish({ topic: 't', qos: 1, packetId: index + 1 }),
        )
        publisher.send(...batch)
        const acknowledgements: Buffer[] = []
        for (let index = 0; index < batchSize; index++) {
          await publisher.expect('PUBACK')
          const message = await subscriber.expect('PUBLISH')
          assert.notEqual(message.packetId, held)
          acknowledgements.push(puback({ packetId: message.packetId! }))
          if (acknowledgements.length < 10 && index < batchSize - 1) continue
          subscriber.send(...acknowledgements.splice(0))
        }
      }
    },
  )

  for (const packetId of [1, 255, 256, 65535]) {
    variantTest(
      `[MQTT-2.2.1-5] [MQTT-2.2.1-6] answers repeat packet identifier ${packetId}`,
      {},
      async ({ client, level }) => {
        const a = await client()
        a.send(publish({ level, topic: 't', qos: 1, packetId }))
        assert.equal((await a.expect('PUBACK')).packetId, packetId)
        a.send(publish({ level, topic: 't', qos: 2, packetId }))
        assert.equal((await a.expect('PUBREC')).packetId, packetId)
        a.send(pubrel({ level, packetId }))
        assert.equal((await a.expect('PUBCOMP')).packetId, packetId)
        a.send(subscribe({ level, packetId, filters: [{ filter: 's' }] }))
        assert.equal((await a.expect('SUBACK')).packetId, packetId)
        a.send(unsubscribe({ level, packetId, filters: ['s'] }))
        assert.equal((await a.expect('UNSUBACK')).packetId, packetId)
      },
    )
  }

  variantTest('[MQTT-2.2.1-5] PUBREL repeats the identifier of the PUBLISH', {}, async ({ client, level }) => {
    const subscriber = await client()
    await subscriber.subscribe(['t'], { qos: 2 })
    const publisher = await client()
    await publisher.publish({ topic: 't', qos: 2 })
    const message = await subscriber.expect('PUBLISH')
    subscriber.send(pubrec({ level, packetId: message.packetId! }))
    assert.equal((await subscriber.expect('PUBREL')).packetId, message.packetId)
    subscriber.send(pubcomp({ level, packetId: message.packetId! }))
  })

  variantTest('[MQTT-2.2.1-4] both directions count their identifiers apart', {}, async ({ client, level }) => {
    const a = await client()
    await a.subscribe(['t'], { qos: 1 })
    const other = await client()
    await other.publish({ topic: 't', qos: 1 })
    const message = await a.expect('PUBLISH')
    a.send(publish({ level, topic: 'elsewhere', qos: 1, packetId: message.packetId! }))
    assert.equal((await a.expect('PUBACK')).packetId, message.packetId)
    a.send(puback({ level, packetId: message.packetId! }))
    await a.expectNothing()
  })
})

describe('2.2.2 Properties', { concurrency: 16 }, () => {
  variantTest('[MQTT-2.2.2-1] no properties are a property length of zero', { levels: [5] }, async ({ client }) => {
    const a = await client()
    a.send(subscribe({ packetId: 1, filters: [{ filter: 't' }] }))
    assert.equal((await a.expect('SUBACK')).bytes.toString('hex'), '9004' + '00010000')
    a.send(publish({ topic: 't', payload: 'x' }))
    assert.equal((await a.expect('PUBLISH')).bytes.toString('hex'), '3005' + '000174' + '00' + '78')
    a.send(unsubscribe({ packetId: 2, filters: ['t'] }))
    assert.equal((await a.expect('UNSUBACK')).bytes.toString('hex'), 'b004' + '00020000')
  })

  const all: [string, Property][] = [
    ['Payload Format Indicator', [P.payloadFormatIndicator, 1]],
    ['Message Expiry Interval', [P.messageExpiryInterval, 10]],
    ['Content Type', [P.contentType, 'c']],
    ['Response Topic', [P.responseTopic, 'r']],
    ['Correlation Data', [P.correlationData, 'd']],
    ['Subscription Identifier', [P.subscriptionIdentifier, 1]],
    ['Session Expiry Interval', [P.sessionExpiryInterval, 10]],
    ['Assigned Client Identifier', [P.assignedClientIdentifier, 'a']],
    ['Server Keep Alive', [P.serverKeepAlive, 10]],
    ['Authentication Method', [P.authenticationMethod, 'm']],
    ['Authentication Data', [P.authenticationData, 'd']],
    ['Request Problem Information', [P.requestProblemInformation, 1]],
    ['Will Delay Interval', [P.willDelayInterval, 1]],
    ['Request Response Information', [P.requestResponseInformation, 1]],
    ['Response Information', [P.responseInformation, 'r']],
    ['Server Reference', [P.serverReference, 's']],
    ['Reason String', [P.reasonString, 'r']],
    ['Receive Maximum', [P.receiveMaximum, 10]],
    ['Topic Alias Maximum', [P.topicAliasMaximum, 10]],
    ['Topic Alias', [P.topicAlias, 1]],
    ['Maximum QoS', [P.maximumQos, 1]],
    ['Retain Available', [P.retainAvailable, 1]],
    ['Maximum Packet Size', [P.maximumPacketSize, 1000]],
    ['Wildcard Subscription Available', [P.wildcardSubscriptionAvailable, 1]],
    ['Subscription Identifier Available', [P.subscriptionIdentifierAvailable, 1]],
    ['Shared Subscription Available', [P.sharedSubscriptionAvailable, 1]],
    ['identifier 0', bytes('0000')],
    ['unknown identifier 0x04', bytes('0400')],
    ['unknown identifier 0x7f', bytes('7f00')],
    ['unknown identifier of two bytes', bytes('800100')],
  ]
  const messageProperties: number[] = [
    P.payloadFormatIndicator,
    P.messageExpiryInterval,
    P.contentType,
    P.responseTopic,
    P.correlationData,
  ]
  const notIn = (allowed: number[]): [string, Property][] =>
    all.filter(([, property]) => Buffer.isBuffer(property) || !allowed.includes(property[0]))

  const places: [string, number[], (properties: Property[]) => Buffer][] = [
    // Subscription Identifier has its place in PUBLISH, but only from a server: [MQTT-3.3.4-6].
    [
      'PUBLISH',
      [...messageProperties, P.topicAlias, P.subscriptionIdentifier],
      (properties) => publish({ topic: 't', properties }),
    ],
    [
      'SUBSCRIBE',
      [P.subscriptionIdentifier],
      (properties) => subscribe({ packetId: 1, filters: [{ filter: 't' }], properties }),
    ],
    ['UNSUBSCRIBE', [], (properties) => unsubscribe({ packetId: 1, filters: ['t'], properties })],
    ['PUBACK', [P.reasonString], (properties) => puback({ packetId: 1, properties })],
    ['PUBREC', [P.reasonString], (properties) => pubrec({ packetId: 1, properties })],
    ['PUBREL', [P.reasonString], (properties) => pubrel({ packetId: 1, properties })],
    ['PUBCOMP', [P.reasonString], (properties) => pubcomp({ packetId: 1, properties })],
    [
      'DISCONNECT',
      [P.reasonString, P.sessionExpiryInterval, P.serverReference],
      (properties) => disconnect({ properties }),
    ],
    ['AUTH', [P.authenticationMethod, P.authenticationData, P.reasonString], (properties) => auth({ properties })],
  ]
  for (const [name, allowed, build] of places) {
    variantTest(
      `[MQTT-4.13.1-1] properties that ${name} does not have are refused and not forwarded`,
      { levels: [5] },
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        for (const [what, property] of notIn(allowed)) {
          const a = await client()
          a.send(build([property]))
          await a.expectDisconnect(0x81).catch((error: Error) => assert.fail(`${what}: ${error.message}`))
        }
        await observer.expectNothing()
      },
    )
  }

  const connectProperties: number[] = [
    P.sessionExpiryInterval,
    P.receiveMaximum,
    P.maximumPacketSize,
    P.topicAliasMaximum,
    P.requestResponseInformation,
    P.requestProblemInformation,
    P.authenticationMethod,
    P.authenticationData,
  ]
  variantTest(
    '[MQTT-4.13.1-1] properties that CONNECT does not have are refused',
    { levels: [5] },
    async ({ connect: open }) => {
      for (const [what, property] of notIn(connectProperties)) {
        const a = await open()
        a.sendConnect({ properties: [property] })
        await a.expectRefused(0x81).catch((error: Error) => assert.fail(`${what}: ${error.message}`))
      }
    },
  )

  variantTest(
    '[MQTT-4.13.1-1] properties that a will does not have are refused',
    { levels: [5] },
    async ({ connect: open }) => {
      for (const [what, property] of notIn([...messageProperties, P.willDelayInterval])) {
        const a = await open()
        a.sendConnect({ will: { topic: 't', properties: [property] } })
        await a.expectRefused(0x81).catch((error: Error) => assert.fail(`${what}: ${error.message}`))
      }
    },
  )

  const lists: [string, number][] = [
    ['past the end of the packet', 100],
    ['that cuts a property', 3],
  ]
  for (const [what, propertyLength] of lists) {
    variantTest(
      `[MQTT-4.13.1-1] a property length ${what} is refused`,
      { levels: [5] },
      async ({ client, connect: open }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        const list: Property[] = [[P.userProperty, ['k', 'v']]]
        const packets = [
          publish({ topic: 't', properties: list, propertyLength }),
          subscribe({ packetId: 1, filters: [{ filter: 't' }], properties: list, propertyLength }),
          puback({ packetId: 1, properties: list, propertyLength }),
          disconnect({ properties: list, propertyLength }),
        ]
        for (const packetBytes of packets) {
          const a = await client()
          a.send(packetBytes)
          await a.expectDisconnect(0x81)
        }
        const a = await open()
        a.send(connect({ clientId: 'a', properties: list, propertyLength }))
        await a.expectRefused(0x81)
        await observer.expectNothing()
      },
    )
  }

  const twice: [string, (properties: Property[]) => Buffer, Property][] = [
    ['PUBLISH', (properties) => publish({ topic: 't', properties }), [P.contentType, 'c']],
    ['PUBLISH', (properties) => publish({ topic: 't', properties }), [P.payloadFormatIndicator, 1]],
    ['PUBLISH', (properties) => publish({ topic: 't', properties }), [P.messageExpiryInterval, 9]],
    ['PUBLISH', (properties) => publish({ topic: 't', properties }), [P.topicAlias, 1]],
    ['PUBLISH', (properties) => publish({ topic: 't', properties }), [P.responseTopic, 'r']],
    ['PUBLISH', (properties) => publish({ topic: 't', properties }), [P.correlationData, 'd']],
    [
      'SUBSCRIBE',
      (properties) => subscribe({ packetId: 1, filters: [{ filter: 't' }], properties }),
      [P.subscriptionIdentifier, 1],
    ],
    ['PUBACK', (properties) => puback({ packetId: 1, properties }), [P.reasonString, 'r']],
    ['DISCONNECT', (properties) => disconnect({ properties }), [P.sessionExpiryInterval, 1]],
  ]
  variantTest('[MQTT-4.13.1-1] a property given twice is refused', { levels: [5] }, async ({ client }) => {
    for (const [name, build, property] of twice) {
      const a = await client()
      a.send(build([property, property]))
      await a.expectDisconnect(0x82).catch((error: Error) => assert.fail(`${name} ${property[0]}: ${error.message}`))
    }
  })
})

describe('2.2 Packet identifiers that may be missing', () => {
  variantTest(
    '[MQTT-2.2.1-2] QoS 0 from a client has no identifier: its bytes are payload',
    {},
    async ({ client, level }) => {
      const a = await client()
      await a.subscribe(['t'])
      const tail = u16(0x4142)
      a.send(publish({ level, topic: 't', payload: tail }))
      assert.deepEqual((await a.expect('PUBLISH')).payload, tail)
    },
  )
})
