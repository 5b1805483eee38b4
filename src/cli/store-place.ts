// Where the data of an instance is at the moment: with the process that runs it, or, when nothing runs, in its folder.
import { chownSync, existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { createSystemClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
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

/** Keeps every broker out of the folder while it works. @throws OperatorError `directory-locked` */
export async function withLock<Result>(dataDir: string, holder: string, work: () => Promise<Result>): Promise<Result> {
  const { lockDirectory } = await import('../fleet/directory-lock.ts')
  const { pid, platform } = process
  const clock = createSystemClock()
  const lock = await lockDirectory({ directory: dataDir, holder, key: 'dataDir', pid, platform, clock })
  try {
    return await work()
  } finally {
    lock.release()
  }
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
