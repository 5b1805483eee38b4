import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OperatorError } from '../base/errors.ts'
import { encodePacket } from '../codec/encode.ts'
import type { ProtocolLevel } from '../codec/packet-types.ts'
import type { ConnackPacket, PublishPacket } from '../codec/packets.ts'
import { ClientClosedError } from './client-closed.ts'
import { ConnectRefusedError } from './connect-refused.ts'
import { type ClientOptions, connectClient, type MqttClient } from './mqtt-client.ts'
import { type ScriptedPeer, ScriptedServer } from './scripted-server.test.support.ts'

async function withServer(run: (server: ScriptedServer) => Promise<void>): Promise<void> {
  const server = await ScriptedServer.start()
  try {
    await run(server)
  } finally {
    await server.stop()
  }
}

/** A client that has shaken hands, and the other end of its connection. */
async function withClient(
  options: Partial<ClientOptions>,
  connack: Partial<ConnackPacket>,
  run: (client: MqttClient, peer: ScriptedPeer) => Promise<void>,
): Promise<void> {
  await withServer(async (server) => {
    const connecting = connectClient({ address: server.address, clientId: 'c', ...options })
    const peer = await server.peer(options.level)
    await peer.accept(connack)
    const client = await connecting
    try {
      await run(client, peer)
    } finally {
      peer.socket.destroy()
      await client.closed
    }
  })
}

const request = { filter: 'a', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const

function publish(packetId: number, qos: 0 | 1 | 2, payload = '', duplicate = false): PublishPacket {
  return { type: 'publish', topic: 't', payload: Buffer.from(payload), qos, retain: false, duplicate, packetId }
}

test('a server that says nothing is a timeout', () =>
  withServer(async (server) => {
    await assert.rejects(connectClient({ address: server.address, connectTimeoutSeconds: 0.5 }), (error) => {
      assert.ok(error instanceof OperatorError)
      assert.equal(error.code, 'connect-timeout')
      assert.match(error.message, /unix:.*s\.sock took the connection, but sent no CONNACK/)
      return true
    })
  }))

test('connecting can be given up', () =>
  withServer(async (server) => {
    const stop = new AbortController()
    const connecting = connectClient({ address: server.address, signal: stop.signal })
    await (await server.peer()).expect('connect')
    stop.abort()
    await assert.rejects(connecting, { code: 'connect-aborted' })
    await assert.rejects(connectClient({ address: server.address, signal: stop.signal }), { code: 'connect-aborted' })
  }))

test('giving up has no effect on a client that is connected', () =>
  withServer(async (server) => {
    const stop = new AbortController()
    const connecting = connectClient({ address: server.address, signal: stop.signal, onMessage: () => stop.abort() })
    const peer = await server.peer()
    await peer.expect('connect')
    peer.send({ type: 'connack', sessionPresent: false, reasonCode: 0 }, publish(1, 1))
    assert.equal((await peer.expect('puback')).packetId, 1)
    await (await connecting).disconnect()
  }))

test('what a server sends instead of CONNACK', async () => {
  const rows: [what: string, hex: string, message: RegExp][] = [
    [
      'HTTP',
      Buffer.from('HTTP/1.1 400 Bad Request\r\n').toString('hex'),
      /first byte is 0x48, which begins no CONNACK/,
    ],
    ['SUBACK', '9004 0001 00 00', /0x90, which begins no CONNACK/],
    ['an endless packet', '20ffffff7f', /268435460 bytes, and 262144 is the limit/],
    ['CONNACK with reserved flags', '2003 02 00 00', /reserved/],
    ['CONNACK with an unknown code', '2003 00 7b 00', /code 123/],
    ['a Session after Clean Start', '2003 01 00 00', /Session after Clean Start/],
    ['CONNACK with a property of PUBLISH', '2006 00 00 03 230001', /not allowed/],
    ['AUTH', 'f002 18 00', /0xf0, which begins no CONNACK/],
  ]
  for (const [what, hex, message] of rows) {
    await withServer(async (server) => {
      const connecting = connectClient({ address: server.address })
      const refused = assert.rejects(connecting, (error) => {
        assert.ok(error instanceof ClientClosedError, what)
        assert.match(error.message, message)
        return true
      })
      const peer = await server.peer()
      await peer.expect('connect')
      peer.sendHex(hex)
      await refused
      assert.equal(await peer.next(), null, what)
    })
  }
})

test('a server that closes instead of CONNACK', () =>
  withServer(async (server) => {
    const connecting = connectClient({ address: server.address })
    const refused = assert.rejects(connecting, { name: 'ClientClosedError', message: /before CONNACK/ })
    const peer = await server.peer()
    await peer.expect('connect')
    peer.socket.end()
    await refused
  }))

test('a refusal is told in words, whatever the version', async () => {
  const rows: [level: ProtocolLevel, hex: string, connackCode: number, reasonCode: number, message: RegExp][] = [
    [5, '2003 00 87 00', 0x87, 0x87, /not authorized \(0x87\)/],
    [5, '2008 00 86 05 1f 0002 6e6f', 0x86, 0x86, /bad user name or password \(0x86\): no/],
    [4, '2002 00 05', 5, 0x87, /not authorized/],
    [3, '2002 00 02', 2, 0x85, /client identifier not valid/],
    [5, '2002 00 01', 0x84, 0x84, /unsupported protocol version/],
  ]
  for (const [level, hex, connackCode, reasonCode, message] of rows) {
    await withServer(async (server) => {
      const connecting = connectClient({ address: server.address, level, clientId: 'c' })
      const refused = assert.rejects(connecting, (error) => {
        assert.ok(error instanceof ConnectRefusedError)
        assert.equal(error.connackCode, connackCode)
        assert.equal(error.reasonCode, reasonCode)
        assert.match(error.message, message)
        return true
      })
      const peer = await server.peer(level)
      await peer.expect('connect')
      peer.sendHex(hex)
      await refused
    })
  }
})

test('a server that breaks the protocol gets a DISCONNECT with the reason', async () => {
  const rows: [what: string, hex: string, reasonCode: number][] = [
    ['packet type 0', '0000', 0x81],
    ['a length of five bytes', '30ffffffffff01', 0x81],
    ['a property twice', '3008 0001 74 04 01 00 01 00', 0x82],
    ['a topic that is no UTF-8', '3004 0001 ff 00', 0x81],
    ['a topic with a wildcard', '3006 0003 612f23 00', 0x90],
    ['an empty topic', '3003 0000 00', 0x82],
    ['a Topic Alias that we have not allowed', '3007 0001 74 03 23 0001', 0x94],
    ['QoS 3', '3606 0001 74 0001 00', 0x81],
    ['packet identifier 0', '3206 0001 74 0000 00', 0x82],
    ['a packet above our Maximum Packet Size', '30ff7f', 0x95],
    ['SUBSCRIBE', '8207 0001 00 0001 61 00', 0x82],
    ['UNSUBSCRIBE', 'a206 0001 00 0001 61', 0x82],
    ['PINGREQ', 'c000', 0x82],
    ['CONNECT', '100e 0004 4d515454 05 02 003c 00 0001 61', 0x82],
    ['a second CONNACK', '2003 00 00 00', 0x82],
    ['AUTH', 'f002 18 00', 0x82],
    ['SUBACK that nobody asked for', '9004 0001 00 00', 0x82],
    ['UNSUBACK that nobody asked for', 'b004 0001 00 00', 0x82],
    ['PINGRESP with a body', 'd001 00', 0x81],
    ['PUBREL without its flags', '6002 0001', 0x81],
  ]
  for (const [what, hex, reasonCode] of rows) {
    await withClient({ properties: { maximumPacketSize: 1000 } }, {}, async (client, peer) => {
      peer.sendHex(hex)
      assert.equal((await peer.expect('disconnect')).reasonCode, reasonCode, what)
      const reason = await client.closed
      assert.equal(reason.cause, 'protocol-error', what)
      assert.equal(reason.reasonCode, reasonCode, what)
      assert.match(reason.message, /^the server broke the protocol: /, what)
      await assert.rejects(client.publish('a', 'b'), { name: 'ClientClosedError', message: reason.message })
    })
  }
})

test('in MQTT 3 the connection is just closed', async () => {
  for (const hex of ['0000', 'e000', '9003 0001 00', 'c000']) {
    await withClient({ level: 4 }, {}, async (client, peer) => {
      peer.sendHex(hex)
      assert.equal(await peer.next(), null, hex)
      assert.equal((await client.closed).cause, 'protocol-error', hex)
    })
  }
})

test('SUBACK and UNSUBACK without codes, or with wrong ones', async () => {
  const rows: [what: string, hex: string, reasonCode: number][] = [
    ['no codes', '9003 0001 00', 0x81],
    ['a code too many', '9005 0001 00 00 00', 0x81],
    ['a code of CONNACK', '9004 0001 00 86', 0x81],
    ['UNSUBACK for SUBSCRIBE', 'b004 0001 00 00', 0x82],
  ]
  for (const [what, hex, reasonCode] of rows) {
    await withClient({}, {}, async (client, peer) => {
      const refused = assert.rejects(client.subscribe([request]), { name: 'ClientClosedError' })
      assert.equal((await peer.expect('subscribe')).packetId, 1)
      peer.sendHex(hex)
      assert.equal((await peer.expect('disconnect')).reasonCode, reasonCode, what)
      await refused
    })
  }
  await withClient({}, {}, async (client, peer) => {
    const refused = assert.rejects(client.unsubscribe(['a', 'b']), { name: 'ClientClosedError' })
    await peer.expect('unsubscribe')
    peer.sendHex('b004 0001 00 00')
    assert.equal((await peer.expect('disconnect')).reasonCode, 0x81)
    await refused
  })
  await withClient({ level: 4 }, {}, async (client, peer) => {
    const refused = assert.rejects(client.subscribe([request]), { name: 'ClientClosedError' })
    await peer.expect('subscribe')
    peer.sendHex('9002 0001')
    assert.equal(await peer.next(), null)
    await refused
  })
})

test('answers for the wrong step', async () => {
  const rows: [qos: 1 | 2, hex: string][] = [
    [1, '5002 0001'],
    [1, '7002 0001'],
    [2, '4002 0001'],
    [2, '7002 0001'],
  ]
  for (const [qos, hex] of rows) {
    await withClient({}, {}, async (client, peer) => {
      const refused = assert.rejects(client.publish('a', 'b', { qos }), { name: 'ClientClosedError' })
      await peer.expect('publish')
      peer.sendHex(hex)
      assert.equal((await peer.expect('disconnect')).reasonCode, 0x82)
      await refused
    })
  }
})

test('answers for nothing do no harm', () =>
  withClient({}, {}, async (_client, peer) => {
    peer.sendHex('4002 0007')
    peer.sendHex('7002 0007')
    peer.sendHex('5002 0007')
    assert.deepEqual(await peer.expect('pubrel'), { type: 'pubrel', packetId: 7, reasonCode: 0x92 })
    peer.sendHex('6202 0007')
    assert.deepEqual(await peer.expect('pubcomp'), { type: 'pubcomp', packetId: 7, reasonCode: 0x92 })
  }))

test('more unacknowledged messages than our Receive Maximum', async () => {
  let finish = () => {}
  const blocked = new Promise<void>((resolve) => {
    finish = resolve
  })
  await withClient({ properties: { receiveMaximum: 2 }, onMessage: () => blocked }, {}, async (_client, peer) => {
    peer.send(publish(1, 1), publish(2, 2), publish(0, 0), publish(3, 1))
    assert.equal((await peer.expect('disconnect')).reasonCode, 0x93)
  })
  finish()
})

test('a packet identifier that is still in use', () =>
  withClient({ onMessage: () => new Promise(() => {}) }, {}, async (_client, peer) => {
    peer.send(publish(1, 1), publish(1, 1))
    assert.equal((await peer.expect('disconnect')).reasonCode, 0x82)
  }))

test('a QoS 2 message sent again is taken once', async () => {
  const seen: string[] = []
  const onMessage = ({ payload }: PublishPacket) => {
    seen.push(payload.toString())
  }
  await withClient({ onMessage }, {}, async (_client, peer) => {
    peer.send(publish(9, 2, 'one'))
    await peer.expect('pubrec')
    peer.send(publish(9, 2, 'one', true))
    assert.deepEqual(await peer.expect('pubrec'), { type: 'pubrec', packetId: 9, reasonCode: 0 })
    peer.send({ type: 'pubrel', packetId: 9, reasonCode: 0 })
    assert.deepEqual(await peer.expect('pubcomp'), { type: 'pubcomp', packetId: 9, reasonCode: 0 })
    peer.send(publish(9, 2, 'two'))
    await peer.expect('pubrec')
    assert.deepEqual(seen, ['one', 'two'])
  })
})

test('a message is acknowledged when its callback is done, and the next one waits for that', async () => {
  const seen: string[] = []
  const finish: (() => void)[] = []
  const onMessage = ({ payload }: PublishPacket) => {
    seen.push(payload.toString())
    return new Promise<void>((resolve) => finish.push(resolve))
  }
  await withClient({ onMessage }, {}, async (client, peer) => {
    peer.send(publish(1, 1, 'a'), publish(2, 1, 'b'))
    // The answer comes after everything that was sent before it.
    const subscribed = client.subscribe([request])
    await peer.expect('subscribe')
    peer.sendHex('9004 0001 00 00')
    await subscribed
    assert.deepEqual(seen, ['a'])
    assert.equal(peer.waitingCount, 0)
    finish[0]()
    assert.equal((await peer.expect('puback')).packetId, 1)
    assert.deepEqual(seen, ['a', 'b'])
    finish[1]()
    assert.equal((await peer.expect('puback')).packetId, 2)
  })
})

test('a callback that throws ends the connection and acknowledges nothing', async () => {
  const failures = [
    () => {
      throw new Error('no room')
    },
    () => Promise.reject(new Error('no room')),
  ]
  for (const onMessage of failures) {
    await withClient({ onMessage }, {}, async (client, peer) => {
      peer.send(publish(1, 1))
      assert.equal((await peer.expect('disconnect')).reasonCode, 0x83)
      const { cause, message } = await client.closed
      assert.equal(cause, 'message-refused')
      assert.match(message, /no room/)
    })
  }
})

test('messages that pile up all come, in order, and no answer is stuck behind them', async () => {
  const count = 5000
  const seen: number[] = []
  let client: MqttClient | null = null
  const onMessage = async ({ payload }: PublishPacket) => {
    seen.push(Number(payload.toString()))
    // Waits for an answer that comes behind all the messages.
    if (seen.length === 1) await client?.publish('answer', '', { qos: 1 })
  }
  await withClient({ onMessage }, {}, async (connected, peer) => {
    client = connected
    for (let index = 0; index < count; index++) peer.send(publish(0, 0, String(index)))
    const { packetId } = await peer.expect('publish')
    peer.send({ type: 'puback', packetId, reasonCode: 0 }, publish(1, 1, String(count)))
    assert.equal((await peer.expect('puback')).packetId, 1)
    assert.deepEqual(seen, [...Array(count + 1).keys()])
  })
})

test('a client that takes nothing stops reading', async () => {
  let finish = () => {}
  const blocked = new Promise<void>((resolve) => {
    finish = resolve
  })
  let seenCount = 0
  const onMessage = () => {
    seenCount++
    return blocked
  }
  await withClient({ onMessage }, {}, async (_client, peer) => {
    // Far more than sockets hold between them, and less than would end the connection.
    const chunk = Buffer.alloc(64 * 1024)
    const count = 512
    let writtenCount = 0
    const big: PublishPacket = { ...publish(0, 0), payload: chunk }
    const bytes = encodePacket(big, 5)
    const allWritten = Promise.all(
      Array.from(
        { length: count },
        () =>
          new Promise<void>((resolve) => {
            peer.socket.write(bytes, () => {
              writtenCount++
              resolve()
            })
          }),
      ),
    )
    // Stands still when nothing was written between two looks, and much is left.
    for (let before = -1; before !== writtenCount || writtenCount === 0; ) {
      before = writtenCount
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    assert.ok(writtenCount < count / 2, `${writtenCount} of ${count} were read`)
    assert.equal(seenCount, 1)
    finish()
    await allWritten
    peer.send(publish(1, 1))
    await peer.expect('puback')
    assert.equal(seenCount, count + 1)
  })
})

test("the server's Receive Maximum is kept", () =>
  withClient({}, { properties: { receiveMaximum: 2 } }, async (client, peer) => {
    const answers = Promise.all(['a', 'b', 'c', 'd'].map((payload) => client.publish('t', payload, { qos: 1 })))
    const first = await peer.expect('publish')
    const second = await peer.expect('publish')
    // QoS 0 is not counted, and what was sent before it has come before it.
    await client.publish('t', 'zero')
    assert.equal((await peer.expect('publish')).payload.toString(), 'zero')
    assert.equal(peer.waitingCount, 0)
    peer.send({ type: 'puback', packetId: second.packetId, reasonCode: 0x10 })
    const third = await peer.expect('publish')
    assert.equal(third.payload.toString(), 'c')
    peer.send({ type: 'puback', packetId: first.packetId, reasonCode: 0 })
    const fourth = await peer.expect('publish')
    for (const { packetId } of [third, fourth]) peer.send({ type: 'puback', packetId, reasonCode: 0x97 })
    const codes = (await answers).map(({ reasonCode }) => reasonCode)
    assert.deepEqual(codes, [0, 0x10, 0x97, 0x97])
  }))

test('a PUBREC with a refusal ends the message', () =>
  withClient({}, { properties: { receiveMaximum: 1 } }, async (client, peer) => {
    const refused = client.publish('t', 'a', { qos: 2 })
    const next = client.publish('t', 'b', { qos: 2 })
    const { packetId } = await peer.expect('publish')
    peer.send({ type: 'pubrec', packetId, reasonCode: 0x87, properties: { reasonString: 'not you' } })
    assert.deepEqual(await refused, { reasonCode: 0x87, reasonString: 'not you' })
    const second = await peer.expect('publish')
    peer.send({ type: 'pubrec', packetId: second.packetId, reasonCode: 0 })
    await peer.expect('pubrel')
    peer.send({ type: 'pubcomp', packetId: second.packetId, reasonCode: 0 })
    assert.equal((await next).reasonCode, 0)
  }))

test('what this server does not take is told before it is sent', () => {
  const properties = {
    maximumPacketSize: 100,
    maximumQos: 1,
    retainAvailable: 0,
    wildcardSubscriptionAvailable: 0,
    sharedSubscriptionAvailable: 0,
    subscriptionIdentifierAvailable: 0,
    topicAliasMaximum: 1,
  }
  return withClient({}, { properties }, async (client, peer) => {
    const rows: [() => Promise<unknown>, RegExp][] = [
      [() => client.publish('t', 'x'.repeat(95)), /101 bytes, and the server takes 100/],
      [() => client.publish('t', 'x', { qos: 2 }), /QoS 2/],
      [() => client.publish('t', 'x', { retain: true }), /retained/],
      [() => client.publish('t', 'x', { properties: { topicAlias: 2 } }), /topicAlias is 2/],
      [() => client.publish('t/+', 'x'), /cannot be published to/],
      [() => client.publish('', 'x'), /cannot be published to/],
      [() => client.publish('t\0', 'x'), /cannot be published to/],
      [() => client.publish('t', 'x', { properties: { responseTopic: '#' } }), /response topic/],
      [() => client.publish('t', 'x', { properties: { subscriptionIdentifiers: [1] } }), /Subscription Identifier/],
      [() => client.publish('t', 'x', { properties: { receiveMaximum: 1 } }), /not allowed here/],
      [() => client.publish('t', 'x', { properties: { contentType: 'a\0' } }), /contentType is not valid UTF-8/],
      [() => client.subscribe([{ ...request, filter: '+' }]), /wildcard/],
      [() => client.subscribe([{ ...request, filter: '$share/x/a' }]), /Shared/],
      [() => client.subscribe([{ ...request, filter: 'a/#/b' }]), /not valid/],
      [() => client.subscribe([{ ...request, filter: '$share//b' }]), /not valid/],
      [() => client.subscribe([request], { subscriptionIdentifiers: [1] }), /Subscription Identifier/],
      [() => client.subscribe([]), /without a topic filter/],
      [() => client.unsubscribe(['']), /not valid/],
    ]
    for (const [call, message] of rows) {
      await assert.rejects(call(), (error) => {
        assert.ok(error instanceof OperatorError, String(error))
        assert.match(error.message, message)
        assert.ok(error.fix)
        return true
      })
    }
    await client.publish('t', 'x'.repeat(94))
    assert.equal((await peer.expect('publish')).payload.length, 94)
    assert.equal(peer.waitingCount, 0)
  })
})

test('options that no server would take', async () => {
  const address = { kind: 'unix', path: '/nowhere' } as const
  const will = { topic: 'w', payload: Buffer.alloc(0), qos: 0, retain: false, properties: {} } as const
  const rows: [Partial<ClientOptions>, RegExp][] = [
    [{ clientId: 'a\0' }, /client identifier/],
    [{ clientId: '', level: 3 }, /empty client identifier/],
    [{ clientId: '', level: 4, cleanStart: false }, /empty client identifier/],
    [{ keepAliveSeconds: 65_536 }, /keep alive is 65536/],
    [{ password: Buffer.from('x'), level: 4, clientId: 'a' }, /without a user name/],
    [{ password: Buffer.alloc(65_536) }, /65536 bytes/],
    [{ will: { ...will, topic: '#' } }, /will topic/],
    [{ will: { ...will, payload: Buffer.alloc(65_536) } }, /will payload/],
    [{ level: 4, clientId: 'a', properties: { receiveMaximum: 3 } }, /needs MQTT 5/],
    [{ properties: { receiveMaximum: 0 } }, /receiveMaximum is 0/],
    [{ properties: { authenticationMethod: 'x' } }, /enhanced authentication/],
  ]
  for (const [options, message] of rows) {
    await assert.rejects(connectClient({ address, ...options }), (error) => {
      assert.ok(error instanceof OperatorError, String(error))
      assert.match(error.message, message)
      return true
    })
  }
})

test('Topic Aliases of the server', async () => {
  const seen: string[] = []
  const onMessage = ({ topic, payload }: PublishPacket) => {
    seen.push(`${topic} ${payload}`)
  }
  await withClient({ onMessage, properties: { topicAliasMaximum: 2 } }, {}, async (_client, peer) => {
    peer.send({ ...publish(0, 0, '1'), topic: 'a', properties: { topicAlias: 1 } })
    peer.send({ ...publish(0, 0, '2'), topic: '', properties: { topicAlias: 1 } })
    peer.send({ ...publish(0, 0, '3'), topic: 'b', properties: { topicAlias: 1 } })
    peer.send({ ...publish(0, 0, '4'), topic: '', properties: { topicAlias: 1 } })
    peer.send({ ...publish(0, 0, '5'), topic: '', properties: { topicAlias: 2 } })
    assert.equal((await peer.expect('disconnect')).reasonCode, 0x82)
    assert.deepEqual(seen, ['a 1', 'a 2', 'b 3', 'b 4'])
  })
})

test('DISCONNECT of the server ends everything that waits', () =>
  withClient({}, {}, async (client, peer) => {
    const rejected = [
      assert.rejects(client.publish('t', '', { qos: 1 }), { name: 'ClientClosedError' }),
      assert.rejects(client.subscribe([request]), { name: 'ClientClosedError' }),
    ]
    await peer.expect('publish')
    peer.send({ type: 'disconnect', reasonCode: 0x8b, properties: { reasonString: 'bye' } })
    await Promise.all(rejected)
    const { cause, reasonCode, message } = await client.closed
    assert.deepEqual([cause, reasonCode], ['server-disconnected', 0x8b])
    assert.match(message, /server shutting down \(0x8b\): bye/)
  }))

test('a connection that breaks', () =>
  withClient({}, {}, async (client, peer) => {
    peer.socket.destroy()
    assert.equal((await client.closed).cause, 'connection-lost')
    await assert.rejects(client.subscribe([request]), { name: 'ClientClosedError' })
    await client.disconnect()
  }))

test('keep alive: PINGREQ in time, and a server that does not answer', () =>
  withClient({ keepAliveSeconds: 60 }, { properties: { serverKeepAlive: 1 } }, async (client, peer) => {
    await peer.expect('pingreq')
    peer.send({ type: 'pingresp' })
    await peer.expect('pingreq')
    let last = await peer.next()
    while (last?.type === 'pingreq') last = await peer.next()
    assert.deepEqual(last, { type: 'disconnect', reasonCode: 0x8d })
    assert.equal((await client.closed).cause, 'keep-alive-timeout')
  }))

test('disconnect says goodbye and closes', () =>
  withClient({}, {}, async (client, peer) => {
    const closed = client.disconnect(0x04, { userProperties: [['a', 'b']] })
    const packet = await peer.expect('disconnect')
    assert.deepEqual([packet.reasonCode, packet.properties], [4, { userProperties: [['a', 'b']] }])
    assert.equal(await peer.next(), null)
    await closed
    assert.equal((await client.closed).cause, 'disconnected')
  }))

test('packets in single bytes', async () => {
  const seen: string[] = []
  const onMessage = ({ payload }: PublishPacket) => {
    seen.push(payload.toString())
  }
  await withClient({ onMessage }, {}, async (_client, peer) => {
    peer.socket.setNoDelay(true)
    const bytes = Buffer.concat([encodePacket(publish(1, 1, 'a'), 5), encodePacket(publish(2, 1, 'b'), 5)])
    for (const byte of bytes) {
      peer.socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await peer.expect('puback')
    await peer.expect('puback')
    assert.deepEqual(seen, ['a', 'b'])
  })
})
