import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findings, loadAll } from './fixture.test.ts'

/** `code key: message`, the name of the file left out. */
const conflicts = (text: string): string[] =>
  findings(text).map(({ code, place, message }) => `${code} ${place?.key}: ${message.replaceAll(/\/\S+\.yaml, /g, '')}`)

for (const [left, right] of [
  ['tcp://127.0.0.1:1', 'tcp://127.0.0.1:1'],
  ['tcp://0.0.0.0:1', 'tcp://127.0.0.1:1'],
  ['tcp://127.0.0.1:1', 'tcp://0.0.0.0:1'],
  ['tcp://[::]:1', 'tcp://127.0.0.1:1'],
  ['tcp://*:1', 'tcp://[::1]:1'],
  ['tcp://[::1]:1', 'tcp://[0:0:0:0:0:0:0:1]:1'],
  ['tcp://[0::0]:1', 'tcp://10.0.0.1:1'],
  ['tcp://localhost:1', 'tcp://127.0.0.1:1'],
  ['unix:///x', 'local:/x'],
  ['unix:@x', 'unix:@x'],
  ['fd:3', 'fd:3'],
]) {
  test(`${left} and ${right} cannot be two instances`, () => {
    const [finding, ...others] = findings(`auth: {passwords: x}
instances:
  a: { listeners: { l: "${left}" } }
  b: { listeners: { m: "${right}" } }
`)
    assert.deepEqual(others, [])
    assert.deepEqual(
      [finding!.code, finding!.place?.line, finding!.place?.key],
      ['address-conflict', 4, 'instances.b.listeners.m'],
    )
    assert.match(
      finding!.message,
      /of the instance b \(.*line 4\) is taken by the listener l of the instance a \(.*line 3\)/,
    )
  })
}

for (const [left, right] of [
  ['tcp://127.0.0.1:1', 'tcp://127.0.0.2:1'],
  ['tcp://127.0.0.1:1', 'tcp://127.0.0.1:2'],
  ['tcp://127.0.0.1:0', 'tcp://127.0.0.1:0'],
  ['tcp://0.0.0.0:1', 'tcp://[::1]:1'],
  ['unix:///x', 'unix:///y'],
  ['unix:@x', 'unix:///x'],
]) {
  test(`${left} and ${right} can be two instances`, () => {
    const text = `auth: {passwords: x}\ninstances: {a: {listeners: {l: "${left}"}}, b: {listeners: {l: "${right}"}}}`
    assert.equal(loadAll(text).fleet.members.length, 2)
  })
}

test('listeners that are not opened take no place', () => {
  const listener = '{listeners: {l: {address: "unix:///x", enabled: false}}}'
  assert.equal(loadAll(`instances: {a: ${listener}, b: {listeners: {l: "unix:///x"}}}`).fleet.members.length, 2)
})

test('the admin socket is nobody else’s', () => {
  assert.deepEqual(conflicts('runDir: /r\ninstances: {admin: , b: }'), [
    'address-conflict listeners.local.address: unix:///r/admin.sock of the instance admin (in line 2) is taken by the admin socket (in line 1)',
  ])
  assert.equal(loadAll('runDir: /r\nadmin: {listen: "unix:///r/a"}\ninstances: {admin: , b: }').fleet.members.length, 2)
})

test('folders of two instances are apart', () => {
  assert.deepEqual(
    conflicts(`dataDir: /d
logDir: /d
instances:
  a: {}
  b: { dataDir: /d/a/b }
  c: { dataDir: /e/c, logDir: /e/c/log }
  ca: { dataDir: /e/ca, logDir: /e }
`),
    [
      'directory-conflict instances.b.dataDir: /d/a/b of the instance b (in line 5) is inside the logDir of the instance a (in line 4), /d/a',
      'directory-conflict instances.c.dataDir: /e/c of the instance c (in line 6) is inside the logDir of the instance ca (in line 7), /e',
      'directory-conflict instances.c.logDir: /e/c/log of the instance c (in line 6) is inside the logDir of the instance ca (in line 7), /e',
    ],
  )
  const shared = conflicts('defaults: {dataDir: /d}\ninstances: {a: , b: , c: }')
  assert.deepEqual(shared, [
    'directory-conflict defaults.dataDir: /d of the instance b (in line 2) is the dataDir of the instance a (in line 2)',
    'directory-conflict defaults.dataDir: /d of the instance c (in line 2) is the dataDir of the instance b (in line 2)',
  ])
})

test('a pool has one size', () => {
  const pool = (size: number) => `{isolation: shared, pool: p, poolSize: ${size}}`
  assert.equal(loadAll(`instances: {a: ${pool(3)}, b: ${pool(3)}}`).fleet.members.length, 2)
  assert.deepEqual(conflicts(`instances:\n  a: ${pool(3)}\n  b: ${pool(4)}\n`), [
    'pool-conflict instances.b.poolSize: the pool p has the size 4 of the instance b (in line 3), and 3 for the instance a (in line 2)',
  ])
})

test('who waits for whom', () => {
  assert.deepEqual(conflicts('instances: {plant-a: {after: [b, plnt-b]}, b: , plant-b: }'), [
    'unknown-instance instances.plant-a.after: there is no instance "plnt-b", for which plant-a would wait',
  ])
  assert.equal(findings('instances: {plant-a: {after: plnt-b}, plant-b: }')[0]!.fix, 'did you mean plant-b?')
  assert.deepEqual(conflicts('instances:\n  a: {after: b}\n  b: {after: [d, c]}\n  c: {after: b}\n  d: {}'), [
    'after-cycle instances.b.after: none of these can be started first: b waits for c, c waits for b',
  ])
  assert.deepEqual(conflicts('instances: {a: {after: a}}'), [
    'after-cycle instances.a.after: none of these can be started first: a waits for a',
  ])
  assert.deepEqual(loadAll('instances: {a: {after: [c, b]}, b: {after: c}, c: }').fleet.members[0]!.after, ['c', 'b'])
})

test('a socket needs room for the private folder in which it is made', () => {
  const folder = (bytes: number) => `/${'x'.repeat(bytes - 1)}`
  const text = (bytes: number) => `instances: {a: {listeners: {l: "unix://${folder(bytes)}/s"}}}`
  assert.equal(loadAll(text(80)).fleet.members.length, 1)
  const [finding] = findings(text(81))
  assert.deepEqual([finding!.code, finding!.place?.key], ['socket-path-too-long', 'instances.a.listeners.l'])
  assert.match(finding!.message, /has 81 bytes, and 80 is the limit/)
  assert.deepEqual(
    findings(`runDir: ${folder(81)}\nlisteners: {}`).map(({ place }) => place?.key),
    ['admin.listen'],
  )
})
