import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { LocalClient } from '../../broker/local-client.ts'
import { connectClient } from '../../client/mqtt-client.ts'
import { setPasswordFileUser } from '../../security/password-file.ts'
import { request, startControlled } from '../control.test.support.ts'

type Row = Record<string, unknown>

/** Names that somebody once took for something else. */
const hostileIds = ['__proto__', 'constructor', 'line\nbreak', '\u001b[31mred', '"quoted" \\', '../../etc', 'ä€😀', ' ']

test('clients over TCP and over a UNIX socket are listed and shown alike', async (t) => {
  const { call, directory, addressOf } = await startControlled(t)
  const beforeMs = Date.now()
  const local = await connectClient({ address: addressOf('local'), clientId: 'over-unix', keepAliveSeconds: 30 })
  const remote = await connectClient({ address: addressOf('tcp'), clientId: 'over-tcp', level: 4, keepAliveSeconds: 0 })
  await local.subscribe([request('a', 1)])
  const { items, cursor } = await call('clients.list')
  assert.equal(cursor, null)
  const [first, second] = items
  assert.ok(first.connectedSinceMs >= beforeMs - 1000 && first.connectedSinceMs <= Date.now() + 1000)
  assert.deepEqual(first, {
    clientId: 'over-unix',
    username: null,
    isConnected: true,
    peer: `unix:${directory}/local.sock`,
    listener: 'local',
    protocolVersion: '5',
    connectedSinceMs: first.connectedSinceMs,
    keepAliveSeconds: 30,
    subscriptions: 1,
    inflight: 0,
    queuedMessages: 0,
    queuedBytes: 0,
  })
  assert.deepEqual([second.clientId, second.protocolVersion, second.keepAliveSeconds], ['over-tcp', '3.1.1', 0])
  assert.match(second.peer, /^127\.0\.0\.1:\d+$/)
  const shown = await call('clients.show', { clientId: 'over-unix' })
  assert.deepEqual([shown.transport, shown.peerPort, shown.peerAddress], ['unix', null, `${directory}/local.sock`])
  assert.ok(shown.sentBytes > 0)
  assert.equal((await call('clients.show', { clientId: 'over-tcp' })).transport, 'tcp')
  await Promise.all([local.disconnect(), remote.disconnect()])
})

test('clients are chosen by listener, beginning of the name, user and connection', async (t) => {
  const { call, configure, directory, instance, addressOf } = await startControlled(t)
  const passwords = join(directory, 'passwords')
  await setPasswordFileUser(passwords, 'ann', Buffer.from('secret'))
  const listeners = { tcp: 'tcp://127.0.0.1:0', local: { address: `unix://${directory}/local.sock`, anonymous: true } }
  await instance.reload(configure({ listeners, auth: { passwords } }))
  const ann = { username: 'ann', password: Buffer.from('secret') }
  const properties = { sessionExpiryInterval: 100 }
  const clients = [
    await connectClient({ address: addressOf('tcp'), clientId: 'pump-1', ...ann }),
    await connectClient({ address: addressOf('local'), clientId: 'pump-2', ...ann }),
    await connectClient({ address: addressOf('local'), clientId: 'valve-1', properties }),
  ]
  await clients[2].disconnect()
  const ids = async (filter: object) => (await call('clients.list', filter)).items.map(({ clientId }: Row) => clientId)
  assert.deepEqual(await ids({}), ['pump-1', 'pump-2', 'valve-1'])
  assert.deepEqual(await ids({ listener: 'local' }), ['pump-2', 'valve-1'])
  assert.deepEqual(await ids({ prefix: 'pump' }), ['pump-1', 'pump-2'])
  assert.deepEqual(await ids({ username: 'ann', listener: 'tcp' }), ['pump-1'])
  assert.deepEqual(await ids({ connected: false }), ['valve-1'])
  assert.deepEqual(await ids({ connected: true, prefix: 'valve' }), [])
  const absent = await call('clients.show', { clientId: 'valve-1' })
  assert.deepEqual([absent.isConnected, absent.connectedSinceMs, absent.sentBytes], [false, null, null])
  await Promise.all(clients.map((client) => client.disconnect()))
})

test('hostile names pass through unharmed', async (t) => {
  const { call, addressOf } = await startControlled(t)
  for (const [index, clientId] of hostileIds.entries()) {
    await connectClient({ address: addressOf(index % 2 === 0 ? 'local' : 'tcp'), clientId })
  }
  const { items } = await call('clients.list')
  assert.deepEqual(
    items.map(({ clientId }: Row) => clientId),
    hostileIds,
  )
  for (const clientId of hostileIds) {
    assert.equal((await call('clients.show', { clientId })).clientId, clientId)
    assert.equal((await call('sessions.show', { clientId })).clientId, clientId)
    assert.deepEqual(await call('clients.disconnect', { clientId }), { clientId })
    await assert.rejects(call('clients.show', { clientId }), (error: Error & { code: string }) => {
      assert.equal(error.code, 'no-such-client')
      assert.doesNotMatch(error.message, /[\n\u001b]/)
      return true
    })
  }
  await assert.rejects(call('clients.disconnect', { clientId: 'toString' }), { code: 'no-such-client' })
})

test('a client that is parted with is told why, and its session stays', async (t) => {
  const { call, addressOf } = await startControlled(t)
  const properties = { sessionExpiryInterval: 100 }
  const local = await connectClient({ address: addressOf('local'), clientId: 'kept', properties })
  await call('clients.disconnect', { clientId: 'kept' })
  const reason = await local.closed
  assert.equal(reason.reasonCode, 0x98)
  assert.equal((await call('sessions.show', { clientId: 'kept' })).isConnected, false)
  await assert.rejects(call('clients.disconnect', { clientId: 'kept' }), { code: 'no-such-client' })
})

test('a long list is read in pages while clients come and go', async (t) => {
  const { call, callAll, instance } = await startControlled(t)
  for (let number = 0; number < 2500; number++) instance.broker.sessions.create(`absent-${number}`)
  const first = await call('clients.list', { limit: 1000 })
  assert.equal(first.items.length, 1000)
  instance.broker.sessions.end(instance.broker.sessions.get('absent-5')!)
  instance.broker.sessions.end(instance.broker.sessions.get('absent-1500')!)
  instance.broker.sessions.create('late')
  const second = await call('clients.list', { limit: 1000, cursor: first.cursor })
  await assert.rejects(call('clients.list', { cursor: first.cursor }), { code: 'unknown-cursor' })
  await assert.rejects(call('sessions.list', { cursor: second.cursor }), { code: 'unknown-cursor' })
  const third = await call('clients.list', { limit: 1000, cursor: second.cursor })
  const ids = [first, second, third].flatMap(({ items }) => items.map(({ clientId }: Row) => clientId))
  assert.equal(third.cursor, null)
  assert.equal(new Set(ids).size, 2500)
  assert.ok(ids.includes('late') && ids.includes('absent-5') && !ids.includes('absent-1500'))
  assert.equal((await callAll('sessions.list', { limit: 7, prefix: 'absent-24' })).length, 111)
})

test('a list of very many does not hold up the loop, and a page ends although little was found', async (t) => {
  const { call, callAll, instance } = await startControlled(t)
  for (let number = 0; number < 300_000; number++) instance.broker.sessions.create(`absent-${number}`)
  let turns = 0
  const timer = setInterval(() => turns++, 0)
  const page = await call('clients.list', { prefix: 'absent-299999' })
  clearInterval(timer)
  assert.ok(turns > 1)
  assert.deepEqual(page.items, [])
  assert.notEqual(page.cursor, null)
  assert.equal((await callAll('clients.list', { cursor: page.cursor })).length, 1)
})

test('a client inside the process is listed, too', async (t) => {
  const { call, instance } = await startControlled(t)
  new LocalClient(instance.broker, 'app')
  const [row] = (await call('clients.list')).items
  assert.deepEqual([row.clientId, row.peer, row.listener, row.isConnected], ['app', 'in-process', null, true])
  assert.equal((await call('clients.show', { clientId: 'app' })).transport, null)
  await call('clients.disconnect', { clientId: 'app' })
  assert.deepEqual((await call('sessions.list')).items, [])
})
