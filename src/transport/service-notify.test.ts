import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createServiceNotifier } from './service-notify.ts'

function setUp(t: TestContext, script: string | null) {
  const directory = mkdtempSync(join(tmpdir(), 'notify-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'systemd-notify')
  if (script !== null) {
    writeFileSync(file, `#!/bin/sh\n${script}\n`)
    chmodSync(file, 0o755)
  }
  const warnings: unknown[] = []
  const log = { info: () => {}, warn: (message: string, fields?: object) => warnings.push({ message, ...fields }) }
  const output = join(directory, 'output')
  return { directory, output, warnings, log, said: () => readFileSync(output, 'utf8') }
}

test('the states go to the manager with the pid of the daemon', async (t) => {
  const at = setUp(t, 'for one in "$@"; do echo "$one"; done > "$NOTIFY_SOCKET"')
  const notifier = createServiceNotifier({ NOTIFY_SOCKET: at.output, PATH: at.directory, OTHER: 'x' }, 4711, at.log)
  assert.equal(await notifier.notify('READY=1', 'STATUS=2 instances\nREADY=0'), true)
  assert.equal(at.said(), '--pid=4711\nREADY=1\nSTATUS=2 instances READY=0\n')
  assert.equal(await notifier.notify('RELOADING=1'), true)
  assert.match(at.said(), /^--pid=4711\nRELOADING=1\nMONOTONIC_USEC=\d+\n$/)
  assert.deepEqual(at.warnings, [])
})

test('without a manager nothing is run and nothing is said', async (t) => {
  const at = setUp(t, 'exit 1')
  assert.equal(await createServiceNotifier({ PATH: at.directory }, 1, at.log).notify('READY=1'), false)
  assert.deepEqual(at.warnings, [])
})

test('without systemd-notify there is one warning', async (t) => {
  const at = setUp(t, null)
  const notifier = createServiceNotifier({ NOTIFY_SOCKET: '@x', PATH: at.directory }, 1, at.log)
  assert.equal(await notifier.notify('READY=1'), false)
  assert.equal(await notifier.notify('STOPPING=1'), false)
  const message = 'the service manager could not be told how the broker is'
  assert.deepEqual(at.warnings, [{ message, reason: 'systemd-notify is not installed' }])
})

test('a manager that does not listen is a warning with its reason', async (t) => {
  const at = setUp(t, 'echo nobody there >&2; exit 1')
  const notifier = createServiceNotifier({ NOTIFY_SOCKET: '/nowhere', PATH: at.directory }, 1, at.log)
  assert.equal(await notifier.notify('READY=1'), false)
  assert.match(JSON.stringify(at.warnings), /"nobody there"/)
})

test('a watchdog is answered three times in its time, if it is meant for this process', (t) => {
  const at = setUp(t, null)
  const periodOf = (environment: Record<string, string>) =>
    createServiceNotifier({ NOTIFY_SOCKET: '@x', ...environment }, 4711, at.log).watchdogPeriodMs
  assert.equal(periodOf({ WATCHDOG_USEC: '60000000' }), 20_000)
  assert.equal(periodOf({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '4711' }), 20_000)
  assert.equal(periodOf({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '4712' }), null)
  assert.equal(periodOf({ WATCHDOG_USEC: '60000000', NOTIFY_SOCKET: '' }), null)
  assert.equal(periodOf({ WATCHDOG_USEC: 'x' }), null)
  assert.equal(periodOf({}), null)
})
