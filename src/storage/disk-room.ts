// Room on the disk for what a start writes before there is a store that tells of it. Knows no record.
import { statfs } from 'node:fs/promises'
import { OperatorError } from '../base/errors.ts'
import { noSpace } from '../base/no-space.ts'
import { leastFreeBytes } from './disk-space.ts'

/** Bytes free on the file system of a file or folder that is there; endless where that is not known. */
export async function freeBytesAt(path: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(path)
    return bavail * bsize
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

/**
 * So much room that LMDB does not find out itself how little there is: it reports that as an I/O error, or ends the process.
 * @param path of the folder in which `bytes` are to be written, or of a file in it
 * @param what that is and why, for people
 * @throws (rejects) OperatorError `no-space`
 */
export async function expectRoom(path: string, bytes: number, what: string, fix?: string): Promise<void> {
  const needBytes = bytes + leastFreeBytes
  const freeBytes = await freeBytesAt(path)
  if (freeBytes < needBytes) throw outOfRoom(path, needBytes, freeBytes, what, fix)
}

export function outOfRoom(
  path: string,
  needBytes: number,
  freeBytes: number,
  what: string,
  fix = 'make room on its file system',
): OperatorError {
  return new OperatorError(noSpace, `${what} needs about ${needBytes} bytes, and ${freeBytes} are free there`, {
    place: { file: path },
    fix,
  })
}
