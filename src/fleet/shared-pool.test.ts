import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isProcessAlive, until, untilPhase, withFleet } from './fixture.test.ts'

test('a pool has as many processes as its instances need; a process ends with its last instance', () =>
  withFleet(async (fleet) => {
    const names = ['a', 'b', 'c', 'd', 'e']
    const supervisor = await fleet.start(...names.map((name) => fleet.member(name, 'shared', { poolSize: 2 })))
    const pidOf = (name: string) => supervisor.memberStatus(name)!.pid!
    const guests = new Map<number, string[]>()
    for (const name of names) guests.set(pidOf(name), [...(guests.get(pidOf(name)) ?? []), name])
    assert.deepEqual([...guests.values()].map(({ length }) => length).sort(), [1, 2, 2])

    const [first, second, third] = [...guests].sort(([, one], [, other]) => other.length - one.length)
    process.kill(first[0], 'SIGKILL')
    for (const name of first[1]) {
      await until('the crash is seen', () => supervisor.memberStatus(name)!.restarts === 1)
      await untilPhase(supervisor, name, 'ready')
    }
    for (const name of [...second[1], ...third[1]]) assert.equal(supervisor.memberStatus(name)!.restarts, 0)

    await supervisor.stopMember(second[1][0])
    assert.equal(pidOf(second[1][1]), second[0])
    await supervisor.stopMember(second[1][1])
    await until('the process is gone', () => !isProcessAlive(second[0]))
    for (const name of second[1]) await supervisor.startMember(name)
    assert.ok(new Set(names.map(pidOf)).size <= 4)
  }))

test('pools do not share processes', () =>
  withFleet(async (fleet) => {
    const supervisor = await fleet.start(
      fleet.member('a', 'shared', { pool: 'x' }),
      fleet.member('b', 'shared', { pool: 'y' }),
      fleet.member('c', 'shared', { pool: 'x' }),
    )
    const [a, b, c] = supervisor.status().members.map(({ pid }) => pid)
    assert.notEqual(a, b)
    assert.equal(a, c)
  }))
