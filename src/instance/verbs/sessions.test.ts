import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../../base/clock.ts'
import { connectClient } from '../../client/mqtt-client.ts'
import { request, startControlled } from '../control.test.support.ts'

test('a session is shown with what waits in it and how long it is kept', async (t) => {
  const clock = new ManualClock()
  const { call, addressOf } = await startControlled(t, {}, clock)
  const absent = await connectClient({
    address: addressOf('local'),
    clientId: 'absent',
    properties: { sessionExpiryInterval: 100 },
  })
  await absent.subscribe([request('a', 1)])
  await absent.disconnect()
  const sender = await connectClient({ address: addressOf('tcp'), clientId: 'sender', keepAliveSeconds: 0 })
  await sender.publish('a', 'waits', { qos: 1 })
  clock.advance(40_500)
  const shown = await call('sessions.show', { clientId: 'absent' })
  assert.ok(shown.queuedBytes > 0)
  assert.deepEqual(shown, {
    clientId: 'absent',
    username: null,
    isConnected: false,
    expirySeconds: 100,
    endsInSeconds: 60,
    subscriptions: 1,
    inflight: 0,
    queuedMessages: 1,
    queuedBytes: shown.queuedBytes,
    droppedMessages: 0,
    hasWill: false,
    mountPoint: '',
  })
  const ids = async (filter: object) =>
    (await call('sessions.list', filter)).items.map(({ clientId }: Record<string, unknown>) => clientId)
  assert.deepEqual(await ids({ connected: true }), ['sender'])
  assert.deepEqual(await ids({ connected: false, prefix: 'ab' }), ['absent'])
  await sender.disconnect()
})

test('a session is deleted with all it has, its client is told and its Will published', async (t) => {
  const { call, instance, addressOf } = await startControlled(t)
  const will = { topic: 'wills/doomed', payload: Buffer.from('gone'), qos: 1 as const, retain: false, properties: {} }
  let arrive = (_topic: string) => {}
  const arrived = new Promise<string>((resolve) => {
    arrive = resolve
  })
  const watcher = await connectClient({
    address: addressOf('tcp'),
    clientId: 'watcher',
    onMessage: ({ topic }) => arrive(topic),
  })
  await watcher.subscribe([request('wills/#', 1)])
  const properties = { sessionExpiryInterval: 100 }
  const doomed = await connectClient({ address: addressOf('local'), clientId: 'doomed', will, properties })
  await doomed.subscribe([request('a', 1)])
  assert.equal((await call('sessions.show', { clientId: 'doomed' })).hasWill, true)
  assert.deepEqual(await call('sessions.delete', { clientId: 'doomed' }), { clientId: 'doomed', wasConnected: true })
  assert.equal((await doomed.closed).reasonCode, 0x98)
  assert.equal(await arrived, 'wills/doomed')
  assert.equal(instance.broker.router.subscriptionCount, 1)
  await assert.rejects(call('sessions.delete', { clientId: 'doomed' }), { code: 'no-such-session' })
  await assert.rejects(call('sessions.show', { clientId: '__proto__' }), { code: 'no-such-session' })

  const again = await connectClient({ address: addressOf('local'), clientId: 'doomed', cleanStart: false, properties })
  assert.equal(again.connack.sessionPresent, false)
  await again.disconnect()
  assert.equal((await call('sessions.delete', { clientId: 'doomed' })).wasConnected, false)
  await watcher.disconnect()
})
