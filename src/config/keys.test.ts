import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findings, loadAll } from './fixture.test.ts'
import { adminKeys, directoryKeys, fileInstanceKeys, fileSectionKeys, type KeyTable, listenerKeys } from './keys.ts'

interface Sample {
  accepted: unknown
  resolved: unknown
  rejected: unknown
  code: string
}

const sample = (accepted: unknown, resolved: unknown, rejected: unknown, code: string): Sample => ({
  accepted,
  resolved,
  rejected,
  code,
})

/** Every key of every table: one value that is taken, what the broker reads then, one value that is refused, and why. */
const samples: Record<string, Sample> = {
  'listeners.l.address': sample('unix:///l', 'unix:///l', 'carrier://pigeon', 'address-invalid'),
  'listeners.l.port': sample(0, undefined, 70_000, 'out-of-range'),
  'listeners.l.enabled': sample(false, false, 'yes', 'wrong-type'),
  'listeners.l.mode': sample('0600', 0o600, 432, 'wrong-type'),
  'listeners.l.owner': sample(1000, '1000', 'a b', 'wrong-value'),
  'listeners.l.group': sample('plant', 'plant', ['plant'], 'wrong-type'),
  'listeners.l.protocols': sample([5, 3.1, '3.1.1'], ['5', '3.1', '3.1.1'], ['6'], 'wrong-value'),
  'listeners.l.anonymous': sample(true, true, 'no', 'wrong-type'),
  'listeners.l.maxConnections': sample(5, 5, 0, 'out-of-range'),
  'listeners.l.connectRate': sample(0, 0, -1, 'out-of-range'),
  'listeners.l.connectTimeout': sample('1m', 60, '0s', 'out-of-range'),
  'listeners.l.maxPacketSize': sample('64KiB', 65_536, '1GiB', 'out-of-range'),
  'listeners.l.receiveMaximum': sample('lenient', 'lenient', 10, 'wrong-type'),
  'listeners.l.mountPoint': sample('plant/', 'plant/', 'plant/#', 'wrong-value'),
  'listeners.l.backlog': sample(1, 1, '1', 'wrong-type'),
  'auth.passwords': sample('/p', '/p', 5, 'wrong-type'),
  'auth.acl': sample('/a', '/a', '', 'wrong-value'),
  'auth.deniedPublish': sample('disconnect', 'disconnect', 'drop', 'wrong-value'),
  'limits.connections': sample(1, 1, 0, 'out-of-range'),
  'limits.queueMessages': sample(0, 0, 1.5, 'wrong-type'),
  'limits.queueBytes': sample('1kB', 1000, '1 potato', 'wrong-unit'),
  'limits.queueAge': sample('1d', 86_400, 'soon', 'wrong-unit'),
  'limits.queuePolicy': sample('drop-newest', 'drop-newest', 'drop', 'wrong-value'),
  'limits.queueQos0': sample(true, true, 'yes', 'wrong-type'),
  'limits.totalQueueBytes': sample('1GiB', 1024 ** 3, '1Gb', 'wrong-unit'),
  'limits.outputBytes': sample(4096, 4096, 1, 'out-of-range'),
  'limits.stallTimeout': sample('2h', 7200, '2 hours', 'wrong-unit'),
  'limits.inflight': sample(65_535, 65_535, 65_536, 'out-of-range'),
  'limits.receiveMaximum': sample(1, 1, 0, 'out-of-range'),
  'limits.topicAliasMaximum': sample(0, 0, 65_536, 'out-of-range'),
  'limits.topicLevels': sample(10, 10, 0, 'out-of-range'),
  'limits.clientIdBytes': sample('1KiB', 1024, 22, 'out-of-range'),
  'limits.subscriptionsPerClient': sample(0, 0, true, 'wrong-type'),
  'limits.subscriptions': sample(3, 3, {}, 'wrong-type'),
  'limits.retainedMessages': sample(0, 0, [], 'wrong-type'),
  'limits.retainedBytes': sample('5MB', 5_000_000, '-5MB', 'wrong-unit'),
  'limits.sessions': sample(1, 1, 0, 'out-of-range'),
  'limits.sessionExpiry': sample(4_294_967_295, 4_294_967_295, 4_294_967_296, 'out-of-range'),
  'limits.keepAlive': sample('90s', 90, '1d', 'out-of-range'),
  'limits.messageRate': sample(100, 100, '100/s', 'wrong-type'),
  'limits.storeBytes': sample('8GiB', 8 * 1024 ** 3, -1, 'out-of-range'),
  'limits.diskFree': sample('256MiB', 256 * 1024 ** 2, null, 'wrong-type'),
  'limits.diskTimeout': sample('30s', 30, 0, 'out-of-range'),
  'limits.byteRate': sample('1MiB', 1024 ** 2, null, 'wrong-type'),
  'limits.totalMessageRate': sample(100, 100, '100/s', 'wrong-type'),
  'limits.totalByteRate': sample('1MiB', 1024 ** 2, null, 'wrong-type'),
  'limits.ratePolicy': sample('disconnect', 'disconnect', 'wait', 'wrong-value'),
  'limits.memory': sample(0, 0, '1e9', 'wrong-unit'),
  'features.maximumQos': sample(1, 1, 3, 'out-of-range'),
  'features.retain': sample(false, false, 0, 'wrong-type'),
  'features.wildcardSubscriptions': sample(false, false, 'off', 'wrong-type'),
  'features.sharedSubscriptions': sample(false, false, null, 'wrong-type'),
  'features.subscriptionIdentifiers': sample(false, false, 1, 'wrong-type'),
  'features.shareStrategy': sample('sticky', 'sticky', 'roundrobin', 'wrong-value'),
  'features.sysInterval': sample(0, 0, '2d', 'out-of-range'),
  'log.level': sample('trace', 'trace', 'warning', 'wrong-value'),
  'log.format': sample('json', 'json', 'xml', 'wrong-value'),
  'log.rotateSize': sample('1MiB', 1024 ** 2, '1KiB', 'out-of-range'),
  'log.rotateAge': sample('1d', 86_400, '1 day', 'wrong-unit'),
  'log.rotateKeep': sample(0, 0, -1, 'out-of-range'),
  durability: sample('memory', 'memory', 'disk', 'wrong-value'),
  gracePeriod: sample('1m', 60, '2h', 'out-of-range'),
  'limits.heap': sample('64MiB', 64 * 1024 ** 2, '1MiB', 'out-of-range'),
  isolation: sample('process', 'process', 'thread', 'wrong-value'),
  pool: sample('small', 'small', 'a b', 'wrong-name'),
  poolSize: sample(10, 10, 0, 'out-of-range'),
  start: sample('manual', 'manual', 'never', 'wrong-value'),
  stopWhenIdle: sample('10m', 600, '10 min', 'wrong-unit'),
  after: sample([], [], [1], 'wrong-type'),
  user: sample('atoll', 'atoll', 'a b', 'wrong-value'),
  group: sample(1000, '1000', true, 'wrong-type'),
  nice: sample(-20, -20, 20, 'out-of-range'),
  'restart.backoff': sample('5s', 5, '2h', 'out-of-range'),
  'restart.backoffLimit': sample('2m', 120, '2d', 'out-of-range'),
  'restart.burst': sample(0, 0, -1, 'out-of-range'),
  'restart.within': sample('10s', 10, 0, 'out-of-range'),
  'admin.listen': sample('unix:///a.sock', 'unix:///a.sock', 'tcp://127.0.0.1:1', 'address-unsupported'),
  'admin.mode': sample('0660', 0o660, 660, 'wrong-type'),
  runDir: sample('/run/x', '/run/x', 7, 'wrong-type'),
  dataDir: sample('/data', '/data/default', [], 'wrong-type'),
  logDir: sample('/log', '/log/default', {}, 'wrong-type'),
}

const tables: Record<string, KeyTable> = {
  'listeners.l.': listenerKeys,
  ...Object.fromEntries(Object.entries(fileSectionKeys).map(([section, table]) => [`${section}.`, table])),
  'admin.': adminKeys,
  '': { ...fileInstanceKeys, ...directoryKeys },
}

/** What another key must say for this one to have an effect. */
const companions: Record<string, object> = {
  pool: { isolation: 'shared' },
  poolSize: { isolation: 'shared' },
  user: { isolation: 'process' },
  group: { isolation: 'process' },
  nice: { isolation: 'process' },
  'limits.heap': { isolation: 'process' },
  stopWhenIdle: { start: 'on-demand' },
}

function documentWith(path: string, value: unknown): string {
  const base = path.startsWith('listeners.') ? { listeners: { l: { address: 'local:/l.sock' } } } : companions[path]
  const document: Record<string, unknown> = { ...base }
  const steps = path.split('.')
  let at = document
  for (const step of steps.slice(0, -1)) {
    at[step] ??= {}
    at = at[step] as Record<string, unknown>
  }
  at[steps.at(-1)!] = value
  return JSON.stringify(document)
}

test('every key has a sample, a description and a default that it would take itself', () => {
  const paths = Object.entries(tables).flatMap(([prefix, table]) => Object.keys(table).map((name) => prefix + name))
  assert.deepEqual(Object.keys(samples).sort(), paths.sort())
  for (const table of Object.values(tables)) {
    for (const [name, { kind, description, default: value }] of Object.entries(table)) {
      assert.match(description, /\.$/, name)
      assert.ok(kind.title.length > 0, name)
      if (value !== undefined) kind.read(value)
    }
  }
})

for (const [path, { accepted, resolved, rejected, code }] of Object.entries(samples)) {
  test(`${path} is read, and refused when wrong`, () => {
    const { fleet } = loadAll(documentWith(path, accepted), 'json')
    const [member] = fleet.members
    const { config } = member!
    const [section, ...rest] = path.split('.')
    const name = rest.at(-1) ?? section!
    if (resolved !== undefined) {
      const table =
        Object.entries(tables).find(([prefix]) => prefix !== '' && path.startsWith(prefix))?.[1] ?? tables['']!
      const { field } = table[name]!
      const parts =
        section === 'listeners'
          ? [config.listeners[0]]
          : rest.length > 0
            ? [config, member, fleet].map((part) => (part as unknown as Record<string, object>)[section!])
            : []
      // A key of one section may be a field of another part: the first that has it.
      const values = [...parts, config, member, fleet].filter((part) => part !== undefined && field in part)
      assert.deepEqual((values[0] as unknown as Record<string, unknown>)[field], resolved)
    }
    const found = findings(documentWith(path, rejected), 'json')
    assert.deepEqual(
      found.map((finding) => [finding.code, finding.place?.line]),
      [[code, 1]],
    )
    assert.ok(found[0]!.place!.key!.startsWith(path))
  })
}
