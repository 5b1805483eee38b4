// Chapter 3.1, first part: what CONNECT must look like, who is let in, and what happens to those who are not.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { Stopwatch } from '../kit/stopwatch.ts'
import { variantTest } from '../kit/variants.ts'
import {
  auth,
  connect,
  disconnect,
  type Level,
  lengthPrefixed,
  P,
  type Property,
  pingreq,
  property,
  propertyList,
  publish,
  subscribe,
} from '../kit/wire.ts'

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')
const sleep = (durationMs: number) => new Promise((resolve) => setTimeout(resolve, durationMs))

interface SeenCredentials {
  clientId: string
  username: string | null
  password: Buffer | null
}

/** An authenticator that notes what it is asked, and lets in whom `isAllowed` says. */
function witness(isAllowed: (seen: SeenCredentials) => boolean = () => true) {
  const seen: SeenCredentials[] = []
  const authenticate = (given: SeenCredentials) => {
    seen.push({
      clientId: given.clientId,
      username: given.username,
      password: given.password && Buffer.from(given.password),
    })
    return isAllowed(given)
      ? ({ allowed: true } as const)
      : ({ allowed: false, reasonCode: 0x86, reason: 'not on the list' } as const)
  }
  return { seen, hooks: { authenticate } }
}

// The suites run side by side: those that wait for time to pass cost none of their own.
describe('3.1 CONNECT', { concurrency: true }, () => {
  describe('3.1.0 first packet', { concurrency: 16 }, () => {
    const firstPackets: [string, Buffer][] = [
      ['PINGREQ', pingreq()],
      ['PUBLISH', publish({ topic: 't', payload: 'x' })],
      ['SUBSCRIBE', subscribe({ packetId: 1, filters: [{ filter: 't' }] })],
      ['DISCONNECT', disconnect()],
      ['AUTH', auth({ reasonCode: 0x18, properties: [[P.authenticationMethod, 'm']] })],
      ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
      ['packet type 0', bytes('0000')],
      ['CONNACK', bytes('2003000000')],
    ]
    for (const [name, packetBytes] of firstPackets) {
      variantTest(
        `[MQTT-3.1.0-1] [MQTT-3.14.0-1] ${name} as first packet: closed without a word`,
        { levels: [5] },
        async ({ connect: open }) => {
          const a = await open()
          a.send(packetBytes)
          await a.expectClosed()
        },
      )
    }

    variantTest('[MQTT-3.1.0-2] a second CONNECT ends the connection', {}, async ({ client, level }) => {
      const a = await client({ clientId: 'a' })
      a.send(connect({ level, clientId: 'a' }))
      await a.expectDisconnect(0x82)
    })

    variantTest(
      '[MQTT-3.1.0-2] a second CONNECT in the same write as the first',
      {},
      async ({ connect: open, level }) => {
        const a = await open()
        a.send(connect({ level, clientId: 'a' }), connect({ level, clientId: 'b' }))
        await a.expect('CONNACK')
        await a.expectDisconnect(0x82)
      },
    )
  })

  describe('3.1.2 variable header', { concurrency: 16 }, () => {
    for (const protocolName of ['mqtt', 'MQTX', 'MQTTX', 'MQT', 'MQIsdq', '']) {
      variantTest(
        `[MQTT-3.1.2-1] protocol name ${JSON.stringify(protocolName)} is refused`,
        {},
        async ({ connect: open }) => {
          const a = await open()
          a.sendConnect({ protocolName })
          a.level = 4 // whoever speaks an unknown protocol is told in the words of 3.1.1
          await a.expectRefused(0x84, 1)
        },
      )
    }

    for (const protocolLevel of [6, 7, 127, 255]) {
      variantTest(
        `[MQTT-3.1.2-2] protocol version ${protocolLevel} is refused with 0x84`,
        { levels: [5] },
        async ({ connect: open }) => {
          const a = await open()
          a.sendConnect({ protocolLevel })
          await a.expectRefused(0x84)
        },
      )
    }

    for (const protocolLevel of [0, 1, 2]) {
      variantTest(
        `[MQTT-3.1.2-2] protocol version ${protocolLevel} is refused with 1`,
        { levels: [3, 4] },
        async ({ connect: open }) => {
          const a = await open()
          a.sendConnect({ protocolLevel })
          await a.expectRefused(0x84, 1)
        },
      )
    }

    variantTest(
      '[MQTT-3.1.2-1] [MQTT-3.1.2-2] the name of one version with the number of another is refused',
      { levels: [3, 4] },
      async ({ connect: open, level }) => {
        const a = await open()
        a.sendConnect({ protocolLevel: level === 3 ? 4 : 3 })
        await a.expectRefused(0x84, 1)
      },
    )

    for (const protocols of [['3.1.1', '5'], ['3.1', '3.1.1'], ['5']]) {
      const version = { 3: '3.1', 4: '3.1.1', 5: '5' } as const
      variantTest(
        `[MQTT-3.1.2-2] a listener for ${protocols.join(' and ')} refuses other versions`,
        { broker: { listener: { protocols } } },
        async ({ connect: open, level }) => {
          const a = await open()
          a.sendConnect()
          if (protocols.includes(version[level])) assert.equal((await a.expect('CONNACK')).reasonCode, 0)
          else await a.expectRefused(0x84, 1)
        },
      )
    }

    const badFlags: [string, number, string][] = [
      ['[MQTT-3.1.2-3] the reserved flag', 0x03, ''],
      ['[MQTT-3.1.2-11] Will QoS 1 without Will Flag', 0x0a, ''],
      ['[MQTT-3.1.2-11] Will QoS 2 without Will Flag', 0x12, ''],
      ['[MQTT-3.1.2-13] Will Retain without Will Flag', 0x22, ''],
      ['[MQTT-3.1.2-12] Will QoS 3', 0x1e, 'will'],
      ['[MQTT-3.1.2-11] Will QoS 3 without Will Flag', 0x1a, ''],
    ]
    for (const [name, connectFlags, payload] of badFlags) {
      // In 3.1 these bits are merely unused.
      variantTest(`[MQTT-3.1.4-1] ${name} is refused`, { levels: [4, 5] }, async ({ connect: open }) => {
        const a = await open()
        a.sendConnect({ connectFlags, will: payload === 'will' ? { topic: 't', payload: 'x' } : undefined })
        await a.expectRefused(0x81)
      })
    }

    const text = (value: string): Buffer => lengthPrefixed(value)
    const payloads: [string, number, (isFive: boolean) => Buffer][] = [
      ['[MQTT-3.1.2-9] Will Flag without a will', 0x06, () => text('id')],
      [
        '[MQTT-3.1.2-9] Will Flag without a will payload',
        0x06,
        (isFive) => Buffer.concat([text('id'), isFive ? propertyList() : bytes(''), text('t')]),
      ],
      ['[MQTT-3.1.2-17] User Name Flag without a user name', 0x82, () => text('id')],
      ['[MQTT-3.1.2-19] both flags without a password', 0xc2, () => Buffer.concat([text('id'), text('user')])],
      ['[MQTT-3.1.2-19] Password Flag without a password', 0x42, () => text('id')],
      ['[MQTT-3.1.2-16] a user name without User Name Flag', 0x02, () => Buffer.concat([text('id'), text('user')])],
      [
        '[MQTT-3.1.2-18] a password without Password Flag',
        0x82,
        () => Buffer.concat([text('id'), text('user'), text('pass')]),
      ],
      ['[MQTT-3.1.3-3] no client id', 0x02, () => bytes('')],
      ['[MQTT-3.1.3-3] half a client id length', 0x02, () => bytes('00')],
      ['[MQTT-3.1.3-3] a cut client id', 0x02, () => bytes('00056162')],
      ['one byte left over', 0x02, () => Buffer.concat([text('id'), bytes('00')])],
    ]
    for (const [name, connectFlags, rawPayload] of payloads) {
      // 3.1 lets a user name or a password be missing although its flag is set.
      const levels: Level[] = /Flag without a (user|pass)|both flags/.test(name) ? [4, 5] : [3, 4, 5]
      variantTest(`[MQTT-3.1.4-1] ${name} is refused`, { levels }, async ({ connect: open, level }) => {
        const a = await open()
        a.sendConnect({ connectFlags, rawPayload: rawPayload(level === 5) })
        await a.expectRefused(0x81)
      })
    }

    variantTest(
      '[MQTT-3.1.4-1] a CONNECT that ends in its variable header is refused',
      {},
      async ({ connect: open, level }) => {
        const whole = connect({ level, clientId: 'a' })
        for (const bodyLength of [0, 1, 5, level === 3 ? 9 : 7]) {
          const a = await open()
          a.send(Buffer.concat([Buffer.from([0x10, bodyLength]), whole.subarray(2, 2 + bodyLength)]))
          await a.expectRefused(null)
        }
      },
    )

    const protocolErrors: [string, Property[]][] = [
      ['Receive Maximum 0', [[P.receiveMaximum, 0]]],
      ['Maximum Packet Size 0', [[P.maximumPacketSize, 0]]],
      ['Request Response Information 2', [[P.requestResponseInformation, 2]]],
      ['Request Problem Information 2', [[P.requestProblemInformation, 2]]],
      [
        'Session Expiry Interval twice',
        [
          [P.sessionExpiryInterval, 1],
          [P.sessionExpiryInterval, 1],
        ],
      ],
      [
        'Receive Maximum twice',
        [
          [P.receiveMaximum, 5],
          [P.receiveMaximum, 6],
        ],
      ],
      [
        'Maximum Packet Size twice',
        [
          [P.maximumPacketSize, 500],
          [P.maximumPacketSize, 500],
        ],
      ],
      [
        'Topic Alias Maximum twice',
        [
          [P.topicAliasMaximum, 5],
          [P.topicAliasMaximum, 5],
        ],
      ],
      [
        'Request Response Information twice',
        [
          [P.requestResponseInformation, 1],
          [P.requestResponseInformation, 1],
        ],
      ],
      [
        'Request Problem Information twice',
        [
          [P.requestProblemInformation, 1],
          [P.requestProblemInformation, 1],
        ],
      ],
      [
        'Authentication Method twice',
        [
          [P.authenticationMethod, 'm'],
          [P.authenticationMethod, 'm'],
        ],
      ],
      ['Authentication Data without a method', [[P.authenticationData, 'd']]],
    ]
    for (const [name, list] of protocolErrors) {
      variantTest(`[MQTT-3.1.4-1] ${name} is refused with 0x82`, { levels: [5] }, async ({ connect: open }) => {
        const a = await open()
        a.send(connect({ clientId: 'a', properties: list }))
        await a.expectRefused(0x82)
      })
    }

    const willTwice: Property[] = [
      [P.willDelayInterval, 1],
      [P.payloadFormatIndicator, 1],
      [P.messageExpiryInterval, 1],
      [P.contentType, 'c'],
      [P.responseTopic, 'r'],
      [P.correlationData, 'd'],
    ]
    variantTest(
      '[MQTT-3.1.4-1] a will property twice is refused with 0x82',
      { levels: [5] },
      async ({ connect: open }) => {
        for (const entry of willTwice) {
          const a = await open()
          a.sendConnect({ will: { topic: 't', properties: [entry, entry] } })
          await a.expectRefused(0x82)
        }
      },
    )

    variantTest('[MQTT-3.1.4-5] user properties may repeat', { levels: [5] }, async ({ client }) => {
      const a = await client({
        properties: [
          [P.userProperty, ['k', '1']],
          [P.userProperty, ['k', '1']],
          [P.userProperty, ['', '']],
        ],
      })
      await a.expectNothing()
    })

    variantTest('[MQTT-3.3.2-2] a will topic with a wildcard is refused', {}, async ({ connect: open }) => {
      for (const topic of ['a/#', '+', 'a+b', '#']) {
        const a = await open()
        a.sendConnect({ will: { topic, payload: 'x' } })
        await a.expectRefused(0x90)
      }
    })

    variantTest('[MQTT-4.7.3-1] an empty will topic is refused', {}, async ({ connect: open }) => {
      const a = await open()
      a.sendConnect({ will: { topic: '', payload: 'x' } })
      await a.expectRefused(0x90)
    })

    variantTest(
      '[MQTT-3.1.2-28] no Response Information without a request for it',
      { levels: [5] },
      async ({ connect: open }) => {
        for (const list of [[], [[P.requestResponseInformation, 0] as Property]]) {
          const a = await open()
          assert.equal(property(await a.handshake({ properties: list }), P.responseInformation), undefined)
        }
      },
    )

    variantTest(
      '[MQTT-3.1.2-29] Request Problem Information 0: no reason strings nor user properties',
      { levels: [5] },
      async ({ client }) => {
        // The client itself fails for a packet that has them: each of these answers says that something went wrong.
        const a = await client({ properties: [[P.requestProblemInformation, 0]] })
        a.send(subscribe({ packetId: 1, filters: [{ filter: 'a/#/b' }] }))
        await a.expect('SUBACK')
        await a.unsubscribe(['never/subscribed'])
        a.send(publish({ topic: 't', qos: 2, packetId: 5 }), publish({ topic: 't', qos: 1, packetId: 5 }))
        await a.expect('PUBREC')
        assert.equal((await a.expect('PUBACK')).reasonCode, 0x91)
        a.send(bytes('62020063'))
        assert.equal((await a.expect('PUBCOMP')).reasonCode, 0x92)
      },
    )
  })

  describe('3.1.2.10 keep alive', { concurrency: true }, () => {
    variantTest(
      '[MQTT-3.1.2-22] [MQTT-3.2.2-22] [MQTT-3.1.2-20] silence for 1.5 times keep alive ends the connection, and its will is sent',
      {},
      async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['will'])
        const stopwatch = new Stopwatch()
        const a = await client({ keepAliveSeconds: 1, will: { topic: 'will', payload: 'x' } })
        await a.expectEnd()
        stopwatch.assertBetween(1400, 4500, 'closed')
        assert.equal((await observer.expect('PUBLISH')).payload.toString(), 'x')
      },
    )

    variantTest('[MQTT-3.1.2-22] PINGREQ and any other packet keep the connection', {}, async ({ client, level }) => {
      const a = await client({ keepAliveSeconds: 1 })
      for (const packetBytes of [pingreq(), publish({ level, topic: 't' }), pingreq()]) {
        await sleep(900)
        a.send(packetBytes)
      }
      await a.expect('PINGRESP')
      await a.expect('PINGRESP')
      await a.expectNothing()
    })

    variantTest(
      "[MQTT-3.1.2-22] the broker's own packets do not keep a silent client connected",
      {},
      async ({ client }) => {
        const a = await client({ keepAliveSeconds: 1 })
        await a.subscribe(['t'])
        const publisher = await client()
        const stopwatch = new Stopwatch()
        while (!a.isClosed) {
          assert.ok(stopwatch.awakeMs < 6000, 'the silent client is still connected')
          await publisher.publish({ topic: 't' })
          await sleep(200)
        }
      },
    )

    variantTest('[MQTT-3.1.2-22] keep alive 0 never ends a connection', { transports: ['tcp'] }, async ({ client }) => {
      const a = await client({ keepAliveSeconds: 0 })
      await sleep(2500)
      await a.expectNothing()
    })
  })

  describe('3.1.3 payload', { concurrency: 16 }, () => {
    const password = bytes('00ff0a')
    variantTest(
      '[MQTT-3.1.3-1] the order of the payload: id, will properties, topic, payload, user name, password',
      {},
      async ({ broker, connect: open, client, level }) => {
        const { seen, hooks } = witness()
        broker.library?.use(hooks)
        const observer = await client({ clientId: 'observer' })
        await observer.subscribe(['will/topic'])
        const a = await open()
        await a.handshake({
          clientId: 'the-id',
          username: 'the-user',
          password,
          will: { topic: 'will/topic', payload: 'the-will', properties: [[P.contentType, 'the-type']] },
        })
        assert.deepEqual(seen.at(-1), { clientId: 'the-id', username: 'the-user', password })
        a.destroy()
        const message = await observer.expect('PUBLISH')
        assert.equal(message.payload.toString(), 'the-will')
        assert.equal(property(message, P.contentType), level === 5 ? 'the-type' : undefined)
      },
    )

    variantTest(
      '[MQTT-3.1.2-16] [MQTT-3.1.2-18] a missing user name or password is not an empty one',
      {},
      async ({ broker, client, level }) => {
        const { seen, hooks } = witness()
        broker.library?.use(hooks)
        await client({ clientId: 'none' })
        await client({ clientId: 'user', username: 'u' })
        await client({ clientId: 'empty', username: '', password: '' })
        if (level === 5) await client({ clientId: 'password', password: 'p' })
        assert.deepEqual(seen.slice(0, 3), [
          { clientId: 'none', username: null, password: null },
          { clientId: 'user', username: 'u', password: null },
          { clientId: 'empty', username: '', password: Buffer.alloc(0) },
        ])
        if (level === 5) assert.deepEqual(seen[3], { clientId: 'password', username: null, password: Buffer.from('p') })
      },
    )

    variantTest(
      '[MQTT-3.1.4-5] the longest will, user name and password are accepted',
      {},
      async ({ broker, client, connect: open }) => {
        const { seen, hooks } = witness()
        broker.library?.use(hooks)
        const observer = await client()
        await observer.subscribe(['will'])
        const a = await open()
        const longest = Buffer.alloc(65535, 'x')
        await a.handshake({
          clientId: 'a',
          username: longest,
          password: longest,
          will: { topic: 'will', payload: longest },
        })
        assert.equal(seen.at(-1)?.username?.length, 65535)
        assert.equal(seen.at(-1)?.password?.length, 65535)
        a.destroy()
        assert.equal((await observer.expect('PUBLISH')).payload.length, 65535)
      },
    )

    variantTest(
      '[MQTT-3.1.4-1] before MQTT 5 a password needs a user name',
      { levels: [4] },
      async ({ connect: open }) => {
        const a = await open()
        a.sendConnect({ password: 'p' })
        await a.expectRefused(0x81)
      },
    )

    variantTest('[MQTT-3.1.3-5] client ids of 1 to 23 letters and digits are accepted', {}, async ({ client }) => {
      for (const clientId of ['0', 'Zz9', '0123456789abcdefghijABC', 'DEFGHIJKLMNOPQRSTUVWXYZ', 'klmnopqrstuvwxyz']) {
        const a = await client({ clientId })
        await a.expectNothing()
      }
    })

    variantTest(
      '[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] an empty client id gets one of its own, told in CONNACK',
      { levels: [5] },
      async ({ connect: open, client }) => {
        const assigned = new Set<string>()
        for (let index = 0; index < 20; index++) {
          const a = await open()
          const connack = await a.handshake({ clientId: '' })
          const id = property(connack, P.assignedClientIdentifier)
          assert.ok(typeof id === 'string' && id.length > 0, 'Assigned Client Identifier')
          assigned.add(id)
        }
        assert.equal(assigned.size, 20)
        const named = await open()
        assert.equal(property(await named.handshake({ clientId: 'named' }), P.assignedClientIdentifier), undefined)

        const first = await client({ clientId: '', properties: [[P.sessionExpiryInterval, 60]] })
        await first.disconnect()
        const again = await open()
        const connack = await again.handshake({ clientId: first.clientId, cleanStart: false })
        assert.equal(connack.sessionPresent, true)
      },
    )

    variantTest(
      '[MQTT-3.1.3-6] an empty client id is assigned also without Clean Start',
      { levels: [5] },
      async ({ connect: open }) => {
        const a = await open()
        const connack = await a.handshake({ clientId: '', cleanStart: false })
        assert.equal(connack.sessionPresent, false)
        assert.ok(property(connack, P.assignedClientIdentifier))
      },
    )

    variantTest(
      '[MQTT-3.1.3-6] in 3.1.1 an empty client id needs Clean Session',
      { levels: [4] },
      async ({ connect: open }) => {
        const refused = await open()
        refused.sendConnect({ clientId: '', cleanStart: false })
        await refused.expectRefused(0x85, 2)
        const first = await open()
        await first.handshake({ clientId: '', cleanStart: true })
        const second = await open()
        await second.handshake({ clientId: '', cleanStart: true })
        await first.expectNothing()
      },
    )

    variantTest('[MQTT-3.1.3-8] in 3.1 an empty client id is refused', { levels: [3] }, async ({ connect: open }) => {
      const a = await open()
      a.sendConnect({ clientId: '' })
      await a.expectRefused(0x85, 2)
    })

    variantTest(
      '[MQTT-3.1.3-8] a client id over the limit is refused',
      { broker: { limits: { clientIdBytes: 30 } } },
      async ({ connect: open, client }) => {
        await client({ clientId: 'x'.repeat(30) })
        const a = await open()
        a.sendConnect({ clientId: 'x'.repeat(31) })
        await a.expectRefused(0x85, 2)
      },
    )
  })

  describe('3.1.4 actions', { concurrency: 16 }, () => {
    variantTest('[MQTT-3.1.4-5] an accepted CONNECT is answered with CONNACK 0x00', {}, async ({ connect: open }) => {
      const a = await open()
      const connack = await a.handshake()
      assert.equal(connack.reasonCode, 0)
      assert.equal(connack.sessionPresent, false)
    })

    const guarded = { hooks: witness((seen) => seen.clientId !== 'intruder').hooks }
    variantTest(
      '[MQTT-3.1.4-2] [MQTT-3.2.2-7] who is not let in is told so, and the connection ends',
      { broker: guarded },
      async ({ connect: open }) => {
        const a = await open()
        a.sendConnect({ clientId: 'intruder', username: 'u', password: 'p' })
        await a.expectRefused(0x86, 4)
      },
    )

    variantTest(
      '[MQTT-3.1.4-6] nothing that follows a refused CONNECT is processed',
      { broker: guarded },
      async ({ connect: open, client, level }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        const a = await open()
        a.send(
          connect({ level, clientId: 'intruder' }),
          publish({ level, topic: 't', payload: 'x', retain: true }),
          subscribe({ level, packetId: 1, filters: [{ filter: '#' }] }),
          pingreq(),
        )
        await a.expectRefused(0x86, 4)
        await observer.expectNothing()
        const later = await client()
        await later.subscribe(['#'])
        await later.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.4-3] [MQTT-3.1.3-2] the same client id again: the older connection gets 0x8E and ends',
      {},
      async ({ client }) => {
        const older = await client({ clientId: 'same' })
        const other = await client({ clientId: 'other' })
        const newer = await client({ clientId: 'same' })
        await older.expectDisconnect(0x8e)
        await newer.expectNothing()
        await other.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.4-3] a takeover reaches over transports and versions',
      {},
      async ({ broker, client, transport }) => {
        const older = await client({ clientId: 'same' })
        const elsewhere = { level: 5, transport: transport === 'tcp' ? 'unix' : 'tcp' } as const
        const newer = await broker.client({ clientId: 'same' }, elsewhere)
        await older.expectDisconnect(0x8e)
        await newer.expectNothing()
      },
    )

    variantTest(
      '[MQTT-3.1.4-3] a CONNECT that is refused takes over nothing',
      { broker: { hooks: witness((seen) => seen.username === 'right').hooks } },
      async ({ connect: open, client }) => {
        const rightful = await client({ clientId: 'same', username: 'right', password: 'p' })
        const intruder = await open()
        intruder.sendConnect({ clientId: 'same', username: 'wrong', password: 'p' })
        await intruder.expectRefused(0x86, 4)
        await rightful.expectNothing()
      },
    )

    variantTest('[MQTT-3.1.4-3] client ids of different case are different clients', {}, async ({ client }) => {
      const lower = await client({ clientId: 'same' })
      const upper = await client({ clientId: 'SAME' })
      await lower.expectNothing()
      await upper.expectNothing()
    })
  })
})
