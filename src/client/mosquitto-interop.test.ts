import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { ProtocolLevel, Qos } from '../codec/packet-types.ts'
import type { PublishPacket, SubscriptionRequest } from '../codec/packets.ts'
import type { Address } from '../transport/address.ts'
import { ConnectRefusedError } from './connect-refused.ts'
import { type Mosquitto, startMosquitto, withoutMosquitto } from './mosquitto.test.support.ts'
import { type ClientOptions, connectClient, type MqttClient } from './mqtt-client.ts'

let mosquitto: Mosquitto | null = null

before(async () => {
  if (!withoutMosquitto) mosquitto = await startMosquitto()
})
after(() => mosquitto?.stop())

function addressOf(transport: 'tcp' | 'unix'): Address {
  assert.ok(mosquitto !== null)
  return transport === 'tcp'
    ? { kind: 'tcp', host: '127.0.0.1', port: mosquitto.port }
    : { kind: 'unix', path: mosquitto.socketPath }
}

/** Messages in the order of their coming, and a way to wait for the next one. */
class Inbox {
  readonly #messages: PublishPacket[] = []
  #wake: () => void = () => {}

  readonly take = (message: PublishPacket): void => {
    this.#messages.push(message)
    this.#wake()
  }

  async next(): Promise<PublishPacket> {
    while (this.#messages.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#messages.shift() as PublishPacket
  }
}

function request(filter: string, qos: Qos = 2): SubscriptionRequest {
  return { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }
}

let clientCount = 0

async function open(options: Omit<ClientOptions, 'clientId'> & { clientId?: string }): Promise<MqttClient> {
  clientCount++
  return connectClient({ clientId: `client-${clientCount}`, ...options })
}

for (const transport of ['tcp', 'unix'] as const) {
  for (const level of [3, 4, 5] as ProtocolLevel[]) {
    const name = `Mosquitto over ${transport}, level ${level}`
    const limits = { skip: withoutMosquitto, timeout: 120_000 }

    test(`${name}: every QoS comes as it went`, limits, async () => {
      const inbox = new Inbox()
      const client = await open({ address: addressOf(transport), level, onMessage: inbox.take })
      const topic = `qos/${transport}/${level}`
      assert.deepEqual((await client.subscribe([request(`${topic}/#`), request('other/+', 1)])).reasonCodes, [2, 1])
      for (const qos of [0, 1, 2] as const) {
        const { reasonCode } = await client.publish(`${topic}/${qos}`, `payload ${qos}`, { qos })
        assert.equal(reasonCode, 0)
        const message = await inbox.next()
        assert.deepEqual(
          [message.topic, message.payload.toString(), message.qos, message.retain],
          [`${topic}/${qos}`, `payload ${qos}`, qos, false],
        )
      }
      assert.deepEqual((await client.unsubscribe([`${topic}/#`])).reasonCodes, [0])
      await client.publish(`${topic}/1`, 'nobody', { qos: 1 })
      await client.publish('other/x', 'somebody', { qos: 1 })
      assert.equal((await inbox.next()).payload.toString(), 'somebody')
      await client.disconnect()
      assert.equal((await client.closed).cause, 'disconnected')
    })

    test(`${name}: many messages at once, and large ones`, limits, async () => {
      const inbox = new Inbox()
      const client = await open({ address: addressOf(transport), level, onMessage: inbox.take })
      const topic = `many/${transport}/${level}`
      await client.subscribe([request(topic)])
      const count = 300
      for (const qos of [1, 2] as const) {
        const answers = Array.from({ length: count }, (_, index) => client.publish(topic, String(index), { qos }))
        await Promise.all(answers)
        for (let index = 0; index < count; index++) assert.equal((await inbox.next()).payload.toString(), String(index))
      }
      const large = Buffer.alloc(3_000_000, 'abcdefg')
      await client.publish(topic, large, { qos: 1 })
      assert.ok((await inbox.next()).payload.equals(large))
      await client.disconnect()
    })

    test(`${name}: retained messages, and a Will`, limits, async () => {
      const inbox = new Inbox()
      const watcher = await open({ address: addressOf(transport), level, onMessage: inbox.take })
      const topic = `will/${transport}/${level}`
      await watcher.subscribe([request(topic)])
      const will = { topic, payload: Buffer.from('gone'), qos: 1, retain: true, properties: {} } as const
      const broken = await open({
        address: addressOf(transport),
        level,
        will,
        onMessage: () => {
          throw new Error('on purpose')
        },
      })
      if (level === 5) await broken.disconnect(0x04)
      else {
        await broken.subscribe([request(`${topic}/break`)])
        await watcher.publish(`${topic}/break`, 'now')
        assert.equal((await broken.closed).cause, 'message-refused')
      }
      const message = await inbox.next()
      assert.deepEqual([message.payload.toString(), message.qos], ['gone', 1])
      await watcher.subscribe([request(topic)])
      assert.equal((await inbox.next()).retain, true)
      await watcher.publish(topic, '', { retain: true, qos: 1 })
      await watcher.disconnect()
    })

    test(`${name}: a Session waits for its client`, limits, async () => {
      const inbox = new Inbox()
      const topic = `session/${transport}/${level}`
      const options: ClientOptions = {
        address: addressOf(transport),
        level,
        clientId: `kept-${transport}-${level}`,
        cleanStart: false,
        properties: level === 5 ? { sessionExpiryInterval: 60 } : undefined,
        onMessage: inbox.take,
      }
      const first = await connectClient(options)
      assert.equal(first.connack.sessionPresent, false)
      await first.subscribe([request(topic)])
      await first.disconnect()
      const other = await open({ address: addressOf(transport), level })
      await other.publish(topic, 'one', { qos: 1 })
      await other.publish(topic, 'two', { qos: 2 })
      await other.disconnect()
      const second = await connectClient(options)
      if (level !== 3) assert.equal(second.connack.sessionPresent, true)
      assert.equal((await inbox.next()).payload.toString(), 'one')
      assert.equal((await inbox.next()).payload.toString(), 'two')
      await second.disconnect()
      await (await connectClient({ ...options, cleanStart: true, properties: undefined })).disconnect()
    })
  }
}

test('Mosquitto: properties of MQTT 5 come through', { skip: withoutMosquitto, timeout: 120_000 }, async () => {
  const inbox = new Inbox()
  const client = await open({
    address: addressOf('unix'),
    clientId: '',
    properties: { topicAliasMaximum: 10, receiveMaximum: 5 },
    onMessage: inbox.take,
  })
  assert.match(client.clientId, /^auto-/)
  await client.subscribe([{ ...request('p'), retainAsPublished: true }], { subscriptionIdentifiers: [300] })
  const properties = {
    payloadFormatIndicator: 1,
    contentType: 'text/plain',
    responseTopic: 'r/s',
    correlationData: Buffer.from([0, 1, 255]),
    userProperties: [
      ['a', 'b'],
      ['a', 'c'],
      ['__proto__', 'd'],
    ] as [string, string][],
  }
  await client.publish('p', 'x', { qos: 2, retain: true, properties })
  const message = await inbox.next()
  assert.equal(message.retain, true)
  assert.deepEqual(message.properties, { ...properties, subscriptionIdentifiers: [300] })
  await client.publish('p', '', { retain: true, qos: 1 })
  await client.disconnect()
})

test('Mosquitto: another client with the same identifier takes over', {
  skip: withoutMosquitto,
  timeout: 120_000,
}, async () => {
  const first = await open({ address: addressOf('unix'), clientId: 'twin' })
  const second = await open({ address: addressOf('tcp'), clientId: 'twin' })
  const { cause } = await first.closed
  assert.ok(cause === 'server-disconnected' || cause === 'connection-lost', cause)
  await second.disconnect()
})

test('Mosquitto: without rights the refusal says so', { skip: withoutMosquitto, timeout: 120_000 }, async () => {
  const strict = await startMosquitto(['allow_anonymous false'])
  try {
    for (const [level, connackCode] of [
      [3, 5],
      [4, 5],
      [5, 0x87],
    ] as const) {
      const address: Address = { kind: 'unix', path: strict.socketPath }
      await assert.rejects(connectClient({ address, level, clientId: 'x' }), (error) => {
        assert.ok(error instanceof ConnectRefusedError, String(error))
        assert.equal(error.connackCode, connackCode)
        assert.equal(error.reasonCode, 0x87)
        return true
      })
    }
  } finally {
    await strict.stop()
  }
})

test('nobody there: the error names the address and what to do', async () => {
  const rows: [Address, RegExp][] = [
    [{ kind: 'tcp', host: '127.0.0.1', port: 1 }, /cannot connect to tcp:\/\/127\.0\.0\.1:1: connection refused/],
    [
      { kind: 'unix', path: '/nowhere/a.sock' },
      /cannot connect to unix:\/\/\/nowhere\/a\.sock: there is no such socket/,
    ],
    [{ kind: 'unix', path: '/etc/hostname' }, /cannot connect to unix:\/\/\/etc\/hostname/],
  ]
  for (const [address, message] of rows) {
    await assert.rejects(connectClient({ address }), (error) => {
      assert.ok(error instanceof Error && 'fix' in error && error.fix)
      assert.match(error.message, message)
      return true
    })
  }
})
