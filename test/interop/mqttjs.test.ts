// MQTT.js against the broker, on its own: what needs no other program, over TCP and a UNIX socket, MQTT 3.1.1 and 5.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { MqttJsClient, type MqttJsPlace } from './mqttjs-client.ts'

function eachPlace(name: string, body: (place: MqttJsPlace) => Promise<void>): void {
  for (const level of [4, 5] as const) {
    for (const transport of ['tcp', 'unix'] as const) {
      test(`MQTT.js: ${name} (v${level === 4 ? '3.1.1' : '5'} over ${transport})`, () =>
        withBroker({}, async (broker) => {
          const cleanups: (() => void)[] = []
          try {
            await body({ broker, transport, level, cleanups })
          } finally {
            for (const cleanup of cleanups) cleanup()
          }
        }))
    }
  }
}

eachPlace('many messages of every QoS keep their order', async (place) => {
  const subscriber = await MqttJsClient.connect(place)
  const publisher = await MqttJsClient.connect(place)
  await subscriber.client.subscribeAsync('o/#', { qos: 2 })
  for (const qos of [0, 1, 2] as const) {
    const sent = Array.from({ length: 200 }, (_, number) => publisher.client.publishAsync('o/t', `${number}`, { qos }))
    await Promise.all(sent)
    for (let number = 0; number < 200; number++) {
      const message = await subscriber.next()
      assert.deepEqual([message.payload.toString(), message.packet.qos], [`${number}`, qos])
    }
  }
  assert.equal(subscriber.unread, 0)
  await subscriber.client.endAsync()
  await publisher.client.endAsync()
})

eachPlace('subscribe, unsubscribe, and what the broker grants', async (place) => {
  const { client } = await MqttJsClient.connect(place)
  const grants = await client.subscribeAsync({ a: { qos: 0 }, 'b/+': { qos: 1 }, 'c/#': { qos: 2 } })
  assert.deepEqual(
    grants.map(({ topic, qos }) => [topic, qos]),
    [
      ['a', 0],
      ['b/+', 1],
      ['c/#', 2],
    ],
  )
  await client.unsubscribeAsync(['a', 'b/+', 'never'])
  await client.endAsync()
})

eachPlace('the Will of a connection that breaks', async (place) => {
  const watcher = await MqttJsClient.connect(place)
  await watcher.client.subscribeAsync('will', { qos: 1 })
  const lost = await MqttJsClient.connect(place, {
    will: { topic: 'will', payload: Buffer.from('gone'), qos: 1, retain: false },
  })
  lost.client.stream.destroy()
  assert.equal((await watcher.next()).payload.toString(), 'gone')
  await watcher.client.endAsync()
})

eachPlace('a client that reconnects by itself goes on with its session', async (place) => {
  const properties = place.level === 5 ? { sessionExpiryInterval: 60 } : undefined
  const subscriber = await MqttJsClient.connect(place, {
    clientId: 'again',
    clean: false,
    reconnectPeriod: 20,
    resubscribe: false,
    properties,
  })
  await subscriber.client.subscribeAsync('t', { qos: 1 })
  const publisher = await MqttJsClient.connect(place)
  for (let round = 0; round < 5; round++) {
    const back = new Promise<void>((resolve) => subscriber.client.once('connect', () => resolve()))
    subscriber.client.stream.destroy()
    await publisher.client.publishAsync('t', `${round}`, { qos: 1 })
    await back
    // Sent while it was away or to the connection that broke: it comes either way, perhaps twice.
    let message = await subscriber.next()
    while (message.payload.toString() !== `${round}`) message = await subscriber.next()
  }
  await subscriber.client.endAsync()
  await publisher.client.endAsync()
})

eachPlace('a topic alias in both directions', async (place) => {
  if (place.level !== 5) return
  const subscriber = await MqttJsClient.connect(place, { properties: { topicAliasMaximum: 10 } })
  await subscriber.client.subscribeAsync('long/topic/#')
  const publisher = await MqttJsClient.connect(place, { autoAssignTopicAlias: true })
  for (let number = 0; number < 20; number++) {
    await publisher.client.publishAsync(`long/topic/${number % 3}`, `${number}`, { qos: 1 })
    const message = await subscriber.next()
    assert.equal(message.topic, `long/topic/${number % 3}`)
    assert.equal(message.payload.toString(), `${number}`)
  }
  await subscriber.client.endAsync()
  await publisher.client.endAsync()
})
