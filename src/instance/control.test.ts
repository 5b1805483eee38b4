import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as z from 'zod'
import { connectClient } from '../client/mqtt-client.ts'
import { request, startControlled } from './control.test.support.ts'
import { controlVerbs } from './control-verbs.ts'

test('every verb has a name of its own, and shapes that can be shown as JSON Schema', () => {
  assert.equal(new Set(controlVerbs.map(({ name }) => name)).size, controlVerbs.length)
  for (const { name, summary, params, result, isInternal } of controlVerbs) {
    assert.match(name, /^[a-z]+\.[a-z]+$/)
    assert.match(summary, /^[A-Z].*\.$/)
    if (isInternal) continue
    assert.equal(z.toJSONSchema(params, { io: 'input' }).type, 'object', name)
    assert.equal(z.toJSONSchema(result).type, 'object', name)
  }
})

test('what is wrong with a call names the verb or the parameter', async (t) => {
  const { call } = await startControlled(t)
  await assert.rejects(call('clients.lst'), { code: 'unknown-verb', fix: 'did you mean clients.list?' })
  await assert.rejects(call('__proto__'), { code: 'unknown-verb' })
  const refused: [string, unknown, string][] = [
    ['clients.list', { limit: 0 }, 'limit'],
    ['clients.list', { limit: 1001 }, 'limit'],
    ['clients.list', { limit: '10' }, 'limit'],
    ['clients.list', { connected: 'yes' }, 'connected'],
    ['clients.list', { lmit: 10 }, 'lmit'],
    ['clients.show', {}, 'clientId'],
    ['clients.show', { clientId: '' }, 'clientId'],
    ['clients.disconnect', { clientId: 5 }, 'clientId'],
    ['sessions.delete', null, ''],
    ['subscriptions.list', { filter: 'a/#/b' }, 'filter'],
    ['subscriptions.list', { filter: '$share/g' }, 'filter'],
    ['retained.list', { filter: 'a+' }, 'filter'],
    ['retained.list', { payloadLimitBytes: 4097 }, 'payloadLimitBytes'],
    ['retained.get', { topic: 'a/+' }, 'topic'],
    ['retained.get', { topic: 'a', payloadLimitBytes: 2 ** 30 }, 'payloadLimitBytes'],
    ['retained.delete', {}, 'topic'],
    ['retained.delete', { topic: 'a', filter: 'a' }, 'topic'],
    ['listeners.show', { name: '../a' }, 'name'],
    ['listeners.stop', { name: 'tcp', connections: 1 }, 'connections'],
    ['instance.loglevel', { level: 'loud' }, 'level'],
    ['instance.reload', {}, 'config'],
  ]
  for (const [verb, params, key] of refused) {
    await assert.rejects(call(verb, params), { code: 'bad-parameters', place: { key } }, `${verb} ${key}`)
  }
  await assert.rejects(call('clients.list', { lmit: 10 }), { fix: 'did you mean limit?' })
})

test('the instance is shown with what it holds', async (t) => {
  const { call, addressOf } = await startControlled(t)
  const client = await connectClient({ address: addressOf('local'), clientId: 'sensor' })
  await client.subscribe([request('$share/g/a', 1)])
  await client.publish('kept', 'abc', { qos: 1, retain: true })
  const shown = await call('instance.show')
  assert.equal(shown.name, 'plant-a')
  assert.equal(shown.phase, 'running')
  assert.equal(shown.logLevel, 'info')
  assert.deepEqual(
    shown.listeners.map(({ name, phase, connections }: Record<string, unknown>) => [name, phase, connections]),
    [
      ['tcp', 'listening', 0],
      ['local', 'listening', 1],
    ],
  )
  const { connections, clients, sessions, subscriptions, sharedSubscriptions } = shown
  assert.deepEqual([connections, clients, sessions, subscriptions, sharedSubscriptions], [1, 1, 1, 1, 1])
  assert.ok(shown.retainedMessages > 0)
  const { totals, gauges, listeners } = await call('instance.metrics')
  assert.equal(totals.publishReceived, 1)
  assert.equal(totals.dropped, 0)
  assert.ok(totals.bytesSent > 0)
  assert.equal(gauges.clients, 1)
  assert.deepEqual(listeners[1], {
    name: 'local',
    totals: { accepted: 1, refusedOverLimit: 0, throttled: 0, acceptErrors: 0 },
    gauges: { connections: 1 },
  })
  await client.disconnect()
})

test('the level of the log is changed while it is in use', async (t) => {
  const { call, instance, logLines } = await startControlled(t)
  assert.deepEqual(await call('instance.loglevel', { level: 'error' }), { level: 'error' })
  const before = logLines.length
  await call('listeners.stop', { name: 'tcp' })
  assert.equal(logLines.length, before)
  await call('instance.loglevel', { level: 'debug' })
  instance.broker.log.with({ more: 1 }).debug('seen')
  assert.match(logLines.at(-1)!, /debug seen more=1/)
})

test('a reload takes a whole configuration as JSON and says what it did', async (t) => {
  const { call, instance, configure, directory, addressOf } = await startControlled(t)
  const client = await connectClient({ address: addressOf('local'), clientId: 'stays' })
  await call('listeners.start', { name: 'extra', address: `unix://${directory}/extra.sock` })
  const next = configure({
    listeners: { local: `unix://${directory}/local.sock`, other: `unix://${directory}/other.sock` },
    limits: { queueMessages: 5 },
    log: { level: 'debug' },
    gracePeriod: 1,
  })
  const report = await call('instance.reload', { config: JSON.parse(JSON.stringify(next)) })
  assert.deepEqual(report, {
    hot: ['limits.queueMessages', 'gracePeriod'],
    restart: ['log.level'],
    started: ['other'],
    stopped: ['tcp'],
  })
  assert.equal(instance.broker.limits.queueMessages, 5)
  assert.deepEqual(
    (await call('listeners.list')).items.map(({ name, isStatic }: Record<string, unknown>) => [name, isStatic]),
    [
      ['local', true],
      ['extra', false],
      ['other', true],
    ],
  )
  assert.equal((await call('clients.show', { clientId: 'stays' })).isConnected, true)
  await client.disconnect()
})

test('a reload whose configuration has a wrong value is refused before anything changes', async (t) => {
  const { call, instance } = await startControlled(t)
  const wrong = (change: (config: Record<string, Record<string, unknown>>) => void) => {
    const config = JSON.parse(JSON.stringify(instance.config))
    change(config)
    return call('instance.reload', { config })
  }
  const place = (key: string) => ({ code: 'bad-parameters', place: { key } })
  await assert.rejects(
    wrong(({ limits }) => {
      limits.queueMessages = -1
    }),
    place('config.limits.queueMessages'),
  )
  await assert.rejects(
    wrong(({ limits }) => {
      delete limits.inflight
    }),
    place('config.limits.inflight'),
  )
  await assert.rejects(
    wrong(({ listeners }) => {
      Object.assign(listeners[0] as object, { mode: '0660' })
    }),
    place('config.listeners.0.mode'),
  )
  assert.equal(instance.phase, 'running')
  assert.deepEqual(await call('instance.reload', { config: JSON.parse(JSON.stringify(instance.config)) }), {
    hot: [],
    restart: [],
    started: [],
    stopped: [],
  })
})
