import assert from 'node:assert/strict'
import { type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync } from 'node:fs'
import { connect, createServer, type NetConnectOpts, type Server, Socket, type SocketConstructorOpts } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import type { Peer } from '../base/peer.ts'
import type { ListenerConfig } from '../config/instance-config.ts'
import { parseAddress } from './address.ts'
import { createListener, type Listener } from './listener.ts'

interface Made {
  listener: Listener
  clock: ManualClock
  log: { message: string; [field: string]: unknown }[]
  accepted: { socket: Socket; peer: Peer }[]
  /** Resolves when `count` connections have been accepted in all. */
  hasAccepted(count: number): Promise<void>
}

function make(t: TestContext, config: Partial<ListenerConfig> = {}): Made {
  const clock = new ManualClock()
  const log: Made['log'] = []
  const accepted: Made['accepted'] = []
  let onAccept = () => {}
  const write = (message: string, fields = {}) => log.push({ message, ...fields })
  const listener = createListener(
    {
      name: 'a',
      address: 'tcp://127.0.0.1:0',
      enabled: true,
      mode: 0o660,
      owner: null,
      group: null,
      protocols: ['5'],
      anonymous: null,
      maxConnections: 100,
      connectRate: 0,
      connectTimeoutSeconds: 10,
      maxPacketSizeBytes: 1000,
      receiveMaximumPolicy: 'strict',
      mountPoint: '',
      backlog: 128,
      ...config,
    },
    {
      platform: process.platform,
      runDir: null,
      inheritedFds: { names: new Map(), problem: 'no sockets were handed over' },
      log: { info: write, warn: write },
      clock,
    },
    (handle, peer, released) => {
      const socket = new Socket({ handle } as unknown as SocketConstructorOpts)
      socket.on('error', () => {})
      socket.on('close', released)
      accepted.push({ socket, peer })
      onAccept()
    },
  )
  t.after(async () => {
    await listener.stop()
    for (const { socket } of accepted) socket.destroy()
  })
  const hasAccepted = (count: number) =>
    new Promise<void>((resolve) => {
      onAccept = () => accepted.length >= count && resolve()
      onAccept()
    })
  return { listener, clock, log, accepted, hasAccepted }
}

function endpoint(address: string): NetConnectOpts {
  const parsed = parseAddress(address, { platform: process.platform, role: 'client' })
  if (parsed.kind === 'tcp') return { host: parsed.host, port: parsed.port }
  if (parsed.kind === 'unix') return { path: parsed.path }
  return assert.fail(address)
}

async function open(t: TestContext, address: string): Promise<Socket> {
  const socket = connect(endpoint(address))
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/** Reads until the other side ends the connection. */
async function ended(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  if (!socket.closed) await once(socket, 'close')
  return text
}

async function refusal(starting: Promise<void>): Promise<OperatorError> {
  try {
    await starting
  } catch (error) {
    assert.ok(error instanceof OperatorError, String(error))
    assert.equal(error.place?.key, 'listeners.a.address')
    return error
  }
  return assert.fail('it started')
}

test('the life of a tcp listener', async (t) => {
  const { listener, accepted, hasAccepted } = make(t)
  assert.equal(listener.phase, 'created')
  assert.equal(listener.address, 'tcp://127.0.0.1:0')
  const starting = listener.start()
  assert.equal(listener.phase, 'starting')
  await starting
  assert.equal(listener.phase, 'listening')
  assert.match(listener.address, /^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/)
  assert.throws(() => listener.start(), /illegal transition/)

  const client = await open(t, listener.address)
  await hasAccepted(1)
  const [{ socket, peer }] = accepted
  const label = `127.0.0.1:${client.localPort}`
  assert.deepEqual(peer, {
    transport: 'tcp',
    address: '127.0.0.1',
    port: client.localPort,
    pid: null,
    uid: null,
    gid: null,
    label,
  })
  assert.equal(listener.connections, 1)

  await listener.stop()
  await listener.stop()
  assert.equal(listener.phase, 'stopped')
  await assert.rejects(once(connect(endpoint(listener.address)), 'connect'), { code: 'ECONNREFUSED' })
  // What is open stays open, and is counted until it closes.
  socket.resume()
  client.write('still here')
  assert.equal(String((await once(socket, 'data'))[0]), 'still here')
  assert.equal(listener.connections, 1)
  client.destroy()
  await once(socket, 'close')
  assert.equal(listener.connections, 0)
  assert.deepEqual(listener.counters, { accepted: 1, refusedOverLimit: 0, throttled: 0, acceptErrors: 0 })
})

test('a listener may be stopped before and while it starts', async (t) => {
  const idle = make(t).listener
  await idle.stop()
  assert.equal(idle.phase, 'stopped')
  const { listener } = make(t)
  const starting = listener.start()
  await listener.stop()
  await starting
  assert.equal(listener.phase, 'stopped')
  await assert.rejects(once(connect(endpoint(listener.address)), 'connect'), { code: 'ECONNREFUSED' })
})

test('every address of the machine, and IPv4 clients shown as such', async (t) => {
  const { listener, accepted, hasAccepted } = make(t, { address: 'tcp://*:0' })
  await listener.start()
  const port = /^tcp:\/\/\*:([1-9]\d*)$/.exec(listener.address)?.[1]
  assert.ok(port, listener.address)
  const client = await open(t, `tcp://127.0.0.1:${port}`)
  await hasAccepted(1)
  assert.equal(accepted[0].peer.label, `127.0.0.1:${client.localPort}`)
})

test('an IPv6 peer stands in brackets', async (t) => {
  const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))
  const { listener, accepted, hasAccepted } = make(t, { address: 'tcp://[::1]:0' })
  if (!hasIPv6) {
    assert.equal((await refusal(listener.start())).code, 'address-not-available')
    return
  }
  await listener.start()
  const client = await open(t, listener.address)
  await hasAccepted(1)
  assert.equal(accepted[0].peer.label, `[::1]:${client.localPort}`)
  assert.equal(accepted[0].peer.address, '::1')
})

test('a port in use is refused, and its owner named where it can be known', async (t) => {
  const first = make(t).listener
  await first.start()
  const { listener } = make(t, { address: first.address })
  const error = await refusal(listener.start())
  assert.equal(error.code, 'port-in-use')
  assert.ok(error.message.startsWith(`${first.address} is in use`), error.message)
  if (process.platform === 'linux') assert.ok(error.message.includes(` by process ${process.pid} (`), error.message)
  assert.equal(listener.phase, 'failed')
  await listener.stop()
  assert.equal(listener.phase, 'failed')
})

test('an address that is not of this machine, a name that is none, and a bad address', async (t) => {
  assert.equal(
    (await refusal(make(t, { address: 'tcp://192.0.2.1:0' }).listener.start())).code,
    'address-not-available',
  )
  assert.equal(
    (await refusal(make(t, { address: 'tcp://no-such-host.invalid:0' }).listener.start())).code,
    'host-not-found',
  )
  assert.equal((await refusal(make(t, { address: 'wss://a:1' }).listener.start())).code, 'address-unsupported')
  assert.equal((await refusal(make(t, { address: 'fd:3' }).listener.start())).code, 'descriptor-missing')
})

test('over maxConnections a connection is closed at once, counted and logged with restraint', async (t) => {
  const { listener, clock, log, accepted, hasAccepted } = make(t, { maxConnections: 2 })
  await listener.start()
  const first = await open(t, listener.address)
  await open(t, listener.address)
  await hasAccepted(2)
  const refused = () => log.filter(({ limit }) => limit === 'maxConnections').map(({ suppressed }) => suppressed)
  for (let count = 1; count <= 5; count++) {
    await ended(await open(t, listener.address))
    assert.equal(listener.counters.refusedOverLimit, count)
  }
  assert.deepEqual(refused(), [0])
  clock.advance(10_000)
  await ended(await open(t, listener.address))
  assert.deepEqual(refused(), [0, 4])
  assert.equal(listener.connections, 2)

  first.destroy()
  const [{ socket }] = accepted
  socket.resume()
  await once(socket, 'close')
  await open(t, listener.address)
  await hasAccepted(3)
  assert.equal(listener.connections, 2)
})

test('over connectRate connections wait for their turn, and beyond one second’s worth are closed', async (t) => {
  const { listener, clock, log, accepted, hasAccepted } = make(t, { connectRate: 2 })
  await listener.start()
  const clients: Socket[] = []
  for (let count = 0; count < 5; count++) clients.push(await open(t, listener.address))
  await ended(clients[4])
  assert.equal(accepted.length, 2)
  assert.deepEqual(listener.counters, { accepted: 2, refusedOverLimit: 1, throttled: 2, acceptErrors: 0 })
  assert.equal(log.filter(({ limit }) => limit === 'connectRate').length, 1)
  assert.equal(listener.connections, 4)
  clients[2].write('early')
  clock.advance(500)
  await hasAccepted(3)
  assert.equal(accepted[2].peer.port, clients[2].localPort)
  // Nothing that came while it waited is lost.
  accepted[2].socket.resume()
  assert.equal(String((await once(accepted[2].socket, 'data'))[0]), 'early')
  await listener.stop()
  await ended(clients[3])
  assert.equal(accepted.length, 3)
})

test('an abstract socket, which only Linux has', async (t) => {
  const name = `atoll-test-${process.pid}`
  const { listener, accepted, hasAccepted } = make(t, { address: `unix:@${name}` })
  if (process.platform !== 'linux') {
    assert.equal((await refusal(listener.start())).code, 'address-invalid')
    return
  }
  await listener.start()
  const client = connect(`\0${name}`)
  t.after(() => client.destroy())
  await hasAccepted(1)
  assert.equal(accepted[0].peer.label, `unix:@${name}`)
  const error = await refusal(make(t, { address: `unix:@${name}` }).listener.start())
  assert.equal(error.code, 'socket-in-use')
  assert.ok(error.message.includes(` by process ${process.pid} (`), error.message)
})

/** A process with a listener on fd 3, which says who is connected and echoes nothing; `shell` may set limits first. */
function listenerProcess(t: TestContext, address: string, descriptor: Server | null, shell = '') {
  const module = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
  const code = `
    import { Socket } from 'node:net'
    import { createListener } from ${module('./listener.js')}
    import { parseListenFds } from ${module('./inherited-fds.js')}
    import { createSystemClock } from ${module('../base/clock.js')}
    const say = (message, fields) => console.log([message, ...Object.values(fields ?? {})].join(' '))
    const inheritedFds = parseListenFds(
      { LISTEN_PID: String(process.pid), LISTEN_FDS: '1', LISTEN_FDNAMES: 'mqtt' }, process.pid)
    const environment = { platform: process.platform, runDir: null, clock: createSystemClock(), inheritedFds,
      log: { info: say, warn: say } }
    const config = { name: 'a', address: ${JSON.stringify(address)}, maxConnections: 1000, connectRate: 0,
      backlog: 128 }
    const listener = createListener(config, environment, (handle, peer) => {
      const socket = new Socket({ handle })
      socket.on('error', () => {})
      socket.write(peer.label + ' at ' + listener.address + '\\n')
      socket.resume()
    })
    await listener.start()
    process.stdin.on('data', async () => { await listener.stop(); process.exit() })`
  const stdio: StdioOptions = ['pipe', 'pipe', 'inherit']
  // Node has no public way to hand over a listening socket as a plain descriptor.
  if (descriptor !== null) stdio.push((descriptor as unknown as { _handle: { fd: number } })._handle.fd)
  const command = `${shell} exec "$0" --input-type=module -e "$1"`
  const child = spawn('/bin/sh', ['-c', command, process.execPath, code], { stdio })
  t.after(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  return { child, line: async () => String((await lines.next()).value) }
}

async function firstLine(socket: Socket): Promise<string> {
  socket.setEncoding('utf8')
  let text = ''
  for await (const chunk of socket) {
    text += chunk
    if (text.endsWith('\n')) break
  }
  return text.trimEnd()
}

test('an inherited UNIX socket serves, shows its path, and its file stays', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'fd-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'a.sock')
  const parent = createServer().listen(path)
  await once(parent, 'listening')
  const heir = listenerProcess(t, 'fd:mqtt', parent)
  await once(heir.child, 'spawn')
  // The close of the parent removes the path that it has bound; out of the way with the file meanwhile.
  renameSync(path, `${path}.kept`)
  parent.close()
  await once(parent, 'close')
  renameSync(`${path}.kept`, path)

  const shown =
    process.platform === 'linux'
      ? { label: `unix:${path}`, address: `unix://${path}` }
      : { label: 'unix:fd:mqtt', address: 'fd:mqtt' }
  assert.equal(await heir.line(), `listening a ${shown.address}`)
  assert.equal(await firstLine(await open(t, `unix://${path}`)), `${shown.label} at ${shown.address}`)
  heir.child.stdin?.write('stop\n')
  assert.deepEqual(await once(heir.child, 'exit'), [0, null])
  await assert.rejects(once(connect(path), 'connect'), { code: 'ECONNREFUSED' })
})

test('an inherited tcp socket serves and shows its real address', async (t) => {
  const parent = createServer().listen(0, '127.0.0.1')
  await once(parent, 'listening')
  const { port } = parent.address() as { port: number }
  const heir = listenerProcess(t, 'fd:3', parent)
  await once(heir.child, 'spawn')
  parent.close()
  assert.equal(await heir.line(), `listening a tcp://127.0.0.1:${port}`)
  const client = await open(t, `tcp://127.0.0.1:${port}`)
  const { localPort } = client
  assert.equal(await firstLine(client), `127.0.0.1:${localPort} at tcp://127.0.0.1:${port}`)
})

test('a process without descriptors left refuses connections and then serves again', async (t) => {
  const { line } = listenerProcess(t, 'tcp://127.0.0.1:0', null, 'ulimit -n 40;')
  const address = /tcp:\S+$/.exec(await line())?.[0] ?? ''
  const clients = await Promise.all(Array.from({ length: 60 }, () => open(t, address)))
  const closed = clients.map((client) => new Promise<Socket>((resolve) => client.on('close', () => resolve(client))))
  for (const client of clients) client.resume()
  await Promise.race(closed)
  for (const client of clients) client.destroy()
  await Promise.all(closed)
  // The descriptors come back as the process notices; until then a new connection may still be closed.
  let answer = ''
  for (let attempt = 0; attempt < 100 && answer === ''; attempt++) {
    answer = await firstLine(await open(t, address)).catch(() => '')
  }
  assert.ok(answer.endsWith(` at ${address}`), answer)
})
