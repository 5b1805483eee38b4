// Chapter 1.5: strings, string pairs and variable byte integers, wherever they stand in a packet.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { variantTest } from '../kit/variants.ts'
import {
  auth,
  disconnect,
  lengthPrefixed,
  P,
  type Property,
  packet,
  properties,
  puback,
  publish,
  subscribe,
  TYPE,
  u16,
  unsubscribe,
  varint,
} from '../kit/wire.ts'

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')

/** What must never be taken for text, by name. */
const badStrings: [string, Buffer][] = [
  ['a lone continuation byte', bytes('80')],
  ['an overlong slash', bytes('c0af')],
  ['a truncated sequence', bytes('61c3')],
  ['a high surrogate', bytes('eda080')],
  ['a low surrogate', bytes('edbfbf')],
  ['a surrogate pair', bytes('eda081edb080')],
  ['a code point above U+10FFFF', bytes('f4908080')],
  ['the byte FF', bytes('ff')],
  ['U+0000', bytes('610062')],
]
/** One for each way of being wrong, where all of them would only repeat themselves. */
const representatives = [badStrings[1], badStrings[3], badStrings[8]]

const IDS = '[MQTT-1.5.4-1] [MQTT-1.5.4-2]'

describe('1.5 Data representation', { concurrency: 16 }, () => {
  for (const [name, bad] of badStrings) {
    variantTest(`${IDS} [MQTT-3.3.2-1] topic with ${name} is refused and not forwarded`, {}, async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['#'])
      const sender = await client()
      sender.send(publish({ level: sender.level, topic: bad, payload: 'x' }))
      await sender.expectDisconnect(0x81)
      await observer.expectNothing()
    })
  }

  for (const [name, bad] of representatives) {
    variantTest(`${IDS} [MQTT-3.1.3-4] client id with ${name} is refused`, {}, async ({ connect }) => {
      const client = await connect()
      client.sendConnect({ clientId: bad })
      await client.expectRefused(0x81)
    })

    variantTest(`${IDS} [MQTT-3.1.3-12] user name with ${name} is refused`, {}, async ({ connect }) => {
      const client = await connect()
      client.sendConnect({ username: bad, password: 'x' })
      await client.expectRefused(0x81)
    })

    variantTest(`${IDS} [MQTT-3.1.3-11] will topic with ${name} is refused`, {}, async ({ client, connect }) => {
      const observer = await client()
      await observer.subscribe(['#'])
      const sender = await connect()
      sender.sendConnect({ will: { topic: bad, payload: 'x' } })
      await sender.expectRefused(0x81)
      await observer.expectNothing()
    })

    variantTest(`${IDS} [MQTT-3.8.3-1] filter with ${name} in SUBSCRIBE is refused`, {}, async ({ client }) => {
      const a = await client()
      a.send(subscribe({ level: a.level, packetId: 1, filters: [{ filter: bad }] }))
      await a.expectDisconnect(0x81)
    })

    variantTest(`${IDS} [MQTT-3.10.3-1] filter with ${name} in UNSUBSCRIBE is refused`, {}, async ({ client }) => {
      const a = await client()
      a.send(unsubscribe({ level: a.level, packetId: 1, filters: [bad] }))
      await a.expectDisconnect(0x81)
    })

    const inPublish: [string, Property][] = [
      ['[MQTT-3.3.2-13] Response Topic', [P.responseTopic, bad]],
      ['[MQTT-3.3.2-19] Content Type', [P.contentType, bad]],
      ['[MQTT-1.5.7-1] User Property name', [P.userProperty, [bad, 'v']]],
      ['[MQTT-1.5.7-1] User Property value', [P.userProperty, ['k', bad]]],
    ]
    for (const [what, property] of inPublish) {
      variantTest(`${IDS} ${what} of PUBLISH with ${name} is refused`, { levels: [5] }, async ({ client }) => {
        const observer = await client()
        await observer.subscribe(['#'])
        const sender = await client()
        sender.send(publish({ topic: 't', payload: 'x', properties: [property] }))
        await sender.expectDisconnect(0x81)
        await observer.expectNothing()
      })
    }

    const inOthers: [string, Buffer][] = [
      [
        'SUBSCRIBE User Property',
        subscribe({ packetId: 1, filters: [{ filter: 't' }], properties: [[P.userProperty, ['k', bad]]] }),
      ],
      [
        'UNSUBSCRIBE User Property',
        unsubscribe({ packetId: 1, filters: ['t'], properties: [[P.userProperty, [bad, 'v']]] }),
      ],
      ['PUBACK Reason String', puback({ packetId: 1, reasonCode: 0x80, properties: [[P.reasonString, bad]] })],
      ['DISCONNECT Reason String', disconnect({ reasonCode: 0, properties: [[P.reasonString, bad]] })],
      ['AUTH Authentication Method', auth({ reasonCode: 0x19, properties: [[P.authenticationMethod, bad]] })],
    ]
    for (const [what, packetBytes] of inOthers) {
      variantTest(`${IDS} [MQTT-1.5.7-1] ${what} with ${name} is refused`, { levels: [5] }, async ({ client }) => {
        const a = await client()
        a.send(packetBytes)
        await a.expectDisconnect(0x81)
      })
    }

    const inConnect: [string, Property[], Property[] | null][] = [
      ['Authentication Method', [[P.authenticationMethod, bad]], null],
      ['User Property', [[P.userProperty, ['k', bad]]], null],
      ['will User Property', [], [[P.userProperty, [bad, 'v']]]],
      ['will Content Type', [], [[P.contentType, bad]]],
      ['will Response Topic', [], [[P.responseTopic, bad]]],
    ]
    for (const [what, ofConnect, ofWill] of inConnect) {
      variantTest(
        `${IDS} [MQTT-1.5.7-1] CONNECT ${what} with ${name} is refused`,
        { levels: [5] },
        async ({ connect }) => {
          const a = await connect()
          a.sendConnect({ properties: ofConnect, will: ofWill ? { topic: 't', properties: ofWill } : undefined })
          await a.expectRefused(0x81)
        },
      )
    }
  }

  variantTest('[MQTT-1.5.4-3] U+FEFF is kept and is part of a topic', {}, async ({ client }) => {
    const plain = await client()
    await plain.subscribe(['a'])
    const marked = await client()
    await marked.subscribe(['\uFEFFa'])
    const sender = await client()
    await sender.publish({ topic: '\uFEFFa', payload: '\uFEFFx' })
    const message = await marked.expect('PUBLISH')
    assert.equal(message.topic, '\uFEFFa')
    assert.deepEqual(message.payload, bytes('efbbbf78'))
    await plain.expectNothing()
  })

  variantTest('[MQTT-1.5.4-3] U+FEFF makes another client id', {}, async ({ client }) => {
    const plain = await client({ clientId: 'same' })
    const marked = await client({ clientId: '\uFEFFsame' })
    await plain.expectNothing()
    await marked.expectNothing()
  })

  variantTest('[MQTT-1.5.4-3] U+FEFF is kept in properties', { levels: [5] }, async ({ client }) => {
    const a = await client()
    await a.subscribe(['t'])
    a.send(
      publish({
        topic: 't',
        properties: [
          [P.contentType, '\uFEFFc'],
          [P.userProperty, ['\uFEFFk', '\uFEFFv']],
        ],
      }),
    )
    const message = await a.expect('PUBLISH')
    assert.deepEqual(properties(message, P.contentType), ['\uFEFFc'])
    assert.deepEqual(properties(message, P.userProperty), [['\uFEFFk', '\uFEFFv']])
  })

  variantTest('[MQTT-1.5.4-1] every length of UTF-8 sequence is text', {}, async ({ client }) => {
    const a = await client({ clientId: 'ü€𐍈' })
    const topic = 'aü/€/\u{10FFFD}/\uD7FF\uE000'
    await a.subscribe([topic])
    a.send(publish({ level: a.level, topic, payload: 'x' }))
    assert.equal((await a.expect('PUBLISH')).topic, topic)
  })

  variantTest('[MQTT-1.5.5-1] remaining length of five bytes is refused', {}, async ({ client }) => {
    const a = await client()
    a.send(packet({ type: TYPE.PINGREQ, remainingLength: bytes('8080808001') }))
    await a.expectDisconnect(0x81)
  })

  const notMinimal: [string, Buffer][] = [
    ['remaining length', packet({ type: TYPE.PINGREQ, remainingLength: bytes('8000') })],
    [
      'property length',
      packet({ type: TYPE.PUBLISH, body: Buffer.concat([lengthPrefixed('t'), bytes('8000'), bytes('78')]) }),
    ],
    [
      'property length of five bytes',
      packet({ type: TYPE.PUBLISH, body: Buffer.concat([lengthPrefixed('t'), bytes('8080808000')]) }),
    ],
    [
      'property identifier',
      publish({ topic: 't', properties: [Buffer.concat([bytes('a600'), lengthPrefixed('k'), lengthPrefixed('v')])] }),
    ],
    ['Subscription Identifier', subscribe({ packetId: 1, filters: [{ filter: 't' }], properties: [bytes('0b8100')] })],
    [
      'Subscription Identifier of five bytes',
      subscribe({ packetId: 1, filters: [{ filter: 't' }], properties: [bytes('0bffffffff7f')] }),
    ],
  ]
  for (const [what, packetBytes] of notMinimal) {
    variantTest(`[MQTT-1.5.5-1] ${what} that is no minimal integer is refused`, { levels: [5] }, async ({ client }) => {
      const a = await client()
      a.send(packetBytes)
      await a.expectDisconnect(0x81)
    })
  }

  variantTest('[MQTT-1.5.5-1] integers at the edges of their lengths are exact', {}, async ({ client }) => {
    const a = await client()
    await a.subscribe(['t'])
    const overhead = a.level === 5 ? 4 : 3
    for (const remainingLength of [127, 128, 16383, 16384]) {
      const payload = Buffer.alloc(remainingLength - overhead, 'x')
      a.send(publish({ level: a.level, topic: 't', payload }))
      const message = await a.expect('PUBLISH')
      assert.equal(message.payload.length, payload.length)
      assert.equal(message.bytes.length, 1 + varint(remainingLength).length + remainingLength)
    }
  })

  variantTest('[MQTT-1.5.5-1] the largest Subscription Identifier comes back', { levels: [5] }, async ({ client }) => {
    const a = await client()
    for (const id of [1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455]) {
      await a.subscribe([`t/${id}`], { properties: [[P.subscriptionIdentifier, id]] })
      a.send(publish({ topic: `t/${id}` }))
      assert.deepEqual(properties(await a.expect('PUBLISH'), P.subscriptionIdentifier), [id])
    }
  })

  variantTest('[MQTT-1.5.4-1] a string longer than its packet is refused', {}, async ({ client }) => {
    const a = await client()
    a.send(packet({ type: TYPE.PUBLISH, body: Buffer.concat([u16(500), bytes('74')]) }))
    await a.expectDisconnect(0x81)
  })
})
