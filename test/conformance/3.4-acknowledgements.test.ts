// Chapters 3.4 to 3.7: PUBACK, PUBREC, PUBREL and PUBCOMP, their reason codes, and answers that fit no message.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { variantTest } from '../kit/variants.ts'
import { type AckOptions, P, type Property, puback, pubcomp, publish, pubrec, pubrel, subscribe } from '../kit/wire.ts'

const session: Property[] = [[P.sessionExpiryInterval, 60]]
const kept = { clientId: 'a', cleanStart: false, properties: session }
/** The ways of MQTT 5 to say the same. */
const forms: [string, Partial<AckOptions>][] = [
  ['without a reason code', {}],
  ['with a reason code', { reasonCode: 0 }],
  ['with no properties', { reasonCode: 0, properties: [] }],
  [
    'with properties',
    {
      reasonCode: 0,
      properties: [
        [P.reasonString, 'fine'],
        [P.userProperty, ['k', 'v']],
        [P.userProperty, ['k', 'v']],
      ],
    },
  ],
]
const guarded = {
  hooks: {
    authorize: ({ action, topic }: { action: string; topic: string }) =>
      !(action === 'publish' && topic.startsWith('forbidden')),
  },
}

describe('3.4 PUBACK', { concurrency: 16 }, () => {
  variantTest('[MQTT-3.4.2-1] success, with and without a subscriber', {}, async ({ client, level }) => {
    const a = await client()
    assert.ok([0x00, 0x10].includes(await a.publish({ topic: 't', qos: 1 })))
    const subscriber = await client()
    await subscriber.subscribe(['t'])
    a.send(publish({ level, topic: 't', qos: 1, packetId: 9 }))
    const answer = await a.expect('PUBACK')
    assert.equal(answer.reasonCode, 0)
    if (level < 5) assert.equal(answer.bytes.toString('hex'), '40020009')
  })

  variantTest(
    '[MQTT-3.4.2-1] a message that is not permitted gets 0x87 and goes nowhere',
    { levels: [5], broker: guarded },
    async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['#'])
      const a = await client()
      assert.equal(await a.publish({ topic: 'forbidden/x', qos: 1, retain: true, payload: 'x' }), 0x87)
      await a.publish({ topic: 'forbidden/x', qos: 0, payload: 'x' })
      await observer.expectNothing()
    },
  )

  variantTest(
    '[MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] refusals fit into a small Maximum Packet Size',
    { levels: [5], broker: guarded },
    async ({ client }) => {
      // The test client fails for a longer packet.
      const a = await client({ properties: [[P.maximumPacketSize, 40]] })
      for (const qos of [1, 2]) assert.equal(await a.publish({ topic: `forbidden/${'x'.repeat(200)}`, qos }), 0x87)
    },
  )

  for (const [name, form] of forms) {
    variantTest(`[MQTT-3.4.2-1] PUBACK ${name} finishes the message`, { levels: [5] }, async ({ client }) => {
      const a = await client({ ...kept, properties: [...session, [P.receiveMaximum, 1]] })
      await a.subscribe(['t'], { qos: 1 })
      const publisher = await client()
      for (const payload of ['1', '2']) await publisher.publish({ topic: 't', payload, qos: 1 })
      a.send(puback({ packetId: (await a.expect('PUBLISH')).packetId!, ...form }))
      const second = await a.expect('PUBLISH')
      assert.equal(second.payload.toString(), '2')
      a.send(puback({ packetId: second.packetId!, ...form }))
      await a.fence()
      a.destroy()
      await (await client(kept)).expectNothing()
    })
  }

  for (const reasonCode of [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]) {
    variantTest(
      `[MQTT-3.4.2-1] [MQTT-4.4.0-2] PUBACK 0x${reasonCode.toString(16)} of a subscriber ends the message too`,
      { levels: [5], transports: ['unix'] },
      async ({ client }) => {
        const a = await client(kept)
        await a.subscribe(['t'], { qos: 1 })
        const publisher = await client()
        await publisher.publish({ topic: 't', payload: '1', qos: 1 })
        a.send(puback({ packetId: (await a.expect('PUBLISH')).packetId!, reasonCode }))
        await a.fence()
        a.destroy()
        await (await client(kept)).expectNothing()
      },
    )
  }

  variantTest('[MQTT-3.4.2-1] PUBACK for an unknown identifier is ignored', {}, async ({ client, level }) => {
    const a = await client()
    a.send(puback({ level, packetId: 77 }))
    await a.expectNothing()
  })

  variantTest('[MQTT-4.13.1-1] PUBACK for a QoS 2 message is refused', {}, async ({ client, level }) => {
    const a = await client()
    await a.subscribe(['t'], { qos: 2 })
    const publisher = await client()
    await publisher.publish({ topic: 't', qos: 2 })
    a.send(puback({ level, packetId: (await a.expect('PUBLISH')).packetId! }))
    await a.expectDisconnect(0x82)
  })
})

describe('3.5 PUBREC', { concurrency: 16 }, () => {
  variantTest('[MQTT-3.5.2-1] success, with and without a subscriber', {}, async ({ client, level }) => {
    const a = await client()
    assert.ok([0x00, 0x10].includes(await a.publish({ topic: 't', qos: 2 })))
    a.send(publish({ level, topic: 't', qos: 2, packetId: 9 }))
    const answer = await a.expect('PUBREC')
    if (level < 5) assert.equal(answer.bytes.toString('hex'), '50020009')
  })

  variantTest(
    '[MQTT-3.5.2-1] [MQTT-4.3.3-9] a message that is not permitted gets 0x87, and its identifier is free',
    { levels: [5], broker: guarded },
    async ({ client }) => {
      const observer = await client()
      await observer.subscribe(['#'])
      const a = await client()
      assert.equal(await a.publish({ topic: 'forbidden', qos: 2, packetId: 5 }), 0x87)
      await observer.expectNothing()
      assert.equal(await a.publish({ topic: 'allowed', qos: 2, packetId: 5 }), 0)
      assert.equal((await observer.expect('PUBLISH')).topic, 'allowed')
    },
  )

  for (const [name, form] of forms) {
    variantTest(
      `[MQTT-3.5.2-1] [MQTT-4.3.3-4] [MQTT-4.3.3-5] PUBREC and PUBCOMP ${name} are taken`,
      { levels: [5] },
      async ({ client }) => {
        const a = await client({ ...kept, properties: [...session, [P.receiveMaximum, 1]] })
        await a.subscribe(['t'], { qos: 2 })
        const publisher = await client()
        for (const payload of ['1', '2']) await publisher.publish({ topic: 't', payload, qos: 2 })
        const { packetId } = await a.expect('PUBLISH')
        a.send(pubrec({ packetId: packetId!, ...form }))
        const release = await a.expect('PUBREL')
        assert.equal(release.packetId, packetId)
        assert.equal(release.reasonCode, 0)
        a.send(pubcomp({ packetId: packetId!, ...form }))
        assert.equal((await a.expect('PUBLISH')).payload.toString(), '2')
      },
    )
  }

  for (const reasonCode of [0x80, 0x87, 0x97]) {
    variantTest(
      `[MQTT-3.5.2-1] [MQTT-4.3.3-4] [MQTT-4.4.0-2] PUBREC 0x${reasonCode.toString(16)} of a subscriber ends the message without PUBREL`,
      { levels: [5] },
      async ({ client }) => {
        const a = await client(kept)
        await a.subscribe(['t'], { qos: 2 })
        const publisher = await client()
        await publisher.publish({ topic: 't', payload: '1', qos: 2 })
        a.send(pubrec({ packetId: (await a.expect('PUBLISH')).packetId!, reasonCode }))
        await a.expectNothing()
        a.destroy()
        await (await client(kept)).expectNothing()
      },
    )
  }

  variantTest(
    '[MQTT-4.3.3-10] the same identifier before PUBREL: PUBREC again, delivered once',
    {},
    async ({ client, level }) => {
      const observer = await client()
      await observer.subscribe(['t'], { qos: 0 })
      const a = await client()
      for (let round = 0; round < 200; round++) {
        a.send(publish({ level, topic: 't', payload: 'x', qos: 2, packetId: 5, dup: round > 0 }))
        assert.equal((await a.expect('PUBREC')).packetId, 5)
      }
      a.send(pubrel({ level, packetId: 5 }))
      assert.equal((await a.expect('PUBCOMP')).packetId, 5)
      await observer.expect('PUBLISH')
      await observer.expectNothing()
    },
  )

  variantTest(
    '[MQTT-4.3.3-10] the same identifier after a reconnect: PUBREC again, delivered once',
    {},
    async ({ client, level }) => {
      const observer = await client()
      await observer.subscribe(['t'], { qos: 0 })
      const a = await client(kept)
      a.send(publish({ level, topic: 't', payload: 'x', qos: 2, packetId: 5 }))
      await a.expect('PUBREC')
      a.destroy()
      const back = await client(kept)
      back.send(publish({ level, topic: 't', payload: 'x', qos: 2, packetId: 5, dup: true }))
      await back.expect('PUBREC')
      back.send(pubrel({ level, packetId: 5 }))
      assert.equal((await back.expect('PUBCOMP')).reasonCode, 0)
      await observer.expect('PUBLISH')
      await observer.expectNothing()
    },
  )

  variantTest('[MQTT-3.5.2-1] PUBREC for an unknown identifier does no harm', {}, async ({ client, level }) => {
    const a = await client()
    a.send(pubrec({ level, packetId: 77 }))
    await a.fence()
    if (a.unread.length > 0) {
      assert.equal((await a.expect('PUBREL')).packetId, 77)
    }
    await a.expectNothing()
  })
})

describe('3.6 PUBREL', { concurrency: 16 }, () => {
  variantTest('[MQTT-3.6.1-1] [MQTT-3.6.2-1] PUBREL of the broker has flags 0010', {}, async ({ client, level }) => {
    const a = await client()
    await a.subscribe(['t'], { qos: 2 })
    const publisher = await client()
    await publisher.publish({ topic: 't', qos: 2 })
    const { packetId } = await a.expect('PUBLISH')
    a.send(pubrec({ level, packetId: packetId! }))
    const release = await a.expect('PUBREL')
    assert.equal(release.bytes[0], 0x62)
    if (level < 5) assert.equal(release.bytes.length, 4)
  })

  variantTest(
    '[MQTT-3.6.2-1] [MQTT-4.4.0-1] an unanswered PUBREL comes again after a reconnect, and PUBLISH does not',
    {},
    async ({ client, level }) => {
      const a = await client(kept)
      await a.subscribe(['t'], { qos: 2 })
      const publisher = await client()
      await publisher.publish({ topic: 't', qos: 2 })
      const { packetId } = await a.expect('PUBLISH')
      a.send(pubrec({ level, packetId: packetId! }))
      await a.expect('PUBREL')
      a.destroy()
      const back = await client(kept)
      assert.equal((await back.expect('PUBREL')).packetId, packetId)
      back.send(pubcomp({ level, packetId: packetId! }))
      await back.expectNothing()
    },
  )

  for (const [name, form] of forms) {
    variantTest(`[MQTT-3.6.2-1] [MQTT-4.3.3-11] PUBREL ${name} is answered`, { levels: [5] }, async ({ client }) => {
      const a = await client()
      a.send(publish({ topic: 't', qos: 2, packetId: 5 }))
      await a.expect('PUBREC')
      a.send(pubrel({ packetId: 5, ...form }))
      const answer = await a.expect('PUBCOMP')
      assert.deepEqual([answer.packetId, answer.reasonCode], [5, 0])
    })
  }

  variantTest(
    '[MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] PUBREL and PUBCOMP fit into a small Maximum Packet Size',
    { levels: [5] },
    async ({ client }) => {
      const a = await client({ properties: [[P.maximumPacketSize, 40]] })
      a.send(pubrel({ packetId: 5 }), pubrec({ packetId: 6 }))
      assert.equal((await a.expect('PUBCOMP')).reasonCode, 0x92)
      await a.fence() // the test client fails for a longer packet
    },
  )
})

describe('3.7 PUBCOMP', { concurrency: 16 }, () => {
  variantTest('[MQTT-3.7.2-1] PUBREL for an unknown identifier gets PUBCOMP 0x92', {}, async ({ client, level }) => {
    const a = await client()
    a.send(pubrel({ level, packetId: 77 }))
    const answer = await a.expect('PUBCOMP')
    assert.equal(answer.packetId, 77)
    if (level === 5) assert.equal(answer.reasonCode, 0x92)
    else assert.equal(answer.bytes.toString('hex'), '7002004d')
  })

  variantTest('[MQTT-3.7.2-1] PUBREL twice: the second finds nothing', { levels: [5] }, async ({ client }) => {
    const a = await client()
    await a.publish({ topic: 't', qos: 2, packetId: 5 })
    a.send(pubrel({ packetId: 5 }))
    assert.equal((await a.expect('PUBCOMP')).reasonCode, 0x92)
  })

  variantTest('[MQTT-3.7.2-1] PUBCOMP for an unknown identifier is ignored', {}, async ({ client, level }) => {
    const a = await client()
    a.send(pubcomp({ level, packetId: 77 }))
    await a.expectNothing()
  })

  variantTest('[MQTT-4.3.3-12] after PUBCOMP the same identifier is a new message', {}, async ({ client, level }) => {
    const observer = await client()
    await observer.subscribe(['t'])
    const a = await client()
    for (const payload of ['1', '2']) {
      await a.publish({ topic: 't', payload, qos: 2, packetId: 5 })
      assert.equal((await observer.expect('PUBLISH')).payload.toString(), payload)
    }
    a.send(subscribe({ level, packetId: 5, filters: [{ filter: 'x' }] }))
    assert.equal((await a.expect('SUBACK')).packetId, 5)
    await observer.expectNothing()
  })
})
