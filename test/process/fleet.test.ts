// Fleets of real processes: one crash stays one crash, a daemon that is gone leaves nothing behind, and an edit that touches
// one instance leaves the others' clients alone.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectSocket, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { until } from '../kit/until.ts'
import { connect, P, puback, publish } from '../kit/wire.ts'
import { FleetPlace, ownSocket, Traffic } from './fleet-place.ts'

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** One that never closes its end, so that its instance stops at the end of the grace period only. */
async function clingingClient(t: TestContext, path: string): Promise<void> {
  const socket = connectSocket({ path, allowHalfOpen: true })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  socket.write(connect({ level: 5, clientId: 'clinging' }))
  await once(socket, 'data')
  socket.resume()
}

const five = {
  own: { isolation: 'process', restart: { backoff: 0 } },
  other: { isolation: 'process' },
  left: { isolation: 'shared' },
  right: { isolation: 'shared' },
  lazy: { isolation: 'process', start: 'on-demand' },
}

test('kill -9 of one host process: the others notice nothing, it comes back, and its sessions with what was queued', async (t) => {
  const place = new FleetPlace(t)
  place.describe(five)
  await place.serve()
  const others = ['other', 'left', 'right', 'lazy']
  const traffic = await Promise.all(others.map(async (name) => new Traffic(await place.clientOf(name))))

  const lasting = [P.sessionExpiryInterval, 600] as [number, number]
  const path = place.path('own.sock')
  const keeper = await place.connect({ path })
  await keeper.handshake({ clientId: 'keeper', properties: [lasting] })
  await keeper.subscribe(['for-keeper'], { qos: 1 })
  await keeper.disconnect()
  const publisher = await place.clientOf('own')
  let acknowledged = 0
  for (; acknowledged < 20; acknowledged++) {
    assert.equal(await publisher.publish({ topic: 'for-keeper', payload: String(acknowledged), qos: 1 }), 0)
  }

  const before = await place.members()
  const roundsBefore = traffic.map(({ rounds }) => rounds)
  // In the middle of a flight: what is not acknowledged may or may not be there afterwards.
  publisher.send(
    ...Array.from({ length: 50 }, (_, number) =>
      publish({ level: 5, topic: 'for-keeper', payload: String(20 + number), qos: 1, packetId: 1000 + number }),
    ),
  )
  process.kill(before.get('own')!.pid!, 'SIGKILL')
  await until('own is back', async () => {
    const own = (await place.members()).get('own')!
    return own.phase === 'ready' && own.restarts === 1
  })
  // What is over does not look like what is so.
  assert.match(await place.run(['status']), /^own +ready .* earlier, at 20\S+Z: the host process was ended by SIGKILL/m)
  const after = await place.members()
  assert.equal(after.get('own')!.reason, null)
  assert.notEqual(after.get('own')!.pid, before.get('own')!.pid)
  for (const name of others)
    assert.deepEqual([after.get(name)!.pid, after.get(name)!.restarts], [before.get(name)!.pid, 0], name)
  await until('the traffic of the others goes on', () =>
    traffic.every(({ rounds }, index) => rounds > roundsBefore[index]! + 10),
  )
  for (const one of traffic) await one.end()

  const again = await place.connect({ path })
  const connack = await again.handshake({ clientId: 'keeper', cleanStart: false, properties: [lasting] })
  assert.equal(connack.sessionPresent, true)
  for (let number = 0; number < acknowledged; number++) {
    const { payload, packetId, qos } = await again.expect('PUBLISH')
    assert.deepEqual([payload.toString(), qos], [String(number), 1])
    again.send(puback({ level: 5, packetId: packetId! }))
  }
})

test('the processes of instances are waited for before the folder of a test goes', async (t) => {
  const leaving: (() => unknown)[] = []
  const place = new FleetPlace({ after: (leave: () => unknown) => leaving.push(leave) } as unknown as TestContext)
  place.describe({ a: {}, b: {} })
  await place.serve()
  await clingingClient(t, place.path('a.sock'))
  const pids = [...(await place.members()).values()].map(({ pid }) => pid!)
  for (const leave of leaving) await leave()
  assert.deepEqual(pids.filter(isAlive), [])
  assert.ok(!existsSync(place.folder))
})

test('kill -9 of the daemon: nothing is left behind, and a new start works at once', async (t) => {
  const place = new FleetPlace(t)
  const port = await freePort()
  const tcp = { local: `unix://${place.path(ownSocket)}`, tcp: `tcp://127.0.0.1:${port}` }
  place.describe({ ...five, other: { isolation: 'process', listeners: tcp } })
  const daemon = await place.serve()
  const names = Object.keys(five)
  for (const name of names) await place.clientOf(name)
  await clingingClient(t, place.path('own.sock'))
  const pids = [...(await place.members()).values()].map(({ pid }) => pid!)
  assert.ok(pids.every((pid) => pid !== null && pid !== daemon.child.pid))
  daemon.kill('SIGKILL')
  assert.equal(await daemon.ended(), 'SIGKILL')

  const again = await place.serve()
  const phases = [...(await place.members()).values()].map(({ name, phase, reason }) => [name, phase, reason])
  assert.deepEqual(
    phases,
    names.map((name) => [name, name === 'lazy' ? 'waiting' : 'ready', null]),
    again.stdout,
  )
  for (const name of names) await (await place.clientOf(name)).fence()
  await (await place.client({ port })).fence()
  await until('the old processes have ended', () => pids.every((pid) => !isAlive(pid)))
  // Those that ended have taken nothing with them that is not theirs.
  for (const name of names) await (await place.clientOf(name)).fence()
  again.kill('SIGTERM')
  assert.equal(await again.ended(), 0)
  for (const name of names) assert.ok(!existsSync(place.path(`${name}.sock`)), name)
})

test('a reload with a broken file changes nothing, and the log names file and line', async (t) => {
  const place = new FleetPlace(t)
  place.describe(five)
  const daemon = await place.serve()
  const client = await place.clientOf('left')
  const before = await place.members()
  place.write('atoll.json', '{\n  "instances": {\n    "own": { "isolation": "proces" },\n    "new": {}\n  }\n}\n')
  const said = await daemon.reload()
  assert.match(
    said,
    new RegExp(`error ${place.configFile}:3:\\d+: instances\\.own\\.isolation: .*did you mean process`),
  )
  assert.match(said, /nothing was reloaded, the whole old configuration stays in force/)
  assert.deepEqual([...(await place.members()).keys()], Object.keys(five))
  for (const [name, { pid, phase }] of await place.members()) {
    assert.deepEqual([pid, phase], [before.get(name)!.pid, before.get(name)!.phase])
  }
  await client.fence()
})

test('level and rotation of logs count from the reload on, and clients stay', async (t) => {
  const place = new FleetPlace(t)
  const withLog = (log: object) => place.describe({ ...five, own: { isolation: 'process', log } })
  withLog({ rotateSize: 0 })
  const file = place.path('log/own/own.log')
  mkdirSync(place.path('log/own'), { recursive: true })
  writeFileSync(file, 'x'.repeat(70_000))
  const daemon = await place.serve()
  const client = await place.clientOf('own')
  await until('the old file goes on', () => / ready instance=own/.test(readFileSync(file, 'utf8')))
  assert.ok(!existsSync(`${file}.1`))
  withLog({ rotateSize: '64KiB', rotateKeep: 1 })
  assert.match(await daemon.reload(), /instance=own kind=hot keys="log\.rotateSize log\.rotateKeep"/)
  const reloaded = /^\S+ info +configuration reloaded instance=own/
  // Between the old file and the new one there is none.
  const isTurnedOver = () => {
    try {
      return reloaded.test(readFileSync(file, 'utf8'))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
      throw error
    }
  }
  await until('the file is turned over', isTurnedOver)
  assert.ok(/ ready instance=own/.test(readFileSync(`${file}.1`, 'utf8')))
  withLog({ level: 'error', rotateSize: '64KiB' })
  await daemon.reload()
  const { size } = statSync(file)
  withLog({ level: 'error', rotateSize: '128KiB' })
  await daemon.reload()
  await client.fence()
  withLog({ level: 'info' })
  await daemon.reload()
  await until('it says something again', () => statSync(file).size > size)
  assert.equal(readFileSync(file, 'utf8').match(/configuration reloaded/g)?.length, 2)
})

test('an instance moves to another port while the clients of the others stay', async (t) => {
  const place = new FleetPlace(t)
  const [from, to] = [await freePort(), await freePort()]
  const withPort = (port: number) => ({ ...five, own: { listeners: { tcp: `tcp://127.0.0.1:${port}` } } })
  place.describe(withPort(from))
  const daemon = await place.serve()
  const others = ['other', 'left', 'right', 'lazy']
  const traffic = await Promise.all(others.map(async (name) => new Traffic(await place.clientOf(name))))
  await (await place.client({ port: from })).fence()
  const before = await place.members()
  place.describe(withPort(to))
  assert.match(await daemon.reload(), /a change was applied instance=own kind=hot keys="?listeners\.tcp\.address"?\n/)
  await (await place.client({ port: to })).fence()
  await assert.rejects(place.connect({ port: from }), { code: 'ECONNREFUSED' })
  const roundsThen = traffic.map(({ rounds }) => rounds)
  await until('the traffic goes on', () => traffic.every(({ rounds }, index) => rounds > roundsThen[index]!))
  for (const one of traffic) await one.end()
  for (const [name, { pid }] of await place.members()) assert.equal(pid, before.get(name)!.pid, name)
})

test('the first fifty clients of a lazy instance come at once, and all are served by one process', async (t) => {
  const place = new FleetPlace(t)
  place.describe({ ...five, left: { start: 'on-demand', isolation: 'shared' } })
  await place.serve()
  for (const name of ['lazy', 'left']) {
    const waiting = (await place.members()).get(name)!
    assert.deepEqual([waiting.phase, waiting.pid], ['waiting', null])
    const clients = await Promise.all(Array.from({ length: 50 }, () => place.clientOf(name)))
    await Promise.all(clients.map((client) => client.fence()))
    await clients[0]!.subscribe(['a'])
    await clients[49]!.publish({ topic: 'a', payload: 'x', qos: 1 })
    assert.equal((await clients[0]!.expect('PUBLISH')).payload.toString(), 'x')
    const { phase, restarts } = (await place.members()).get(name)!
    assert.deepEqual([phase, restarts], ['ready', 0])
  }
})

test('a second daemon gets no data directory that is in use, says whose it is, and runs the rest', async (t) => {
  const place = new FleetPlace(t)
  place.describe(five)
  await place.serve()
  const client = await place.clientOf('own')
  const holder = (await place.members()).get('own')!.pid
  const elsewhere = (name: string) => ({ listeners: { local: `unix://${place.path(`second-${name}.sock`)}` } })
  place.describe({ own: elsewhere('own'), free: elsewhere('free') }, { runDir: place.path('run2') })
  await place.serve()
  const members = await place.members('run2')
  assert.equal(members.get('own')!.phase, 'failed')
  assert.match(
    members.get('own')!.reason!,
    new RegExp(`data/own is in use by the instance own \\(process ${holder}, since`),
  )
  assert.equal(members.get('free')!.phase, 'ready')
  await (await place.clientOf('second-free')).fence()
  await client.fence()
})

test('a port or socket that another program has keeps down only the instance that wants it', async (t) => {
  const place = new FleetPlace(t)
  const other = createServer().listen(0, '127.0.0.1')
  const onSocket = createServer().listen(place.path('taken.sock'))
  t.after(() => other.close())
  t.after(() => onSocket.close())
  await Promise.all([other, onSocket].map((one) => one.listening || once(one, 'listening')))
  const { port } = other.address() as AddressInfo
  const tcp = { listeners: { tcp: `tcp://127.0.0.1:${port}` } }
  place.describe({
    free: {},
    pooled: { isolation: 'shared' },
    crowded: tcp,
    lazy: { ...tcp, start: 'on-demand' },
    taken: {},
  })
  // Two of the file that want the same are a mistake of the file, and nothing starts.
  assert.equal(await place.start().ended(), 2)
  place.describe({ free: {}, pooled: { isolation: 'shared' }, crowded: tcp, taken: { start: 'on-demand' } })
  const daemon = await place.serve()
  assert.match(daemon.stdout, / ready instances=4 ready=2 /)
  const members = await place.members()
  const inUse = new RegExp(`tcp://127\\.0\\.0\\.1:${port} is in use`)
  assert.deepEqual(
    [...members.values()].map(({ phase }) => phase),
    ['ready', 'ready', 'failed', 'failed'],
  )
  assert.match(members.get('crowded')!.reason!, inUse)
  assert.match(members.get('taken')!.reason!, /taken\.sock is in use/)
  assert.match(daemon.stdout, new RegExp(`error .*the instance is failed instance=crowded .*${port} is in use`))
  await (await place.clientOf('free')).fence()
  await (await place.clientOf('pooled')).fence()
  other.close()
  onSocket.close()
  await place.run(['instance', 'start', 'crowded', 'taken'])
  await (await place.client({ port })).fence()
  await (await place.clientOf('taken')).fence()
})

test('two hundred instances of one template in shared processes start, answer and stop', async (t) => {
  const place = new FleetPlace(t)
  const small = { isolation: 'shared', poolSize: 50 }
  place.describe({ 'plant-${index}': { template: 'small', count: 200 } }, { templates: { small } })
  const daemon = await place.serve()
  const members = [...(await place.members()).values()]
  assert.equal(members.length, 200)
  assert.deepEqual(
    members.filter(({ phase }) => phase !== 'ready'),
    [],
  )
  const pids = new Set(members.map(({ pid }) => pid!))
  assert.equal(pids.size, 4)
  const clients = await Promise.all(members.map(({ name }) => place.clientOf(name)))
  await Promise.all(
    clients.map(async (client, index) => {
      await client.publish({ topic: 'who', payload: String(index), qos: 1, retain: true })
      await client.subscribe(['who'])
      assert.equal((await client.expect('PUBLISH')).payload.toString(), String(index))
    }),
  )
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
  for (const pid of pids) assert.ok(!isAlive(pid))
  for (const { name } of members) assert.ok(!existsSync(place.path(`${name}.sock`)), name)
})

test('a process that hangs: lists have what the others have and name it, status says so, a restart helps', async (t) => {
  const place = new FleetPlace(t)
  place.describe({ a: {}, b: {} })
  await place.serve()
  await place.clientOf('b')
  const { pid } = (await place.members()).get('a')!
  process.kill(pid!, 'SIGSTOP')
  const listed = await place.command(['client', 'list', '--json'])
  assert.equal(listed.code, 1)
  assert.deepEqual(
    JSON.parse(listed.stdout).map(({ instance }: { instance: string }) => instance),
    ['b'],
  )
  assert.match(listed.stderr, new RegExp(`^atoll: a: its process ${pid} does not answer`))
  assert.match(
    await place.run(['status'], { code: 1 }),
    new RegExp(`a IS NOT READY: its process ${pid} does not answer`),
  )
  await place.run(['instance', 'restart', 'a'])
  assert.match(await place.run(['status']), /a +ready/)
})

const asRoot = { skip: process.getuid?.() === 0 ? false : 'only root may give an instance another account' }

test('an instance of another account works with folders and sockets as by default', asRoot, async (t) => {
  const place = new FleetPlace(t)
  chmodSync(place.folder, 0o755)
  place.configure({ instances: { a: { user: 'nobody' }, b: {} } })
  assert.equal(await place.run(['check', '--host', '-c', place.configFile]), 'ok: 2 instances, 2 listeners\n')
  await place.serve()
  const phases = [...(await place.members()).values()].map(({ name, phase, reason }) => [name, phase, reason])
  assert.deepEqual(phases, [
    ['a', 'ready', null],
    ['b', 'ready', null],
  ])
  for (const path of ['run/a/a.sock', 'run/b.sock']) await place.client({ path: place.path(path) })
  for (const path of ['run/a/a.sock', 'data/a', 'log/a']) assert.equal(statSync(place.path(path)).uid, 65534, path)
})
