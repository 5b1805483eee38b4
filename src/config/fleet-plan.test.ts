import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadAll } from './fixture.test.ts'
import type { FleetConfig } from './fleet-config.ts'
import { planFleet, planFleetKeys, withDaemon } from './fleet-plan.ts'
import { directoryKeys, fileInstanceKeys, fileSectionKeys, listenerKeys } from './keys.ts'

const fleetOf = (text: string): FleetConfig => loadAll(text).fleet

/** `a hot limits.inflight:1000→5`, one line for each instance. */
function plan(before: string, after: string): string[] {
  return planFleet(fleetOf(before), fleetOf(after)).map(({ name, kind, keys, reason }) => {
    assert.equal(reason, kind === 'removed' ? `its data is kept in /home/user/.local/share/atoll/${name}` : null)
    const changes = keys.map((one) => ` ${one.kind} ${one.key} ${JSON.stringify(one.from)}→${JSON.stringify(one.to)}`)
    return `${name}: ${kind}${changes.join(',')}`
  })
}

test('instances come, go, change at once, need a restart, or stay as they are', () => {
  const before = `
instances:
  same: {}
  hot: { listeners: { a: "unix:///a", b: "unix:///b" } }
  cold: {}
  gone: {}
`
  const after = `
instances:
  new: {}
  cold: { nice: 5, gracePeriod: 1m, dataDir: /d }
  hot:
    listeners: { a: { address: "unix:///a", maxConnections: 7 }, c: "unix:///c" }
    limits: { inflight: 5 }
    log: { level: debug }
  same: {}
`
  assert.deepEqual(plan(before, after), [
    'new: created',
    'cold: restart hot gracePeriod "10s"→"1m", restart nice 0→5, restart dataDir "/home/user/.local/share/atoll/cold"→"/d"',
    'hot: hot hot listeners.a.maxConnections 10000→7, hot listeners.c null→"unix:///c", hot listeners.b "unix:///b"→null, hot limits.inflight 1000→5, hot log.level "info"→"debug"',
    'same: unchanged',
    'gone: removed',
  ])
  assert.deepEqual(plan(before, before), ['same: unchanged', 'hot: unchanged', 'cold: unchanged', 'gone: unchanged'])
})

test('on-demand begins and ends with a restart, and so does the format of a log', () => {
  const change = (keys: string) =>
    plan('instances: {a: {isolation: shared}, b: {}}', `instances: {a: {isolation: shared, ${keys}}, b: {}}`)[0]
  assert.equal(change('pool: x'), 'a: restart restart pool "default"→"x"')
  assert.equal(change('start: manual'), 'a: hot hot start "always"→"manual"')
  assert.equal(change('start: on-demand'), 'a: restart restart start "always"→"on-demand"')
  assert.equal(change('log: {format: json}'), 'a: restart restart log.format "text"→"json"')
  assert.equal(change('log: {rotateSize: 1MiB, rotateAge: 1d, rotateKeep: 2}')!.split(' ')[1], 'hot')
})

test('the same instance from elsewhere has not changed', () => {
  const before = 'templates: {t: {limits: {inflight: 5}}}\ninstances: {a: {template: t}, b: {}}'
  assert.deepEqual(plan(before, 'instances: {a: {limits: {inflight: 5}}, b: }'), ['a: unchanged', 'b: unchanged'])
})

test('the folders and the socket of the daemon stay until it starts again', () => {
  const before = fleetOf('instances: {a: {}, b: {}}')
  const after = fleetOf('runDir: /r\nadmin: {mode: "0660"}\ninstances: {a: {}, b: {}}')
  assert.deepEqual(planFleetKeys(before, before), [])
  assert.deepEqual(
    planFleetKeys(before, after).map(({ key, kind, to }) => [key, kind, to]),
    [
      ['runDir', 'next-start', '/r'],
      ['admin.listen', 'next-start', 'unix:///r/admin.sock'],
      ['admin.mode', 'next-start', '0660'],
    ],
  )
})

test('the log of the daemon: its level counts at once, its form with the next start; one broker alone has its own', () => {
  const fleet = (text: string) => fleetOf(`${text}\ninstances: {a: {}, b: {}}`)
  const plan = planFleetKeys(fleet('log: {level: info}'), fleet('log: {level: debug, format: json}'))
  assert.deepEqual(
    plan.map(({ key, kind, from, to }) => [key, kind, from, to]),
    [
      ['log.level', 'hot', 'info', 'debug'],
      ['log.format', 'next-start', 'text', 'json'],
    ],
  )
  assert.deepEqual(withDaemon([], plan), [{ name: null, kind: 'next-start', keys: plan, reason: null }])
  assert.deepEqual(planFleetKeys(fleetOf('log: {level: info}'), fleetOf('log: {level: debug}')), [])
})

test('exactly what a process is made of needs a restart', () => {
  const cold = (table: object) =>
    Object.entries(table).flatMap(([name, { takesEffect }]) => (takesEffect === 'at once' ? [] : [name]))
  assert.deepEqual(cold(listenerKeys), [])
  assert.deepEqual(Object.values(fileSectionKeys).flatMap(cold), ['heap', 'format'])
  assert.deepEqual(cold(fileInstanceKeys), [
    'durability',
    'isolation',
    'pool',
    'poolSize',
    'start',
    'user',
    'group',
    'nice',
    'dataDir',
    'logDir',
  ])
  assert.deepEqual(cold(directoryKeys), ['runDir', 'dataDir', 'logDir'])
})
