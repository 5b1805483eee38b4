// What the write recorder has noted, read back, and a power cut made of it: for each sector that was written and not synced since,
// any of its states from the last one on the disk to the latest may be what is left. Knows no LMDB.
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Random } from '../simulation/random.ts'

/** As in write-recorder.c. */
const kinds = { write: 1, sync: 2, synced: 3, forgotten: 4, oneForgotten: 5 } as const
const entryBytes = 64
const pageBytes = 4096
const sectorBytes = 512

interface Write {
  sequence: number
  offset: number
  length: number
  sizeBefore: number
  before: Buffer
  isOnDisk: boolean
  /** No sync puts it on the disk any more; what lies over it may. */
  isForgotten: boolean
}

/** Writes by the inode of their file, in their order. */
export function readRecord(path: string): Map<number, Write[]> {
  const bytes = readFileSync(path)
  const files = new Map<number, Write[]>()
  for (let at = 0; at + entryBytes <= bytes.length; ) {
    const number = (index: number): number => Number(bytes.readBigInt64LE(at + 8 * index))
    const [kind, sequence, inode, there] = [number(0), number(1), number(3), number(7)]
    const writes = files.get(inode) ?? []
    files.set(inode, writes)
    if (kind === kinds.write) {
      // Killed while it noted what was there: the write itself was not made.
      if (at + entryBytes + there > bytes.length) break
      const before = bytes.subarray(at + entryBytes, at + entryBytes + there)
      const [offset, length, sizeBefore] = [number(4), number(5), number(6)]
      writes.push({ sequence, offset, length, sizeBefore, before, isOnDisk: false, isForgotten: false })
    } else {
      const isOfOne = kind === kinds.synced || kind === kinds.oneForgotten
      const isForgotten = kind === kinds.forgotten || kind === kinds.oneForgotten
      for (const write of writes) {
        if (isOfOne ? write.sequence !== sequence : write.sequence > sequence) continue
        if (isForgotten) write.isForgotten ||= !write.isOnDisk
        else if (!write.isForgotten) write.isOnDisk = true
      }
    }
    at += entryBytes + there
  }
  return files
}

export interface PowerCut {
  /** Writes that no sync had covered. */
  unflushed: number
  /** Sectors that went back in time. */
  lostSectors: number
}

/** Takes from the files in a folder what a power cut might. */
export function cutPower(folder: string, recordPath: string, random: Random): PowerCut {
  const result: PowerCut = { unflushed: 0, lostSectors: 0 }
  const files = readRecord(recordPath)
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const writes = files.get(statSync(path).ino)
    if (writes?.some(({ isOnDisk }) => !isOnDisk)) cutFile(path, writes, random, result)
  }
  return result
}

function cutFile(path: string, writes: readonly Write[], random: Random, result: PowerCut): void {
  const firstUnflushed = writes.findIndex(({ isOnDisk }) => !isOnDisk)
  const relevant = writes.slice(firstUnflushed)
  result.unflushed += relevant.filter(({ isOnDisk }) => !isOnDisk).length
  // All of it, nothing, or some: by whole pages, or torn.
  const survival = random.pick([0, 0, 0.5, 0.9, 1])
  const unitBytes = random.pick([pageBytes, sectorBytes])
  const unitsOf = ({ offset, length }: Write) => ({
    first: Math.floor(offset / unitBytes),
    last: Math.floor((offset + length - 1) / unitBytes),
  })
  const touching = new Map<number, Write[]>()
  for (const write of relevant) {
    const { first, last } = unitsOf(write)
    for (let unit = first; unit <= last; unit++) {
      const list = touching.get(unit)
      if (list === undefined) touching.set(unit, [write])
      else list.push(write)
    }
  }
  const file = openSync(path, 'r+')
  try {
    const sizeBytes = fstatSync(file).size
    let keptBytes = relevant[0].sizeBefore
    for (const [unit, list] of touching) {
      const start = unit * unitBytes
      const floor = list.findLastIndex(({ isOnDisk }) => isOnDisk) + 1
      // The state after so many of the writes.
      const kept = random.chance(survival) ? list.length : random.between(floor, Math.max(floor, list.length - 1))
      if (kept > 0) keptBytes = Math.max(keptBytes, Math.min(sizeBytes, start + unitBytes))
      if (kept === list.length) continue
      const bytes = Buffer.alloc(unitBytes)
      readSync(file, bytes, 0, unitBytes, start)
      for (let index = list.length - 1; index >= kept; index--) undo(list[index], bytes, start)
      writeSync(file, bytes, 0, Math.min(unitBytes, Math.max(0, sizeBytes - start)), start)
      result.lostSectors += unitBytes / sectorBytes
    }
    // File systems may note the size before the bytes: zeros are there then.
    if (random.chance(0.7)) ftruncateSync(file, Math.min(sizeBytes, keptBytes))
  } finally {
    closeSync(file)
  }
}

/** What was there before the write, in one unit; zeros where there was no file yet. */
function undo({ offset, length, before }: Write, bytes: Buffer, start: number): void {
  const from = Math.max(offset, start)
  const to = Math.min(offset + length, start + bytes.length)
  bytes.fill(0, from - start, to - start)
  before.subarray(from - offset, to - offset).copy(bytes, from - start)
}
