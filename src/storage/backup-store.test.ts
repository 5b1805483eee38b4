import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ManualClock } from '../base/clock.ts'
import { backupStore, restoreStore } from './backup-store.ts'
import { openLmdbStore } from './lmdb-store.ts'
import type { Store } from './store.ts'
import { messageRecord } from './store-contract.test.support.ts'
import type { StoreFile } from './store-file.ts'
import { surveyStore } from './survey-store.ts'

const program = fileURLToPath(new URL('./stopped-restore.test.support.js', import.meta.url))
const clock = new ManualClock()
type StoreCheck = Parameters<StoreFile['copy']>[1]

const open = (directory: string): Promise<Store> => openLmdbStore({ directory, durability: 'fsync', clock })

/** A store in which every message says the same. */
async function fill(directory: string, text: string): Promise<void> {
  const store = await open(directory)
  for (let number = 0; number < 200; number++) store.putRetained(`topic/${number}`, messageRecord(text))
  await store.close()
}

/** What the next start finds, which must be whole. */
async function textsIn(directory: string): Promise<string> {
  const store = await open(directory)
  assert.equal(store.recovery, null, 'nothing is damaged')
  const packets = [...store.retained()].map(({ message }) => message.packet.toString())
  await store.close()
  assert.ok(packets.length === 200 || packets.length === 0, `${packets.length} of 200 messages`)
  return [...new Set(packets)].join()
}

const halfMade = (directory: string): string[] =>
  readdirSync(directory).filter((name) => name.includes('.part') || name.includes('rescue'))

test('nobody else can read a backup that is being written, and what one has left is removed by the next', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-backup-'))
  try {
    await fill(join(folder, 'source'), 'new')
    const store = await open(join(folder, 'source'))
    const file = store.file!
    const backup = join(folder, 'backup.mdb')
    const part = `${backup}.part`
    let unfinished = ''
    const watched = Object.create(file, {
      path: { value: file.path },
      copy: {
        value: async (path: string, check: StoreCheck) => {
          await file.copy(path, check)
          unfinished = path
          assert.equal(dirname(path), part)
          assert.equal(statSync(part).mode & 0o777, 0o700)
        },
      },
    }) as StoreFile
    // As earlier versions have left it.
    writeFileSync(part, 'half')
    await backupStore(watched, backup)
    assert.equal(statSync(backup).mode & 0o777, 0o600)
    assert.ok(!existsSync(part))

    rmSync(backup)
    mkdirSync(part)
    writeFileSync(unfinished, 'half')
    await backupStore(watched, backup)
    assert.deepEqual(readdirSync(folder).sort(), ['backup.mdb', 'source'])

    rmSync(backup)
    mkdirSync(part)
    writeFileSync(join(part, 'of-somebody'), 'else')
    await assert.rejects(backupStore(watched, backup), { code: 'cannot-write' })
    assert.deepEqual(readdirSync(part), ['of-somebody'])
    await store.close()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('of a backup that is cancelled while it is copied nothing is left to see, and nothing comes when the copying ends', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-backup-'))
  try {
    await fill(join(folder, 'source'), 'new')
    const store = await open(join(folder, 'source'))
    const file = store.file!
    const controller = new AbortController()
    let goOn = () => {}
    let copying = () => {}
    const isCopying = new Promise<void>((resolve) => {
      copying = resolve
    })
    const slow = Object.create(file, {
      path: { value: file.path },
      copy: {
        value: async (path: string, check: StoreCheck) => {
          writeFileSync(path, 'half')
          copying()
          await new Promise<void>((resolve) => {
            goOn = resolve
          })
          mkdirSync(dirname(path), { recursive: true })
          await file.copy(path, check)
        },
      },
    }) as StoreFile
    const backup = backupStore(slow, join(folder, 'backup.mdb'), { signal: controller.signal })
    await isCopying
    controller.abort(new Error('enough'))
    assert.deepEqual(readdirSync(folder), ['source'])
    goOn()
    await assert.rejects(backup, { message: 'enough' })
    assert.deepEqual(readdirSync(folder), ['source'])
    const late = backupStore(file, join(folder, 'backup.mdb'), { signal: controller.signal })
    await assert.rejects(late, { message: 'enough' })
    assert.deepEqual(readdirSync(folder), ['source'])
    await store.close()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('an open store with damaged pages gives no backup, and goes on', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-backup-'))
  try {
    const directory = join(folder, 'source')
    await fill(directory, 'new '.repeat(200))
    const store = await open(directory)
    const bytes = readFileSync(store.file!.path)
    const descriptor = openSync(store.file!.path, 'r+')
    let damagedPages = 0
    for (let at = bytes.indexOf('new new'); at !== -1; at = bytes.indexOf('new new', (at | 4095) + 1)) {
      // LMDB would copy from beyond the end of the page as much as there is memory.
      writeSync(descriptor, Buffer.of(0, 0, 0, 0x80), 0, 4, (at & ~4095) + 20)
      damagedPages++
    }
    closeSync(descriptor)
    assert.ok(damagedPages > 20, `${damagedPages} pages`)
    const found: (readonly string[])[] = []
    const backup = join(folder, 'backup.mdb')
    const backingUp = backupStore(store.file!, backup, { onDamaged: (findings) => found.push(findings) })
    await assert.rejects(backingUp, { code: 'store-damaged', place: { file: store.file!.path }, message: /page \d+/ })
    assert.equal(found.length, 1)
    assert.match(found[0].join(), /page \d+ is damaged/)
    assert.deepEqual(readdirSync(folder), ['source'])
    await store.close()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('what leads LMDB astray although every record is whole is found too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-backup-'))
  try {
    const sound = join(folder, 'sound')
    const store = await open(sound)
    store.putRetained('small', messageRecord('small one'))
    store.putRetained('large', messageRecord('large '.repeat(20_000)))
    await store.close()
    const bytes = readFileSync(join(sound, 'store.mdb'))
    const leaf = bytes.indexOf('small one') & ~4095
    const value = bytes.indexOf('large large') & ~4095
    const node = leaf + 24 + bytes.readUInt16LE(leaf + 24)
    for (const [at, byte, finding] of [
      [value + 21, 1, /^page \d+ does not say how many follow it$/],
      [node + 4, bytes[node + 4] | 2, /^page \d+ holds a record that is none$/],
    ] as const) {
      const file = join(folder, 'damaged.mdb')
      const damaged = Buffer.from(bytes)
      damaged[at] = byte
      writeFileSync(file, damaged)
      const { counts, findings } = await surveyStore(file)
      assert.equal(counts.retained, 2)
      assert.equal(findings.length, 1)
      assert.match(findings[0], finding)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('a file of something else is no backup, which is said of the file that was named', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-restore-'))
  try {
    const backup = join(folder, 'notes.txt')
    writeFileSync(backup, 'not a store '.repeat(1000))
    const restoring = restoreStore(backup, join(folder, 'store'), clock)
    await assert.rejects(restoring, { code: 'store-format', place: { file: backup }, fix: /atoll backup/ })
    assert.deepEqual(readdirSync(join(folder, 'store')), [])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

for (const [title, old] of [
  ['in the place of a store', 'old'],
  ['in an empty folder', ''],
]) {
  test(`a restore ${title} that is killed at any step leaves the old or the new, and can be done again`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'atoll-restore-'))
    try {
      const source = join(folder, 'source')
      const backup = join(folder, 'backup.mdb')
      await fill(source, 'new')
      const store = await open(source)
      await backupStore(store.file!, backup)
      await store.close()
      const template = join(folder, 'template')
      if (old !== '') await fill(template, old)
      const found = new Set<string>()
      for (let step = 1; ; step++) {
        const directory = join(folder, `step-${step}`, 'store')
        mkdirSync(join(directory, '..'))
        if (old !== '') {
          mkdirSync(directory)
          for (const name of readdirSync(template)) copyFileSync(join(template, name), join(directory, name))
        }
        const child = spawn(process.execPath, [program, backup, directory, String(step)], { stdio: 'inherit' })
        const [code, signal] = await once(child, 'exit')
        const left = await textsIn(directory)
        found.add(left)
        if (signal === null) {
          assert.equal(code, 0)
          assert.equal(left, 'new')
          assert.ok(step > 10, `there are only ${step} steps`)
          break
        }
        assert.ok(left === old || left === 'new', `step ${step} leaves ${left}`)
        assert.deepEqual(halfMade(directory), [], `the start after step ${step} removes what is half-made`)
        await restoreStore(backup, directory, clock)
        assert.equal(await textsIn(directory), 'new', `again after step ${step}`)
        assert.deepEqual(halfMade(directory), [], 'nothing half-made is left')
      }
      assert.deepEqual([...found].sort(), [old, 'new'].sort())
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
}
