// The data of an instance that does not run: looked at, backed up and restored in its folder, whose lock the caller holds.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { backupStore, restoreStore, storeFileOf } from '../storage/backup-store.ts'
import { LmdbFile } from '../storage/lmdb-file.ts'
import { listSetAside, type SetAsideFile } from '../storage/set-aside.ts'
import { type StoreSurvey, type SurveyOptions, surveyStore } from '../storage/survey-store.ts'
import { type StoredKind, type StoredRow, storedKindOf, storedRow } from './stored-row.ts'

export { expectFolderOf } from '../storage/target-folder.ts'
export type { SetAsideFile, StoreSurvey, SurveyOptions }
export type Progress = (share: number) => void

/** The store file in the data directory of an instance. */
export function storedFile(dataDir: string): string {
  return storeFileOf(join(dataDir, 'store'))
}

/** A survey of the store of an instance, and what was set aside beside it. @throws OperatorError `no-such-store` */
export async function surveyFolder(
  file: string,
  onProgress?: Progress,
): Promise<StoreSurvey & { setAside: SetAsideFile[] }> {
  return { ...(await surveyData(file, onProgress)), setAside: await listSetAside(dirname(file)) }
}

/** @throws OperatorError `no-such-store` */
export function surveyData(file: string, onProgress?: Progress): Promise<StoreSurvey> {
  expectFile(file)
  return surveyStore(file, { onProgress })
}

/** @throws OperatorError */
export function backupData(file: string, target: string, options: SurveyOptions = {}): Promise<StoreSurvey> {
  expectFile(file)
  return backupStore(file, target, options)
}

/** @throws OperatorError */
export function restoreData(backup: string, dataDir: string, clock: Clock, onProgress?: Progress) {
  return restoreStore(backup, join(dataDir, 'store'), clock, { onProgress })
}

/** All rows that can be read, one after the other. @throws OperatorError `no-such-store` */
export async function* storedRows(file: string, kind: StoredKind | null): AsyncGenerator<StoredRow> {
  expectFile(file)
  const opened = new LmdbFile(file)
  try {
    for await (const { key, value } of opened.records()) {
      if (kind !== null && storedKindOf(key) !== kind) continue
      const row = storedRow(key, value)
      if (row !== null) yield row
    }
  } finally {
    opened.close()
  }
}

function expectFile(file: string): void {
  if (existsSync(file)) return
  throw new OperatorError('no-such-store', 'there is no store', {
    place: { file },
    fix: 'an instance has one once it has run with durability os or fsync',
  })
}
