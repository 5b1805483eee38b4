// A rescue makes a second copy. Without room for it the damaged file stays as it is, nothing half made is left, and it is told what to do.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ManualClock } from '../base/clock.ts'
import { openLmdbStore } from './lmdb-store.ts'
import { messageRecord } from './store-contract.test.support.ts'

const canMount = process.platform === 'linux' && process.getuid?.() === 0
const skip = !canMount && process.env.REQUIRE_INTEROP !== '1' ? 'only root can mount a small file system' : false
const records = 20_000

class SmallDisk {
  readonly directory = mkdtempSync(join(tmpdir(), 'atoll-rescue-'))
  readonly path = join(this.directory, 'store.mdb')

  constructor(context: TestContext) {
    this.resize(64, 'mode=0700')
    context.after(() => {
      execFileSync('umount', ['-l', this.directory])
      rmSync(this.directory, { recursive: true })
    })
  }

  resize(mebibytes: number, how = 'remount'): void {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `${how},size=${mebibytes}m`, 'tmpfs', this.directory])
  }

  open() {
    return openLmdbStore({ directory: this.directory, durability: 'os', clock: new ManualClock() })
  }

  /** About 8 MiB, of which one page is overwritten. @returns what the file holds then */
  async fillAndDamage(): Promise<Buffer> {
    const store = await this.open()
    for (let index = 0; index < records; index++) {
      store.putRetained(`t/${index}`, messageRecord(Buffer.alloc(300, index)))
      if (index % 1000 === 999) await store.flush()
    }
    await store.close()
    const bytes = readFileSync(this.path)
    const at = 4096 * Math.floor(bytes.indexOf('t/7777') / 4096)
    const file = openSync(this.path, 'r+')
    writeSync(file, Buffer.alloc(4096, 0xee), 0, 4096, at)
    closeSync(file)
    rmSync(join(this.directory, 'store.closed'))
    return readFileSync(this.path)
  }

  get names(): string[] {
    return readdirSync(this.directory)
      .filter((name) => name !== 'hog')
      .sort()
  }
}

const refused = {
  code: 'no-space',
  message: /^the store is damaged, and to bring over what can be read needs about \d+ bytes, and \d+ are free there$/,
  fix: /make room/,
}

test('no room for a rescue: the file stays as it is, and with room it is rescued', { skip }, async (t) => {
  const disk = new SmallDisk(t)
  const damaged = await disk.fillAndDamage()
  disk.resize(12)
  await assert.rejects(disk.open(), { ...refused, place: { file: disk.path } })
  assert.deepEqual(disk.names, ['store.mdb', 'store.mdb-lock'])
  assert.ok(readFileSync(disk.path).equals(damaged))
  disk.resize(24)
  const store = await disk.open()
  const { rescued } = store.recovery!
  assert.ok(rescued.retained > 0.99 * records && rescued.retained < records, `${rescued.retained}`)
  await store.close()
})

test('the room is gone in the middle of a rescue: no half of a copy is left', { skip }, async (t) => {
  const disk = new SmallDisk(t)
  const damaged = await disk.fillAndDamage()
  disk.resize(24)
  const opened = assert.rejects(disk.open(), { ...refused, place: { file: disk.path } })
  while (!existsSync(join(disk.directory, 'store.rescue.mdb'))) await nextTurn()
  assert.throws(() => writeFileSync(join(disk.directory, 'hog'), Buffer.alloc(24 << 20)), { code: 'ENOSPC' })
  await opened
  assert.deepEqual(disk.names, ['store.mdb', 'store.mdb-lock'])
  assert.ok(readFileSync(disk.path).equals(damaged))
  rmSync(join(disk.directory, 'hog'))
  const store = await disk.open()
  assert.notEqual(store.recovery, null)
  await store.close()
})
