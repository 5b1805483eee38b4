// Under a service manager: sockets that are handed over, and the word that the broker is ready.
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, renameSync } from 'node:fs'
import { createServer, type ListenOptions } from 'node:net'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { publish } from '../kit/wire.ts'
import { Workplace } from './daemon.ts'

/** A listening socket as a service manager has it: bound, and nobody accepts yet. */
async function listeningSocket(options: ListenOptions) {
  const server = createServer().listen(options)
  await once(server, 'listening')
  const address = server.address()
  return {
    // Node has no public way to hand over a listening socket as a plain descriptor.
    descriptor: (server as unknown as { _handle: { fd: number } })._handle.fd,
    port: address !== null && typeof address === 'object' ? address.port : 0,
    /** Gives up this process's own copy. */
    release: () => server.close(),
  }
}

test('sockets that are handed over serve, from before the start until after the stop', async (t) => {
  const workplace = new Workplace(t)
  const tcp = await listeningSocket({ port: 0, host: '127.0.0.1' })
  const local = await listeningSocket({ path: workplace.path('bound') })
  // Node deletes the path that it has bound when it closes its copy.
  renameSync(workplace.path('bound'), workplace.socketPath)
  workplace.configure({ listeners: { tcp: 'fd:3', local: 'fd:local' } })
  const daemon = workplace.start({
    descriptors: [tcp.descriptor, local.descriptor],
    environment: { LISTEN_FDS: '2', LISTEN_FDNAMES: 'mqtt:local' },
  })
  tcp.release()
  local.release()
  // The point of it: a client may come before the broker is there.
  const early = await workplace.connect({ path: workplace.socketPath })
  early.sendConnect()
  await daemon.ready()
  assert.equal((await early.expect('CONNACK')).reasonCode, 0)
  assert.match(daemon.stdout, new RegExp(`listening listener=tcp address=tcp://127\\.0\\.0\\.1:${tcp.port}\n`))
  await early.subscribe(['a'])
  const other = await workplace.client({ port: tcp.port })
  other.send(publish({ level: 5, topic: 'a', payload: 'x' }))
  assert.equal((await early.expect('PUBLISH')).payload.toString(), 'x')
  daemon.kill('SIGTERM')
  await early.expectDisconnect(0x8b)
  assert.equal(await daemon.ended(), 0)
  // It is the service manager's file.
  assert.ok(existsSync(workplace.socketPath))
})

test('each instance of a fleet takes the sockets that it names, in a process of its own', async (t) => {
  const workplace = new Workplace(t)
  const first = await listeningSocket({ port: 0, host: '127.0.0.1' })
  const second = await listeningSocket({ port: 0, host: '127.0.0.1' })
  workplace.configure({
    instances: { a: { listeners: { tcp: 'fd:first' } }, b: { listeners: { tcp: 'fd:second' } } },
  })
  const daemon = workplace.start({
    descriptors: [first.descriptor, second.descriptor],
    environment: { LISTEN_FDS: '2', LISTEN_FDNAMES: 'first:second' },
  })
  first.release()
  second.release()
  await daemon.said(/ ready instances=2 ready=2 /)
  const ofFirst = await workplace.client({ port: first.port })
  await ofFirst.subscribe(['#'])
  const ofSecond = await workplace.client({ port: second.port })
  await ofSecond.subscribe(['#'])
  ofFirst.send(publish({ level: 5, topic: 'a', payload: 'first' }))
  assert.equal((await ofFirst.expect('PUBLISH')).payload.toString(), 'first')
  ofSecond.send(publish({ level: 5, topic: 'a', payload: 'second' }))
  assert.equal((await ofSecond.expect('PUBLISH')).payload.toString(), 'second')
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
})

test('a socket that was not handed over is named, with what was', async (t) => {
  const workplace = new Workplace(t)
  const tcp = await listeningSocket({ port: 0, host: '127.0.0.1' })
  workplace.configure({ listeners: { tcp: 'fd:other' } })
  const daemon = workplace.start({
    descriptors: [tcp.descriptor],
    environment: { LISTEN_FDS: '1', LISTEN_FDNAMES: 'mqtt' },
  })
  tcp.release()
  assert.equal(await daemon.ended(), 1)
  assert.match(daemon.stderr, /listeners\.tcp\.address: there is no inherited socket fd:other; .*fd:3 \("mqtt"\)/)
})

test('a socket that others can reach is refused as any other without authentication', async (t) => {
  const workplace = new Workplace(t)
  const tcp = await listeningSocket({ port: 0, host: '0.0.0.0' })
  workplace.configure({ listeners: { tcp: 'fd:3' } })
  const daemon = workplace.start({ descriptors: [tcp.descriptor], environment: { LISTEN_FDS: '1' } })
  tcp.release()
  assert.notEqual(await daemon.ended(), 0)
  assert.match(
    daemon.stderr,
    /listeners\.tcp.*can be reached from other hosts.*\(set auth\.passwords, or anonymous: true/,
  )
})

test('sockets meant for another process are left alone', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ listeners: { tcp: 'fd:3' } })
  const daemon = workplace.start({ environment: { LISTEN_PID: '1', LISTEN_FDS: '1' } })
  assert.equal(await daemon.ended(), 1)
  assert.match(daemon.stderr, /LISTEN_PID is "1", but this process is \d+/)
})

/** Receives datagrams on a UNIX socket and writes each as one line of JSON text; Node has no such sockets. */
const receivers: [command: string, option: string, script: string][] = [
  [
    'python3',
    '-c',
    `import json, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); print('"bound"', flush=True)
while True: print(json.dumps(s.recv(4096).decode()), flush=True)`,
  ],
  [
    'perl',
    '-e',
    `use Socket; $| = 1; socket(S, AF_UNIX, SOCK_DGRAM, 0); bind(S, pack_sockaddr_un($ARGV[0])) or die; print "\\"bound\\"\\n";
while (defined recv(S, $m, 4096, 0)) { $m =~ s/\\n/\\\\n/g; print "\\"$m\\"\\n" }`,
  ],
]

const isRequired = process.env.REQUIRE_INTEROP === '1'
const isThere = (command: string) => spawnSync(command, ['--version']).status === 0
const receiver = receivers.find(([command]) => isThere(command))
const missing = receiver === undefined ? 'python3 or perl' : isThere('systemd-notify') ? null : 'systemd-notify'

async function startReceiver(t: TestContext, path: string) {
  assert.ok(receiver !== undefined && missing === null, `${missing} is needed`)
  const [command, option, script] = receiver
  const child = spawn(command, [option, script, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async (): Promise<string> => JSON.parse(String((await lines.next()).value))
  assert.equal(await next(), 'bound')
  return {
    /** The next message; the manager of another version of systemd-notify may get other things between. */
    async hears(assignment: string): Promise<string[]> {
      for (;;) {
        const message = (await next()).split('\n')
        if (message.includes(assignment)) return message
      }
    },
  }
}

const skip = missing !== null && !isRequired ? `${missing} is not installed` : false

test('the service manager is told READY=1, RELOADING=1, WATCHDOG=1 and STOPPING=1', {
  skip,
  timeout: 60_000,
}, async (t) => {
  const workplace = new Workplace(t)
  const notifySocket = workplace.path('notify')
  const manager = await startReceiver(t, notifySocket)
  workplace.configure({ listeners: { local: `unix://${workplace.socketPath}` } })
  const daemon = workplace.start({ environment: { NOTIFY_SOCKET: notifySocket, WATCHDOG_USEC: '900000' } })
  assert.ok((await manager.hears('READY=1')).includes('STATUS=1 of 1 instances ready'))
  // It was true when it was said.
  await (await workplace.client()).fence()
  await daemon.reload()
  const reloading = await manager.hears('RELOADING=1')
  const reloaded = await manager.hears('READY=1')
  assert.ok(reloaded.includes('STATUS=1 of 1 instances ready, configuration reloaded'), reloaded.join())
  workplace.write('atoll.json', '{"limts": {}}')
  await daemon.reload()
  assert.match((await manager.hears('READY=1')).join(), /STATUS=1 of 1 instances ready, nothing was reloaded: .*limts/)
  await manager.hears('WATCHDOG=1')
  await manager.hears('WATCHDOG=1')
  assert.ok(reloading.some((line) => /^MONOTONIC_USEC=\d+$/.test(line)))
  daemon.kill('SIGTERM')
  await manager.hears('STOPPING=1')
  assert.equal(await daemon.ended(), 0)
  assert.doesNotMatch(daemon.stdout, /could not be told/)
})
