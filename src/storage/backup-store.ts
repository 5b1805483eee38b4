// Backups: one file with all that a store holds at one moment, read back before it counts; and putting one in the place of a
// store that is not open. Knows no broker.
import {
  chmodSync,
  chownSync,
  constants,
  createReadStream,
  createWriteStream,
  existsSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import { copyFile, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import {
  asidePath,
  closedName,
  incomingName,
  makeDirectory,
  removeEnvironment,
  rescueName,
  syncDirectory,
  takeRescued,
} from './lmdb-store.ts'
import { fileName, markOutdated } from './outdated-store.ts'
import type { StoreFile } from './store-file.ts'
import { type StoreSurvey, type SurveyOptions, surveyStore } from './survey-store.ts'
import { expectFolderOf } from './target-folder.ts'

/** A backup being written, in a folder that nobody else may enter: the copy begins with the mode that LMDB or the store gives it. */
const partName = 'unfinished-backup.mdb'
/** Of a copy. */
const highWaterMark = 1024 * 1024

export interface BackupOptions extends SurveyOptions {
  /** Called with what is wrong with an open store, which gives no backup then. */
  readonly onDamaged?: (findings: readonly string[]) => void
}

/** The store in the directory that an instance has for it. */
export function storeFileOf(directory: string): string {
  return join(directory, fileName)
}

/**
 * Writes a backup of an open store, or of the file of one that is not open, which the caller has locked. What is open is read as a
 * whole before it is copied, see `StoreFile.copy`, and every copy before it counts. When the signal is aborted,
 * nothing is left to see at once, but the copy of an open store takes its time, and room on the disk, until it can be let go of.
 * @throws OperatorError `backup-exists`, `no-such-folder`, `store-damaged`, `cannot-write`; nothing is left at `target` then
 */
export async function backupStore(
  source: StoreFile | string,
  target: string,
  options: BackupOptions = {},
): Promise<StoreSurvey> {
  if (existsSync(target)) {
    throw new OperatorError('backup-exists', 'there is such a file already', {
      place: { file: target },
      fix: 'choose another name, or move it away',
    })
  }
  expectFolderOf(target)
  const folder = `${target}.part`
  const part = join(folder, partName)
  const { signal, onProgress, onDamaged } = options
  let isMade = false
  const remove = () => {
    if (isMade) rmSync(folder, { recursive: true, force: true })
  }
  const removeEarly = () => {
    try {
      remove()
    } catch {
      // Whatever the copying has put there at this moment is removed when it has ended.
    }
  }
  signal?.addEventListener('abort', removeEarly)
  try {
    signal?.throwIfAborted()
    removeLeftover(folder)
    mkdirSync(folder, { mode: 0o700 })
    isMade = true
    const isOpen = typeof source !== 'string'
    const path = isOpen ? source.path : source
    if (isOpen) {
      await source.copy(part, async (closed) => {
        const survey = await surveyStore(path, {
          signal: signal === undefined ? closed : AbortSignal.any([closed, signal]),
          onProgress: (share) => onProgress?.(share / 2),
        })
        if (survey.findings.length > 0) onDamaged?.(survey.findings)
        refuseDamaged(survey, path)
      })
    } else await copyClosed(path, part, signal)
    signal?.throwIfAborted()
    chmodSync(part, 0o600)
    const survey = await surveyStore(part, {
      signal,
      onProgress: (share) => onProgress?.(isOpen ? (1 + share) / 2 : share),
    })
    refuseDamaged(survey, path)
    await flushFile(part)
    signal?.throwIfAborted()
    renameSync(part, target)
    rmdirSync(folder)
    syncDirectory(dirname(target))
    return survey
  } catch (error) {
    remove()
    if (signal?.aborted) throw signal.reason
    if (error instanceof OperatorError) throw error
    throw new OperatorError('cannot-write', `the backup can't be written: ${(error as Error).message}`, {
      place: { file: target },
      cause: error,
    })
  } finally {
    signal?.removeEventListener('abort', removeEarly)
  }
}

/** At once where the file system lets two files share their blocks. */
async function copyClosed(source: string, copy: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await copyFile(source, copy, constants.COPYFILE_FICLONE_FORCE)
  } catch {
    const streams = [createReadStream(source, { highWaterMark }), createWriteStream(copy, { mode: 0o600 })] as const
    await pipeline(...streams, { signal })
  }
}

/**
 * Puts a backup in the place of a store that is not open, and sets that one aside. A crash at any moment leaves one of the two.
 * @param directory of the store; made if it is missing
 * @throws OperatorError; the store is as it was then
 */
export async function restoreStore(
  backup: string,
  directory: string,
  clock: Clock,
  options: SurveyOptions = {},
): Promise<{ survey: StoreSurvey; setAside: string | null }> {
  if (!existsSync(backup)) throw new OperatorError('no-such-file', 'there is no such file', { place: { file: backup } })
  makeDirectory(directory)
  const path = storeFileOf(directory)
  const incoming = join(directory, rescueName)
  // What was left by a start that did not end: without a store beside it, it is the store.
  if (!existsSync(path) && existsSync(incoming)) takeRescued(incoming, path)
  removeEnvironment(incoming)
  // Not complete yet, so not under the name that a start would take.
  const part = join(directory, incomingName)
  rmSync(part, { force: true })
  try {
    await copyFile(backup, part, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    chmodSync(part, 0o600)
    giveTo(dirname(directory), [directory, part])
    const survey = await surveyStore(part, options)
    refuseDamaged(survey, backup)
    await flushFile(part)
    giveTo(dirname(directory), [markOutdated(directory, part)!])
    renameSync(part, incoming)
    syncDirectory(directory)
    const setAside = existsSync(path) ? asidePath(path, 'replaced', clock) : null
    rmSync(join(directory, closedName), { force: true })
    if (setAside !== null) renameSync(path, setAside)
    rmSync(`${path}-lock`, { force: true })
    takeRescued(incoming, path)
    return { survey, setAside }
  } catch (error) {
    rmSync(part, { force: true })
    if (error instanceof OperatorError) throw error.place?.file === part ? notABackup(error, backup) : error
    throw new OperatorError('cannot-write', `the store can't be restored: ${(error as Error).message}`, {
      place: { file: path },
      cause: error,
    })
  }
}

/** Of a backup that was cut short; a folder with anything else in it stays, and the backup fails. */
function removeLeftover(folder: string): void {
  if (lstatSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    rmSync(join(folder, partName), { force: true })
    rmdirSync(folder)
  } else {
    rmSync(folder, { force: true })
  }
}

/** A broker goes on meanwhile. */
async function flushFile(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Root restores for the account of the broker. */
function giveTo(owned: string, paths: readonly string[]): void {
  const { uid, gid } = statSync(owned)
  for (const path of paths) if (statSync(path).uid !== uid) chownSync(path, uid, gid)
}

/** The copy of it is nothing that people know. */
function notABackup({ code, message }: OperatorError, backup: string): OperatorError {
  const fix = 'name a file that atoll backup of this version, or an earlier one, has written'
  return new OperatorError(code, message, { place: { file: backup }, fix })
}

/** A backup must not be empty because the disk gave nothing. */
function refuseDamaged({ findings, fileBytes }: StoreSurvey, path: string): void {
  if (findings.length === 0 && fileBytes > 0) return
  throw new OperatorError('store-damaged', `the file is damaged: ${findings[0] ?? 'it is empty'}`, {
    place: { file: path },
    fix: 'see atoll store verify; restart the instance: the start rescues what can be read of its store',
  })
}
