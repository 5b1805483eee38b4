import assert from 'node:assert/strict'
import { test } from 'node:test'
import { faults, findings, grammar, load } from './fixture.test.ts'
import { instanceFromInput } from './resolve-instance.ts'

test('a listener that others can reach needs passwords or an explicit word', () => {
  for (const address of ['tcp://0.0.0.0:1883', 'tcp://*:1883', 'tcp://192.168.1.2:1883', 'tcp://[::]:1883']) {
    const [finding] = findings(`listeners: {public: "${address}"}`)
    assert.equal(finding!.code, 'needs-authentication')
    assert.equal(finding!.fix, 'set auth.passwords, or listeners.public.anonymous: true to let everyone in')
    for (const remedy of [
      `auth: {passwords: x}\nlisteners: {public: "${address}"}`,
      `listeners: {public: {address: "${address}", anonymous: true}}`,
      // Lets nobody in without a name, so it is safe.
      `listeners: {public: {address: "${address}", anonymous: false}}`,
    ]) {
      assert.equal(load(remedy).config.listeners.length, 1)
    }
  }
  const safe = 'listeners: {a: "tcp://127.0.0.1:1", b: "tcp://[::1]:1", c: "unix:///c", d: "unix:@d", e: "fd:3"}'
  assert.equal(load(safe).config.listeners.length, 5)
  assert.deepEqual(faults('auth: {passwords: null}\nlisteners: {a: "tcp://0.0.0.0:1"}'), [
    '2:16 listeners.a needs-authentication',
  ])
})

test('two listeners in one place are refused, and both are named', () => {
  const conflict = (left: string, right: string) =>
    findings(`auth: {passwords: x}\nlisteners:\n  a: "${left}"\n  b: "${right}"\n`).map(({ code, message, place }) => {
      assert.match(message, /listener a in line 3/)
      return `${code} ${place?.line}`
    })
  for (const [left, right] of [
    ['tcp://127.0.0.1:1883', 'tcp://127.0.0.1'],
    ['tcp://0.0.0.0:1883', 'tcp://127.0.0.1:1883'],
    ['tcp://127.0.0.1:1883', 'tcp://*:1883'],
    ['tcp://[::]:1883', 'tcp://0.0.0.0:1883'],
    ['tcp://localhost:1883', 'tcp://[::1]:1883'],
    ['unix:///run/x', 'local:/run/x'],
    ['unix:@x', 'unix:@x'],
    ['fd:3', 'fd:3'],
  ]) {
    assert.deepEqual(conflict(left!, right!), ['address-conflict 4'], `${left} ${right}`)
  }
  const apart = `auth: {passwords: x}
listeners:
  a: tcp://127.0.0.1:0
  b: tcp://127.0.0.1:0
  c: tcp://127.0.0.1:1
  d: tcp://127.0.0.2:1
  e: unix:///a
  f: unix:@a
  g: { address: "unix:///a", enabled: false }
  h: tcp://0.0.0.0:2
  i: tcp://[::1]:2
`
  assert.equal(load(apart).config.listeners.length, 9)
})

test('rights are refused where there is no socket file', () => {
  assert.deepEqual(faults('listeners: {a: {address: "tcp://127.0.0.1:1", mode: "0600", owner: null, group: x}}'), [
    '1:47 listeners.a.mode not-applicable',
    '1:74 listeners.a.group not-applicable',
  ])
})

test('an embedded broker is configured by an object of the same shape', () => {
  const options = { name: 'app', workingDirectory: '/srv', grammar }
  const config = instanceFromInput(
    {
      listeners: {
        local: 'unix:///tmp/app.sock',
        more: { address: 'tcp://127.0.0.1:0', protocols: ['5'], mode: undefined },
      },
      auth: { acl: 'app.acl' },
      limits: { memory: '1MiB' },
    },
    options,
  )
  assert.equal(config.name, 'app')
  assert.deepEqual(
    config.listeners.map(({ address }) => address),
    ['unix:///tmp/app.sock', 'tcp://127.0.0.1:0'],
  )
  assert.equal(config.auth.acl, '/srv/app.acl')
  assert.equal(config.limits.memoryBytes, 1024 ** 2)
  assert.deepEqual(instanceFromInput({}, options).listeners, [])
  assert.throws(
    // biome-ignore lint/suspicious/noExplicitAny: what a program without types may pass
    () => instanceFromInput({ limits: { inflihgt: 1 }, log: { level: () => 'x' }, runDir: '/x' } as any, options),
    /limits\.inflihgt: unknown key "inflihgt" \(did you mean inflight\?\)\nlog\.level: expected .*a function\nrunDir: unknown key/s,
  )
  // biome-ignore lint/suspicious/noExplicitAny: what a program without types may pass
  assert.throws(() => instanceFromInput(null as any, options), /expected a mapping/)
})
