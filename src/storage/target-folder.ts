// The folder of a file that is to be written for an operator.
import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { OperatorError } from '../base/errors.ts'

/**
 * One that is missing is never made: it may be a typing error, or a disk that is not mounted, and then another disk would get the file.
 * @throws OperatorError `no-such-folder`
 */
export function expectFolderOf(file: string): void {
  const folder = dirname(file)
  try {
    if (statSync(folder).isDirectory()) return
  } catch (error) {
    // What else is wrong with it shows when the file is written.
    if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return
  }
  throw new OperatorError('no-such-folder', `there is no folder ${folder}`, {
    place: { file },
    fix: 'make it, or mount its disk, or write to another one',
  })
}
