import assert from 'node:assert/strict'
import { mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { DiskSpace } from './disk-space.ts'

const mebibyte = 1024 ** 2
const gibibyte = 1024 ** 3

class Disk {
  readonly path: string
  readonly clock = new ManualClock()
  readonly limits = { freeBytes: 64 * mebibyte, fileBytes: 0 }
  freeBytes = 100 * gibibyte
  totalBytes = 200 * gibibyte
  looks = 0
  readonly space: DiskSpace

  constructor(context: TestContext) {
    const folder = mkdtempSync(join(tmpdir(), 'atoll-space-'))
    context.after(() => rmSync(folder, { recursive: true }))
    this.path = join(folder, 'store.mdb')
    writeFileSync(this.path, Buffer.alloc(mebibyte))
    this.space = new DiskSpace(
      this.path,
      () => this.limits,
      this.clock,
      async () => {
        this.looks++
        return { bavail: this.freeBytes / 4096, blocks: this.totalBytes / 4096, bsize: 4096 }
      },
    )
  }

  /** A look that is not the same as the last. */
  async shortage(): Promise<string | null> {
    this.clock.advance(1000)
    await this.space.look()
    return this.space.shortage
  }
}

test('shortage begins at the floor, and is over when there is a quarter more', async (t) => {
  const disk = new Disk(t)
  assert.equal(await disk.shortage(), null)
  disk.freeBytes = 64 * mebibyte
  assert.equal(await disk.shortage(), null)
  disk.freeBytes = 63 * mebibyte
  assert.equal(await disk.shortage(), 'no space left for the store: its file system has less than 64 MiB free')
  disk.freeBytes = 79 * mebibyte
  assert.match((await disk.shortage()) ?? '', /less than 64 MiB/)
  disk.freeBytes = 80 * mebibyte
  assert.equal(await disk.shortage(), null)
  disk.limits.freeBytes = 100 * mebibyte
  assert.match((await disk.shortage()) ?? '', /less than 100 MiB/, 'limits hold from the next look on')
})

test('of a small file system a twentieth is left free', async (t) => {
  const disk = new Disk(t)
  disk.totalBytes = 100 * mebibyte
  disk.freeBytes = 6 * mebibyte
  assert.equal(await disk.shortage(), null)
  disk.freeBytes = 4 * mebibyte
  assert.match((await disk.shortage()) ?? '', /less than 5 MiB/)
})

test('a file at its limit is short of room', async (t) => {
  const disk = new Disk(t)
  disk.limits.fileBytes = 2 * mebibyte
  assert.equal(await disk.shortage(), null)
  writeFileSync(disk.path, Buffer.alloc(2 * mebibyte))
  assert.match((await disk.shortage()) ?? '', /limits\.storeBytes, 2 MiB/)
  disk.limits.fileBytes = 0
  assert.equal(await disk.shortage(), null)
})

test('what would fill the disk to its last bytes does not fit, below the floor or not', async (t) => {
  const disk = new Disk(t)
  disk.limits.freeBytes = 0
  disk.freeBytes = mebibyte
  await disk.space.look()
  assert.equal(disk.space.growthBytes, mebibyte - 262_144)
  assert.equal(await disk.space.hasAmpleRoom(1), false)
})

test('one message must fit into what is left above the floor, and so must all that wait with it', async (t) => {
  const disk = new Disk(t)
  disk.freeBytes = 80 * mebibyte
  await disk.shortage()
  assert.equal(disk.space.hasRoomAbove(8 * mebibyte, 4 * mebibyte), true)
  assert.equal(disk.space.hasRoomAbove(24 * mebibyte, 4 * mebibyte), false)
  assert.equal(disk.space.hasRoomAbove(40 * mebibyte, 20 * mebibyte), false)
})

test('with ample room there is a look now and then, with little one before each write', async (t) => {
  const disk = new Disk(t)
  for (let write = 0; write < 100; write++) assert.equal(await disk.space.hasAmpleRoom(mebibyte), true)
  assert.equal(disk.looks, 1)
  disk.clock.advance(300)
  assert.equal(await disk.space.hasAmpleRoom(mebibyte), true)
  assert.equal(disk.looks, 2)
  // What was written since counts: 100 GiB are gone after a while.
  for (let write = 0; write < 199; write++) await disk.space.hasAmpleRoom(gibibyte / 2)
  assert.ok(disk.looks >= 3, `${disk.looks} looks`)
  disk.freeBytes = gibibyte / 2
  await disk.space.look()
  const before = disk.looks
  for (let write = 0; write < 10; write++) assert.equal(await disk.space.hasAmpleRoom(mebibyte), true)
  assert.equal(disk.looks, before + 10)
})

test('a file that was removed, replaced or cut is told from its own', async (t) => {
  const disk = new Disk(t)
  const { space, path } = disk
  await disk.shortage()
  assert.equal(space.fileState, 'own')
  renameSync(path, `${path}.away`)
  await disk.shortage()
  assert.equal(space.fileState, 'gone')
  writeFileSync(path, Buffer.alloc(mebibyte))
  await disk.shortage()
  assert.equal(space.fileState, 'foreign')
  renameSync(`${path}.away`, path)
  await disk.shortage()
  assert.equal(space.fileState, 'own')
  truncateSync(path, mebibyte - 1)
  await disk.shortage()
  assert.equal(space.fileState, 'cut')
  truncateSync(path, 2 * mebibyte)
  await disk.shortage()
  assert.equal(space.fileState, 'cut', 'what was cut off is lost')
})
