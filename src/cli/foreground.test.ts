import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { Running } from './run-command.test.ts'

const built = (path: string) => JSON.stringify(pathToFileURL(join(import.meta.dirname, path)).href)

/** A real process that runs a daemon made of `members`, JavaScript text, in the foreground. */
function run(members: string): Running {
  const script = `
    import { runForeground } from ${built('foreground.js')}
    import { reportError } from ${built('report-error.js')}
    import { ConfigError } from ${built('../config/config-error.js')}
    import { OperatorError } from ${built('../base/errors.js')}
    import { createLog } from ${built('../observe/log.js')}
    import { createSystemClock } from ${built('../base/clock.js')}
    const log = createLog('debug', 'text', createSystemClock(), (line) => process.stdout.write(line + '\\n'))
    const wait = () => new Promise((resolve) => setTimeout(resolve, 3_600_000))
    let askForEnd
    let signsOfLife = 0
    const stopRequested = new Promise((resolve) => { askForEnd = resolve })
    const daemon = {
      gracePeriodSeconds: 0,
      async start() {},
      abort() {},
      async stop() {},
      async reload() {},
      reopenLogs() { log.info('reopens its logs') },
      ${members}
    }
    const onReady = () => log.info('is ready')
    const notifier = {
      watchdogPeriodMs: 10,
      async notify(state) {
        log.debug('notified ' + state + (state === 'WATCHDOG=1' ? ' ' + ++signsOfLife + ' times' : ''))
        return true
      },
    }
    process.exit(await runForeground({ daemon, log, notifier, stopRequested, onReady }).catch(reportError))
  `
  return new Running(['--input-type=module', '--eval', script], {}, null)
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} stops in order`, async () => {
    const broker = run("async stop() { log.info('instance stops') },")
    await broker.saw('notified READY=1')
    assert.match(broker.stdout, /is ready\n/)
    broker.child.kill(signal)
    const { code, stdout } = await broker.ended()
    assert.equal(code, 0)
    assert.match(stdout, new RegExp(`stopping signal=${signal}.*instance stops.*stopped`, 's'))
    assert.match(stdout, /notified STOPPING=1/)
  })
}

test('the service manager hears again and again that the daemon lives', async () => {
  const broker = run('')
  await broker.saw('notified WATCHDOG=1 3 times')
  broker.child.kill('SIGTERM')
  const { stdout } = await broker.ended()
  assert.ok(stdout.indexOf('READY=1') < stdout.indexOf('WATCHDOG=1'))
})

test('a start that takes long asks the service manager for patience, and no more when it is over', async () => {
  const broker = run('async start() { await new Promise((resolve) => setTimeout(resolve, 300)) },')
  await broker.saw('notified WATCHDOG=1 5 times')
  broker.child.kill('SIGTERM')
  const { stdout } = await broker.ended()
  const patience = 'notified EXTEND_TIMEOUT_USEC=300000000'
  assert.ok(stdout.split(patience).length > 3)
  assert.ok(stdout.lastIndexOf(patience) < stdout.indexOf('notified READY=1'))
})

test('a second SIGINT ends at once, twice the same key press does not', async () => {
  const broker = run("async stop() { setTimeout(() => log.info('stop hangs'), 200); await wait() },")
  await broker.saw('ready')
  broker.child.kill('SIGINT')
  await broker.saw('stopping')
  broker.child.kill('SIGINT')
  await broker.saw('stop hangs')
  broker.child.kill('SIGINT')
  assert.equal((await broker.ended()).code, 130)
})

test('a stop that hangs is cut off after the grace period', async () => {
  const broker = run('async stop() { await wait() },')
  await broker.saw('ready')
  broker.child.kill('SIGTERM')
  const { code, stdout } = await broker.ended()
  assert.equal(code, 1)
  assert.match(stdout, /did not stop within the grace period/)
})

test('a signal during the start aborts it, and is obeyed when it has ended', async () => {
  const broker = run(
    "async start() { log.info('starts'); await new Promise((resolve) => { this.abort = () => setTimeout(resolve, 50) }) },",
  )
  await broker.saw('starts')
  broker.child.kill('SIGTERM')
  const { code, stdout } = await broker.ended()
  assert.equal(code, 0)
  assert.ok(!stdout.includes('ready'))
})

test('a start that fails is told on the standard error, with its exit code', async () => {
  for (const [error, expected, text] of [
    [
      "new OperatorError('port-in-use', 'port 1 is taken', { fix: 'stop the other' })",
      3,
      'atoll: port 1 is taken (stop the other)\n',
    ],
    ["new OperatorError('host-not-found', 'no such host')", 1, 'atoll: no such host\n'],
    [
      "new OperatorError('password-file-invalid', 'no colon', { place: { file: '/p', line: 3 } })",
      2,
      '/p:3: no colon\n',
    ],
  ] as const) {
    const { code, stderr } = await run(`async start() { throw ${error} },`).ended()
    assert.deepEqual([code, stderr], [expected, text])
  }
})

test('SIGHUP reloads, and an error leaves everything as it was', async () => {
  const broker = run(`
    reloads: 0,
    async reload() {
      this.reloads++
      log.info('reload ' + this.reloads)
      if (this.reloads === 2) throw new ConfigError([new OperatorError('unknown-key', 'unknown key "q"', { place: { file: '/x.yaml', line: 4, column: 2 } })])
      if (this.reloads === 3) throw new OperatorError('password-file-invalid', 'no colon', { place: { file: '/p', line: 3 } })
    },`)
  await broker.saw('notified READY=1')
  broker.child.kill('SIGHUP')
  await broker.saw('reload 1')
  await broker.saw('RELOADING=1')
  broker.child.kill('SIGHUP')
  await broker.saw('the whole old configuration stays in force')
  assert.match(broker.stdout, /error \/x\.yaml:4:2: unknown key "q"/)
  broker.child.kill('SIGHUP')
  await broker.saw('reload 3')
  await broker.saw('error /p:3: no colon')
  broker.child.kill('SIGTERM')
  assert.equal((await broker.ended()).code, 0)
})

test('the end may be asked for without a signal', async () => {
  const broker = run("async start() { setImmediate(askForEnd, 'the admin API') },")
  const { code, stdout } = await broker.ended()
  assert.equal(code, 0)
  assert.match(stdout, /stopping signal="the admin API".*stopped/s)
})

test('SIGUSR1 and a standard output that nobody reads do not end the broker', async () => {
  const broker = run(
    "async stop() { process.stderr.write('stopped well') },\n      onError: process.stdout.on('error', () => {}),",
  )
  await broker.saw('ready')
  broker.child.kill('SIGUSR1')
  await broker.saw('reopens its logs')
  broker.child.stdout!.destroy()
  broker.child.kill('SIGUSR1')
  broker.child.kill('SIGTERM')
  const { code, stderr } = await broker.ended()
  assert.deepEqual([code, stderr], [0, 'stopped well'])
})

test('an error that nobody caught is logged and ends the process', async () => {
  for (const bug of ["setTimeout(() => { throw new Error('oops') })", "Promise.reject(new Error('oops'))"]) {
    const { code, stdout } = await run(`async start() { ${bug} },`).ended()
    assert.equal(code, 1)
    assert.match(stdout, /because of a bug error="Error: oops/)
  }
})
