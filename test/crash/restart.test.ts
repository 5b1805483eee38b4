// What waits for a time when the broker is killed: Wills with a delay, Sessions and messages that expire.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { P, property, puback } from '../kit/wire.ts'
import { CrashPlace } from './place.ts'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const will = (delaySeconds: number, payload: string) => ({
  topic: `will/${payload}`,
  payload,
  qos: 1,
  properties: [[P.willDelayInterval, delaySeconds] as [number, number]],
})

test('Wills outlive the broker: those with a delay, and those of clients that it has lost by its own end', async (t) => {
  const place = new CrashPlace(t)
  await place.broker.start()
  const { client: heir } = await place.client({ clientId: 'heir' })
  await heir.subscribe(['will/#'], { qos: 1 })
  heir.destroy()
  const properties = [[P.sessionExpiryInterval, 60] as [number, number]]
  const { client: waiting } = await place.client({ clientId: 'waiting', properties, will: will(1, 'waiting') })
  waiting.destroy()
  await place.client({ clientId: 'connected', properties, will: will(0, 'connected') })
  await place.client({ clientId: 'returning', properties, will: will(5, 'returning') })
  await place.kill()

  await place.broker.start()
  const { isPresent } = await place.client({ clientId: 'returning', properties })
  assert.equal(isPresent, true)
  const { client } = await place.client({ clientId: 'heir' })
  const first = await client.expect('PUBLISH')
  const second = await client.expect('PUBLISH')
  const got = [first, second].map(({ payload }) => payload.toString())
  assert.deepEqual(got.sort(), ['connected', 'waiting'])
  await client.expectNothing()
})

test('time passes for Sessions and messages while the broker is down', async (t) => {
  const place = new CrashPlace(t)
  await place.broker.start()
  const expiry = (seconds: number): [number, number][] => [[P.sessionExpiryInterval, seconds]]
  const { client: short } = await place.client({ clientId: 'short', properties: expiry(1) })
  const { client: long } = await place.client({ clientId: 'long', properties: expiry(100) })
  await long.subscribe(['t'], { qos: 1 })
  await long.disconnect()
  await short.disconnect()
  const { client: publisher } = await place.client()
  const lasting = (seconds: number): [number, number][] => [[P.messageExpiryInterval, seconds]]
  await publisher.publish({ topic: 't', payload: 'gone', qos: 1, properties: lasting(1) })
  await publisher.publish({ topic: 't', payload: 'there', qos: 1, properties: lasting(100) })
  await publisher.publish({ topic: 'r', payload: 'gone', qos: 1, retain: true, properties: lasting(1) })
  await publisher.publish({ topic: 'r/there', payload: 'there', qos: 1, retain: true, properties: lasting(100) })
  await place.kill()
  await pause(1100) // what is to be seen is that this time counts

  await place.broker.start()
  assert.equal((await place.client({ clientId: 'short', properties: expiry(1) })).isPresent, false)
  const { client, isPresent } = await place.client({ clientId: 'long', properties: expiry(100) })
  assert.equal(isPresent, true)
  const message = await client.expect('PUBLISH')
  assert.equal(message.payload.toString(), 'there')
  assert.ok((property(message, P.messageExpiryInterval) as number) < 100, 'the time down does not count')
  await client.expectNothing()
  const { client: reader } = await place.client()
  await reader.subscribe(['r/#'])
  const retained = await reader.expect('PUBLISH')
  assert.equal(retained.payload.toString(), 'there')
  await reader.expectNothing()
})

test('what a member has left of its group in flight goes to the others, if it ends after a restart', async (t) => {
  const place = new CrashPlace(t)
  await place.broker.start()
  const { client: first } = await place.client({ clientId: 'first' })
  await first.subscribe(['$share/group/t/#'], { qos: 1 })
  const { client: publisher } = await place.client()
  for (const payload of ['1', '2', '3']) await publisher.publish({ topic: 't/1', payload, qos: 1 })
  for (let count = 0; count < 3; count++) await first.expect('PUBLISH')
  const { client: second } = await place.client({ clientId: 'second' })
  await second.subscribe(['$share/group/t/#'], { qos: 1 })
  await first.unsubscribe(['$share/group/t/#'])
  await place.kill()

  await place.broker.start()
  await place.client({ clientId: 'first', cleanStart: true })
  const { client } = await place.client({ clientId: 'second' })
  const got: string[] = []
  for (let count = 0; count < 3; count++) got.push((await client.expect('PUBLISH')).payload.toString())
  assert.deepEqual(got, ['1', '2', '3'])
})

test('what is sent for the first time has no DUP, whatever was sent before in earlier lives', async (t) => {
  const place = new CrashPlace(t)
  await place.broker.start()
  const properties: [number, number][] = [
    [P.sessionExpiryInterval, 3600],
    [P.receiveMaximum, 1],
  ]
  const { client: slow } = await place.client({ clientId: 'kept', properties })
  await slow.subscribe(['t'], { qos: 1 })
  const { client: publisher } = await place.client()
  for (let count = 0; count < 10; count++) await publisher.publish({ topic: 't', payload: 'old', qos: 1 })
  await place.kill()

  await place.broker.start()
  const { client } = await place.client({ clientId: 'kept' })
  for (let count = 0; count < 10; count++) {
    const { dup, packetId } = await client.expect('PUBLISH')
    assert.equal(dup, true)
    client.send(puback({ level: 5, packetId: packetId! }))
  }
  await client.disconnect()
  place.broker.end('SIGTERM')
  await place.broker.ended()

  await place.broker.start()
  const { client: back } = await place.client({ clientId: 'kept' })
  const { client: other } = await place.client()
  await other.publish({ topic: 't', payload: 'new', qos: 1 })
  assert.equal((await back.expect('PUBLISH')).dup, false)
})
