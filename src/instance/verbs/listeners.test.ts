import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { connectClient } from '../../client/mqtt-client.ts'
import { startControlled } from '../control.test.support.ts'

type Row = Record<string, unknown>

test('a listener that a command starts is the same object as one of the configuration', async (t) => {
  const { call, directory, instance, configure, addressOf } = await startControlled(t)
  const keys = { mode: '0600', protocols: ['5'], maxPacketSize: '64KiB', connectTimeout: '5s', mountPoint: 'x/' }
  const address = `local:${directory}/vmq.sock`
  const shown = await call('listeners.start', { name: 'vmq', address, port: 0, ...keys })
  const { listeners } = configure({ listeners: { vmq: { address, port: 0, ...keys } } })
  assert.deepEqual(instance.listener('vmq')!.config, listeners[0])
  // What is shown can be written into a file.
  assert.deepEqual(configure({ listeners: { vmq: shown.settings } }).listeners, listeners)
  assert.equal(shown.phase, 'listening')
  assert.equal(shown.isStatic, false)
  assert.equal(shown.address, `unix://${directory}/vmq.sock`)
  assert.deepEqual(shown.settings.protocols, ['5'])
  assert.equal(shown.settings.mode, '0600')
  assert.equal(shown.settings.maxConnections, 10_000)
  assert.equal(statSync(join(directory, 'vmq.sock')).mode & 0o777, 0o600)
  const client = await connectClient({ address: addressOf('vmq'), clientId: 'over-vmq' })
  assert.deepEqual(await call('listeners.show', { name: 'vmq' }), { ...shown, connections: 1, accepted: 1 })
  await client.disconnect()
})

test('a listener without a name gets the same one each time', async (t) => {
  const { call, directory } = await startControlled(t)
  const address = `unix://${directory}/plain.sock`
  const { name } = await call('listeners.start', { address })
  assert.match(name, /^unix-[A-Za-z0-9_-]{1,59}$/)
  await assert.rejects(call('listeners.start', { address: `local:${directory}/plain.sock` }), {
    code: 'listener-exists',
    place: { key: 'address' },
  })
  await call('listeners.stop', { name })
  await assert.rejects(call('listeners.start', { address }), { fix: `start it by its name, ${name}` })
  await call('listeners.delete', { name })
  assert.equal((await call('listeners.start', { address })).name, name)
  assert.equal((await call('listeners.start', { address: 'tcp://127.0.0.1:0' })).name, 'tcp-127-0-0-1-0')
  assert.equal((await call('listeners.start', { address: '127.0.0.1', port: 0 })).name, 'tcp-127-0-0-1-0-2')
  const long = await call('listeners.start', { address: `unix://${directory}/`.padEnd(85, 'n') })
  assert.equal(long.name.length, 64)
})

test('a start that fails leaves nothing behind', async (t) => {
  const { call, directory, instance } = await startControlled(t)
  writeFileSync(join(directory, 'file'), 'not a socket')
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const before = readdirSync(directory).sort()
  const refused: [object, string, string][] = [
    [{ address: `unix://${directory}/file` }, 'path-occupied', 'address'],
    [{ address: `unix://${directory}/no/such/a.sock` }, 'directory-missing', 'address'],
    [{ address: `unix:///${'x'.repeat(200)}` }, 'socket-path-too-long', 'address'],
    [{ address: `unix://${directory}/local.sock` }, 'socket-in-use', 'address'],
    [{ address: `tcp://127.0.0.1:${port}` }, 'port-in-use', 'address'],
    [{ address: `unix://${directory}/o.sock`, owner: 'nobody-of-this-name' }, 'unknown-account', 'owner'],
    [{ address: `unix://${directory}/o.sock`, mode: '999' }, 'wrong-value', 'mode'],
    [{ address: `unix://${directory}/o.sock`, mode: 660 }, 'bad-parameters', 'mode'],
    [{ address: `unix://${directory}/o.sock`, prot: ['5'] }, 'bad-parameters', 'prot'],
    [{ address: `unix://${directory}/o.sock`, enabled: false }, 'bad-parameters', 'enabled'],
    [{ address: `unix://${directory}/o.sock`, name: '__proto__' }, 'bad-parameters', 'name'],
    [{ address: 'tcp://127.0.0.1:0', mode: '0600' }, 'not-applicable', 'mode'],
    [{ address: 'tcp://0.0.0.0:0' }, 'needs-authentication', 'address'],
    [{ name: 'tcp', address: 'tcp://127.0.0.1:0' }, 'listener-exists', 'name'],
    [{ name: 'tcp' }, 'listener-exists', 'name'],
    [{ name: 'tpc' }, 'no-such-listener', 'name'],
    [{ name: 'tcp', mode: '0600' }, 'bad-parameters', 'address'],
    [{}, 'bad-parameters', 'address'],
  ]
  for (const [params, code, key] of refused) {
    await assert.rejects(call('listeners.start', params), { code, place: { key } }, JSON.stringify(params))
  }
  assert.deepEqual(readdirSync(directory).sort(), before)
  assert.deepEqual(
    instance.listeners.map(({ name, phase }) => [name, phase]),
    [
      ['tcp', 'listening'],
      ['local', 'listening'],
    ],
  )
})

test('a stopped listener keeps its connections, or ends them, and starts again by its name', async (t) => {
  const { call, directory, addressOf } = await startControlled(t)
  const first = await connectClient({ address: addressOf('local'), clientId: 'first' })
  const bystander = await connectClient({ address: addressOf('tcp'), clientId: 'bystander' })
  const stopped = await call('listeners.stop', { name: 'local' })
  assert.deepEqual(stopped, {
    instance: 'plant-a',
    name: 'local',
    address: `unix://${directory}/local.sock`,
    phase: 'stopped',
    connections: 1,
    isStatic: true,
    disconnected: 0,
  })
  assert.equal(existsSync(join(directory, 'local.sock')), false)
  await assert.rejects(connectClient({ address: { kind: 'unix', path: `${directory}/local.sock` } }))
  await first.publish('a', 'still here', { qos: 1 })

  assert.equal((await call('listeners.start', { name: 'local' })).connections, 1)
  const second = await connectClient({ address: addressOf('local'), clientId: 'second', level: 4 })
  assert.equal((await call('listeners.show', { name: 'local' })).accepted, 2)
  const ended = await call('listeners.stop', { name: 'local', connections: true })
  assert.equal(ended.disconnected, 2)
  assert.equal((await first.closed).reasonCode, 0x98)
  assert.equal((await second.closed).cause, 'connection-lost')
  await bystander.publish('a', 'not concerned', { qos: 1 })
  assert.deepEqual(await call('listeners.stop', { name: 'local', connections: true }), {
    ...stopped,
    connections: 0,
  })
  await bystander.disconnect()
})

test('a deleted listener is gone, with its socket file', async (t) => {
  const { call, directory, instance, addressOf } = await startControlled(t)
  await call('listeners.start', { name: 'extra', address: `unix://${directory}/extra.sock` })
  const client = await connectClient({ address: addressOf('extra'), clientId: 'guest' })
  assert.equal((await call('listeners.delete', { name: 'extra', connections: true })).disconnected, 1)
  assert.equal((await client.closed).reasonCode, 0x98)
  assert.equal(existsSync(join(directory, 'extra.sock')), false)
  for (const verb of ['listeners.show', 'listeners.stop', 'listeners.delete', 'listeners.start']) {
    await assert.rejects(call(verb, { name: 'extra' }), { code: 'no-such-listener' }, verb)
  }
  await call('listeners.delete', { name: 'tcp' })
  await call('instance.reload', { config: JSON.parse(JSON.stringify(instance.config)) })
  assert.deepEqual(
    (await call('listeners.list')).items.map(({ name, phase }: Row) => [name, phase]),
    [
      ['local', 'listening'],
      ['tcp', 'listening'],
    ],
  )
})

test('two starts at one time: one of them is told', async (t) => {
  const { call, directory } = await startControlled(t)
  const start = () => call('listeners.start', { name: 'twin', address: `unix://${directory}/twin.sock` })
  const results = await Promise.allSettled([start(), start(), call('listeners.stop', { name: 'tcp' })])
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  assert.equal((results[1] as PromiseRejectedResult).reason.code, 'listener-exists')
})

test('a reload adopts a dynamic listener, and one that fails brings back what made room for it', async (t) => {
  const { call, configure, directory, addressOf } = await startControlled(t)
  const extra = `unix://${directory}/extra.sock`
  const listeners = { tcp: 'tcp://127.0.0.1:0', local: `unix://${directory}/local.sock` }
  await call('listeners.start', { name: 'extra', address: extra })
  const client = await connectClient({ address: addressOf('extra'), clientId: 'guest' })
  const reload = (more: Record<string, string | object>) =>
    call('instance.reload', { config: configure({ listeners: { ...listeners, ...more }, gracePeriod: 0 }) })
  const rows = async () => (await call('listeners.list')).items

  const before = await rows()
  writeFileSync(join(directory, 'file'), 'not a socket')
  const failing = { extra: { address: extra, maxConnections: 5 }, broken: `unix://${directory}/file` }
  await assert.rejects(reload(failing), { code: 'path-occupied' })
  assert.deepEqual(await rows(), before)

  assert.deepEqual(await reload({ extra }), { hot: [], restart: [], started: [], stopped: [] })
  assert.deepEqual(
    (await rows()).map(({ name, isStatic, connections }: Row) => [name, isStatic, connections]),
    [
      ['tcp', true, 0],
      ['local', true, 0],
      ['extra', true, 1],
    ],
  )
  assert.deepEqual(await reload({}), { hot: [], restart: [], started: [], stopped: ['extra'] })
  await client.disconnect()
})

test('a listener that nobody asked for stays closed until it is started', async (t) => {
  const { call, configure, directory } = await startControlled(t)
  const spare = { address: `unix://${directory}/spare.sock`, enabled: false }
  await call('instance.reload', { config: configure({ listeners: { spare } }) })
  assert.equal((await call('listeners.show', { name: 'spare' })).phase, 'stopped')
  assert.equal((await call('listeners.start', { name: 'spare' })).phase, 'listening')
  assert.deepEqual((await call('instance.reload', { config: configure({ listeners: { spare } }) })).stopped, [])
})

test('a reload without passwords is refused while a dynamic listener relies on them', async (t) => {
  const { call, configure, directory, instance } = await startControlled(t)
  const passwords = join(directory, 'passwords')
  writeFileSync(passwords, '')
  chmodSync(passwords, 0o600)
  await call('instance.reload', { config: configure({ auth: { passwords } }) })
  await call('listeners.start', { name: 'wide', address: 'tcp://0.0.0.0:0' })
  await assert.rejects(call('instance.reload', { config: configure({}) }), { code: 'anonymous-listener' })
  assert.equal(instance.config.auth.passwords, passwords)
  await call('listeners.delete', { name: 'wide' })
  await call('instance.reload', { config: configure({}) })
})

test('no listener is started in an instance that has ended', async (t) => {
  const { call, directory, instance } = await startControlled(t)
  await instance.stop()
  const start = call('listeners.start', { address: `unix://${directory}/late.sock` })
  await assert.rejects(start, { code: 'not-running' })
  await assert.rejects(call('listeners.start', { name: 'tcp' }), { code: 'not-running' })
  assert.equal((await call('instance.show')).phase, 'stopped')
})
