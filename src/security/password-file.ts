// The password file: one `user:hash` per line. Reads it whole or not at all, and edits it for `atoll passwd` in a way that
// leaves either the old file or the new one. Checks no password (password-authenticator.ts does).
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import { hashPassword, type PasswordHash, parsePasswordHash } from './password-hash.ts'

export type PasswordEntries = ReadonlyMap<string, PasswordHash>

/**
 * Reads the text of a password file: `user:hash` lines, blank lines, and lines that begin with `#`.
 * @param fileName for messages only
 * @throws OperatorError `password-file-invalid` with file and line; never is a part of the users returned
 */
export function parsePasswordFile(text: string, fileName: string): PasswordEntries {
  const entries = new Map<string, PasswordHash>()
  const lines = text.replace(/^\uFEFF/, '').split('\n')
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index].trim()
    if (line === '' || line.startsWith('#')) continue
    const fail = (message: string, fix: string): never => {
      throw new OperatorError('password-file-invalid', message, { place: { file: fileName, line: index + 1 }, fix })
    }
    const username = usernameOf(line)
    if (username === null) return fail('no colon between user name and password hash', 'write: user:hash')
    const problem = usernameProblem(username)
    if (problem !== null) return fail(problem, 'write: user:hash')
    if (entries.has(username)) return fail(`user ${JSON.stringify(username)} is given twice`, 'remove one of the lines')
    const hash = parsePasswordHash(line.slice(username.length + 1))
    if (typeof hash === 'string') return fail(hash, 'let atoll passwd write the line')
    entries.set(username, hash)
  }
  return entries
}

/**
 * Gives a user a new password, adding the user at the end if the file has none of this name. A file that is not there is
 * made, mode 0600; comments and order are kept.
 * @throws OperatorError where the name or the password can't be used, or the file is damaged or can't be written
 */
export async function setPasswordFileUser(path: string, username: string, password: Buffer): Promise<void> {
  const problem = usernameProblem(username)
  if (problem !== null) throw new OperatorError('user-name-invalid', problem, { fix: 'choose another user name' })
  if (password.length === 0) {
    throw new OperatorError('password-empty', 'the password is empty', { fix: 'choose a password' })
  }
  const line = `${username}:${await hashPassword(password)}`
  const { text, target } = readForEdit(path)
  const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n')
  const at = findUser(lines, path, username)
  if (at === -1) lines.push(line)
  else lines[at] = line
  replaceFile(target, path, `${lines.join('\n')}\n`)
}

/**
 * Removes a user; everything else in the file is kept.
 * @returns whether there was such a user
 * @throws OperatorError where the file is missing, damaged or can't be written
 */
export function deletePasswordFileUser(path: string, username: string): boolean {
  const { text, target } = readForEdit(path)
  if (target.stats === null) {
    throw new OperatorError('password-file-missing', 'there is no such password file', { place: { file: path } })
  }
  const lines = text.split('\n')
  const at = findUser(lines, path, username)
  if (at === -1) return false
  lines.splice(at, 1)
  replaceFile(target, path, lines.join('\n'))
  return true
}

function usernameOf(line: string): string | null {
  const colon = line.indexOf(':')
  return colon === -1 ? null : line.slice(0, colon)
}

function usernameProblem(username: string): string | null {
  if (username === '') return 'the user name is empty'
  if (username.trim() !== username) return 'the user name begins or ends with a space'
  if (username.startsWith('#')) return 'the user name begins with #, as comments do'
  if (username.includes(':')) return 'the user name contains a colon'
  if (/[\u0000-\u001f\u007f-\u009f]/.test(username)) return 'the user name contains a control character'
  if (Buffer.byteLength(username) > 65_535) return 'the user name is longer than MQTT allows (65535 bytes)'
  return null
}

/** Index of the user's line, or -1; an edit must not turn a file that was refused into one that half works. */
function findUser(lines: readonly string[], path: string, username: string): number {
  if (!parsePasswordFile(lines.join('\n'), path).has(username)) return -1
  return lines.findIndex((line) => usernameOf(line.replace(/^\uFEFF/, '').trim()) === username)
}

/** Where an edited file goes: through a symbolic link to the file itself. `stats` is null where there is none yet. */
interface EditTarget {
  path: string
  stats: fs.Stats | null
}

function readForEdit(path: string): { text: string; target: EditTarget } {
  let bytes: Buffer
  let target: EditTarget
  try {
    const realPath = fs.realpathSync(path)
    target = { path: realPath, stats: fs.statSync(realPath) }
    bytes = fs.readFileSync(realPath)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { text: '', target: { path, stats: null } }
    throw fileError('password-file-unreadable', 'the password file cannot be read', path, error)
  }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), target }
  } catch {
    throw new OperatorError('password-file-invalid', 'the password file is not UTF-8', { place: { file: path } })
  }
}

/** The new text is on the disk before it takes the old one's name; owner and group stay, others never may read it. */
function replaceFile(target: EditTarget, path: string, text: string): void {
  const directory = dirname(target.path)
  const temporary = join(directory, `.passwd-${randomUUID()}`)
  try {
    const fd = fs.openSync(temporary, 'wx', 0o600)
    try {
      if (target.stats !== null) {
        const own = fs.fstatSync(fd)
        const { uid, gid, mode } = target.stats
        if (own.uid !== uid || own.gid !== gid) fs.fchownSync(fd, uid, gid)
        fs.fchmodSync(fd, mode & 0o660)
      }
      fs.writeFileSync(fd, text)
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
    fs.renameSync(temporary, target.path)
    const directoryFd = fs.openSync(directory, 'r')
    try {
      fs.fsyncSync(directoryFd)
    } finally {
      fs.closeSync(directoryFd)
    }
  } catch (error) {
    fs.rmSync(temporary, { force: true })
    throw fileError('password-file-unwritable', 'the password file cannot be written', path, error)
  }
}

function fileError(code: string, message: string, path: string, cause: unknown): OperatorError {
  const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
  return new OperatorError(code, `${message}: ${reason}`, {
    place: { file: path },
    fix: 'check that the folder exists and who may write to it',
    cause,
  })
}
