// AUTH and enhanced authentication, chapters 3.15 and 4.12, with a toy method: the server sends a number, the client
// answers with the number after it. Seen from outside.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { BrokerOptions, ClientPlace } from '../kit/broker.ts'
import { withBroker } from '../kit/broker.ts'
import type { RawClient } from '../kit/raw-client.ts'
import { variantTest } from '../kit/variants.ts'
import type { Property } from '../kit/wire.ts'
import { auth, disconnect, P, packet, pingreq, properties, property, publish, subscribe, TYPE } from '../kit/wire.ts'

interface StepContext {
  clientId: string
  username: string | null
  peer: { label: string }
  data: Buffer | null
  state: unknown
}

/** `first` as data of the first step is answered with a question; `user:…` says who it is; anything else is refused. */
const toy = {
  method: 'TOY',
  async step({ data, state }: StepContext) {
    const text = data?.toString() ?? ''
    if (text.startsWith('user:')) return { status: 'success', data: Buffer.from('welcome'), username: text.slice(5) }
    if (state === undefined || state === null) {
      if (text === 'first') return { status: 'continue', data: Buffer.from('41'), state: { expected: '42' } }
      return { status: 'failure' }
    }
    if (text === (state as { expected: string }).expected) return { status: 'success', data: Buffer.from('well done') }
    if (text === 'busy') return { status: 'failure', reasonCode: 0x89 }
    if (text === 'throw') throw new Error('the authenticator broke')
    return { status: 'failure' }
  },
}

const withToy: { levels: [5]; broker: BrokerOptions } = {
  levels: [5],
  broker: { hooks: { enhancedAuthenticators: [toy] } },
}

const method = (name: string, data?: string): Property[] => {
  const list: Property[] = [[P.authenticationMethod, name]]
  if (data !== undefined) list.push([P.authenticationData, Buffer.from(data)])
  return list
}

async function authenticated(
  client: RawClient,
  options: { clientId?: string; properties?: Property[] } = {},
): Promise<void> {
  client.sendConnect({
    clientId: options.clientId,
    properties: [...method('TOY', 'first'), ...(options.properties ?? [])],
  })
  await client.expect('AUTH')
  client.send(auth({ reasonCode: 0x18, properties: method('TOY', '42') }))
  assert.equal((await client.expect('CONNACK')).reasonCode, 0)
}

variantTest('[MQTT-4.12.0-1] an unknown method is refused', withToy, async ({ connect }) => {
  for (const name of ['OTHER', 'toy', '', '__proto__', 'constructor']) {
    const client = await connect()
    client.sendConnect({ properties: method(name, 'first') })
    await client.expectRefused(0x8c)
  }
})

variantTest('[MQTT-4.12.0-1] a broker without methods refuses every method', { levels: [5] }, async ({ connect }) => {
  const client = await connect()
  client.sendConnect({ properties: method('TOY', 'first') })
  await client.expectRefused(0x8c)
})

variantTest(
  '[MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.15.2-1] question, answer, welcome',
  withToy,
  async ({ connect }) => {
    const client = await connect()
    client.sendConnect({ properties: method('TOY', 'first') })
    const question = await client.expect('AUTH')
    assert.equal(question.reasonCode, 0x18)
    assert.equal(property(question, P.authenticationMethod), 'TOY')
    assert.deepEqual(property(question, P.authenticationData), Buffer.from('41'))
    client.send(auth({ reasonCode: 0x18, properties: method('TOY', '42') }))
    const connack = await client.expect('CONNACK')
    assert.equal(connack.reasonCode, 0)
    assert.equal(property(connack, P.authenticationMethod), 'TOY')
    assert.deepEqual(property(connack, P.authenticationData), Buffer.from('well done'))
    await client.subscribe(['a'])
    client.send(publish({ topic: 'a', payload: 'in' }))
    await client.expect('PUBLISH')
  },
)

variantTest('[MQTT-4.12.0-5] a method may be content with CONNECT alone', withToy, async ({ connect }) => {
  const client = await connect()
  const connack = await client.handshake({ properties: method('TOY', 'user:ada') })
  assert.equal(property(connack, P.authenticationMethod), 'TOY')
  assert.deepEqual(property(connack, P.authenticationData), Buffer.from('welcome'))
})

test('the user name that a method finds is the one that rules see', async () => {
  const seen: unknown[] = []
  const authorize = ({ client }: { client: { username: string | null } }): boolean => {
    seen.push(client.username)
    return client.username === 'ada'
  }
  await withBroker({ hooks: { enhancedAuthenticators: [toy], authorize } }, async (broker) => {
    const client = await broker.connect()
    await client.handshake({ username: 'eve', properties: method('TOY', 'user:ada') })
    assert.ok([0, 0x10].includes(await client.publish({ topic: 'a', qos: 1 })))
    assert.ok(seen.length > 0)
    assert.deepEqual([...new Set(seen)], ['ada'])
  })
})

variantTest(
  '[MQTT-4.12.0-4] a failure is refused, with the code that the method gives',
  withToy,
  async ({ connect }) => {
    for (const [answer, reasonCode] of [
      ['43', 0x87],
      ['busy', 0x89],
      ['throw', 0x88],
    ] as const) {
      const client = await connect()
      client.sendConnect({ properties: method('TOY', 'first') })
      await client.expect('AUTH')
      client.send(auth({ reasonCode: 0x18, properties: method('TOY', answer) }))
      await client.expectRefused(reasonCode)
    }
    const client = await connect()
    client.sendConnect({ properties: method('TOY') })
    await client.expectRefused(0x87)
  },
)

variantTest('[MQTT-4.12.0-6] without a method there is no word of one', withToy, async ({ connect }) => {
  const client = await connect()
  const connack = await client.handshake()
  assert.equal(property(connack, P.authenticationMethod), undefined)
  assert.equal(property(connack, P.authenticationData), undefined)
  await client.expectNothing()
})

variantTest(
  '[MQTT-4.12.0-7] AUTH of a client that connected without a method ends the connection',
  withToy,
  async ({ client }) => {
    for (const options of [
      { reasonCode: 0x18, properties: method('TOY', '42') },
      { reasonCode: 0x19, properties: method('TOY', 'first') },
      {},
    ]) {
      const bad = await client()
      bad.send(auth(options))
      await bad.expectDisconnect(0x82)
    }
  },
)

variantTest('AUTH of a 3.1.1 client ends the connection', { levels: [4] }, async ({ client }) => {
  const bad = await client()
  bad.send(packet({ type: TYPE.AUTH }))
  await bad.expectClosed()
})

variantTest('Authentication Data without a method are a protocol error', withToy, async ({ connect }) => {
  const client = await connect()
  client.sendConnect({ properties: [[P.authenticationData, Buffer.from('first')]] })
  await client.expectRefused(0x82)
})

variantTest('[MQTT-4.12.0-5] an answer under another method is refused', withToy, async ({ connect }) => {
  for (const list of [method('OTHER', '42'), [[P.authenticationData, Buffer.from('42')]] as Property[], []]) {
    const client = await connect()
    client.sendConnect({ properties: method('TOY', 'first') })
    await client.expect('AUTH')
    client.send(auth({ reasonCode: 0x18, properties: list }))
    await client.expectRefused(0x82)
  }
})

variantTest(
  '[MQTT-3.1.2-30] anything but AUTH and DISCONNECT ends an authentication that is going on',
  withToy,
  async ({ connect, client }) => {
    const watcher = await client()
    await watcher.subscribe(['#'])
    const early = [publish({ topic: 't' }), subscribe({ packetId: 1, filters: [{ filter: 't' }] }), pingreq()]
    for (const bytes of early) {
      const bad = await connect()
      bad.sendConnect({ properties: method('TOY', 'first') })
      await bad.expect('AUTH')
      bad.send(bytes)
      await bad.expectRefused(0x82)
    }
    const leaving = await connect()
    leaving.sendConnect({ properties: method('TOY', 'first'), will: { topic: 'will' } })
    await leaving.expect('AUTH')
    leaving.send(disconnect())
    await leaving.expectClosed()
    await watcher.expectNothing()
  },
)

variantTest('[MQTT-3.15.1-1] AUTH with flags is malformed', withToy, async ({ connect }) => {
  for (const fixedFlags of [1, 2, 8, 15]) {
    const during = await connect()
    during.sendConnect({ properties: method('TOY', 'first') })
    await during.expect('AUTH')
    during.send(auth({ reasonCode: 0x18, properties: method('TOY', '42'), fixedFlags }))
    await during.expectRefused(0x81)
    const after = await connect()
    await authenticated(after)
    after.send(auth({ reasonCode: 0x19, properties: method('TOY', 'first'), fixedFlags }))
    await after.expectDisconnect(0x81)
  }
})

variantTest(
  '[MQTT-3.15.2-1] AUTH with a reason code that a client cannot use is an error',
  withToy,
  async ({ connect }) => {
    for (const reasonCode of [0x00, 0x01, 0x17, 0x80, 0xff]) {
      const bad = await connect()
      await authenticated(bad)
      bad.send(auth({ reasonCode, properties: method('TOY', 'first') }))
      const answer = await bad.expect('DISCONNECT')
      assert.ok([0x81, 0x82].includes(answer.reasonCode))
      await bad.expectClosed()
    }
  },
)

variantTest(
  '[MQTT-3.15.2-2] [MQTT-3.15.2-3] AUTH fits into a small Maximum Packet Size',
  withToy,
  async ({ connect }) => {
    const client = await connect()
    client.sendConnect({ properties: [...method('TOY', 'first'), [P.maximumPacketSize, 100]] })
    const question = await client.expect('AUTH')
    assert.ok(question.bytes.length <= 100)
    assert.equal(property(question, P.reasonString), undefined)
    assert.deepEqual(properties(question, P.userProperty), [])
  },
)

variantTest(
  '[MQTT-4.12.1-1] a client may authenticate again while messages flow',
  withToy,
  async ({ connect, client }) => {
    const again = await connect()
    await authenticated(again)
    await again.subscribe(['t'])
    again.send(auth({ reasonCode: 0x19, properties: method('TOY', 'first') }))
    const question = await again.expect('AUTH')
    assert.equal(question.reasonCode, 0x18)
    assert.equal(property(question, P.authenticationMethod), 'TOY')
    await (await client()).publish({ topic: 't', payload: 'meanwhile' })
    assert.equal((await again.expect('PUBLISH')).payload.toString(), 'meanwhile')
    again.send(auth({ reasonCode: 0x18, properties: method('TOY', '42') }))
    const done = await again.expect('AUTH')
    assert.equal(done.reasonCode, 0)
    assert.equal(property(done, P.authenticationMethod), 'TOY')
    await again.expectNothing()
  },
)

variantTest(
  '[MQTT-4.12.1-1] to authenticate again under another method ends the connection',
  withToy,
  async ({ connect }) => {
    for (const list of [method('OTHER', 'first'), []]) {
      const bad = await connect()
      await authenticated(bad)
      bad.send(auth({ reasonCode: 0x19, properties: list }))
      await bad.expectDisconnect(0x82)
    }
  },
)

variantTest('AUTH 0x18 that nobody asked for ends the connection', withToy, async ({ connect }) => {
  const bad = await connect()
  await authenticated(bad)
  bad.send(auth({ reasonCode: 0x18, properties: method('TOY', '42') }))
  await bad.expectDisconnect(0x82)
})

variantTest(
  '[MQTT-4.12.1-2] a failure to authenticate again ends the connection',
  withToy,
  async ({ connect, client }) => {
    const watcher = await client()
    await watcher.subscribe(['will'])
    const bad = await connect()
    bad.sendConnect({ properties: method('TOY', 'user:ada'), will: { topic: 'will', payload: 'gone' } })
    await bad.expect('CONNACK')
    bad.send(auth({ reasonCode: 0x19, properties: method('TOY', 'first') }))
    await bad.expect('AUTH')
    bad.send(auth({ reasonCode: 0x18, properties: method('TOY', 'wrong') }))
    await bad.expectDisconnect(0x87)
    assert.equal((await watcher.expect('PUBLISH')).payload.toString(), 'gone')
  },
)

test('an authentication that nobody finishes takes no session from anybody', () =>
  withBroker({ hooks: { enhancedAuthenticators: [toy] } }, async (broker) => {
    const place: ClientPlace = { transport: 'unix' }
    const holder = await broker.connect(place)
    await authenticated(holder, { clientId: 'same' })
    const intruder = await broker.connect(place)
    intruder.sendConnect({ clientId: 'same', properties: method('TOY', 'first') })
    await intruder.expect('AUTH')
    await holder.expectNothing()
    intruder.send(auth({ reasonCode: 0x18, properties: method('TOY', 'wrong') }))
    await intruder.expectRefused(0x87)
    await holder.expectNothing()
  }))
