// What the write recorder has noted of directories, and a power cut made of it: a file or folder that was made or renamed is on the
// disk under its name when the directory that it lies in was synced afterwards. Until then it may be gone, whatever became of
// its bytes. What was removed stays removed; but of a folder from which a file was moved away, the removal may be undone as well.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Random } from '../simulation/random.ts'

interface Entry {
  path: string
  /** null for one that was made. */
  oldPath: string | null
}

/** By directory, in their order: entries that no sync has put on the disk. */
export function readEntries(recordPath: string): Map<string, Entry[]> {
  const lines = readFileSync(recordPath, 'utf8').split('\n')
  const directories = new Map<string, Entry[]>()
  for (let index = 0; index < lines.length - 1; index++) {
    const [what, ...rest] = lines[index].split(' ')
    const path = rest.join(' ')
    if (what === 'synced') {
      directories.delete(path)
      continue
    }
    const entry = { path, oldPath: what === 'moved' ? lines[++index] : null }
    const list = directories.get(dirname(path))
    if (list === undefined) directories.set(dirname(path), [entry])
    else list.push(entry)
  }
  return directories
}

/** Takes all, some of the latest, or none of the entries of each directory. @returns how many */
export function loseEntries(recordPath: string, random: Random): number {
  let lost = 0
  for (const entries of readEntries(recordPath).values()) {
    const kept = random.pick([0, entries.length, random.below(entries.length + 1)])
    for (const { path, oldPath } of entries.slice(kept).reverse()) {
      if (!existsSync(path)) continue
      lost++
      if (oldPath !== null && makeRoom(oldPath, random)) renameSync(path, oldPath)
      else rmSync(path, { recursive: true })
    }
  }
  return lost
}

/** @returns whether a file can have its old name back; if its folder was removed since, that comes back, or the file has neither name. */
function makeRoom(oldPath: string, random: Random): boolean {
  const folder = dirname(oldPath)
  if (existsSync(folder)) return !existsSync(oldPath)
  if (!existsSync(dirname(folder)) || random.chance(0.5)) return false
  mkdirSync(folder, { mode: 0o700 })
  return true
}
