// Where the data of an instance is at the moment: with the process that runs it, or, when nothing runs, in its folder.
import { chownSync, existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { createSystemClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import type { DirectoryLock } from '../fleet/directory-lock.ts'
import type { AccountKeys } from '../fleet/member-account.ts'
import type { AdminClient } from './admin-client.ts'
import { openAdmin } from './admin-command.ts'
import { type InstanceFlags, oneInstance } from './instance-option.ts'

export interface StoreFlags extends InstanceFlags {
  config?: string
  file?: string
}

/** What is needed of it; keys that are as by default are left out of `config`. */
interface ShownInstance extends Pick<AccountKeys, 'isolation'> {
  phase: string
  dataDir: string
  config: Partial<AccountKeys>
}

export type StorePlace =
  | { kind: 'running'; name: string; admin: AdminClient }
  | { kind: 'stopped'; name: string; dataDir: string; account: AccountKeys }

/** @throws OperatorError when it can't be told which instance is meant */
export async function findStore(flags: StoreFlags): Promise<StorePlace> {
  // A configuration that was named may be that of another fleet than the one that runs: its folders count, and their locks.
  if (flags.config !== undefined) return readPlace(flags)
  const admin = openAdmin(flags)
  try {
    const name = await oneInstance(admin, flags)
    const { phase, dataDir, isolation, config } = await admin.call<ShownInstance>('instances.show', { instance: name })
    if (phase === 'ready') return { kind: 'running', name, admin }
    const { user = null, group = null } = config
    return { kind: 'stopped', name, dataDir, account: { isolation, user, group } }
  } catch (error) {
    if (error instanceof OperatorError && error.code === 'daemon-not-running') return readPlace(flags)
    throw error
  }
}

async function readPlace({ config, instance }: StoreFlags): Promise<StorePlace> {
  const { readFleet } = await import('./read-config.ts')
  const { members } = readFleet({ config, listen: [], set: [] }).fleet
  const member =
    instance === undefined && members.length === 1 ? members[0] : members.find((one) => one.config.name === instance)
  if (member !== undefined)
    return { kind: 'stopped', name: member.config.name, dataDir: member.dataDir, account: member }
  if (instance !== undefined) {
    throw new OperatorError('no-such-instance', `the configuration describes no instance ${instance}`, {
      fix: 'name the file with -c',
    })
  }
  throw new OperatorError('usage', `there are ${members.length} instances, and this is about one`, {
    fix: 'name it with -i NAME',
  })
}

/** Keeps every broker out of the folder while it works. @throws OperatorError `directory-locked`, `directory-busy` */
export async function withLock<Result>(dataDir: string, holder: string, work: () => Promise<Result>): Promise<Result> {
  const lock = await lockFolder(dataDir, holder)
  try {
    return await work()
  } finally {
    lock.release()
  }
}

/**
 * The same for work that only reads, also in a folder that cannot be written, as on a medium that is mounted so. A lock cannot be
 * made there, but that of a broker is seen, and one that comes by another mount while it reads is found by what it has written.
 * @throws OperatorError `directory-locked`, `directory-busy`; `store-changed` when what was read counts for nothing
 */
export async function whileUnused<Result>(
  dataDir: string,
  holder: string,
  work: (file: string) => Promise<Result>,
): Promise<Result> {
  const { storedFile } = await import('../instance/stored-data.ts')
  const file = storedFile(dataDir)
  let lock: DirectoryLock | null = null
  try {
    lock = await lockFolder(dataDir, holder)
  } catch (error) {
    if (!isUnwritable(error)) throw error
  }
  const before = lock === null ? stateOf(file) : null
  try {
    const result = await work(file)
    if (lock === null && stateOf(file) !== before) {
      throw new OperatorError('store-changed', 'something wrote to the store while it was read', {
        place: { file },
        fix: 'a broker runs on it by another mount: ask that one, or stop it first',
      })
    }
    return result
  } finally {
    lock?.release()
  }
}

async function lockFolder(directory: string, holder: string): Promise<DirectoryLock> {
  const { lockDirectory } = await import('../fleet/directory-lock.ts')
  const { pid, platform } = process
  return lockDirectory({ directory, holder, isBrief: true, key: 'dataDir', pid, platform, clock: createSystemClock() })
}

/** Whether there may be no new file in a folder in which nobody was found to have the lock. */
function isUnwritable(error: unknown): boolean {
  if (!(error instanceof OperatorError) || error.code !== 'listen-failed') return false
  return ['EROFS', 'EACCES', 'EPERM'].includes((error.cause as NodeJS.ErrnoException | undefined)?.code ?? '')
}

/** Changes with every transaction. */
function stateOf(file: string): string | null {
  const stats = statSync(file, { bigint: true, throwIfNoEntry: false })
  return stats === undefined ? null : `${stats.ino} ${stats.size} ${stats.mtimeNs}`
}

/** Root restores for the account of the instance, or for that which has the folder above. @throws OperatorError */
export async function makeDataDirectory(dataDir: string, keys: AccountKeys): Promise<void> {
  if (process.getuid?.() === 0 && (keys.user !== null || keys.group !== null)) {
    const { findAccount, makeDataDirectory: makeForAccount } = await import('../fleet/member-account.ts')
    makeForAccount(dataDir, await findAccount(keys, process.platform, 0))
  }
  if (existsSync(dataDir)) return
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const { uid, gid } = statSync(dirname(dataDir))
  if (uid !== statSync(dataDir).uid) chownSync(dataDir, uid, gid)
}
