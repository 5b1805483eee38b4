// `--pid-file`: a number for those who want it. Nobody here ever reads one to signal a process: it may be anybody's by then.
import { readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { OperatorError } from '../base/errors.ts'
import { isNoSpace, noSpace } from '../base/no-space.ts'

/** @throws OperatorError `no-space`, and there is none then, or `cannot-write` */
export function writePidFile(file: string, pid: number): void {
  try {
    writeFileSync(file, `${pid}\n`, { mode: 0o644 })
  } catch (error) {
    const isWithoutRoom = isNoSpace(error)
    if (isWithoutRoom) rmSync(file, { force: true })
    throw new OperatorError(
      isWithoutRoom ? noSpace : 'cannot-write',
      `the pid file cannot be written: ${(error as Error).message}`,
      {
        place: { file },
        cause: error,
      },
    )
  }
}

/** Unless it is not ours any more. Never throws. */
export function removePidFile(file: string, pid: number): void {
  try {
    if (readFileSync(file, 'utf8').trim() === String(pid)) unlinkSync(file)
  } catch {
    // It has gone already.
  }
}
