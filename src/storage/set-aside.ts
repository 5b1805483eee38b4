// The files that were set aside beside a store: damaged ones, and those in whose place a backup was put. They stay until people
// delete them. Loads no engine.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

export interface SetAsideFile {
  /** Absolute path. */
  readonly file: string
  readonly bytes: number
  readonly sinceMs: number
}

/** As `asidePath` names them. */
const namePattern = /^store\.(?:corrupt|replaced)-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z(?:-\d+)?$/

/** @param directory of the store; one that is not there holds none. @throws what the file system says */
export async function listSetAside(directory: string): Promise<SetAsideFile[]> {
  const names = (await unlessMissing(readdir(directory))) ?? []
  const files: SetAsideFile[] = []
  for (const name of names.sort()) {
    const match = namePattern.exec(name)
    if (match === null) continue
    const file = join(directory, name)
    // Somebody may be deleting them.
    const stats = await unlessMissing(stat(file))
    if (stats === null) continue
    const [year, month, day, hour, minute, second] = match.slice(1).map(Number)
    files.push({ file, bytes: stats.size, sinceMs: Date.UTC(year, month - 1, day, hour, minute, second) })
  }
  return files
}

async function unlessMissing<Result>(looked: Promise<Result>): Promise<Result | null> {
  try {
    return await looked
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
