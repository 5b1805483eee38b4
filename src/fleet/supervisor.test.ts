// Crashes, order, changes of a whole fleet, and the end of the supervisor, with real processes.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { createSystemClock } from '../base/clock.ts'
import { lockDirectory } from './directory-lock.ts'
import { addressOf, freePort, isProcessAlive, until, untilPhase, withFleet } from './fixture.test.ts'
import { logPath } from './running-instance.ts'

/** A program that runs the fleet described in a file. @param environment JavaScript text */
function supervisorScript(file: string, environment: string): string {
  const built = (path: string) => JSON.stringify(pathToFileURL(join(import.meta.dirname, path)).href)
  return `
    import { readFileSync } from 'node:fs'
    import { createSupervisor } from ${built('supervisor.js')}
    import { createSystemClock } from ${built('../base/clock.js')}
    import { createSilentLog } from ${built('../observe/log.js')}
    const supervisor = createSupervisor(JSON.parse(readFileSync(${JSON.stringify(file)}, 'utf8')), {
      clock: createSystemClock(), log: createSilentLog(), platform: process.platform, pid: process.pid,
      uid: process.getuid(), environment: ${environment}, writeInlineLog: null,
    })
    await supervisor.start()
    process.stdout.write(JSON.stringify(supervisor.status()))
    setInterval(() => {}, 1000)
  `
}

for (const kind of ['process', 'shared'] as const) {
  test(`${kind}: kill -9 under traffic: the other process sees nothing, the instance comes back`, () =>
    withFleet(async (fleet) => {
      const port = await freePort()
      const listeners = { tcp: `tcp://127.0.0.1:${port}`, local: `unix://${fleet.folder}/a.sock` }
      const supervisor = await fleet.start(
        fleet.member('a', kind, { config: { listeners }, pool: 'one' }),
        fleet.member('b', kind, { pool: 'two' }),
      )
      const busy = await fleet.connect(addressOf(supervisor, 'a', 'local'))
      const other = await fleet.connect(addressOf(supervisor, 'b', 'local'))
      let isBusy = true
      const traffic = (async () => {
        while (isBusy) await busy.publish('t', 'x', { qos: 1 })
      })().catch(() => {})
      const victim = supervisor.memberStatus('a')!.pid!
      const beganAtMs = supervisor.memberStatus('a')!.readySinceMs!
      process.kill(victim, 'SIGKILL')
      await untilPhase(supervisor, 'a', 'backing-off')
      assert.match(supervisor.memberStatus('a')!.reason!, /^the host process was ended by SIGKILL/)
      isBusy = false
      await traffic
      await untilPhase(supervisor, 'a', 'ready')
      const { pid, restarts, reason, lastFailure, lastFailureAtMs, readySinceMs } = supervisor.memberStatus('a')!
      assert.notEqual(pid, victim)
      assert.deepEqual([restarts, reason], [1, null])
      assert.match(lastFailure!, /^the host process was ended by SIGKILL/)
      assert.ok(lastFailureAtMs! >= beganAtMs && lastFailureAtMs! <= readySinceMs!)
      await other.publish('t', 'x', { qos: 1 })
      assert.deepEqual([supervisor.memberStatus('b')!.restarts], [0])
      const again = await fleet.connect(`tcp://127.0.0.1:${port}`)
      await again.publish('t', 'x', { qos: 1 })
      await fleet.connect(`unix://${fleet.folder}/a.sock`)
    }))
}

test('an instance that crashes too often is left as failed, with its last words; a start by hand forgives', () =>
  withFleet(async (fleet) => {
    const restart = { backoffSeconds: 0.01, backoffLimitSeconds: 0.1, burst: 2, burstSeconds: 60 }
    const member = fleet.member('a', 'process', { restart })
    const supervisor = await fleet.start(member)
    for (const phase of ['ready', 'ready', 'failed'] as const) {
      const pid = supervisor.memberStatus('a')!.pid!
      process.kill(pid, 'SIGKILL')
      await until('the crash is seen', () => supervisor.memberStatus('a')!.pid !== pid)
      await untilPhase(supervisor, 'a', phase)
    }
    assert.match(supervisor.memberStatus('a')!.reason!, /ended by SIGKILL \(3 times within 60 s\)/)
    await supervisor.startMember('a')
    const { phase, restarts, lastFailure, lastFailureAtMs } = supervisor.memberStatus('a')!
    assert.deepEqual([phase, restarts, lastFailure, lastFailureAtMs], ['ready', 3, null, null])
  }))

test('a heap that is full ends one instance, says so, and is in its log', () =>
  withFleet(async (fleet) => {
    const mib = 1024 * 1024
    const restart = { backoffSeconds: 30, backoffLimitSeconds: 30, burst: 3, burstSeconds: 60 }
    const limits = { subscriptionsPerClient: 4_000_000, subscriptions: 4_000_000 }
    const member = fleet.member('a', 'process', { heapBytes: 32 * mib, restart, config: { limits } })
    const supervisor = await fleet.start(member, fleet.member('b', 'process'))
    const client = await fleet.connect(addressOf(supervisor, 'a', 'local'))
    const other = await fleet.connect(addressOf(supervisor, 'b', 'local'))
    const fill = async () => {
      for (let round = 0; supervisor.memberStatus('a')!.phase === 'ready'; round++) {
        const filters = Array.from({ length: 2000 }, (_, index) => ({ filter: `f/${round}/${index}`, qos: 1 }))
        await client.subscribe(filters as never)
      }
    }
    await fill().catch(() => {})
    await untilPhase(supervisor, 'a', 'backing-off')
    assert.match(supervisor.memberStatus('a')!.reason!, /FATAL ERROR: .*heap/)
    await other.publish('t', 'x', { qos: 1 })
    await until('the log has it', () => readFileSync(logPath(member), 'utf8').includes('heap'))
  }))

test('a host that hangs is killed after the grace period', () =>
  withFleet(async (fleet) => {
    const supervisor = await fleet.start(fleet.member('a', 'process', { config: { gracePeriod: 0 } }))
    const pid = supervisor.memberStatus('a')!.pid!
    process.kill(pid, 'SIGSTOP')
    await supervisor.stopMember('a')
    assert.equal(supervisor.memberStatus('a')!.phase, 'stopped')
    await until('it is gone', () => !isProcessAlive(pid))
  }))

test('a process that hangs is told in the status and refuses calls soon, until it goes on', () =>
  withFleet(async (fleet) => {
    const supervisor = await fleet.start(fleet.member('a', 'process'), fleet.member('b', 'shared'))
    const problems = async () =>
      (await supervisor.askedStatus()).members.map(({ isReady, problem }) => [isReady, problem])
    assert.deepEqual(await problems(), [
      [true, null],
      [true, null],
    ])
    const pid = supervisor.memberStatus('a')!.pid!
    process.kill(pid, 'SIGSTOP')
    const startMs = performance.now()
    await assert.rejects(supervisor.call('a', 'instance.show', {}), { code: 'no-answer', message: /^a: its process/ })
    const silent = `its process ${pid} does not answer, and has not for 2 s or more`
    assert.deepEqual(await problems(), [
      [false, silent],
      [true, null],
    ])
    await assert.rejects(supervisor.call('a', 'instance.show', {}), { code: 'no-answer' })
    assert.ok(performance.now() - startMs < 10_000)
    process.kill(pid, 'SIGCONT')
    await until('it answers', async () => (await problems())[0]![0])
    assert.equal(((await supervisor.call('a', 'instance.show', {})) as { name: string }).name, 'a')
  }))

test('a start that is under way can be stopped', () =>
  withFleet(async (fleet) => {
    const supervisor = fleet.create(fleet.member('a', 'process'))
    const starting = supervisor.start()
    await untilPhase(supervisor, 'a', 'starting')
    await supervisor.stopMember('a')
    assert.equal(supervisor.memberStatus('a')!.phase, 'stopped')
    await starting
    assert.equal(supervisor.memberStatus('a')!.phase, 'stopped')
  }))

test('starts, stops and restarts at one time are taken in turn, and what is removed meanwhile stays away', () =>
  withFleet(async (fleet) => {
    const supervisor = await fleet.start(fleet.member('a', 'process'), fleet.member('b', 'process'))
    await supervisor.stopMember('a')
    const starting = supervisor.startMember('a')
    await untilPhase(supervisor, 'a', 'starting')
    const others = [supervisor.startMember('a'), supervisor.stopMember('a'), supervisor.restartMember('a')]
    for (const start of [starting, others[0]!]) await assert.rejects(start, { code: 'stopped-meanwhile' })
    await Promise.all(others.slice(1))
    assert.equal(supervisor.memberStatus('a')!.phase, 'ready')

    const restarting = supervisor.restartMember('a')
    const removed = supervisor.apply(fleet.config(fleet.member('b', 'process')))
    await Promise.all([restarting.catch(() => {}), removed])
    assert.deepEqual(
      supervisor.status().members.map(({ name }) => name),
      ['b'],
    )
    assert.equal(existsSync(`${fleet.folder}/a.sock`), false)
  }))

test('a stop while an instance restarts for a change is not undone, and the change is kept', () =>
  withFleet(async (fleet) => {
    const supervisor = await fleet.start(fleet.member('a', 'process'))
    const next = fleet.member('a', 'process', { nice: 1 })
    const applying = supervisor.apply(fleet.config(next))
    await untilPhase(supervisor, 'a', 'starting')
    await supervisor.stopMember('a')
    const [change] = await applying
    assert.equal(change!.kind, 'restart')
    assert.equal(supervisor.memberStatus('a')!.phase, 'stopped')
    assert.equal(supervisor.config.members[0]!.nice, 1)
  }))

test('a stop while the fleet starts leaves nothing running, also what had not had its turn', () =>
  withFleet(async (fleet) => {
    const names = ['a', 'b', 'c']
    const members = names.map((name, index) => fleet.member(name, 'process', { after: names.slice(0, index) }))
    const supervisor = fleet.create(...members)
    const starting = supervisor.start()
    await untilPhase(supervisor, 'a', 'starting')
    await supervisor.stop()
    await starting
    assert.deepEqual(
      supervisor.status().members.map(({ phase, pid }) => [phase, pid]),
      names.map(() => ['stopped', null]),
    )
  }))

test('an on-demand instance that crashes refuses nobody', () =>
  withFleet(async (fleet) => {
    const supervisor = await fleet.start(fleet.member('a', 'process', { start: 'on-demand' }))
    const address = addressOf(supervisor, 'a')
    await fleet.connect(address)
    process.kill(supervisor.memberStatus('a')!.pid!, 'SIGKILL')
    await untilPhase(supervisor, 'a', 'backing-off')
    const client = await fleet.connect(address)
    await client.publish('t', 'x', { qos: 1 })
    await untilPhase(supervisor, 'a', 'ready')
  }))

for (const start of ['always', 'on-demand'] as const) {
  test(`a command that has the data of an instance when it comes back delays that: ${start}`, () =>
    withFleet(async (fleet) => {
      const restart = { backoffSeconds: 0.05, backoffLimitSeconds: 1, burst: 1, burstSeconds: 60 }
      const member = fleet.member('a', 'process', { start, restart })
      const supervisor = await fleet.start(member)
      const address = addressOf(supervisor, 'a', 'local')
      if (start === 'on-demand') await fleet.connect(address)
      process.kill(supervisor.memberStatus('a')!.pid!, 'SIGKILL')
      await untilPhase(supervisor, 'a', 'backing-off')
      const lock = await lockDirectory({
        directory: member.dataDir,
        holder: 'atoll backup',
        isBrief: true,
        key: 'dataDir',
        pid: process.pid,
        platform: process.platform,
        clock: createSystemClock(),
      })
      const waits = () => fleet.events.filter((event) => event.kind === 'phase' && event.phase === 'backing-off')
      const client = start === 'on-demand' ? fleet.connect(address) : null
      await until('it has tried more often than it may crash', () => waits().length > 3)
      assert.match(supervisor.memberStatus('a')!.reason!, /in use by atoll backup/)
      lock.release()
      await untilPhase(supervisor, 'a', 'ready')
      await (client ?? fleet.connect(address))
      assert.equal(supervisor.memberStatus('a')!.restarts, 1)
    }))
}

test('listeners of an on-demand instance change while it waits and while it runs; a port that is taken changes nothing', () =>
  withFleet(async (fleet) => {
    const lazy = (listeners: Record<string, string>) =>
      fleet.member('a', 'process', { start: 'on-demand', config: { listeners } })
    const socket = (name: string) => `unix://${fleet.folder}/${name}.sock`
    const supervisor = await fleet.start(lazy({ one: socket('one') }), fleet.member('b', 'inline'))
    await supervisor.apply(fleet.config(lazy({ two: socket('two') }), fleet.member('b', 'inline')))
    assert.equal(supervisor.memberStatus('a')!.phase, 'waiting')
    await assert.rejects(fleet.connect(socket('one')))
    const client = await fleet.connect(socket('two'))
    await supervisor.apply(fleet.config(lazy({ two: socket('two'), one: socket('one') }), fleet.member('b', 'inline')))
    await fleet.connect(socket('one'))
    await client.publish('t', 'still here', { qos: 1 })
    const wrong = fleet.config(lazy({ two: socket('two'), three: socket('b') }), fleet.member('b', 'inline'))
    const [change] = await supervisor.apply(wrong)
    assert.deepEqual([change.kind, change.name], ['rejected', 'a'])
    assert.match(change.reason!, /b.sock is in use/)
    await fleet.connect(socket('one'))
    await client.publish('t', 'still here', { qos: 1 })
    assert.deepEqual(
      supervisor.config.members[0].config.listeners.map(({ name }) => name),
      ['two', 'one'],
    )
  }))

test('log files are opened anew in every process', () =>
  withFleet(async (fleet) => {
    const members = (['inline', 'process', 'shared'] as const).map((kind) => fleet.member(kind, kind))
    const supervisor = await fleet.start(...members)
    for (const member of members) {
      await until(
        'the log is written',
        () => existsSync(logPath(member)) && readFileSync(logPath(member), 'utf8') !== '',
      )
      renameSync(logPath(member), `${logPath(member)}.moved`)
    }
    supervisor.reopenLogs()
    for (const member of members) {
      await fleet.connect(addressOf(supervisor, member.config.name, 'local'))
      const isWritten = () => existsSync(logPath(member)) && readFileSync(logPath(member), 'utf8') !== ''
      await until('the new file is written', isWritten)
      assert.match(readFileSync(logPath(member), 'utf8'), /^[^\n]*client connected/)
    }
  }))

test('an inherited socket reaches the process of its instance, also after a crash', () =>
  withFleet(async (fleet) => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle
    const file = join(fleet.folder, 'fleet.json')
    const member = fleet.member('a', 'process', { config: { listeners: { activated: 'fd:mqtt' } } })
    writeFileSync(file, JSON.stringify(fleet.config(member)))
    const inherited = `{ ...process.env, LISTEN_PID: String(process.pid), LISTEN_FDS: '1', LISTEN_FDNAMES: 'mqtt' }`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', supervisorScript(file, inherited)], {
      stdio: ['ignore', 'pipe', 'inherit', fd],
    })
    server.close()
    try {
      const [text] = await once(child.stdout!, 'data')
      const status = JSON.parse(String(text)) as { members: { pid: number; phase: string; reason: string | null }[] }
      assert.deepEqual([status.members[0].phase, status.members[0].reason], ['ready', null])
      const address = `tcp://127.0.0.1:${port}`
      await fleet.connect(address)
      process.kill(status.members[0].pid, 'SIGKILL')
      const again = await fleet.connect(address)
      await again.publish('t', 'x', { qos: 1 })
    } finally {
      child.kill('SIGKILL')
    }
  }))

test('order: one after the other where it is wanted; a circle names both and starts neither', () =>
  withFleet(async (fleet) => {
    const supervisor = await fleet.start(
      fleet.member('c', 'inline', { after: ['b'] }),
      fleet.member('b', 'inline', { after: ['a'] }),
      fleet.member('a', 'inline'),
      fleet.member('x', 'inline', { after: ['y'] }),
      fleet.member('y', 'inline', { after: ['x'] }),
    )
    const ready = fleet.events.flatMap((event) => (event.kind === 'phase' && event.phase === 'ready' ? event.name : []))
    assert.deepEqual(ready, ['a', 'b', 'c'])
    assert.equal(supervisor.memberStatus('x')!.phase, 'failed')
    assert.equal(supervisor.memberStatus('x')!.reason, 'instances wait for each other: x after y after x')
    await supervisor.stop()
    const stopped = fleet.events.flatMap((event) =>
      event.kind === 'phase' && event.phase === 'stopped' && event.name < 'x' ? event.name : [],
    )
    assert.deepEqual(stopped, ['c', 'b', 'a'])
  }))

test('apply: created, removed, restarted, rejected and rolled back, each for itself', () =>
  withFleet(async (fleet) => {
    const supervisor = await fleet.start(
      fleet.member('stays', 'process'),
      fleet.member('goes', 'process'),
      fleet.member('moves', 'inline'),
      fleet.member('breaks', 'process'),
    )
    const client = await fleet.connect(addressOf(supervisor, 'stays', 'local'))
    await fleet.connect(addressOf(supervisor, 'breaks', 'local'))
    writeFileSync(join(fleet.folder, 'file'), '')
    const unusable = join(fleet.folder, 'file', 'data')
    const config = fleet.config(
      fleet.member('stays', 'process'),
      fleet.member('moves', 'process'),
      fleet.member('breaks', 'process', { dataDir: unusable }),
      fleet.member('new', 'shared'),
      fleet.member('hopeless', 'shared', { dataDir: unusable }),
    )
    const changes = await supervisor.apply(config)
    assert.deepEqual(Object.fromEntries(changes.map(({ name, kind }) => [name, kind])), {
      stays: 'unchanged',
      goes: 'removed',
      moves: 'restart',
      breaks: 'rejected',
      new: 'created',
      hopeless: 'rejected',
    })
    assert.match(changes.find(({ name }) => name === 'breaks')!.reason!, /data cannot be made/)
    assert.match(changes.find(({ name }) => name === 'hopeless')!.reason!, /data cannot be made/)
    assert.deepEqual(
      supervisor
        .status()
        .members.map(({ name, phase }) => `${name} ${phase}`)
        .sort(),
      ['breaks ready', 'moves ready', 'new ready', 'stays ready'],
    )
    assert.deepEqual(
      supervisor.config.members.map((one) => one.config.name),
      ['stays', 'moves', 'breaks', 'new'],
    )
    assert.notEqual(supervisor.config.members[2].dataDir, unusable)
    await client.publish('t', 'still here', { qos: 1 })
    for (const name of ['moves', 'breaks', 'new']) await fleet.connect(addressOf(supervisor, name, 'local'))
    assert.equal(fleet.events.filter(({ kind }) => kind === 'applied').length, 1)
  }))

test('apply: one instance may take the port that another leaves, whatever their order', () =>
  withFleet(async (fleet) => {
    const [one, two] = [await freePort(), await freePort()]
    const at = (name: string, port: number) =>
      fleet.member(name, 'inline', { config: { listeners: { tcp: `tcp://127.0.0.1:${port}` } } })
    const supervisor = await fleet.start(at('a', one), at('b', two))
    const three = await freePort()
    const changes = await supervisor.apply(fleet.config(at('a', two), at('b', three)))
    assert.deepEqual(
      changes.map(({ kind, reason }) => [kind, reason]),
      [
        ['hot', null],
        ['hot', null],
      ],
    )
    assert.equal(addressOf(supervisor, 'a'), `tcp://127.0.0.1:${two}`)
    assert.equal(addressOf(supervisor, 'b'), `tcp://127.0.0.1:${three}`)
  }))

test('apply reads password files again; a broken one leaves the old users in force', () =>
  withFleet(async (fleet) => {
    const passwords = join(fleet.folder, 'users')
    writeFileSync(passwords, '')
    const member = fleet.member('a', 'process', { config: { auth: { passwords } } })
    const supervisor = await fleet.start(member)
    rmSync(passwords)
    const [change] = await supervisor.apply(fleet.config(member))
    assert.equal(change.kind, 'rejected')
    assert.match(change.reason!, /does not exist/)
    assert.equal((await supervisor.plan(fleet.config(member)))[0]!.kind, 'rejected')
    writeFileSync(passwords, '')
    assert.deepEqual(await supervisor.plan(fleet.config(member)), [
      { name: 'a', kind: 'unchanged', keys: [], reason: null },
    ])
    const [read] = await supervisor.apply(fleet.config(member))
    assert.deepEqual([read!.kind, read!.reason], ['unchanged', 'the files of users and rights were read again'])
  }))

test('apply tries an instance again that could not start with its files, and no other', () =>
  withFleet(async (fleet) => {
    const passwords = join(fleet.folder, 'users')
    const member = fleet.member('a', 'process', { config: { auth: { passwords } } })
    const supervisor = await fleet.start(member, fleet.member('b', 'inline'))
    assert.equal(supervisor.memberStatus('a')!.phase, 'failed')
    const same = fleet.config(member, fleet.member('b', 'inline'))
    assert.equal((await supervisor.apply(same))[0]!.kind, 'rejected')
    writeFileSync(passwords, '')
    assert.equal((await supervisor.apply(same, 'b'))[0]!.kind, 'unchanged')
    assert.equal(supervisor.memberStatus('a')!.phase, 'failed')
    assert.equal((await supervisor.plan(same))[0]!.kind, 'restart')
    assert.equal((await supervisor.apply(same))[0]!.kind, 'restart')
    assert.equal(supervisor.memberStatus('a')!.phase, 'ready')
  }))

test('apply: what belongs to the daemon waits for its next start, and the log says so', () =>
  withFleet(async (fleet) => {
    const member = fleet.member('a', 'inline')
    const supervisor = await fleet.start(member)
    const { runDir, admin } = supervisor.config
    await supervisor.apply({ ...supervisor.config, runDir: '/elsewhere', admin: { ...admin, mode: 0o660 } })
    assert.deepEqual([supervisor.config.runDir, supervisor.config.admin], [runDir, admin])
    const told = fleet.lines.filter((line) => line.includes('waits for the next start of the daemon'))
    assert.deepEqual(
      told.map((line) => /key=(\S+)/.exec(line)![1]),
      ['runDir', 'admin.mode'],
    )
  }))

test('a second daemon with the same run directory is told who runs', () =>
  withFleet(async (fleet) => {
    await fleet.start()
    await assert.rejects(fleet.create().start(), {
      code: 'directory-locked',
      message: new RegExp(`in use by the daemon \\(process ${process.pid}, since `),
    })
  }))

test('kill -9 of the supervisor: its hosts stop, no orphan holds a port', () =>
  withFleet(async (fleet) => {
    const ports = [await freePort(), await freePort()]
    const members = (['process', 'shared'] as const).map((kind, index) =>
      fleet.member(kind, kind, { config: { listeners: { tcp: `tcp://127.0.0.1:${ports[index]}` } } }),
    )
    const file = join(fleet.folder, 'fleet.json')
    writeFileSync(file, JSON.stringify(fleet.config(...members)))
    const child = spawn(process.execPath, ['--input-type=module', '--eval', supervisorScript(file, 'process.env')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [text] = await once(child.stdout, 'data')
    const status = JSON.parse(String(text)) as { members: { pid: number; phase: string }[] }
    assert.deepEqual(
      status.members.map(({ phase }) => phase),
      ['ready', 'ready'],
    )
    await fleet.connect(`tcp://127.0.0.1:${ports[0]}`)
    child.kill('SIGKILL')
    await once(child, 'exit')
    for (const { pid } of status.members) await until(`${pid} is gone`, () => !isProcessAlive(pid))
    for (const port of ports) {
      const [error] = await once(connect({ port, host: '127.0.0.1' }), 'error')
      assert.equal((error as NodeJS.ErrnoException).code, 'ECONNREFUSED')
    }
    // And everything can be had again.
    const supervisor = await fleet.start(...members)
    assert.deepEqual(
      supervisor.status().members.map(({ phase }) => phase),
      ['ready', 'ready'],
    )
  }))

const asRoot = { skip: process.getuid?.() === 0 ? false : 'only root may give a process another account' }

test('a process of another account, and of another niceness', asRoot, () =>
  withFleet(async (fleet) => {
    chmodSync(fleet.folder, 0o755)
    const listeners = { tcp: 'tcp://127.0.0.1:0', local: `unix://${fleet.folder}/run/a/deep/a.sock` }
    const supervisor = await fleet.start(
      fleet.member('a', 'process', { user: 'nobody', nice: 5, config: { listeners } }),
    )
    const { pid, phase, reason } = supervisor.memberStatus('a')!
    assert.equal(phase, 'ready', reason ?? '')
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    assert.match(status, /^Uid:\s+65534\s/m)
    assert.match(status, /^Groups:\s*$/m)
    assert.equal(getPriority(pid!), 5)
    await fleet.connect(addressOf(supervisor, 'a', 'local'))
  }),
)

test('an instance of another account gets data, log and a folder for its sockets', asRoot, () =>
  withFleet(async (fleet) => {
    chmodSync(fleet.folder, 0o755)
    const listeners = { local: `unix://${fleet.folder}/run/a/a.sock` }
    const supervisor = await fleet.start(fleet.member('a', 'process', { user: 'nobody', config: { listeners } }))
    const { phase, reason } = supervisor.memberStatus('a')!
    assert.equal(phase, 'ready', reason ?? '')
    await until('the log is written', () => existsSync(join(fleet.folder, 'log/a/a.log')))
    for (const path of ['data/a', 'log/a', 'log/a/a.log', 'run/a', 'run/a/a.sock']) {
      assert.equal(statSync(join(fleet.folder, path)).uid, 65534, path)
    }
    assert.equal(statSync(join(fleet.folder, 'run')).uid, 0)
    await fleet.connect(addressOf(supervisor, 'a', 'local'))
    await supervisor.stopMember('a')
    assert.deepEqual(readdirSync(join(fleet.folder, 'run/a')), [])
    await supervisor.startMember('a')
  }),
)

test('an instance with data that another account owns is told to chown before anything is stopped', asRoot, () =>
  withFleet(async (fleet) => {
    chmodSync(fleet.folder, 0o755)
    const config = { listeners: { local: `unix://${fleet.folder}/run/a/a.sock` } }
    const supervisor = await fleet.start(fleet.member('a', 'process', { config }))
    const { pid } = supervisor.memberStatus('a')!
    const next = fleet.config(fleet.member('a', 'process', { config, user: 'nobody' }))
    for (const change of [...(await supervisor.plan(next)), ...(await supervisor.apply(next))]) {
      assert.equal(change.kind, 'rejected')
      assert.match(
        change.reason!,
        /does not belong to the account nobody.*chown -R 65534:65534 \S+\/data\/a \S+\/log\/a,/,
      )
    }
    assert.equal(supervisor.memberStatus('a')!.pid, pid)
    assert.equal(statSync(join(fleet.folder, 'data/a')).uid, 0)

    await supervisor.stopMember('a')
    for (const folder of ['data/a', 'log/a', 'run/a']) {
      execFileSync('chown', ['-R', '65534:65534', join(fleet.folder, folder)])
    }
    assert.equal((await supervisor.apply(next))[0]!.kind, 'restart')
    await supervisor.startMember('a')
    assert.equal(supervisor.memberStatus('a')!.phase, 'ready')
  }),
)
