import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FleetMember } from '../config/fleet-config.ts'
import { withFleet } from './fixture.test.ts'
import { planChange } from './plan-change.ts'

/** Kinds of the keys that differ. */
function plan(from: FleetMember, to: FleetMember): [string, Record<string, string>] {
  const { kind, keys } = planChange(from, to)
  return [kind, Object.fromEntries(keys.map((one) => [one.key, one.kind]))]
}

test('where a description comes from is no change', () =>
  withFleet(async (fleet) => {
    const from = fleet.member('a', 'process')
    assert.deepEqual(plan(from, { ...fleet.member('a', 'process'), template: 'small', file: '/x.yaml' }), [
      'unchanged',
      {},
    ])
  }))

test('every key says whether it needs a restart, with its value as people write it', () =>
  withFleet(async (fleet) => {
    const from = fleet.member('a', 'process')
    const local = `unix://${fleet.folder}/a.sock`
    const to = fleet.member('a', 'process', {
      nice: 5,
      heapBytes: 64 * 1024 * 1024,
      after: ['b'],
      restart: { ...from.restart, burst: 9 },
      config: { gracePeriod: '2m', log: { format: 'json' }, listeners: { local: { address: local, mode: '0600' } } },
    })
    assert.deepEqual(plan(from, to), [
      'restart',
      {
        'limits.heap': 'restart',
        'log.format': 'restart',
        'restart.burst': 'hot',
        after: 'hot',
        gracePeriod: 'hot',
        'listeners.local.mode': 'hot',
        'listeners.tcp': 'hot',
        nice: 'restart',
      },
    ])
    const { keys } = planChange(from, to)
    assert.deepEqual(
      keys
        .flatMap(({ key, from: old, to: next }) => (/heap|grace|listeners/.test(key) ? [[key, old, next]] : []))
        .sort(),
      [
        ['gracePeriod', '1s', '2m'],
        ['limits.heap', null, '64MiB'],
        ['listeners.local.mode', '0660', '0600'],
        ['listeners.tcp', 'tcp://127.0.0.1:0', null],
      ],
    )
  }))

test('a key of another kind of isolation is no reason to restart, and on-demand is one', () =>
  withFleet(async (fleet) => {
    const from = fleet.member('a', 'shared')
    assert.deepEqual(plan(from, { ...from, nice: 3, user: 'x' }), ['hot', { nice: 'hot', user: 'hot' }])
    assert.deepEqual(plan(from, { ...from, pool: 'x' }), ['restart', { pool: 'restart' }])
    assert.deepEqual(plan(from, { ...from, start: 'manual' }), ['hot', { start: 'hot' }])
    assert.deepEqual(plan(from, { ...from, start: 'on-demand' }), ['restart', { start: 'restart' }])
  }))
