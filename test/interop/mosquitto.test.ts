// The Mosquitto command line clients and MQTT.js against the broker: every flow over TCP and a UNIX socket, with MQTT
// 3.1.1 and 5, and between two clients that other people wrote.
import assert from 'node:assert/strict'
import { withBroker } from '../kit/broker.ts'
import { MosquittoSub, type MosquittoVersion, mosquittoPub, mosquittoTest, type Place } from './mosquitto-clients.ts'
import { MqttJsClient } from './mqttjs-client.ts'

function eachPlace(
  name: string,
  body: (place: Place, level: 4 | 5) => Promise<void>,
  versions?: MosquittoVersion[],
): void {
  for (const version of versions ?? (['mqttv311', 'mqttv5'] as const)) {
    for (const transport of ['tcp', 'unix'] as const) {
      mosquittoTest(`${name} (${version} over ${transport})`, () =>
        withBroker({}, async (broker) => {
          const cleanups: (() => void)[] = []
          try {
            await body({ broker, transport, version, cleanups }, version === 'mqttv5' ? 5 : 4)
          } finally {
            for (const cleanup of cleanups) cleanup()
          }
        }),
      )
    }
  }
}

eachPlace(
  'mosquitto_pub to mosquitto_sub, every QoS',
  async (place) => {
    const subscriber = await MosquittoSub.start(place, ['-t', 'a/#', '-q', '2'])
    for (const qos of [0, 1, 2]) {
      await mosquittoPub(place, ['-t', 'a/b', '-q', `${qos}`, '-m', `with ${qos}`])
      const message = await subscriber.next()
      assert.deepEqual([message.topic, message.qos, message.payload, message.retain], ['a/b', qos, `with ${qos}`, 0])
    }
    await subscriber.stop()
  },
  ['mqttv31', 'mqttv311', 'mqttv5'],
)

eachPlace('MQTT.js to mosquitto_sub and mosquitto_pub to MQTT.js, every QoS', async (place, level) => {
  const subscriber = await MosquittoSub.start(place, ['-t', 'to/mosquitto', '-q', '2'])
  const js = await MqttJsClient.connect({ ...place, level })
  await js.client.subscribeAsync('to/js', { qos: 2 })
  for (const qos of [0, 1, 2] as const) {
    await js.client.publishAsync('to/mosquitto', `js ${qos}`, { qos })
    const printed = await subscriber.next()
    assert.deepEqual([printed.qos, printed.payload], [qos, `js ${qos}`])
    await mosquittoPub(place, ['-t', 'to/js', '-q', `${qos}`, '-m', `mosquitto ${qos}`])
    const message = await js.next()
    assert.deepEqual([message.packet.qos, message.payload.toString()], [qos, `mosquitto ${qos}`])
  }
  await js.client.endAsync()
  await subscriber.stop()
})

eachPlace('retained messages', async (place) => {
  await mosquittoPub(place, ['-t', 'r/1', '-r', '-m', 'old'])
  await mosquittoPub(place, ['-t', 'r/1', '-r', '-m', 'kept', '-q', '1'])
  await mosquittoPub(place, ['-t', 'r/2', '-r', '-m', 'wiped'])
  await mosquittoPub(place, ['-t', 'r/2', '-r', '-n'])
  const [message] = await MosquittoSub.run(place, ['-t', 'r/#', '-q', '1', '-C', '1'])
  assert.deepEqual([message.topic, message.payload, message.retain, message.qos], ['r/1', 'kept', 1, 1])
})

eachPlace('the Will of a client that is killed', async (place, level) => {
  const watcher = await MqttJsClient.connect({ ...place, level })
  await watcher.client.subscribeAsync('will/#', { qos: 1 })
  const will = ['--will-topic', 'will/1', '--will-payload', 'killed', '--will-qos', '1', '--will-retain']
  const killed = await MosquittoSub.start(place, ['-t', 'x', ...will])
  await killed.stop('SIGKILL')
  const message = await watcher.next()
  assert.deepEqual([message.topic, message.payload.toString(), message.packet.qos], ['will/1', 'killed', 1])
  const polite = await MosquittoSub.start(place, ['-t', 'x', '--will-topic', 'will/2', '--will-payload', 'no'])
  await polite.stop('SIGINT')
  // It sends DISCONNECT then, which in MQTT 5 asks for the Will all the same.
  if (level === 5) assert.equal((await watcher.next()).topic, 'will/2')
  await mosquittoPub(place, ['-t', 'will/end', '-m', 'end', '-q', '1'])
  assert.equal((await watcher.next()).topic, 'will/end')
  const [retained] = await MosquittoSub.run(place, ['-t', 'will/#', '-C', '1'])
  assert.deepEqual([retained.payload, retained.retain], ['killed', 1])
  await watcher.client.endAsync()
})

eachPlace('a session that sleeps and gets what it missed', async (place, level) => {
  const session = ['-c', '-i', 'sleeper', '-q', '2', '-t', 'q/#']
  await MosquittoSub.run(place, [...session, '-E'])
  const js = await MqttJsClient.connect({ ...place, level })
  await js.client.publishAsync('q/0', 'none', { qos: 0 })
  await mosquittoPub(place, ['-t', 'q/1', '-q', '1', '-m', 'one'])
  await mosquittoPub(place, ['-t', 'q/2', '-q', '2', '-m', 'two'])
  await js.client.publishAsync('q/3', 'three', { qos: 2 })
  const messages = (await MosquittoSub.run(place, [...session, '-C', '3'])).filter(({ topic }) => topic !== 'q/0')
  assert.deepEqual(messages.map(({ topic, payload, qos }) => [topic, payload, qos]).slice(0, 2), [
    ['q/1', 'one', 1],
    ['q/2', 'two', 2],
  ])
  await js.client.endAsync()
})

eachPlace('MQTT.js sleeps and gets what mosquitto_pub sent meanwhile', async (place, level) => {
  const options = { clientId: 'js', clean: false, properties: level === 5 ? { sessionExpiryInterval: 60 } : undefined }
  const before = await MqttJsClient.connect({ ...place, level }, options)
  await before.client.subscribeAsync('q/#', { qos: 2 })
  await before.client.endAsync()
  for (const qos of [1, 2]) await mosquittoPub(place, ['-t', `q/${qos}`, '-q', `${qos}`, '-m', `missed ${qos}`])
  const after = await MqttJsClient.connect({ ...place, level }, options)
  for (const qos of [1, 2]) {
    const message = await after.next()
    assert.deepEqual(
      [message.topic, message.payload.toString(), message.packet.qos],
      [`q/${qos}`, `missed ${qos}`, qos],
    )
  }
  await after.client.endAsync()
})

eachPlace('a shared subscription of three clients', async (place, level) => {
  const first = await MosquittoSub.start(place, ['-t', '$share/group/s/#', '-q', '1'])
  const second = await MosquittoSub.start(place, ['-t', '$share/group/s/#', '-q', '1'])
  const third = await MqttJsClient.connect({ ...place, level })
  await third.client.subscribeAsync('$share/group/s/#', { qos: 1 })
  const publisher = await MqttJsClient.connect({ ...place, level })
  for (let number = 0; number < 9; number++) await publisher.client.publishAsync('s/1', `${number}`, { qos: 1 })
  const seen: string[] = []
  for (let count = 0; count < 3; count++) {
    seen.push((await first.next()).payload, (await second.next()).payload, (await third.next()).payload.toString())
  }
  assert.deepEqual(seen.sort(), ['0', '1', '2', '3', '4', '5', '6', '7', '8'])
  await Promise.all([first.stop(), second.stop(), third.client.endAsync(), publisher.client.endAsync()])
})

eachPlace(
  'properties of MQTT 5 pass from client to client',
  async (place) => {
    const subscriber = await MosquittoSub.start(place, ['-t', 'to/mosquitto', '-q', '1'])
    const js = await MqttJsClient.connect({ ...place, level: 5 })
    await js.client.subscribeAsync('to/js', { qos: 1, properties: { subscriptionIdentifier: 12 } })
    const options = ['content-type text/plain', 'response-topic answers/1', 'correlation-data 4711'].flatMap(
      (option) => ['-D', 'publish', ...option.split(' ')],
    )
    const more = ['-D', 'publish', 'message-expiry-interval', '60', '-D', 'publish', 'payload-format-indicator', '1']
    const user = ['b', 'a', 'b'].flatMap((key, index) => ['-D', 'publish', 'user-property', key, `${index}`])
    await mosquittoPub(place, ['-t', 'to/js', '-q', '1', '-m', 'x', ...options, ...more, ...user])
    const { properties } = (await js.next()).packet
    assert.equal(properties?.contentType, 'text/plain')
    assert.equal(properties?.responseTopic, 'answers/1')
    assert.equal(properties?.correlationData?.toString(), '4711')
    assert.equal(properties?.payloadFormatIndicator, true)
    assert.equal(properties?.subscriptionIdentifier, 12)
    assert.ok([59, 60].includes(properties?.messageExpiryInterval ?? 0))
    assert.deepEqual({ ...properties?.userProperties }, { b: ['0', '2'], a: '1' })

    await js.client.publishAsync('to/mosquitto', 'y', {
      qos: 1,
      properties: {
        contentType: 'application/json',
        responseTopic: 'answers/2',
        correlationData: Buffer.from('abc'),
        messageExpiryInterval: 60,
        payloadFormatIndicator: true,
        userProperties: { key: 'value' },
      },
    })
    const printed = (await subscriber.next()).properties ?? {}
    const { 'message-expiry-interval': expiry, ...others } = printed
    assert.ok(expiry === 60 || expiry === 59)
    assert.deepEqual(others, {
      'content-type': 'application/json',
      'response-topic': 'answers/2',
      'correlation-data': 'abc',
      'payload-format-indicator': 1,
      'user-properties': { key: 'value' },
    })
    await js.client.endAsync()
    await subscriber.stop()
  },
  ['mqttv5'],
)

eachPlace('a payload of 900 KB, both ways', async (place, level) => {
  const payload = Buffer.alloc(900_000, 'large ')
  const subscriber = await MosquittoSub.start(place, ['-t', 'to/mosquitto', '-q', '2'])
  const js = await MqttJsClient.connect({ ...place, level })
  await js.client.subscribeAsync('to/js', { qos: 2 })
  for (const qos of [0, 1, 2] as const) {
    await mosquittoPub(place, ['-t', 'to/js', '-q', `${qos}`], payload)
    assert.ok((await js.next()).payload.equals(payload))
    await js.client.publishAsync('to/mosquitto', payload, { qos })
    const printed = await subscriber.next()
    assert.equal(printed.payloadlen, payload.length)
    assert.ok(Buffer.from(printed.payload).equals(payload))
  }
  await js.client.endAsync()
  await subscriber.stop()
})

eachPlace('takeover: the client that comes later has the name', async (place, level) => {
  const first = await MqttJsClient.connect({ ...place, level }, { clientId: 'same' })
  let reasonCode: number | undefined
  first.client.on('disconnect', (packet) => {
    reasonCode = packet.reasonCode
  })
  const closed = new Promise<void>((resolve) => first.client.once('close', () => resolve()))
  const second = await MosquittoSub.start(place, ['-i', 'same', '-t', 'a'])
  await closed
  if (level === 5) assert.equal(reasonCode, 0x8e)
  await mosquittoPub(place, ['-t', 'a', '-m', 'x'])
  assert.equal((await second.next()).payload, 'x')
  await second.stop()
})
