// Every command that manages a running fleet, as text and as JSON, against a real daemon and with a client on a UNIX socket.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, existsSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { P } from '../kit/wire.ts'
import { type Daemon, Workplace } from './daemon.ts'
import { freePorts } from './free-ports.ts'
import { projectFolder, runProgram } from './run-program.ts'

const command = join(projectFolder, 'dist/cli/main.js')

class FleetPlace extends Workplace {
  /** Runs the command against the daemon of this place. */
  run(...args: string[]) {
    const environment = { ATOLL_ADMIN: `unix://${this.path('run/admin.sock')}`, HOME: this.folder }
    return runProgram(process.execPath, [command, ...args], { cwd: this.folder, environment })
  }

  /** What it prints when it succeeds. */
  async text(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args)
    assert.equal(code, 0, `atoll ${args.join(' ')}: ${stdout}${stderr}`)
    return stdout
  }

  // biome-ignore lint/suspicious/noExplicitAny: JSON of any shape
  async json(...args: string[]): Promise<any> {
    return JSON.parse(await this.text(...args, '--json'))
  }

  /** A fleet of `a` and `b`, both in the daemon, each on a socket. */
  describe(more: object = {}): void {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the configuration
    const socket = this.path('${name}.sock')
    this.configure({
      templates: { small: { isolation: 'inline', listeners: { local: `unix://${socket}` } } },
      instances: { a: { template: 'small' }, b: { template: 'small' } },
      ...more,
    })
  }

  async serve(): Promise<Daemon> {
    const daemon = this.start()
    await daemon.said(/ ready instances=/)
    return daemon
  }

  socketClient(instance: string): Promise<RawClient> {
    return this.client({ path: this.path(`${instance}.sock`) })
  }
}

async function fleet(context: TestContext): Promise<FleetPlace> {
  const place = new FleetPlace(context)
  place.describe()
  await place.serve()
  return place
}

test('without a daemon every command says so, with exit code 4', async (t) => {
  const place = new FleetPlace(t)
  for (const words of ['status', 'stop', 'instance list', 'listener list', 'client list', 'plan']) {
    const { code, stderr } = await place.run(...words.split(' '))
    assert.equal(code, 4, words)
    assert.match(stderr, /^atoll: no daemon listens at \S+admin\.sock \(start it with atoll start, or name/)
  }
  assert.equal((await place.run('status', '--admin', 'tcp://x')).code, 64)
})

test('status, instance list and listener list show the fleet', async (t) => {
  const place = await fleet(t)
  await place.socketClient('a')
  assert.match(
    await place.text('status'),
    /^atoll \d+\.\d+\.\d+ pid \d+ since .*\nNAME +PHASE .*\na +ready .*\nb +ready /,
  )
  const status = await place.json('status')
  assert.deepEqual(
    status.members.map(({ name, connections }: { name: string; connections: number }) => [name, connections]),
    [
      ['a', 1],
      ['b', 0],
    ],
  )
  assert.match(await place.text('instance', 'list', 'b'), /^NAME .*\nb +ready .*\n$/)
  const [only] = await place.json('instance', 'list', '?', '--admin', place.path('run/admin.sock'))
  assert.deepEqual([only.name, only.phase, only.pid], ['a', 'ready', status.pid])
  assert.equal(only.listeners[0].address, `unix://${place.path('a.sock')}`)
  assert.match(await place.text('listener', 'list'), /\na +local +unix:\S+a\.sock +listening +1\n/)
  assert.deepEqual(await place.json('listener', 'list', '-i', 'a'), [
    { instance: 'a', name: 'local', address: `unix://${place.path('a.sock')}`, phase: 'listening', connections: 1 },
  ])
  const unknown = await place.run('instance', 'list', 'zz*')
  assert.deepEqual([unknown.code, unknown.stderr], [5, 'atoll: there is no instance zz* (see atoll instance list)\n'])
})

test('instance show, stop, start, restart: by name, by pattern, all', async (t) => {
  const place = await fleet(t)
  const other = await place.socketClient('b')
  assert.match(await place.text('instance', 'show', 'a'), /^name: a\n[\s\S]*template: small\n/)
  assert.match(await place.text('instance', 'show', 'a'), /\nreadySince: \d{4}-\d\d-\d\dT[\s\S]*\n {6}mode: "0660"\n/)
  const shown = await place.json('instance', 'show', 'a')
  assert.deepEqual([shown.counts.connections, typeof shown.readySinceMs], [0, 'number'])
  // The same form as in a file.
  assert.equal(shown.config.limits.memory, '512MiB')
  assert.equal(await place.text('instance', 'stop', 'a', '--wait'), 'a stopped\n')
  assert.ok(!existsSync(place.path('a.sock')))
  assert.equal((await place.run('client', 'list', '-i', 'a')).code, 4)
  assert.match(await place.text('instance', 'start', '[ab]'.slice(1, 2)), /^a ready pid \d+\n$/)
  await (await place.socketClient('a')).fence()
  await other.fence()
  assert.deepEqual(
    (await place.json('instance', 'restart', '*')).map(({ phase }: { phase: string }) => phase),
    ['ready', 'ready'],
  )
  assert.equal((await place.json('instance', 'stop', '--all')).length, 2)
  await place.text('instance', 'start', 'a', '--no-wait')
  assert.equal((await place.run('instance', 'start')).code, 64)
  assert.equal((await place.run('instance', 'start', 'a', '--all')).code, 64)
})

test('plan, apply and reload tell what changes, and leave the clients of others alone', async (t) => {
  const place = await fleet(t)
  const client = await place.socketClient('a')
  assert.equal(await place.text('plan'), 'nothing changes\n')
  place.describe({
    instances: {
      a: { template: 'small' },
      b: { template: 'small', limits: { inflight: 7 } },
      c: { template: 'small' },
    },
  })
  const changes = 'b: hot\n  hot       limits.inflight: 1000 -> 7\nc: created\n'
  assert.equal(await place.text('plan'), changes)
  assert.equal(await place.text('apply', '-c', place.configFile), changes)
  assert.deepEqual(
    (await place.json('apply')).map(({ kind }: { kind: string }) => kind),
    ['unchanged', 'unchanged', 'unchanged'],
  )
  await (await place.socketClient('c')).fence()
  place.describe()
  assert.equal(
    await place.text('reload'),
    `b: hot\n  hot       limits.inflight: 7 -> 1000\nc: removed: its data is kept in ${place.path('data/c')}\n`,
  )
  assert.ok(existsSync(place.path('data/c')))
  assert.equal(await place.text('instance', 'reload', '*'), 'nothing changes\n')
  place.write('taken', '')
  const taken = { template: 'small', listeners: { more: `unix://${place.path('taken')}` } }
  place.describe({ instances: { a: taken, b: { template: 'small' } } })
  const rejected = await place.run('apply')
  assert.equal(rejected.code, 1)
  assert.match(rejected.stdout, /^a: rejected: .*taken.*\n/)
  place.write('atoll.json', '{"instanses": {}}')
  const broken = await place.run('apply')
  assert.equal(broken.code, 2)
  assert.match(broken.stderr, /atoll\.json:1:2: .*instanses/)
  await client.fence()
})

test('what was rejected is told with its reason, and nobody says that all was reloaded', async (t) => {
  const place = new FleetPlace(t)
  place.describe()
  const daemon = await place.serve()
  place.write('taken', '')
  const changed = {
    a: { template: 'small', listeners: { more: `unix://${place.path('taken')}` } },
    b: { template: 'small', limits: { inflight: 7 } },
  }
  place.describe({ instances: changed })
  const said = await daemon.reload()
  assert.match(said, /error a change was rejected instance=a reason="listeners\.more.*taken/)
  assert.match(said, /info {2}a change was applied instance=b kind=hot keys=limits\.inflight\n/)
  assert.match(said, /error the configuration was reloaded in part file=\S+ changed=1 rejected=a\n/)
  assert.doesNotMatch(said, /configuration reloaded/)
  // A command that does the same leaves the same in the log.
  const from = daemon.stdout.length
  const { code, stdout } = await place.run('reload')
  assert.equal(code, 1)
  assert.match(stdout, /^a: rejected: listeners\.more.*\n/)
  await daemon.said(/reloaded in part file=\S+ changed=0 rejected=a\n/, from)
  place.describe({ instances: { ...changed, b: { template: 'small', limits: { inflight: 9 } } } })
  const some = await place.run('instance', 'reload', 'a', 'b')
  assert.deepEqual([some.code, some.stdout], [1, 'b: hot\n  hot       limits.inflight: 7 -> 9\n'])
  assert.match(some.stderr, /^atoll: a: listeners\.more.*taken.*\n$/)
  const none = await place.run('instance', 'reload', 'a', '--json')
  assert.deepEqual([none.code, none.stdout], [1, '[]\n'])
  place.describe({ instances: { a: changed.a } })
  const fromThen = daemon.stdout.length
  assert.equal((await place.run('apply')).code, 1)
  // One was removed, so that something was done.
  await daemon.said(/reloaded in part file=\S+ changed=1 rejected=a\n/, fromThen)
  assert.match(await daemon.reload(), /error listeners\.more.*taken.*\n.*nothing was reloaded/)
})

test('what the daemon itself takes at its next start only is shown, and its log level counts at once', async (t) => {
  const place = new FleetPlace(t)
  place.describe()
  const daemon = await place.serve()
  place.describe({ admin: { mode: '0660' } })
  const waits = 'the daemon: waits for its next start\n  next-start  admin.mode: "0600" -> "0660"\n'
  assert.equal(await place.text('plan'), waits)
  assert.equal(await place.text('apply'), waits)
  const [daemons] = (await place.json('plan')).filter(({ name }: { name: string | null }) => name === null)
  assert.deepEqual(daemons, {
    name: null,
    kind: 'next-start',
    keys: [{ key: 'admin.mode', kind: 'next-start', from: '0600', to: '0660' }],
    reason: null,
  })
  await daemon.said(/a change waits for the next start of the daemon key=admin\.mode running=0600 wanted=0660/)
  await daemon.said(/configuration reloaded file=\S+ changed=0\n/)
  assert.equal(statSync(place.path('run/admin.sock')).mode & 0o777, 0o600)
  place.describe({ defaults: { log: { level: 'warn' } }, log: { level: 'debug' } })
  assert.match(await place.text('apply'), /\nthe daemon: hot\n {2}hot {7}log\.level: "info" -> "debug"\n$/)
  daemon.kill('SIGUSR1')
  await daemon.said(/ debug log files reopened/)
})

test('how much is logged changes while all runs', async (t) => {
  const place = new FleetPlace(t)
  place.describe()
  const daemon = await place.serve()
  await place.socketClient('a')
  await place.text('instance', 'loglevel', '?', 'error')
  await place.socketClient('a')
  assert.equal(await place.text('instance', 'loglevel', '*', 'debug'), 'a logs at debug\nb logs at debug\n')
  assert.equal((await place.json('instance', 'show', 'b')).counts.logLevel, 'debug')
  await place.socketClient('a')
  await place.text('instance', 'restart', 'a')
  assert.equal(place.read('log/a/a.log').match(/ client connected /g)?.length, 2)
  assert.equal((await place.json('instance', 'show', 'a')).counts.logLevel, 'info')
  assert.deepEqual(await place.json('instance', 'loglevel', 'warn', '--all'), [
    { name: 'a', level: 'warn' },
    { name: 'b', level: 'warn' },
  ])
  await place.text('instance', 'stop', 'b')
  const partly = await place.run('instance', 'loglevel', 'a', 'b', 'info')
  assert.deepEqual([partly.code, partly.stdout], [4, 'a logs at info\n'])
  assert.equal(await place.text('loglevel', 'debug'), 'the daemon logs at debug\n')
  daemon.kill('SIGUSR1')
  await daemon.said(/ debug log files reopened/)
  // It stays when something else is configured.
  place.describe({ instances: { a: { template: 'small', limits: { inflight: 7 } }, b: { template: 'small' } } })
  await place.text('instance', 'loglevel', 'a', 'error')
  await place.text('apply')
  assert.equal((await place.json('instance', 'show', 'a')).counts.logLevel, 'error')
  assert.deepEqual(await place.json('loglevel', 'info'), { level: 'info' })
  for (const words of ['loglevel loud', 'instance loglevel debug', 'instance loglevel a', 'instance loglevel a b']) {
    assert.equal((await place.run(...words.split(' '))).code, 64, words)
  }
  assert.match((await place.run('loglevel', 'debgu')).stderr, /"debgu" is no level of the log \(did you mean debug\?\)/)
})

test('an empty fleet starts, is filled by commands, emptied, and is there again', async (t) => {
  const place = new FleetPlace(t)
  place.describe({ instances: {} })
  const daemon = await place.serve()
  assert.match(daemon.stdout, / there is no instance yet: atoll instance create makes one\n.* ready instances=0 /)
  assert.match(await place.text('status'), /^atoll .*\nNAME .*\n$/)
  assert.deepEqual(await place.json('client', 'list'), [])
  assert.match(await place.text('instance', 'create', 'c', '--template', 'small', '--save'), /^c ready /)
  await (await place.socketClient('c')).fence()
  assert.equal(await place.text('reload'), 'nothing changes\n')
  await place.text('stop')
  await place.start().said(/ ready instance=c /)
  const client = await place.socketClient('c')
  await client.fence()
  await place.text('instance', 'delete', 'c', '--yes')
  assert.deepEqual(await place.json('instance', 'list'), [])
  const other = await place.run('client', 'show', 'x')
  assert.deepEqual([other.code, /there is no instance/.test(other.stderr)], [5, true], other.stderr)
})

test('apply of another file takes it with what was saved beside it; plan and what is rejected do not', async (t) => {
  const place = await fleet(t)
  await place.text('instance', 'create', 'kept', '--template', 'small', '--save')
  await place.text('instance', 'create', 'passing', '--template', 'small')
  const kept = place.read('atoll.saved.yaml')
  const other = place.write('other.json', place.read('atoll.json'))
  place.write('other.saved.yaml', 'instances: { theirs: { template: small } }\n')
  const changes = `theirs: created\nkept: removed: its data is kept in ${place.path('data/kept')}\n`
  assert.equal(await place.text('plan', '-c', other), changes)
  // Planning has changed nothing: the first file is in force.
  assert.equal(await place.text('plan'), 'nothing changes\n')
  place.write('broken.json', '{"instanses": {}}')
  assert.equal((await place.run('apply', '-c', 'broken.json')).code, 2)
  assert.equal(await place.text('apply', '-c', 'other.json'), changes)
  const names = async () => (await place.json('instance', 'list')).map(({ name }: { name: string }) => name).sort()
  assert.deepEqual(await names(), ['a', 'b', 'passing', 'theirs'])
  await place.text('instance', 'create', 'more', '--template', 'small', '--save')
  assert.match(place.read('other.saved.yaml'), /theirs:[\s\S]*more:/)
  assert.equal(place.read('atoll.saved.yaml'), kept)
  assert.equal(await place.text('reload'), 'nothing changes\n')
  await place.text('apply', '-c', place.configFile)
  assert.deepEqual(await names(), ['a', 'b', 'kept', 'passing'])
})

test('a listener comes, is used, stops, starts and goes; what is saved survives a restart of the daemon', async (t) => {
  const place = await fleet(t)
  const client = await place.socketClient('a')
  const configuration = readFileSync(place.configFile, 'utf8')
  const path = place.path('vmq.sock')
  const started = await place.text('listener', 'start', '-i', 'a', `address=local:${path}`, 'port=0', '--name', 'vmq')
  assert.equal(started, `vmq listening unix://${path}\n`)
  await (await place.client({ path })).fence()
  const extra = place.path('x.sock')
  const words = [
    'listener',
    'start',
    '-i',
    'a',
    `unix://${extra}`,
    '--mode',
    '0600',
    '--protocols',
    '3.1.1,5',
    '--save',
  ]
  const saved = await place.json(...words)
  assert.deepEqual([saved.phase, saved.settings.protocols], ['listening', ['3.1.1', '5']])
  assert.equal(statSync(extra).mode & 0o777, 0o600)
  const coming = await place.client({ path: extra })
  assert.equal((await place.run(...words)).code, 1)
  const failing = await place.run('listener', 'start', '-i', 'a', `unix://${place.configFile}`, '--save')
  assert.equal(failing.code, 1)
  assert.match(failing.stderr, /^atoll: address: at \S+ is a regular file/)
  for (const wrong of ['mode=999', 'maxConnections=x', 'adress=x']) {
    assert.equal((await place.run('listener', 'start', '-i', 'a', `unix://${extra}`, wrong)).code, 64, wrong)
  }
  const open = await place.run('listener', 'start', '-i', 'a', 'tcp://0.0.0.0:1883')
  assert.deepEqual([open.code, open.stderr.includes('give --anonymous true')], [1, true], open.stderr)

  const name = saved.name as string
  assert.match(await place.text('listener', 'show', '-i', 'a', name), /\nmode +0600\n/)
  assert.equal(await place.text('listener', 'stop', '-i', 'a', name), `${name} stopped, 1 connection left open\n`)
  await coming.fence()
  await place.text('listener', 'start', '-i', 'a', name)
  const [stopped] = await place.json('listener', 'stop', '-i', 'a', name, '--disconnect')
  assert.equal(stopped.disconnected, 1)
  await coming.expectDisconnect(0x98)
  // The place of an instance that does not run is taken as well.
  await place.text('instance', 'stop', 'b')
  const theirs = await place.run('listener', 'start', '-i', 'a', `unix://${place.path('b.sock')}`)
  assert.equal(theirs.code, 2)
  assert.match(theirs.stderr, /b\.sock.* instance b/)
  assert.ok(!existsSync(place.path('b.sock')))
  // A reload of the configuration knows both.
  await place.text('reload')
  assert.deepEqual(
    (await place.json('listener', 'list', '-i', 'a')).map((one: { name: string }) => one.name).sort(),
    ['local', name, 'vmq'].sort(),
  )
  await client.fence()
  assert.match(await place.text('stop'), /^stopped pid \d+\n$/)
  assert.equal(readFileSync(place.configFile, 'utf8'), configuration)

  await place.serve()
  await (await place.client({ path: extra })).fence()
  assert.ok(!existsSync(path))
  assert.equal(
    await place.text('listener', 'delete', '-i', 'a', name, '--disconnect'),
    `${name} deleted, 1 connection ended\n`,
  )
  assert.ok(!existsSync(place.path('atoll.saved.yaml')))
  assert.match(await place.text('listener', 'delete', '-i', 'a', 'local'), /comes back with the next reload/)
  // One name that is wrong keeps the others neither from it nor from being told.
  await place.text('listener', 'start', '-i', 'a', `unix://${path}`, '--name', 'x')
  const partly = await place.run('listener', 'delete', '-i', 'a', 'nope', 'x', '--json')
  assert.deepEqual(
    [partly.code, partly.stderr, JSON.parse(partly.stdout).map(({ name }: { name: string }) => name)],
    [5, 'atoll: there is no listener "nope"\n', ['x']],
  )
})

test('clients, sessions, subscriptions and retained messages, whatever clients call themselves', async (t) => {
  const place = await fleet(t)
  const clientId = 'x\u001b[31m"\\ü'
  const client = await place.connect({ path: place.path('a.sock') })
  await client.handshake({ clientId })
  await client.subscribe(['s/\u2603/#'])
  await client.publish({ topic: 'r/1', payload: 'kept', qos: 1, retain: true })
  const shown = 'x\\u001b[31m"\\\\ü'
  const table = await place.text('client', 'list')
  assert.ok(table.includes(`a         ${shown}`) && table.includes(`unix:${place.path('a.sock')}`), table)
  assert.ok(!table.includes('\u001b'))
  const [listed] = await place.json('client', 'list', '-i', 'a', '--connected', '--listener', 'local')
  assert.deepEqual([listed.instance, listed.clientId, listed.isConnected], ['a', clientId, true])
  assert.deepEqual(await place.json('client', 'list', '--disconnected'), [])
  assert.match(
    await place.text('client', 'show', '-i', 'a', clientId),
    /\nconnectedSince +\d{4}-\S+Z\n[\s\S]*\ntransport +unix\n/,
  )
  assert.equal((await place.run('client', 'list', '--connected', '--disconnected')).code, 64)
  assert.equal((await place.json('client', 'show', '-i', 'a', clientId)).clientId, clientId)
  assert.match(await place.text('session', 'list', '-i', 'a'), /\na +x\\u001b/)
  assert.equal((await place.json('session', 'show', '-i', 'a', clientId)).subscriptions, 1)
  assert.match(await place.text('subscription', 'list'), /\na +\S+ +s\/☃\/# +\d/)
  assert.equal((await place.json('subscription', 'list', '-i', 'a', '--client', clientId)).length, 1)
  assert.match(await place.text('retained', 'list'), /\na +r\/1 +1 +4 +-\n/)
  assert.match(await place.text('retained', 'get', '-i', 'a', 'r/1'), /\npayload +kept\n/)
  assert.equal(await place.text('retained', 'get', '-i', 'a', 'r/1', '--raw'), 'kept')
  assert.equal((await place.json('retained', 'get', '-i', 'a', 'r/1')).payload, Buffer.from('kept').toString('base64'))
  assert.equal((await place.run('retained', 'delete', '-i', 'a', '--filter', '#')).code, 1)
  assert.equal(await place.text('retained', 'delete', '-i', 'a', '--filter', '#', '--yes'), '1 deleted\n')
  assert.equal((await place.run('retained', 'get', '-i', 'a', 'r/1')).code, 5)
  assert.equal(await place.text('client', 'disconnect', '-i', 'a', clientId), `${shown} disconnected\n`)
  await client.expectDisconnect(0x98)
  const lasting = await place.connect({ path: place.path('a.sock') })
  await lasting.handshake({ clientId: 'lasting', properties: [[P.sessionExpiryInterval, 100]] })
  assert.deepEqual(await place.json('session', 'delete', '-i', 'a', 'lasting', '--yes'), [
    { clientId: 'lasting', wasConnected: true },
  ])
  const ambiguous = await place.run('client', 'show', 'x')
  assert.deepEqual([ambiguous.code, ambiguous.stderr.includes('-i NAME')], [64, true])
})

test('instances are created, cloned, exported, imported and deleted, and the saved ones survive', async (t) => {
  const place = await fleet(t)
  const client = await place.socketClient('a')
  assert.match(
    await place.text('instance', 'create', 'c', '--template', 'small', 'limits.inflight=9', '--save'),
    /^c ready /,
  )
  await (await place.socketClient('c')).fence()
  assert.equal((await place.run('instance', 'create', 'c')).code, 1)
  const conflict = await place.run('instance', 'create', 'd', `listeners.l=unix://${place.path('a.sock')}`, '--save')
  assert.equal(conflict.code, 2)
  assert.ok(!place.read('atoll.saved.yaml').includes('d:'))

  await place.text('instance', 'export', 'c', 'c.yaml')
  assert.match(place.read('c.yaml'), /inflight: 9\n/)
  assert.equal((await place.run('instance', 'export', 'c', 'c.yaml')).code, 1)
  assert.match(await place.text('instance', 'clone', 'c', 'd'), /^d ready /)
  await (await place.socketClient('d')).fence()
  assert.match(await place.text('instance', 'delete', 'd', '--yes'), /^d deleted, its data is kept in /)
  assert.equal((await place.run('instance', 'delete', 'c')).code, 1)
  await place.text('instance', 'delete', 'c', '--yes', '--purge')
  assert.ok(!existsSync(place.path('data/c')) && !existsSync(place.path('c.sock')))
  const described = await place.run('instance', 'delete', 'a', '--yes')
  assert.match(described.stderr, /a is described in \S+atoll\.json \(take it out there and run atoll apply\)/)

  const [imported] = await place.json('instance', 'import', 'c.yaml', '--save')
  assert.deepEqual([imported.name, imported.phase], ['c', 'ready'])
  await place.text('instance', 'delete', 'c', '--yes')
  const [other] = await place.json('instance', 'import', 'c.yaml', '--name', 'other')
  assert.equal((await place.json('instance', 'show', other.name)).dataDir, place.path('data/other'))
  await (await place.socketClient('other')).fence()
  const address = `local=unix://${place.path('elsewhere.sock')}`
  await place.text('instance', 'import', 'c.yaml', address, '--name', 'third')
  await (await place.socketClient('elsewhere')).fence()
  const unknown = await place.run('instance', 'import', 'c.yaml', 'tcp=tcp://127.0.0.1:0', '--name', 'fourth')
  assert.deepEqual([unknown.code, unknown.stderr.includes('c has no listener tcp')], [5, true], unknown.stderr)
  await place.text('instance', 'import', 'c.yaml', '--save')
  await client.fence()
  await place.text('stop')
  await place.serve()
  assert.equal((await place.json('instance', 'export', 'c')).instances.c.limits.inflight, 9)
  await (await place.socketClient('c')).fence()
})

test('logs are printed from their files, and followed when those are turned over', async (t) => {
  const place = await fleet(t)
  const printed = await place.text('instance', 'logs', 'a', '-n', '1')
  assert.match(printed, /^[^\n]+\n$/)
  assert.match(await place.text('instance', 'logs', 'a', 'b', '-n', '1'), /^a .*\nb .*\n$/)
  assert.equal(await place.text('instance', 'logs', 'a', '-n', '0'), '')
  assert.deepEqual(JSON.parse(await place.text('instance', 'logs', 'a', '-n', '1', '--json')), {
    instance: 'a',
    line: printed.trimEnd(),
  })
  assert.equal((await place.run('instance', 'logs', 'a', '-n', 'x')).code, 64)
  await place.text('instance', 'restart', 'a')
  assert.match(await place.text('instance', 'logs', 'a', '-n', '100'), /ready.*\n[\s\S]*stopped.*\n[\s\S]*ready/)

  const words = [command, 'instance', 'logs', 'a', '-f', '-n', '1', '--admin', place.path('run/admin.sock')]
  const follower = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => follower.kill('SIGKILL'))
  let followed = ''
  let wake = () => {}
  follower.stdout.setEncoding('utf8').on('data', (text) => {
    followed += text
    wake()
  })
  const saw = async (text: string) => {
    while (!followed.includes(text)) {
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  await saw('\n')
  const file = (await place.json('instance', 'show', 'a')).logFile as string
  appendFileSync(file, 'the old one\n')
  await saw('the old one\n')
  renameSync(file, `${file}.1`)
  appendFileSync(`${file}.1`, 'the rest of it\n')
  writeFileSync(file, 'the new one\n')
  await saw('the new one\n')
  assert.ok(followed.includes('the rest of it\nthe new one\n'), followed)
  // Who reads no more, as after `| head`, is followed no longer than to the next line.
  follower.stdout.destroy()
  appendFileSync(file, 'for nobody\n')
  await until('the end of the follower', () => follower.exitCode !== null)
  assert.equal(follower.exitCode, 0)
})

test('start --detach returns when all is ready, with the process number; its errors come to the caller', async (t) => {
  const place = new FleetPlace(t)
  place.describe()
  const words = ['start', '-c', place.configFile, '--detach', '--pid-file', place.path('pid')]
  const pid = Number(await place.text(...words))
  t.after(() => killIfThere(pid))
  assert.equal((await place.json('status')).pid, pid)
  assert.equal(place.read('pid'), `${pid}\n`)
  await (await place.socketClient('b')).fence()
  const again = await place.run(...words)
  assert.equal(again.code, 3)
  assert.match(again.stderr, /admin\.sock is in use/)
  assert.match(place.read('log/atoll.log'), / ready instances=2 ready=2 /)
  await place.text('stop')
  assert.ok(!existsSync(place.path('pid')))
  place.write('atoll.json', '{"instanses": {}}')
  const wrong = await place.run(...words)
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /instanses/)
})

test('start --detach says which instances have failed, and why; the others run', async (t) => {
  const place = new FleetPlace(t)
  const passwords = place.path('nobody')
  place.describe({
    instances: { a: {}, b: { auth: { passwords } }, c: { start: 'on-demand' }, d: { start: 'manual' } },
  })
  const { code, stdout, stderr } = await place.run('start', '-c', place.configFile, '--detach')
  const pid = Number(stdout)
  t.after(() => killIfThere(pid))
  assert.equal(code, 0)
  const [summary, reason, ...others] = stderr.split('\n')
  assert.equal(summary, 'atoll: 2 of 4 instances ready')
  assert.match(reason, /^atoll: b is failed: .*nobody: auth\.passwords: there is no such file/)
  assert.deepEqual(others, [''])
  assert.equal((await place.run('status')).code, 1)
  await place.text('stop')
})

test('check --host beside the running fleet finds what others have, and not what the fleet itself has', async (t) => {
  const place = new FleetPlace(t)
  const other = createServer().listen(place.path('other.sock'))
  t.after(() => other.close())
  await once(other, 'listening')
  const port = await freePorts(2)
  const instances = {
    a: { listeners: { tcp: `tcp://localhost:${port}`, local: `unix://${place.path('a.sock')}` } },
    b: { isolation: 'process', start: 'on-demand', listeners: { tcp: `tcp://*:${port + 1}` } },
  }
  const defaults = { auth: { passwords: place.write('users', '') } }
  place.describe({ instances, defaults })
  await place.serve()
  const check = () => place.run('check', '-c', place.configFile, '--host')
  assert.deepEqual(await check(), { code: 0, stdout: 'ok: 2 instances, 3 listeners\n', stderr: '' })
  place.describe({
    instances: { ...instances, c: { listeners: { local: `unix://${place.path('other.sock')}` } } },
    defaults,
  })
  const found = await check()
  assert.equal(found.code, 0)
  assert.match(found.stderr, /^warning: \S+ instances\.c\.listeners\.local: .*other\.sock is in use.*\n$/)
})

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended, as it should.
  }
}
