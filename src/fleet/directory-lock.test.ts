import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { type Clock, createSystemClock } from '../base/clock.ts'
import { lockDirectory } from './directory-lock.ts'

const options = (directory: string, holder = 'the instance a') => ({
  directory,
  holder,
  key: 'dataDir',
  pid: process.pid,
  platform: process.platform,
  clock: createSystemClock(),
})

/** On which every limit has passed by the next look. */
class HurryingClock implements Clock {
  #nowMs = 0
  monotonicMs(): number {
    this.#nowMs += 60_000
    return this.#nowMs
  }
  wallMs(): number {
    return 0
  }
  every(): () => void {
    return () => {}
  }
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-lock-'))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('one holds it, the second learns who; released, nothing is left and it can be taken again', () =>
  inFolder(async (folder) => {
    const lock = await lockDirectory(options(folder))
    const { holder, pid } = JSON.parse(readFileSync(join(folder, 'lock'), 'utf8'))
    assert.deepEqual({ holder, pid }, { holder: 'the instance a', pid: process.pid })
    await assert.rejects(lockDirectory(options(folder, 'the instance b')), {
      code: 'directory-locked',
      message: new RegExp(`^the directory ${folder} is in use by the instance a \\(process ${process.pid}, since 20`),
    })
    lock.release()
    lock.release()
    assert.deepEqual(readdirSync(folder), ['.atoll.spare'])
    ;(await lockDirectory(options(folder, 'the instance b'))).release()
  }))

test('of a command that has it, it is said that it lets go', () =>
  inFolder(async (folder) => {
    const lock = await lockDirectory({ ...options(folder, 'atoll backup'), isBrief: true })
    await assert.rejects(lockDirectory(options(folder)), { code: 'directory-busy', message: /in use by atoll backup/ })
    lock.release()
  }))

test('a holder that stops is waited for', () =>
  inFolder(async (folder) => {
    const lock = await lockDirectory(options(folder))
    lock.announceEnd()
    let isTaken = false
    const next = lockDirectory(options(folder, 'the instance b')).then((taken) => {
      isTaken = true
      return taken
    })
    // Long enough for a refusal, which takes no longer than this.
    await assert.rejects(lockDirectory({ ...options(folder), clock: new HurryingClock() }), {
      code: 'directory-locked',
    })
    assert.equal(isTaken, false)
    lock.release()
    ;(await next).release()
    assert.deepEqual(readdirSync(folder), ['.atoll.spare'])
  }))

test('of many who want it at once exactly one gets it', () =>
  inFolder(async (folder) => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, (_, index) => lockDirectory(options(folder, `number ${index}`))),
    )
    const taken = outcomes.filter((outcome) => outcome.status === 'fulfilled')
    assert.equal(taken.length, 1)
    taken[0].value.release()
  }))

test('a path that is too long for the address of a socket', { skip: process.platform !== 'linux' }, () =>
  inFolder(async (folder) => {
    const deep = join(folder, 'd'.repeat(120), 'e'.repeat(120))
    mkdirSync(deep, { recursive: true })
    const lock = await lockDirectory(options(deep))
    await assert.rejects(lockDirectory(options(deep)), { code: 'directory-locked', message: /by the instance a/ })
    lock.release()
    assert.deepEqual(readdirSync(deep), ['.atoll.spare'])
  }),
)

test('kill -9 frees it, whatever its files say', () =>
  inFolder(async (folder) => {
    const module = JSON.stringify(pathToFileURL(join(import.meta.dirname, 'directory-lock.js')).href)
    const clock = JSON.stringify(pathToFileURL(join(import.meta.dirname, '../base/clock.js')).href)
    const script = `
      import { lockDirectory } from ${module}
      import { createSystemClock } from ${clock}
      await lockDirectory({ directory: ${JSON.stringify(folder)}, holder: 'the victim', key: 'dataDir', pid: process.pid,
        platform: process.platform, clock: createSystemClock() })
      setInterval(() => {}, 1000)
      process.stdout.write('held')
    `
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(child.stdout, 'data')
    await assert.rejects(lockDirectory(options(folder)), {
      message: new RegExp(`by the victim \\(process ${child.pid}, `),
    })
    // A holder that is stopped cannot answer; the file tells then.
    child.kill('SIGSTOP')
    await assert.rejects(lockDirectory(options(folder)), { code: 'directory-locked', message: /by the victim/ })
    child.kill('SIGKILL')
    await once(child, 'exit')
    assert.ok(existsSync(join(folder, 'lock')))
    const lock = await lockDirectory(options(folder))
    assert.match(readFileSync(join(folder, 'lock'), 'utf8'), /the instance a/)
    lock.release()
  }))

test('what the file beside the lock tells may be missing: the lock does not depend on it', async () => {
  await inFolder(async (folder) => {
    mkdirSync(join(folder, 'lock'))
    const lock = await lockDirectory(options(folder))
    await assert.rejects(lockDirectory(options(folder)), {
      code: 'directory-locked',
      message: /in use by the instance a/,
    })
    lock.release()
    const again = await lockDirectory(options(folder, 'the instance b'))
    again.release()
  })
})
