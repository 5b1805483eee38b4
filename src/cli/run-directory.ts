// The default run directory of an account other than root: made private, and refused when it is not ours alone to write.
import { lstatSync, mkdirSync } from 'node:fs'
import { OperatorError } from '../base/errors.ts'
import type { LoadedFleet } from '../config/load-fleet.ts'

/**
 * Does nothing for root, and for a directory of the operator's choice.
 * @throws OperatorError
 */
export function prepareRunDirectory({ fleet: { runDir }, isDefaultRunDir }: LoadedFleet, uid: number): void {
  if (uid === 0 || !isDefaultRunDir) return
  const fix = 'name another directory with runDir'
  try {
    mkdirSync(runDir, { recursive: true, mode: 0o700 })
  } catch (error) {
    const message = `the run directory cannot be created: ${(error as Error).message}`
    throw new OperatorError('directory-missing', message, { place: { key: 'runDir' }, fix, cause: error })
  }
  const stats = lstatSync(runDir)
  if (stats.isDirectory() && stats.uid === uid && (stats.mode & 0o022) === 0) return
  throw new OperatorError(
    'directory-writable-by-others',
    `the run directory ${runDir} is not a directory that only this account may write to`,
    { place: { key: 'runDir' }, fix: `${fix}, or chown and chmod 0700 it` },
  )
}
