import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { closestName } from './closest-name.ts'
import { defaultPaths } from './default-paths.ts'
import { variableOfPath } from './overrides.ts'
import { formatDuration, formatSize, parseDuration, parseSize, ValueError } from './quantities.ts'

test('durations and sizes with their units', () => {
  assert.deepEqual([30, '30', '30s', '10m', '2 h', '1d'].map(parseDuration), [30, 30, 30, 600, 7200, 86_400])
  assert.deepEqual([1, '1B', '1kB', '1KB', '1KiB', '1MB', '1MiB', '1GB', '1GiB'].map(parseSize), [
    1,
    1,
    1000,
    1000,
    1024,
    1e6,
    1024 ** 2,
    1e9,
    1024 ** 3,
  ])
  for (const wrong of ['', 's', '1.5h', '-1s', '1 sec', '1S', '1ms', '0x10', '1e3', Number.NaN, 0.5, -1]) {
    assert.throws(() => parseDuration(wrong), ValueError, String(wrong))
  }
  for (const wrong of ['1K', '1M', '1mb', '1Mib', '1 bit', '9999999999999GiB', Number.POSITIVE_INFINITY]) {
    assert.throws(() => parseSize(wrong), ValueError, String(wrong))
  }
})

test('what is shown reads back the same', () => {
  assert.deepEqual([0, 59, 60, 3600, 5400, 604_800].map(formatDuration), ['0s', '59s', '1m', '1h', '90m', '7d'])
  fc.assert(fc.property(fc.nat(), (value) => parseDuration(formatDuration(value)) === value))
  fc.assert(fc.property(fc.maxSafeNat(), (value) => value > 1e14 || parseSize(formatSize(value)) === value))
})

test('the nearest name is offered, and none when nothing is near', () => {
  const names = ['queueMessages', 'queueBytes', 'warn', 'log']
  assert.equal(closestName('queue_messages', names), 'queueMessages')
  assert.equal(closestName('QUEUEBYTES', names), 'queueBytes')
  assert.equal(closestName('warning', names), 'warn')
  assert.equal(closestName('zzz', names), null)
  assert.equal(closestName('x', names), null)
  assert.equal(closestName('q'.repeat(10_000), names), null)
})

test('default paths of root and of an account', () => {
  assert.deepEqual(defaultPaths(0, { HOME: '/root', XDG_RUNTIME_DIR: '/run/user/0' }), {
    configDirectory: '/etc/atoll',
    runDir: '/run/atoll',
    dataDir: '/var/lib/atoll',
    logDir: '/var/log/atoll',
  })
  assert.deepEqual(
    defaultPaths(1000, { HOME: '/home/a', XDG_RUNTIME_DIR: '/run/user/1000', XDG_CONFIG_HOME: 'relative' }),
    {
      configDirectory: '/home/a/.config/atoll',
      runDir: '/run/user/1000/atoll',
      dataDir: '/home/a/.local/share/atoll',
      logDir: '/home/a/.local/state/atoll/log',
    },
  )
  assert.equal(defaultPaths(1000, { HOME: '/home/a' })!.runDir, '/home/a/.local/state/atoll/run')
  assert.equal(defaultPaths(1000, {}), null)
})

test('a key path and its environment variable', () => {
  assert.equal(variableOfPath(['gracePeriod']), 'ATOLL_GRACE_PERIOD')
  assert.equal(variableOfPath(['limits', 'queueMessages']), 'ATOLL_LIMITS__QUEUE_MESSAGES')
  assert.equal(variableOfPath(['listeners', 'plant-a', 'maxConnections']), 'ATOLL_LISTENERS__PLANT_A__MAX_CONNECTIONS')
})
