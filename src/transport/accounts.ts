// Names of accounts and groups to numbers, for the owner of a socket file. Node has no call for it, so the files are
// read and then the tools of the system asked, which also know accounts from directories. Knows no socket.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { OperatorError } from '../base/errors.ts'

export interface AccountOptions {
  platform: NodeJS.Platform
  /** Configuration key that named the account, for the error. */
  key: string
  /** Where passwd and group stand. */
  directory?: string
}

const nameForm = /^[A-Za-z_][A-Za-z0-9_.@-]{0,255}\$?$/
const highestId = 0xfffffffe
const toolTimeLimitMs = 5000

/**
 * The number of an account, given by name or number.
 * @throws OperatorError `unknown-account`
 */
export function findUserId(account: string, options: AccountOptions): Promise<number> {
  return find(account, options, 'passwd', 'account', ['id', '-u', account])
}

/**
 * The number of a group, given by name or number.
 * @throws OperatorError `unknown-account`
 */
export function findGroupId(group: string, options: AccountOptions): Promise<number> {
  // macOS has no tool that gives one group's number plainly; /etc/group holds the groups of the system there.
  return find(group, options, 'group', 'group', options.platform === 'linux' ? ['getent', 'group', group] : null)
}

async function find(
  name: string,
  options: AccountOptions,
  file: 'passwd' | 'group',
  noun: string,
  tool: string[] | null,
): Promise<number> {
  if (/^\d{1,10}$/.test(name) && Number(name) <= highestId) return Number(name)
  if (nameForm.test(name)) {
    const text = await readFile(`${options.directory ?? '/etc'}/${file}`, 'utf8').catch(() => '')
    const id = idInAccountFile(text, name) ?? (tool === null ? null : await idFromTool(tool, name))
    if (id !== null) return id
  }
  throw new OperatorError('unknown-account', `this machine has no ${noun} ${JSON.stringify(name)}`, {
    place: { key: options.key },
    fix: `create the ${noun}, or give an existing one by name or number`,
  })
}

/** The number of `name` in the text of /etc/passwd or /etc/group: both have it in the third field. */
export function idInAccountFile(text: string, name: string): number | null {
  for (const line of text.split('\n')) {
    const fields = line.split(':')
    if (fields[0] === name && /^\d{1,10}$/.test(fields[2] ?? '') && Number(fields[2]) <= highestId)
      return Number(fields[2])
  }
  return null
}

function idFromTool(command: string[], name: string): Promise<number | null> {
  return new Promise((resolve) => {
    execFile(command[0], command.slice(1), { timeout: toolTimeLimitMs }, (error, output) => {
      if (error !== null) return resolve(null)
      const plain = output.trim()
      resolve(/^\d{1,10}$/.test(plain) ? Number(plain) : idInAccountFile(output, name))
    })
  })
}
