// One contract over the three kinds of host, through the supervisor: what an operator and a client see is the same.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSystemClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { createMessage } from '../codec/application-message.ts'
import type { Isolation } from '../config/fleet-config.ts'
import { closedName, openLmdbStore } from '../storage/lmdb-store.ts'
import { addressOf, isProcessAlive, until, untilPhase, withFleet } from './fixture.test.ts'
import { logPath } from './running-instance.ts'

const kinds: Isolation[] = ['inline', 'process', 'shared']

for (const kind of kinds) {
  test(`${kind}: ready means listening; messages pass over tcp and unix; stopped, nothing is left`, () =>
    withFleet(async (fleet) => {
      const member = fleet.member('a', kind)
      const supervisor = await fleet.start(member)
      const { phase, pid, readySinceMs, reason } = supervisor.memberStatus('a')!
      assert.deepEqual([phase, reason], ['ready', null])
      assert.ok(readySinceMs !== null && pid !== null)
      assert.equal(pid === process.pid, kind === 'inline')

      const got: string[] = []
      const unix = await fleet.connect(addressOf(supervisor, 'a', 'local'), {
        onMessage: (message) => void got.push(message.topic),
      })
      await unix.subscribe([{ filter: 'x/#', qos: 1 }] as never)
      const tcp = await fleet.connect(addressOf(supervisor, 'a'))
      await tcp.publish('x/1', 'hello', { qos: 1 })
      await until('the message arrives', () => got.length === 1)
      await until('the status counts them', () => supervisor.memberStatus('a')!.connections === 2)

      const shown = (await supervisor.call('a', 'instance.show', {})) as { name: string; clients: number }
      assert.deepEqual([shown.name, shown.clients], ['a', 2])
      await assert.rejects(supervisor.call('a', 'no.such', {}), (error) => {
        assert.ok(error instanceof OperatorError)
        assert.equal(error.code, 'unknown-verb')
        return true
      })
      const extra = `unix://${fleet.folder}/extra.sock`
      await supervisor.call('a', 'listeners.start', { address: extra, name: 'extra' })
      assert.equal(addressOf(supervisor, 'a', 'extra'), extra)
      await fleet.connect(extra)

      await supervisor.stopMember('a')
      const stopped = supervisor.memberStatus('a')!
      assert.deepEqual([stopped.phase, stopped.pid, stopped.connections], ['stopped', null, 0])
      assert.deepEqual(
        stopped.listeners.map((one) => one.phase),
        ['stopped', 'stopped'],
      )
      assert.ok(!existsSync(join(fleet.folder, 'a.sock')))
      assert.ok(!existsSync(join(member.dataDir, 'lock')))
      if (kind !== 'inline') await until('the process is gone', () => !isProcessAlive(pid))
      assert.match(readFileSync(logPath(member), 'utf8'), /ready instance=a.*listener stopped.*stopped instance=a\n$/s)
      await assert.rejects(supervisor.call('a', 'instance.show', {}), { code: 'not-running' })
      await supervisor.startMember('a')
      await fleet.connect(addressOf(supervisor, 'a', 'local'))
    }))

  test(`${kind}: a stop ends a start that reads its store, which is closed in order`, () =>
    withFleet(async (fleet) => {
      const member = fleet.member('a', kind, { config: { durability: 'os' } })
      const directory = join(member.dataDir, 'store')
      const closed = join(directory, closedName)
      const store = await openLmdbStore({ directory, durability: 'os', clock: createSystemClock() })
      const packet = createMessage('t', Buffer.from('x'), { retain: true, nowMs: 0 }).buffer
      for (let index = 0; index < 60_000; index++) {
        store.putRetained(`t/${index}`, { packet, isVersion5: true, receivedAtMs: 0 })
      }
      await store.close()
      const supervisor = fleet.create(member)
      const starting = supervisor.start()
      // A process is there: it is told in the order in which things are asked of it.
      const isBegun = () => (kind === 'inline' ? !existsSync(closed) : supervisor.memberStatus('a')?.pid != null)
      while (!isBegun()) await new Promise((resolve) => setImmediate(resolve))
      assert.equal(supervisor.memberStatus('a')!.phase, 'starting')
      await supervisor.stopMember('a')
      await starting
      assert.equal(supervisor.memberStatus('a')!.phase, 'stopped')
      assert.ok(existsSync(closed))
      const log = () => readFileSync(logPath(member), 'utf8')
      assert.match(log(), /stopped before it was ready instance=a\n$/)
      await supervisor.startMember('a')
      await until('the log says so', () => /state restored .*retained=60000 .*ready/s.test(log()))
    }))

  test(`${kind}: what needs no restart is taken while clients stay connected`, () =>
    withFleet(async (fleet) => {
      const supervisor = await fleet.start(fleet.member('a', kind), fleet.member('b', kind))
      const client = await fleet.connect(addressOf(supervisor, 'a'))
      const pid = supervisor.memberStatus('a')!.pid
      const listeners = {
        tcp: 'tcp://127.0.0.1:0',
        local: `unix://${fleet.folder}/a.sock`,
        second: `unix://${fleet.folder}/second.sock`,
      }
      const config = { limits: { queueMessages: 7 }, log: { level: 'debug' as const }, listeners }
      const next = fleet.config(fleet.member('a', kind, { config }), fleet.member('b', kind))
      assert.deepEqual(
        (await supervisor.plan(next)).map(({ name, kind: change, keys }) => [name, change, keys.map(({ key }) => key)]),
        [
          ['a', 'hot', ['listeners.second', 'limits.queueMessages', 'log.level']],
          ['b', 'unchanged', []],
        ],
      )
      const changes = await supervisor.apply(next)
      assert.deepEqual(
        changes.map((change) => [change.kind, change.reason]),
        [
          ['hot', null],
          ['unchanged', null],
        ],
      )
      await client.publish('t', 'still here', { qos: 1 })
      assert.equal(supervisor.memberStatus('a')!.pid, pid)
      await fleet.connect(`unix://${fleet.folder}/second.sock`)
      const shown = (await supervisor.call('a', 'instance.show', {})) as { logLevel: string }
      assert.equal(shown.logLevel, 'debug')
    }))

  test(`${kind}: a port that is taken fails the start with its reason and leaves nothing; it is not tried again`, () =>
    withFleet(async (fleet) => {
      const other = createServer()
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
      try {
        const { port } = other.address() as { port: number }
        const listeners = { local: `unix://${fleet.folder}/a.sock`, tcp: `tcp://127.0.0.1:${port}` }
        const member = fleet.member('a', kind, { config: { listeners } })
        const supervisor = await fleet.start(member, fleet.member('b', kind))
        const { phase, reason, restarts, pid } = supervisor.memberStatus('a')!
        assert.deepEqual([phase, restarts, pid], ['failed', 0, null])
        assert.match(
          reason!,
          new RegExp(`^listeners.tcp.address: tcp://127.0.0.1:${port} is in use by process ${process.pid} `),
        )
        assert.ok(!existsSync(join(fleet.folder, 'a.sock')))
        assert.ok(!existsSync(join(member.dataDir, 'lock')))
        assert.equal(supervisor.memberStatus('b')!.phase, 'ready')
        await assert.rejects(supervisor.startMember('a'), {
          code: 'port-in-use',
          place: { key: 'listeners.tcp.address' },
        })
        other.close()
        await supervisor.startMember('a')
        assert.equal(supervisor.memberStatus('a')!.reason, null)
      } finally {
        other.close()
      }
    }))

  test(`${kind}: two instances do not get one data directory`, () =>
    withFleet(async (fleet) => {
      const dataDir = join(fleet.folder, 'data', 'one')
      const first = fleet.member('a', kind, { dataDir })
      const supervisor = await fleet.start(first, fleet.member('b', kind, { dataDir, after: ['a'] }))
      const holder = supervisor.memberStatus('a')!.pid
      const { phase, reason } = supervisor.memberStatus('b')!
      assert.equal(phase, 'failed')
      assert.match(reason!, new RegExp(`in use by the instance a \\(process ${holder}, since`))
    }))

  test(`${kind}: an on-demand instance starts with 50 clients at once, and all get through`, () =>
    withFleet(async (fleet) => {
      const supervisor = await fleet.start(fleet.member('a', kind, { start: 'on-demand', stopWhenIdleSeconds: 0.2 }))
      assert.deepEqual([supervisor.memberStatus('a')!.phase, supervisor.memberStatus('a')!.pid], ['waiting', null])
      const addresses = [addressOf(supervisor, 'a'), addressOf(supervisor, 'a', 'local')]
      for (let round = 0; round < 2; round++) {
        const clients = await Promise.all(Array.from({ length: 50 }, (_, index) => fleet.connect(addresses[index % 2])))
        assert.equal(supervisor.memberStatus('a')!.phase, 'ready')
        await until('all are counted', () => supervisor.memberStatus('a')!.connections === 50)
        const { items } = (await supervisor.call('a', 'listeners.list', {})) as { items: Record<string, unknown>[] }
        assert.deepEqual(
          items.map(({ name, phase, connections }) => [name, phase, connections]),
          [
            ['tcp', 'listening', 25],
            ['local', 'listening', 25],
          ],
        )
        await assert.rejects(supervisor.call('a', 'listeners.stop', { name: 'tcp' }), { code: 'listener-on-demand' })
        await Promise.all(clients.map((client) => client.publish('t', 'x', { qos: 1 })))
        await Promise.all(clients.map((client) => client.disconnect()))
        await untilPhase(supervisor, 'a', 'waiting')
        assert.equal(supervisor.memberStatus('a')!.pid, null)
      }
      await supervisor.stopMember('a')
      await assert.rejects(fleet.connect(addresses[0]))
    }))
}
