import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { connectClient } from '../../client/mqtt-client.ts'
import { createMessage } from '../../codec/application-message.ts'
import { request, startControlled } from '../control.test.support.ts'

type Row = Record<string, unknown>
const topicOf = ({ topic }: Row) => topic

test('retained messages are listed by filter, shown with their properties, and deleted', async (t) => {
  const { call, addressOf } = await startControlled(t, { features: { sysInterval: 0 } })
  const client = await connectClient({ address: addressOf('local'), clientId: 'publisher' })
  const properties = {
    contentType: 'text/plain',
    responseTopic: 'answers',
    correlationData: Buffer.from([0, 255]),
    payloadFormatIndicator: 1,
    userProperties: [['__proto__', 'x\ny']] as [string, string][],
  }
  await client.publish('plant/1/temp', 'ä21.5', { qos: 1, retain: true, properties })
  await client.publish('plant/2/temp', Buffer.alloc(5000, 1), { qos: 2, retain: true })
  await client.publish('__proto__/line\nbreak', 'x', { qos: 0, retain: true })
  await client.publish('fence', '', { qos: 1 })

  const { items } = await call('retained.list', { filter: 'plant/+/temp', payloadLimitBytes: 2 })
  assert.deepEqual(
    items.sort((left: Row, right: Row) => (String(left.topic) < String(right.topic) ? -1 : 1)),
    [
      { topic: 'plant/1/temp', qos: 1, payloadBytes: 6, payload: 'w6Q=', isTruncated: true, expiresInSeconds: null },
      { topic: 'plant/2/temp', qos: 2, payloadBytes: 5000, payload: 'AQE=', isTruncated: true, expiresInSeconds: null },
    ],
  )
  assert.deepEqual((await call('retained.list')).items.map(topicOf).sort(), [
    '__proto__/line\nbreak',
    'plant/1/temp',
    'plant/2/temp',
  ])
  assert.deepEqual(await call('retained.get', { topic: 'plant/1/temp' }), {
    topic: 'plant/1/temp',
    qos: 1,
    payloadBytes: 6,
    payload: Buffer.from('ä21.5').toString('base64'),
    isTruncated: false,
    expiresInSeconds: null,
    contentType: 'text/plain',
    responseTopic: 'answers',
    correlationData: 'AP8=',
    isText: true,
    userProperties: [['__proto__', 'x\ny']],
  })
  assert.equal((await call('retained.get', { topic: '__proto__/line\nbreak' })).payload, 'eA==')
  await assert.rejects(call('retained.get', { topic: '__proto__' }), { code: 'no-such-message' })

  assert.deepEqual(await call('retained.delete', { topic: '__proto__/line\nbreak' }), { deleted: 1 })
  await assert.rejects(call('retained.delete', { topic: '__proto__/line\nbreak' }), { code: 'no-such-message' })
  assert.deepEqual(await call('retained.delete', { filter: 'plant/#' }), { deleted: 2 })
  assert.deepEqual((await call('retained.list')).items, [])
  await client.disconnect()
})

test('an expired message is not shown, although it is still there', async (t) => {
  const clock = new ManualClock()
  const { call, instance } = await startControlled(t, { features: { sysInterval: 0 } }, clock)
  const publish = (topic: string, messageExpiryInterval: number) =>
    instance.broker.publish(
      createMessage(topic, Buffer.from('x'), { retain: true, nowMs: 0, properties: { messageExpiryInterval } }),
      null,
    )
  publish('short', 1)
  publish('long', 100)
  instance.broker.stop() // nobody sweeps
  clock.advance(10_000)
  const { items } = await call('retained.list')
  assert.deepEqual(items.map(topicOf), ['long'])
  assert.equal(items[0].expiresInSeconds, 90)
  await assert.rejects(call('retained.get', { topic: 'short' }), { code: 'no-such-message' })
})

test('very many are listed and deleted while others get their turns', async (t) => {
  const { call, callAll, instance } = await startControlled(t, { features: { sysInterval: 0 } })
  const { broker } = instance
  for (let number = 0; number < 20_000; number++) {
    const message = createMessage(`a/${number % 100}/${number}`, Buffer.from('x'), { retain: true, nowMs: 0 })
    broker.retain(message.topic, message)
  }
  const listed = await callAll('retained.list', { limit: 1000, filter: 'a/+/+' })
  assert.equal(new Set(listed.map(topicOf)).size, 20_000)
  assert.equal((await callAll('retained.list', { filter: 'a/7/#' })).length, 200)
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  assert.deepEqual(await call('retained.delete', { filter: 'a/#' }), { deleted: 20_000 })
  clearInterval(timer)
  assert.ok(turns > 1)
  assert.equal(broker.retained.count, 0)
})

test('what is under $SYS is made when somebody looks for it', async (t) => {
  const asked = await startControlled(t)
  assert.equal(asked.instance.broker.retained.count, 0)
  assert.deepEqual((await asked.call('retained.list')).items, [])
  assert.equal(asked.instance.broker.retained.count, 0)
  const { payload } = await asked.call('retained.get', { topic: '$SYS/broker/version' })
  assert.match(Buffer.from(payload, 'base64').toString(), /^atollmq /)
  const listed = await asked.callAll('retained.list', { filter: '$SYS/#' })
  assert.equal(listed.length, asked.instance.broker.retained.count)

  const subscribed = await startControlled(t)
  const seen: string[] = []
  const client = await connectClient({
    address: subscribed.addressOf('local'),
    clientId: 'watcher',
    onMessage: ({ topic }) => void seen.push(topic),
  })
  await client.subscribe([request('#', 0)])
  assert.equal(subscribed.instance.broker.retained.count, 0)
  await client.subscribe([request('$SYS/broker/#', 0), request('fence', 1)])
  await client.publish('fence', '', { qos: 1 })
  await client.disconnect()
  assert.deepEqual(seen.filter((topic) => topic !== 'fence').sort(), listed.map(topicOf).sort())
})
