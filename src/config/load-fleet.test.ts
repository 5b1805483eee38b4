// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts of this test are about it
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { ConfigError } from './config-error.ts'
import { faults, findings, loadAll } from './fixture.test.ts'
import type { FleetMember } from './fleet-config.ts'
import { matches } from './include-files.ts'
import type { LoadOptions } from './load-fleet.ts'
import { SavedChanges } from './saved-changes.ts'
import { showFleet } from './show-fleet.ts'

const membersOf = (text: string | null, options: Partial<LoadOptions> = {}): FleetMember[] =>
  loadAll(text, 'yaml', options).fleet.members
const addresses = ({ config }: FleetMember) => config.listeners.map(({ address }) => address)
const names = (members: readonly FleetMember[]) => members.map(({ config }) => config.name)

/** A folder with files; the first is the configuration. */
function folderWith(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-fleet-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return folder
}

test('without a file, or without instances, a fleet of one that runs in the daemon', () => {
  const { fleet } = loadAll(null)
  assert.deepEqual(fleet.admin, { listen: 'unix:///home/user/.local/state/atoll/run/admin.sock', mode: 0o600 })
  assert.deepEqual(fleet.files, [])
  const [member, ...others] = fleet.members
  assert.deepEqual(others, [])
  const { config, ...rest } = member!
  assert.equal(config.name, 'default')
  assert.deepEqual(rest, {
    isolation: 'inline',
    pool: 'default',
    poolSize: 250,
    start: 'always',
    stopWhenIdleSeconds: 0,
    after: [],
    user: null,
    group: null,
    nice: 0,
    restart: { backoffSeconds: 1, backoffLimitSeconds: 60, burst: 5, burstSeconds: 60 },
    heapBytes: 0,
    dataDir: '/home/user/.local/share/atoll/default',
    logDir: '/home/user/.local/state/atoll/log/default',
    template: null,
    file: null,
  })
  assert.equal(membersOf('limits: {heap: 64MiB}\nisolation: process')[0]!.heapBytes, 64 * 1024 ** 2)
})

test('several instances have processes, folders and sockets of their own', () => {
  const { fleet, file } = loadAll(
    'runDir: /r\ndataDir: /d\nlogDir: /l\ninstances: {a: , b: {dataDir: own, gracePeriod: 1m}}',
  )
  assert.deepEqual(
    fleet.members.map(({ isolation, dataDir, logDir, file }) => ({ isolation, dataDir, logDir, file })),
    [
      { isolation: 'process', dataDir: '/d/a', logDir: '/l/a', file },
      { isolation: 'process', dataDir: join(dirname(file!), 'own'), logDir: '/l/b', file },
    ],
  )
  assert.deepEqual(fleet.members.map(addresses), [['unix:///r/a.sock'], ['unix:///r/b.sock']])
  assert.equal(fleet.gracePeriodSeconds, 60)
})

test('top level < defaults < template < instance, key by key, listeners in either form', () => {
  const [a] = membersOf(`
limits: { inflight: 1, sessions: 1, subscriptions: 1, topicLevels: 1 }
defaults: { limits: { inflight: 2, sessions: 2, subscriptions: 2 }, listeners: { x: { address: "unix:///x", backlog: 9 } } }
templates: { t: { limits: { inflight: 3, sessions: 3 }, listeners: { y: "unix:///y" } } }
instances: { a: { template: t, limits: { inflight: 4 }, listeners: { y: { maxConnections: 5 }, x: "unix:///z" } } }
`)
  const { inflight, sessions, subscriptions, topicLevels } = a!.config.limits
  assert.deepEqual([topicLevels, subscriptions, sessions, inflight], [1, 2, 3, 4])
  assert.deepEqual(
    a!.config.listeners.map(({ name, address, backlog, maxConnections }) => [name, address, backlog, maxConnections]),
    [
      ['x', 'unix:///z', 9, 10_000],
      ['y', 'unix:///y', 4096, 5],
    ],
  )
  assert.equal(a!.template, 't')
})

test('templates are filled with the name, the index and variables, of whatever type', () => {
  const members = membersOf(`
templates:
  small:
    variables: { port: "\${20000+index}", host: 127.0.0.1, anyone: }
    listeners:
      tcp: { address: "tcp://\${host}:\${port}", anonymous: "\${anyone}", maxConnections: "\${10*index+1}" }
      local: unix:///run/\${name}.sock
    limits: { sessionExpiry: "\${index+1}h" }
instances:
  a: { template: small, anyone: true }
  b: { template: small, anyone: false, port: 1884 }
  c: { template: small, anyone: true, index: 50 }
  d: { template: small, anyone: true }
`)
  assert.deepEqual(members.map(addresses), [
    ['tcp://127.0.0.1:20000', 'unix:///run/a.sock'],
    ['tcp://127.0.0.1:1884', 'unix:///run/b.sock'],
    ['tcp://127.0.0.1:20050', 'unix:///run/c.sock'],
    ['tcp://127.0.0.1:20051', 'unix:///run/d.sock'],
  ])
  assert.deepEqual(
    members.map(({ config }) => [config.listeners[0]!.anonymous, config.listeners[0]!.maxConnections]),
    [
      [true, 1],
      [false, 11],
      [true, 501],
      [true, 511],
    ],
  )
  assert.equal(members[1]!.config.limits.sessionExpirySeconds, 7200)
})

test('many instances from one entry', () => {
  const members = membersOf(`
templates: { small: { listeners: { tcp: "tcp://127.0.0.1:\${20000+index}" }, isolation: shared } }
instances:
  plant-\${index}: { template: small, count: 200 }
  lab-\${index}: { template: small, count: 2 }
  single-\${index+1}: { count: 2, listeners: { tcp: "tcp://127.0.0.1:\${30000+index}" } }
`)
  assert.equal(members.length, 204)
  assert.deepEqual(names(members).slice(198), ['plant-198', 'plant-199', 'lab-200', 'lab-201', 'single-1', 'single-2'])
  assert.deepEqual(
    members
      .slice(198)
      .flatMap(addresses)
      .map((address) => address.slice(16)),
    ['20198', '20199', '20200', '20201', '30000', '30001'],
  )
  assert.equal(members[0]!.isolation, 'shared')
})

test('variables are replaced wherever an instance is described, and $$ keeps them', () => {
  const text = `
defaults: { listeners: { l: { address: "unix:///\${name}", mountPoint: "$\${x}/" } }, dataDir: "/srv/\${name}" }
instances: { a: , b: { after: ["\${name}x", a], listeners: { l: { mountPoint: "\${name}/" } } }, bx: }
`
  const [a, b] = membersOf(text)
  assert.deepEqual([addresses(a!), a!.dataDir, a!.config.listeners[0]!.mountPoint], [['unix:///a'], '/srv/a', '${x}/'])
  assert.deepEqual([b!.after, b!.config.listeners[0]!.mountPoint], [['bx', 'a'], 'b/'])
  assert.equal(membersOf('listeners: {l: "unix:///${name}"}')[0]!.config.listeners[0]!.address, 'unix:///default')
})

for (const [what, text, expected] of [
  [
    'a mistyped variable',
    'templates: {t: {log: {level: "${lvel}"}}}\ninstances: {a: {template: t}}',
    ['2:13 instances.a.lvel missing-variable'],
  ],
  [
    'a variable without template',
    'instances: {a: {log: {level: "${x}"}}}',
    ['1:30 instances.a.log.level unknown-variable'],
  ],
  [
    'an index without template',
    'instances: {a: {log: {level: "${index}"}}}',
    ['1:30 instances.a.log.level unknown-variable'],
  ],
  [
    'a key that the template does not name',
    'templates: {t: {log: {level: "${lev}"}}}\ninstances: {a: {template: t, lev: info, limts: 5}}',
    ['2:41 instances.a.limts unknown-key'],
  ],
  [
    'a variable called like a key',
    'templates: {t: {log: {level: "${user}"}}}\ninstances: {a: }',
    ['1:30 templates.t.log.level wrong-name'],
  ],
  [
    'a variable that is no value',
    'templates: {t: {log: {level: "${v}"}}}\ninstances: {a: {template: t, v: [1]}}',
    ['2:33 instances.a.v wrong-type'],
  ],
  [
    'a mistake in a template that nobody uses',
    'templates: {t: {limits: {inflihgt: 1}, log: {level: "${"}}}\ninstances: {a: }',
    ['1:26 templates.t.limits.inflihgt unknown-key', '1:53 templates.t.log.level wrong-expression'],
  ],
  [
    'an unknown template',
    'templates: {small: {}}\ninstances: {a: {template: smal, port: 1}}',
    ['2:27 instances.a.template unknown-template'],
  ],
  ['a count without index in the name', 'instances: {a: {count: 2}}', ['1:13 instances.a wrong-name']],
  [
    'an index in the name without count',
    'instances: {"a${index}": {}}',
    ['1:13 instances.a${index}.count missing-key'],
  ],
  ['a count that is none', 'instances: {"a${index}": {count: "${x}"}}', ['1:34 instances.a${index}.count wrong-type']],
  [
    'too many',
    'instances: {"a${index}": {count: 9999}, "b${index}": {count: 9999}}',
    ['1:41 instances.b${index} out-of-range'],
  ],
  [
    'a wrong name',
    'instances: {"a b": {}, "${index}${x}": {count: 1}}',
    ['1:13 instances.a b wrong-name', '1:24 instances.${index}${x} unknown-variable'],
  ],
  ['a name that is taken', 'instances: {a1: {}, "a${index}": {count: 3}}', ['1:21 instances.a${index} duplicate-name']],
  ['admin over TCP', 'admin: {listen: "tcp://127.0.0.1:1"}', ['1:17 admin.listen address-unsupported']],
  ['variables where there are none', 'runDir: "${x}"\nadmin: {mode: "${x}"}', ['2:15 admin.mode wrong-value']],
  [
    'a pool of its own process',
    'instances: {a: {pool: p}, b: {isolation: process, poolSize: 4}}',
    ['1:23 instances.a.pool not-applicable', '1:61 instances.b.poolSize not-applicable'],
  ],
  [
    'an account in a shared process',
    'instances: {a: {isolation: shared, user: x, limits: {heap: 1GiB}}}',
    ['1:42 instances.a.user not-applicable', '1:60 instances.a.limits.heap not-applicable'],
  ],
  ['an idle time without on-demand', 'stopWhenIdle: 5m', ['1:15 stopWhenIdle not-applicable']],
  ['a back-off that shrinks', 'restart: {backoff: 5m}', ['1:20 restart.backoff wrong-value']],
  [
    'an entry that is no mapping',
    'instances: {a: 5, b: [1]}',
    ['1:16 instances.a wrong-type', '1:22 instances.b wrong-type'],
  ],
] as [string, string, string[]][]) {
  test(`refused: ${what}`, () => assert.deepEqual(faults(text), expected))
}

test('what is overridden is no contradiction', () => {
  const members = membersOf(`
defaults: { isolation: shared, pool: p, start: on-demand, stopWhenIdle: 5m }
instances: { a: , b: { isolation: process, start: always } }
`)
  assert.deepEqual(
    members.map(({ isolation, pool, start }) => [isolation, pool, start]),
    [
      ['shared', 'p', 'on-demand'],
      ['process', 'p', 'always'],
    ],
  )
})

test('a finding in a template names the instance too, and many of one kind are one', () => {
  const found = findings(`
templates: { t: { limits: { inflight: "\${60000+index}" } } }
instances:
  a: { template: t, index: 9000 }
  b-\${index}: { template: t, count: 100 }
`)
  assert.equal(found.length, 1)
  assert.equal(found[0]!.place?.key, 'templates.t.limits.inflight')
  assert.match(found[0]!.message, /^69000 is not in the range .*; this is for the instance a, in .*\.yaml, line 4$/)
})

test('files are included: those with instances or templates, and those that are one instance', () => {
  const folder = folderWith({
    'atoll.yaml': 'include: [sites/*/*.yaml, "instances.d/plant-?.toml"]\ndefaults: {limits: {inflight: 7}}',
    'sites/north/b.yaml': 'include: ../more.yaml\ninstances: {n2: {template: small}, n1: {}}',
    'sites/north/a.yaml': 'limits: {sessions: 9}\nauth: {acl: my.acl}',
    'sites/north/.hidden.yaml': 'x: 1',
    'sites/more.yaml': 'templates: {small: {limits: {inflight: "${index+1}"}}}',
    'instances.d/plant-x.toml': '[limits]\nsessions = 3\n',
    'instances.d/plant-xy.toml': 'nonsense',
  })
  const { fleet } = loadAll(null, '', { file: join(folder, 'atoll.yaml') })
  assert.deepEqual(names(fleet.members), ['a', 'n2', 'n1', 'plant-x'])
  assert.deepEqual(
    fleet.members.map(({ config, file }) => [config.limits.inflight, config.limits.sessions, file]),
    [
      [7, 9, join(folder, 'sites/north/a.yaml')],
      [1, 100_000, join(folder, 'sites/north/b.yaml')],
      [7, 100_000, join(folder, 'sites/north/b.yaml')],
      [7, 3, join(folder, 'instances.d/plant-x.toml')],
    ],
  )
  assert.equal(fleet.members[0]!.config.auth.acl, join(folder, 'sites/north/my.acl'))
  assert.deepEqual(
    fleet.files.map((file) => file.slice(folder.length + 1)),
    ['atoll.yaml', 'sites/north/a.yaml', 'sites/north/b.yaml', 'sites/more.yaml', 'instances.d/plant-x.toml'],
  )
})

test('what is wrong with included files', () => {
  const folder = folderWith({
    'atoll.yaml': `include:
  - missing.yaml
  - nowhere/*.yaml
  - b.yaml
  - a-name?.yaml
  - empty.d/*
instances: { same: {} }
`,
    'b.yaml': 'instances: { same: {limits: {inflihgt: 1}} }\ninclude: c.yaml\ndefaults: {}\n',
    'c.yaml': 'include: b.yaml\n',
    'a-name!.yaml': 'listeners: {}\nlog: {level: loud}\n',
    'empty.d/x.json': '',
  })
  const found = findings(null, '', { file: join(folder, 'atoll.yaml') })
  assert.deepEqual(found.map(({ place, code }) => [place?.file?.slice(folder.length + 1), place?.line, code]).sort(), [
    ['a-name!.yaml', 1, 'wrong-name'],
    ['a-name!.yaml', 2, 'wrong-value'],
    ['atoll.yaml', 3, 'file-missing'],
    ['b.yaml', 1, 'duplicate-name'],
    ['b.yaml', 1, 'unknown-key'],
    ['b.yaml', 3, 'unknown-key'],
    ['c.yaml', 1, 'include-cycle'],
    ['empty.d/x.json', undefined, 'file-empty'],
    ['missing.yaml', undefined, 'file-missing'],
  ])
  const duplicate = found.find(({ code }) => code === 'duplicate-name')!
  assert.match(duplicate.message, /there is an instance same already, in .*atoll\.yaml, line 7/)
})

test('a fleet without instances waits for commands to fill it, and what it says is checked all the same', () => {
  const alone = folderWith({ 'atoll.yaml': 'include: instances.d/*\n', 'instances.d/.gitkeep': '' })
  for (const { fleet } of [
    loadAll('instances: {}\nlog: {level: debug}'),
    loadAll('instances:'),
    loadAll(null, '', { file: join(alone, 'atoll.yaml') }),
  ]) {
    assert.deepEqual([fleet.members, fleet.gracePeriodSeconds], [[], 0])
  }
  assert.deepEqual(faults('instances: {}\nlimts: {}'), ['2:1 limts unknown-key'])
  assert.deepEqual(faults('instances: {}', 'yaml', { settings: ['log.level=loud'] }), ['--set log.level wrong-value'])
  assert.deepEqual(faults('instances: {}', 'yaml', { listen: ['tcp://127.0.0.1:1'] }), ['--listen - wrong-place'])
})

test('the daemon logs as the top level says, in the form of the defaults', () => {
  const log = (text: string, settings: string[] = []) => loadAll(text, 'yaml', { settings }).fleet.log
  const both = 'log: {level: warn}\ndefaults: {log: {level: debug, format: json}}\ninstances: {a: {}, b: {}}'
  assert.deepEqual([log(both).level, log(both).format, log(both).rotateKeep], ['warn', 'json', 5])
  assert.equal(log('instances: {a: {log: {level: error}}, b: {}}').level, 'info')
  // Quiet instances do not make the daemon quiet.
  assert.equal(log('defaults: {log: {level: error}}\ninstances: {a: {}, b: {}}').level, 'info')
  assert.equal(log(both, ['log.level=trace']).level, 'trace')
})

test('wildcards', () => {
  const fits = (pattern: string) =>
    ['', 'a', 'ab', 'abc', 'a.yaml', 'b.yaml', '*'].filter((name) => matches(name, pattern))
  assert.deepEqual(fits('*'), ['', 'a', 'ab', 'abc', 'a.yaml', 'b.yaml', '*'])
  assert.deepEqual(fits('*.yaml'), ['a.yaml', 'b.yaml'])
  assert.deepEqual(fits('a*'), ['a', 'ab', 'abc', 'a.yaml'])
  assert.deepEqual(fits('a?'), ['ab'])
  assert.deepEqual(fits('?*b*'), ['ab', 'abc'])
  assert.equal(matches('a'.repeat(5000), `${'*a'.repeat(50)}b`), false)
})

test('environment and command line, for all instances and for one', () => {
  const text = 'instances: {plant-a: {limits: {sessions: 2}}, b: {listeners: {tcp: "tcp://127.0.0.1:1"}}}'
  const options = {
    environment: {
      HOME: '/h',
      ATOLL_LIMITS__SESSIONS: '3',
      ATOLL_INSTANCES__PLANT_A__LIMITS__INFLIGHT: '4',
      ATOLL_INSTANCES__B__LISTENERS__TCP__BACKLOG: '5',
      ATOLL_INSTANCES__B__ISOLATION: 'shared',
      ATOLL_ADMIN__MODE: '0660',
    },
    settings: ['instances.b.limits.sessions=6', 'instances.plant-a.limits.inflight=7', 'restart.burst=8'],
  }
  const { fleet, sources } = loadAll(text, 'yaml', options)
  const [a, b] = fleet.members
  assert.deepEqual([a!.config.limits.sessions, a!.config.limits.inflight, a!.restart.burst], [3, 7, 8])
  assert.deepEqual([b!.config.limits.sessions, b!.isolation, b!.config.listeners[0]!.backlog], [6, 'shared', 5])
  assert.equal(fleet.admin.mode, 0o660)
  assert.equal(sources.at(-2), 'ATOLL_LIMITS__SESSIONS')
})

test('variables and settings that fit no instance', () => {
  const text = 'instances: {plant-a: {}, b: {}}'
  const environment = {
    HOME: '/h',
    ATOLL_INSTANCES__PLANTA__NICE: '1',
    ATOLL_LISTENERS__TCP: 'tcp://127.0.0.1:1',
    ATOLL_INSTANCES__B__RUN_DIR: '/r',
  }
  const settings = ['instances.plant-b.nice=1', 'instances.b.nise=1', 'listeners.x=unix:///x', 'instances.b=5']
  const found = findings(text, 'yaml', { environment, settings, listen: ['unix:///l'] })
  assert.deepEqual(
    found.map(({ place, code, fix }) => [place?.file, place?.key, code, fix]),
    [
      ['ATOLL_INSTANCES__B__RUN_DIR', undefined, 'unknown-variable', 'did you mean ATOLL_INSTANCES__B__LOG_DIR?'],
      ['ATOLL_INSTANCES__PLANTA__NICE', undefined, 'unknown-variable', 'did you mean ATOLL_INSTANCES__PLANT_A__NICE?'],
      ['ATOLL_LISTENERS__TCP', undefined, 'wrong-place', 'name the instance: ATOLL_INSTANCES__NAME__LISTENERS__TCP'],
      ['--listen', undefined, 'wrong-place', 'use --set instances.NAME.listeners.LISTENER=ADDRESS'],
      ['--set', 'instances.plant-b.nice', 'unknown-key', 'did you mean instances.plant-a.nice?'],
      ['--set', 'instances.b.nise', 'unknown-key', 'did you mean instances.b.nice?'],
      ['--set', 'listeners.x', 'wrong-place', 'name the instance: instances.NAME.listeners.x'],
      ['--set', 'instances.b', 'unknown-key', null],
    ],
  )
})

test('a shown fleet reads back the same', () => {
  const text = `
admin: { mode: "0660" }
templates: { t: { listeners: { l: { address: "unix:///\${name}", mountPoint: "$\${x}/" } }, isolation: shared, pool: q } }
instances:
  a: { template: t }
  b: { isolation: process, nice: 3, user: nobody, limits: { heap: 64MiB }, after: a, start: on-demand, stopWhenIdle: 5m }
  c: { isolation: inline, restart: { burst: 0 } }
  d: {}
`
  const first = loadAll(text).fleet
  const second = loadAll(showFleet(first)).fleet
  const anyOrigin = (members: FleetMember[]) => members.map((member) => ({ ...member, template: null, file: null }))
  assert.deepEqual(anyOrigin(second.members), anyOrigin(first.members))
  assert.deepEqual({ ...second, members: [], files: [] }, { ...first, members: [], files: [] })
})

test('a thousand instances are read in a moment', () => {
  const text =
    'templates: {t: {listeners: {a: "tcp://127.0.0.1:${20000+index}"}}}\ninstances: {"i${index}": {template: t, count: 1000}}'
  assert.equal(membersOf(text).length, 1000)
})

test('instances share what is said of all of them, and nothing that is said of one', () => {
  const [a, b, c] = membersOf(`defaults: {limits: {connections: 7}, log: {level: warn}}
templates: {t: {variables: {n: 5}, limits: {queueMessages: "\${n}"}, listeners: {tcp: {address: "127.0.0.1:\${2000+index}", maxConnections: "\${n}"}}}}
instances: {a: {template: t}, b: {template: t, n: 6}, c: {restart: {burst: 9}}}`)
  assert.deepEqual(
    [a, b, c].map((member) => {
      const { limits, listeners } = member!.config
      const { connections, queueMessages } = limits
      return [connections, queueMessages, listeners[0]!.maxConnections, member!.restart.burst]
    }),
    [
      [7, 5, 5, 5],
      [7, 6, 6, 5],
      [7, c!.config.limits.queueMessages, 10_000, 9],
    ],
  )
  assert.deepEqual(addresses(b!), ['tcp://127.0.0.1:2001'])
  assert.equal(a!.config.log, c!.config.log)
  const wrong = 'templates: {t: {limits: {connections: x}}}\ninstances: {a: {template: t}, b: {template: t}, c: }'
  assert.deepEqual(faults(wrong), ['1:39 templates.t.limits.connections wrong-type'])
  assert.deepEqual(faults('instances: {a: , b: {limits: {connection: 1}}, c: }'), [
    '1:31 instances.b.limits.connection unknown-key',
  ])
})

test('random fleets are accepted or refused with findings, nothing else', () => {
  const words = [
    'instances',
    'templates',
    'defaults',
    'include',
    'admin',
    'listeners',
    'limits',
    'restart',
    'variables',
    'template',
    'count',
    'index',
    'a',
    'b',
    't',
    'i${index}',
    '${x}',
    'port',
    'after',
    'isolation',
    'pool',
    'poolSize',
    'dataDir',
    'heap',
    'address',
    'backoff',
    '__proto__',
    'constructor',
    '',
  ]
  const leaf = fc.oneof(
    fc.constantFrom(
      'a',
      'b',
      't',
      '${name}',
      '${index}',
      '${port}',
      '${20000+index}',
      '${',
      'shared',
      'process',
      'unix:///x',
      'tcp://127.0.0.1:${port}',
      '/d',
      '*.yaml',
      '1m',
    ),
    fc.integer({ min: -2, max: 5 }),
    fc.constant(null),
    fc.boolean(),
    fc.string({ maxLength: 5 }),
  )
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...words), tie('value'), { maxKeys: 5 }),
    ),
  }))
  const entry = fc.dictionary(fc.constantFrom(...words), fc.oneof(leaf, value), { maxKeys: 6 })
  const entries = fc.dictionary(fc.constantFrom('a', 'b', 't', 'i${index}', 'default', '__proto__'), entry, {
    maxKeys: 4,
  })
  const document = fc.record(
    {
      instances: fc.oneof(entries, value),
      templates: fc.oneof(entries, value),
      defaults: fc.oneof(entry, value),
      admin: value,
      limits: value,
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(document, (fleet) => {
      try {
        loadAll(JSON.stringify(fleet), 'json')
      } catch (error) {
        assert.ok(error instanceof ConfigError, `${error instanceof Error ? error.stack : error}`)
        assert.ok(error.findings.length > 0)
      }
    }),
    { numRuns: 500 },
  )
})

test('random fleets that are nearly right: what is accepted has names and addresses of its own', () => {
  const few = (...values: unknown[]) => fc.constantFrom(...values)
  const listeners = fc.dictionary(
    few('l', 'm') as fc.Arbitrary<string>,
    few('tcp://127.0.0.1:${20000+index}', 'unix:///run/${name}.sock', 'tcp://127.0.0.1:${port}', 'unix:///shared'),
    { maxKeys: 2 },
  )
  const entry = fc.record(
    {
      template: few('t'),
      index: few(0, 1, 5),
      port: few(1, 2, 3),
      listeners,
      isolation: few('process', 'shared', 'inline'),
      after: few([], ['a'], 'i1'),
      dataDir: few('/d/${name}', '/d/x${name}', '/d/a'),
    },
    { requiredKeys: ['template'] },
  )
  const counted = entry.map((one) => ({ ...one, count: 3 }))
  const document = fc.record(
    {
      templates: fc.record({ t: fc.record({ listeners, variables: few({ port: 9 }, { port: '${30000+index}' }) }) }),
      defaults: fc.record({ log: few({ level: 'debug' }, { level: '${name}' }) }, { requiredKeys: [] }),
      instances: fc.record({ a: entry, b: entry, 'i${index}': counted }, { requiredKeys: ['a'] }),
    },
    { requiredKeys: ['templates', 'instances'] },
  )
  let accepted = 0
  fc.assert(
    fc.property(document, (fleet) => {
      try {
        const members = loadAll(JSON.stringify(fleet), 'json').fleet.members
        accepted += 1
        const all = members.flatMap(addresses)
        assert.equal(new Set(all).size, all.length)
        assert.equal(new Set(names(members)).size, members.length)
        assert.equal(new Set(members.map(({ dataDir }) => dataDir)).size, members.length)
        assert.ok(all.every((address) => !address.includes('${')))
      } catch (error) {
        assert.ok(error instanceof ConfigError, `${error instanceof Error ? error.stack : error}`)
      }
    }),
    { numRuns: 500 },
  )
  assert.ok(accepted > 10, `${accepted} of 500`)
})

test('an instance of another account has its socket in a folder of its own', () => {
  const [own, other] = membersOf('instances: { a: { user: nobody }, b: { user: null } }')
  assert.deepEqual(addresses(own!), ['unix:///home/user/.local/state/atoll/run/a/a.sock'])
  assert.deepEqual(addresses(other!), ['unix:///home/user/.local/state/atoll/run/b.sock'])
})

test('what commands have added stands beside the files, and takes no listeners of theirs', () => {
  const changes = new SavedChanges(null)
  changes.putInstance('extra', { limits: { inflight: 3 } }, false)
  changes.putListener('default', 'more', { address: 'unix:///more' }, false)
  const options = {
    changes,
    environment: { HOME: '/h', ATOLL_LISTENERS__TCP: 'tcp://127.0.0.1:9', ATOLL_LIMITS__SESSIONS: '8' },
    settings: ['listeners.local.backlog=7'],
  }
  const [first, extra] = membersOf(null, options)
  assert.deepEqual(addresses(first!), [
    'tcp://127.0.0.1:9',
    'unix:///h/.local/state/atoll/run/default.sock',
    'unix:///more',
  ])
  assert.deepEqual([first!.isolation, first!.config.listeners[1]!.backlog], ['inline', 7])
  assert.deepEqual(addresses(extra!), ['unix:///h/.local/state/atoll/run/extra.sock'])
  assert.deepEqual([extra!.isolation, extra!.config.limits.inflight, extra!.config.limits.sessions], ['process', 3, 8])
})
