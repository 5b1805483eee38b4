import assert from 'node:assert/strict'
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { LogFile } from './log-file.ts'

async function inFolder(body: (folder: string, path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-log-'))
  try {
    await body(folder, join(folder, 'x.log'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('lines are appended, also to a file that is there; the folder is made', () =>
  inFolder(async (folder) => {
    const path = join(folder, 'deep', 'x.log')
    for (const line of ['one', 'two']) {
      const file = new LogFile(path, new ManualClock())
      file.write(line)
      await file.close()
    }
    assert.equal(readFileSync(path, 'utf8'), 'one\ntwo\n')
  }))

test('nothing written, no file', () =>
  inFolder(async (folder, path) => {
    const file = new LogFile(path, new ManualClock())
    file.reopen()
    await file.close()
    assert.deepEqual(readdirSync(folder), [])
  }))

test('a file is turned over before it grows beyond its size, and only so many are kept', () =>
  inFolder(async (folder, path) => {
    const file = new LogFile(path, new ManualClock(), { sizeBytes: 10, ageSeconds: 0, keptFiles: 2 })
    for (const line of ['aaaaaa', 'bbbbbb', 'cccccc', 'dddddd']) {
      file.write(line)
      await file.flush()
    }
    await file.close()
    assert.deepEqual(readdirSync(folder).sort(), ['x.log', 'x.log.1', 'x.log.2'])
    assert.equal(readFileSync(path, 'utf8'), 'dddddd\n')
    assert.equal(readFileSync(`${path}.1`, 'utf8'), 'cccccc\n')
    assert.equal(readFileSync(`${path}.2`, 'utf8'), 'bbbbbb\n')
  }))

test('a new rotation counts from the next line on', () =>
  inFolder(async (folder, path) => {
    const file = new LogFile(path, new ManualClock(), { sizeBytes: 0, ageSeconds: 0, keptFiles: 0 })
    for (const line of ['aaaaaa', 'bbbbbb', 'cccccc']) {
      if (line === 'cccccc') file.setRotation({ sizeBytes: 10, ageSeconds: 0, keptFiles: 1 })
      file.write(line)
      await file.flush()
    }
    await file.close()
    assert.equal(readFileSync(`${path}.1`, 'utf8'), 'aaaaaa\nbbbbbb\n')
    assert.equal(readFileSync(path, 'utf8'), 'cccccc\n')
    assert.deepEqual(readdirSync(folder).sort(), ['x.log', 'x.log.1'])
  }))

test('a file is turned over when it is old', () =>
  inFolder(async (folder, path) => {
    const clock = new ManualClock(Date.now())
    const file = new LogFile(path, clock, { sizeBytes: 0, ageSeconds: 60, keptFiles: 1 })
    file.write('young')
    await file.flush()
    clock.advance(59_000)
    file.write('still young')
    await file.flush()
    assert.deepEqual(readdirSync(folder), ['x.log'])
    clock.advance(2000)
    file.write('new')
    await file.close()
    assert.equal(readFileSync(`${path}.1`, 'utf8'), 'young\nstill young\n')
    assert.equal(readFileSync(path, 'utf8'), 'new\n')
  }))

test('reopen goes on in a new file after somebody moved the old one away', () =>
  inFolder(async (_, path) => {
    const file = new LogFile(path, new ManualClock())
    file.write('before')
    await file.flush()
    renameSync(path, `${path}.moved`)
    file.reopen()
    file.write('after')
    await file.close()
    assert.equal(readFileSync(`${path}.moved`, 'utf8'), 'before\n')
    assert.equal(readFileSync(path, 'utf8'), 'after\n')
  }))

test('a full disk costs lines, which are told when there is room again', { skip: process.platform !== 'linux' }, () =>
  inFolder(async (_, path) => {
    symlinkSync('/dev/full', path)
    const file = new LogFile(path, new ManualClock())
    file.write('lost')
    file.write('lost too')
    await file.flush()
    assert.equal(file.lostLines, 2)
    unlinkSync(path)
    file.write('kept')
    await file.close()
    assert.match(readFileSync(path, 'utf8'), /^\{.*2 lines were lost: ENOSPC.*\}\nkept\n$/)
    assert.equal(file.lostLines, 0)
  }),
)

test('what waits for a slow disk is limited', () =>
  inFolder(async (_, path) => {
    const file = new LogFile(path, new ManualClock())
    const line = 'x'.repeat(1000)
    for (let count = 0; count < 2000; count++) file.write(line)
    assert.ok(file.lostLines > 900 && file.lostLines < 1000, `${file.lostLines} lost`)
    await file.close()
    const [notice, ...kept] = readFileSync(path, 'utf8').trimEnd().split('\n')
    assert.match(notice, /lines were lost: the disk was too slow"\}$/)
    assert.equal(kept.length + Number(/(\d+) lines/.exec(notice)?.[1]), 2000)
  }))

test('a process that ends because of a bug writes what waits at once', () =>
  inFolder(async (_, path) => {
    writeFileSync(path, 'before\n')
    const file = new LogFile(path, new ManualClock())
    file.write('last words')
    file.flushSync()
    assert.equal(readFileSync(path, 'utf8'), 'before\nlast words\n')
    await file.close()
  }))
