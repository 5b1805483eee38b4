import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { describeOperatorError } from '../base/errors.ts'
import { ConfigError } from './config-error.ts'
import { faults, fileWith, findings, load, loadAll } from './fixture.test.ts'
import { showFleet } from './show-fleet.ts'

test('without a file there are a loopback listener and a socket in the run directory', () => {
  const { config, paths, file, isDefaultRunDir } = load(null)
  assert.equal(file, null)
  assert.equal(config.name, 'default')
  assert.deepEqual(
    config.listeners.map(({ name, address, mode }) => ({ name, address, mode })),
    [
      { name: 'tcp', address: 'tcp://127.0.0.1:1883', mode: 0o660 },
      { name: 'local', address: 'unix:///home/user/.local/state/atoll/run/default.sock', mode: 0o660 },
    ],
  )
  assert.equal(paths.runDir, '/home/user/.local/state/atoll/run')
  assert.equal(isDefaultRunDir, true)
  assert.equal(load(null, '', { uid: 0 }).config.listeners[1]!.address, 'unix:///run/atoll/default.sock')
})

test('a file without instances describes one, and one with a single instance names it', () => {
  assert.equal(load('log: {level: debug}').config.name, 'default')
  const { config } = load(`
limits: { inflight: 1, sessions: 1, subscriptions: 1 }
defaults: { limits: { inflight: 2, sessions: 2 }, log: { level: warn } }
instances:
  plant-a:
    limits: { inflight: 3 }
    log:
`)
  assert.equal(config.name, 'plant-a')
  assert.deepEqual([config.limits.inflight, config.limits.sessions, config.limits.subscriptions], [3, 2, 1])
  assert.equal(config.log.level, 'warn')
  assert.match(config.listeners[1]!.address, /run\/plant-a\.sock$/)
  assert.equal(load('limits: {inflight: 7}\ndefaults: {limits: {inflight: 8}}').config.limits.inflight, 7)
})

test('what this version cannot do is refused and not passed over', () => {
  assert.deepEqual(faults('listeners: {a: "tcp://127.0.0.1:1"}\ninstances: {a: {}}'), ['1:1 listeners wrong-place'])
  assert.deepEqual(faults('admin: {http: "tcp://127.0.0.1:8888"}'), ['1:9 admin.http not-in-this-version'])
})

test('durability is fsync unless something else is said', () => {
  assert.equal(load('{}').config.durability, 'fsync')
  for (const level of ['memory', 'os', 'fsync']) assert.equal(load(`durability: ${level}`).config.durability, level)
})

test('every finding has its line, column and key in YAML, and all are reported', () => {
  const text = `listeners:
  local:
    adress: unix:///x
    mode: 0660
limits:
  queueMesages: 5
  memory: 256M
  stallTimeout: 10 sec
  inflight: 0
log: { level: loud }
connections: 4
`
  assert.deepEqual(faults(text), [
    '3:5 listeners.local.adress unknown-key',
    '3:5 listeners.local.address missing-key',
    '4:11 listeners.local.mode wrong-type',
    '6:3 limits.queueMesages unknown-key',
    '7:11 limits.memory wrong-unit',
    '8:17 limits.stallTimeout wrong-unit',
    '9:13 limits.inflight out-of-range',
    '10:15 log.level wrong-value',
    '11:1 connections unknown-key',
  ])
  const fixes = findings(text).map(({ fix }) => fix)
  assert.equal(fixes[0], 'did you mean address?')
  assert.equal(fixes[3], 'did you mean queueMessages?')
  assert.equal(fixes[8], 'did you mean limits.connections?')
})

test('places in TOML', () => {
  assert.deepEqual(
    faults(
      `durability = "memory"
[listeners.a]
address = "tcp://127.0.0.1:1"
mode = 0o660
bad.key = 3
[limits]
  memory = "1 meg"
  sessions = 1979-05-27
[[features]]
`,
      'toml',
    ),
    [
      '4:8 listeners.a.mode wrong-type',
      '5:1 listeners.a.bad unknown-key',
      '7:12 limits.memory wrong-unit',
      '8:14 limits.sessions wrong-type',
      '9:3 features wrong-type',
    ],
  )
  assert.deepEqual(faults('a = 1\na = 2\n', 'toml'), ['2:1 - syntax'])
  const { config } = load(
    `runDir = "run"
[listeners]
a = "tcp://127.0.0.1:1"
b = { address = "local:/x.sock", port = 0, protocols = ["5"] }
[limits]
stallTimeout = "2m"
`,
    'toml',
  )
  assert.deepEqual(
    config.listeners.map(({ address }) => address),
    ['tcp://127.0.0.1:1', 'unix:///x.sock'],
  )
  assert.deepEqual(config.listeners[1]!.protocols, ['5'])
  assert.equal(config.limits.stallTimeoutSeconds, 120)
})

test('places in JSON, also with tabs', () => {
  assert.deepEqual(faults('{\n\t"limits": {\n\t\t"inflight": "x",\n\t\t"inflihgt": 1\n\t}\n}', 'json'), [
    '3:15 limits.inflight wrong-type',
    '4:3 limits.inflihgt unknown-key',
  ])
  assert.deepEqual(faults('{"log": {}, "log": {}}', 'json'), ['1:13 - duplicate-key'])
})

test('a key that stands twice is an error, beside what else is wrong', () => {
  assert.deepEqual(faults('limits:\n  inflight: 1\n  inflight: 2\nx: 1'), ['3:3 - duplicate-key', '4:1 x unknown-key'])
})

test('syntax errors and files that are no configuration', () => {
  assert.deepEqual(faults('a: [').length, 1)
  assert.deepEqual(faults('- 1'), ['1:1 - syntax'])
  assert.deepEqual(faults('log: !secret x'), ['1:6 - syntax'])
  assert.deepEqual(faults('log: *nobody').length, 1)
  assert.deepEqual(faults('a: &a [*a]').length, 1)
  assert.deepEqual(faults('a: 1\n---\nb: 1'), ['2:1 - syntax'])
  assert.match(describeOperatorError(findings('')[0]!), /is empty/)
  assert.match(describeOperatorError(findings(' \n')[0]!), /is empty/)
  assert.equal(load('# nothing but a comment\n').config.listeners.length, 2)
  assert.equal(load('\uFEFFlog: {level: warn}').config.log.level, 'warn')
  const missing = () => load(null, '', { file: '/nowhere/atoll.yaml' })
  assert.throws(missing, (error) => error instanceof ConfigError && error.findings[0]!.code === 'file-missing')
  assert.throws(() => load(null, '', { file: fileWith(Buffer.from([0x61, 0xff, 0xfe])) }), /not UTF-8/)
  assert.throws(() => load(null, '', { file: tmpdir() }), /directory/)
  assert.throws(() => load(null, '', { file: fileWith(`#${'x'.repeat(1024 * 1024)}`) }), /at most/)
})

test('documents that would exhaust the reader are refused', () => {
  const ten = (name: string) => `[${Array(10).fill(name).join(',')}]`
  const laughs = `a: &a ${ten('1')}\nb: &b ${ten('*a')}\nc: &c ${ten('*b')}\nd: &d ${ten('*c')}\ne: &e ${ten('*d')}\nf: ${ten('*e')}`
  assert.match(findings(laughs).at(-1)!.message, /too many values/)
  for (const [text, extension] of [
    ['['.repeat(20_000), 'yaml'],
    [`a: ${'{a: '.repeat(40)}1${'}'.repeat(40)}`, 'yaml'],
    [`a=${'['.repeat(20_000)}${']'.repeat(20_000)}`, 'toml'],
    [`[${Array(40).fill('a').join('.')}]`, 'toml'],
  ]) {
    assert.ok(findings(text!, extension).length > 0)
  }
})

test('names like __proto__ are ordinary wrong keys', () => {
  assert.deepEqual(faults('__proto__: 1\nconstructor: 2\nlimits: {toString: 3, __proto__: {inflight: 2}}'), [
    '1:1 __proto__ unknown-key',
    '2:1 constructor unknown-key',
    '3:10 limits.toString unknown-key',
    '3:23 limits.__proto__ unknown-key',
  ])
  assert.deepEqual(faults('listeners: {__proto__: "tcp://127.0.0.1:1"}'), ['1:13 listeners.__proto__ wrong-name'])
  assert.deepEqual(faults('instances: {"../x": {}}'), ['1:13 instances.../x wrong-name'])
})

test('relative paths are relative to the file, or to the working directory outside of it', () => {
  const file = fileWith('auth: {passwords: users/plant.passwd, acl: /etc/acl}\nrunDir: run')
  const options = { file, environment: { ATOLL_DATA_DIR: 'data', HOME: '/h' }, settings: ['auth.acl=my.acl'] }
  const { config, paths } = load(null, '', options)
  assert.equal(config.auth.passwords, join(dirname(file), 'users/plant.passwd'))
  assert.equal(config.auth.acl, '/srv/my.acl')
  assert.equal(paths.runDir, join(dirname(file), 'run'))
  assert.equal(paths.dataDir, '/srv/data')
})

test('defaults < file < environment < command line', () => {
  const text = 'limits: {queueMessages: 2}'
  const environment = { HOME: '/h', ATOLL_LIMITS__QUEUE_MESSAGES: '3' }
  const settings = ['limits.queueMessages=4']
  assert.equal(load(null).config.limits.queueMessages, 100_000)
  assert.equal(load(text).config.limits.queueMessages, 2)
  assert.equal(load(text, 'yaml', { environment }).config.limits.queueMessages, 3)
  assert.equal(load(text, 'yaml', { environment, settings }).config.limits.queueMessages, 4)
  const { sources, file } = load(text, 'yaml', { environment, settings, listen: ['tcp://127.0.0.1:5'] })
  assert.deepEqual(sources, [file, 'ATOLL_LIMITS__QUEUE_MESSAGES', '--listen', '--set'])
})

test('variables and settings reach listeners, those of the file and the default ones', () => {
  const text = 'listeners: {plant-a: "unix:///a.sock"}'
  const { config } = load(text, 'yaml', {
    environment: { HOME: '/h', ATOLL_LISTENERS__PLANT_A__MODE: '0600', ATOLL_LISTENERS__EXTRA: 'tcp://127.0.0.1:99' },
    settings: ['listeners.plant-a.protocols=5, 3.1.1', 'listeners.plant-a.owner=1000', 'listeners.extra.backlog=7'],
  })
  const [plant, extra] = config.listeners
  assert.deepEqual([plant!.name, plant!.address, plant!.mode], ['plant-a', 'unix:///a.sock', 0o600])
  assert.deepEqual([plant!.protocols, plant!.owner], [['5', '3.1.1'], '1000'])
  assert.deepEqual([extra!.name, extra!.address, extra!.backlog], ['extra', 'tcp://127.0.0.1:99', 7])

  const inDocker = load(null, '', {
    environment: { HOME: '/h', ATOLL_LISTENERS__TCP: 'tcp://0.0.0.0:1883', ATOLL_LISTENERS__TCP__ANONYMOUS: 'true' },
  })
  assert.deepEqual(
    inDocker.config.listeners.map(({ address, anonymous }) => [address, anonymous]),
    [
      ['tcp://0.0.0.0:1883', true],
      ['unix:///h/.local/state/atoll/run/default.sock', null],
    ],
  )
  const listening = load(text, 'yaml', {
    listen: ['tcp://127.0.0.1:1', 'unix:///b'],
    settings: ['listeners.listen1.backlog=3'],
  })
  assert.deepEqual(
    listening.config.listeners.map(({ name, address, backlog }) => [name, address, backlog]),
    [
      ['listen1', 'tcp://127.0.0.1:1', 3],
      ['listen2', 'unix:///b', 4096],
    ],
  )
})

test('unknown and wrong variables and settings are errors that name the nearest', () => {
  const environment = {
    HOME: '/h',
    ATOLL_LIMTS__MEMORY: '1GiB',
    ATOLL_LIMITS__MEMORY: '1Gi',
    ATOLL_LISTENERS__B__MODE: '0600',
    ATOLL_LISTENERS__: 'x',
    ATOLL_ADMIN: 'reserved',
    ATOLL_CONFIG: '',
    ATOLL_SERVICE_HOST: '10.0.0.1',
    ATOLL_PORT_1883_TCP_ADDR: '10.0.0.1',
    OTHER: 'x',
  }
  const settings = ['limits.queueMesages=1', 'limits', 'log.level=warning', 'listeners.a.b.c=1', 'limits.__proto__=1']
  const found = findings(null, '', { environment, settings })
  assert.deepEqual(
    found.map(({ place, code, fix }) => [place?.file, place?.key, code, fix]),
    [
      ['ATOLL_LIMTS__MEMORY', undefined, 'unknown-variable', 'did you mean ATOLL_LIMITS__MEMORY?'],
      ['ATOLL_LISTENERS__', undefined, 'unknown-variable', found[1]!.fix],
      ['--set', 'limits.queueMesages', 'unknown-key', 'did you mean limits.queueMessages?'],
      ['--set', 'limits', 'wrong-setting', 'write --set key=value'],
      ['--set', 'listeners.a.b.c', 'unknown-key', found[4]!.fix],
      ['--set', 'limits.__proto__', 'unknown-key', found[5]!.fix],
      ['ATOLL_LISTENERS__B__MODE', 'listeners.b.address', 'missing-key', null],
      ['ATOLL_LIMITS__MEMORY', 'limits.memory', 'wrong-unit', found[7]!.fix],
      ['--set', 'log.level', 'wrong-value', 'did you mean warn?'],
    ],
  )
})

test('the file is found by option, by ATOLL_CONFIG, or in the folder of the account', (context) => {
  const home = mkdtempSync(join(tmpdir(), 'atoll-home-'))
  context.after(() => rmSync(home, { recursive: true }))
  mkdirSync(join(home, '.config/atoll'), { recursive: true })
  const file = join(home, '.config/atoll/atoll.toml')
  writeFileSync(file, '[limits]\ninflight = 9\n')
  const environment = { HOME: home }
  assert.equal(load(null, '', { environment }).file, file)
  assert.equal(load(null, '', { environment }).config.limits.inflight, 9)
  const other = fileWith('limits: {inflight: 8}')
  assert.equal(load(null, '', { environment: { ...environment, ATOLL_CONFIG: other } }).config.limits.inflight, 8)
  assert.equal(load(null, '', { environment, file: other }).config.limits.inflight, 8)
  writeFileSync(join(home, '.config/atoll/atoll.yaml'), 'log: {}')
  assert.throws(() => load(null, '', { environment }), /two configuration files/)
})

test('without a home the run directory must be named', () => {
  assert.ok(findings(null, '', { environment: {} }).every(({ code }) => code === 'no-home'))
  const settings = ['runDir=/r', 'dataDir=/d', 'logDir=/l']
  assert.equal(load(null, '', { environment: {}, settings }).config.listeners[1]!.address, 'unix:///r/default.sock')
})

test('a shown configuration reads back the same', () => {
  const text = `
instances:
  plant:
    listeners:
      a: { address: "local:/x.sock", port: 0, mode: "0600", owner: me, anonymous: true, mountPoint: p/ }
      b: { address: 127.0.0.1, port: 1999, enabled: false }
    auth: { acl: x.acl }
    limits: { memory: 1500, stallTimeout: 90, sessionExpiry: 4294967295 }
    gracePeriod: 3m
`
  const first = load(text)
  assert.deepEqual(
    first.config.listeners.map(({ address }) => address),
    ['unix:///x.sock', 'tcp://127.0.0.1:1999'],
  )
  const second = load(showFleet(loadAll(text).fleet))
  assert.deepEqual(second.config, first.config)
  assert.deepEqual(second.paths, first.paths)
})

test('random documents are accepted or refused with findings, nothing else', () => {
  const names = fc.constantFrom(
    'listeners',
    'limits',
    'auth',
    'instances',
    'defaults',
    'log',
    'address',
    'mode',
    'inflight',
    'memory',
    'passwords',
    '__proto__',
    'constructor',
    'runDir',
    'durability',
    'protocols',
    'a',
    '',
    '.',
    'x'.repeat(200),
  )
  const leaf = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.constantFrom('tcp://127.0.0.1:1', 'unix:///x', '10s', '1KiB', '0660', 'fsync', '[::]', 'debug'),
  )
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      leaf,
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(names, tie('value'), { maxKeys: 5 }),
    ),
  }))
  const accepts = (text: string, extension: string) => {
    try {
      loadAll(text, extension)
    } catch (error) {
      assert.ok(error instanceof ConfigError, `${error}`)
      assert.ok(error.findings.length > 0)
    }
  }
  fc.assert(
    fc.property(fc.dictionary(names, value), (document) => accepts(JSON.stringify(document), 'json')),
    { numRuns: 300 },
  )
  const fragments = fc.constantFrom(
    ...[
      'limits',
      'listeners',
      ': ',
      ' = ',
      '\n',
      '  ',
      '- ',
      '[',
      ']',
      '{',
      '}',
      '"',
      "'",
      '&a ',
      '*a',
      '!!map ',
      '#',
      ',',
      '1',
      'a',
      '\t',
      '<<',
      '|',
      '.',
    ],
  )
  const soup = fc
    .array(fc.oneof(fragments, fc.string({ maxLength: 3 })), { maxLength: 30 })
    .map((parts) => parts.join(''))
  fc.assert(fc.property(soup, fc.constantFrom('yaml', 'toml'), accepts), { numRuns: 500 })
})
