// The account under which an instance's process runs, and the folders that it needs, made for that account.
import { execFile } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import { isNoSpace, noSpace } from '../base/no-space.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import { findGroupId, findUserId } from '../transport/accounts.ts'

/** What decides under which account an instance runs. */
export type AccountKeys = Pick<FleetMember, 'isolation' | 'user' | 'group'>

/** null leaves that of the daemon. */
export interface MemberAccount {
  uid: number | null
  gid: number | null
}

const toolTimeLimitMs = 5000

/** @throws OperatorError `unknown-account`, `account-not-permitted` */
export async function findAccount(
  keys: AccountKeys,
  platform: NodeJS.Platform,
  ownUid: number,
): Promise<MemberAccount> {
  const { user, group, isolation } = keys
  if (isolation !== 'process' || (user === null && group === null)) return { uid: null, gid: null }
  const uid = user === null ? null : await findUserId(user, { platform, key: 'user' })
  // Never the daemon's own group for another account.
  const gid = group === null ? await primaryGroup(user!) : await findGroupId(group, { platform, key: 'group' })
  if (ownUid === 0) return { uid, gid }
  throw new OperatorError('account-not-permitted', 'only root may run an instance under another account', {
    place: { key: user === null ? 'group' : 'user' },
    fix: 'run the daemon as root, or leave user and group out',
  })
}

function primaryGroup(user: string): Promise<number> {
  return new Promise((resolve, reject) => {
    execFile('id', ['-g', '--', user], { timeout: toolTimeLimitMs }, (error, text) => {
      if (error === null && /^\d+\n$/.test(text)) resolve(Number(text))
      else {
        reject(
          new OperatorError('unknown-account', `the group of the account ${JSON.stringify(user)} is not known`, {
            place: { key: 'user' },
            fix: 'give the group as well',
          }),
        )
      }
    })
  })
}

/**
 * @param hasLog whether the instance writes a log file
 * @throws OperatorError `directory-missing`
 */
export function makeDirectories(member: FleetMember, account: MemberAccount, hasLog: boolean): void {
  makeFor(account, member.dataDir, 0o700, 'dataDir')
  if (hasLog) makeFor(account, member.logDir, 0o750, 'logDir')
}

/**
 * For data that is there before its instance starts: what is put into the folder belongs to its owner. One that holds something is
 * left as it is.
 * @throws OperatorError `directory-missing`
 */
export function makeDataDirectory(dataDir: string, account: MemberAccount): void {
  if (!existsSync(dataDir) || readdirSync(dataDir).length === 0) makeFor(account, dataDir, 0o700, 'dataDir')
}

function makeFor({ uid, gid }: MemberAccount, directory: string, mode: number, key: string): void {
  try {
    const parent = dirname(directory)
    const first = mkdirSync(parent, { recursive: true, mode: 0o755 })
    // The umask of the daemon must not keep the account from getting there.
    if (first !== undefined && uid !== null) {
      for (let made = parent; made.length >= first.length; made = dirname(made)) chmodSync(made, 0o755)
    }
    if (mkdirSync(directory, { recursive: true, mode }) !== undefined) chmodSync(directory, mode)
    if (uid !== null || gid !== null) chownSync(directory, uid ?? -1, gid ?? -1)
  } catch (error) {
    if (isNoSpace(error)) {
      throw new OperatorError(noSpace, `the directory ${directory} cannot be made: no space left on its file system`, {
        place: { key },
        fix: `make room there, or name another ${key}`,
        cause: error,
      })
    }
    throw new OperatorError(
      'directory-missing',
      `the directory ${directory} cannot be made: ${(error as Error).message}`,
      {
        place: { key },
        fix: `create it for the account of the instance, or name another ${key}`,
        cause: error,
      },
    )
  }
}

/**
 * Makes the folders directly below the run directory in which the sockets of an account lie, since it may not do so itself.
 * Those that are there stay as they are.
 * @throws OperatorError `directory-missing`
 */
export function makeSocketFolders(member: FleetMember, { uid, gid }: MemberAccount, runDir: string): void {
  if (uid === null) return
  for (const { name, address } of member.config.listeners) {
    if (!address.startsWith('unix:/')) continue
    const [first, ...rest] = relative(runDir, address.slice('unix://'.length)).split(sep)
    if (first === undefined || first === '..' || rest.length === 0) continue
    const folder = join(runDir, first)
    try {
      mkdirSync(folder)
      chmodSync(folder, 0o755)
      chownSync(folder, uid, gid ?? -1)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue
      const message = `the directory ${folder} cannot be made: ${(error as Error).message}`
      throw new OperatorError('directory-missing', message, {
        place: { key: `listeners.${name}.address` },
        cause: error,
      })
    }
  }
}
