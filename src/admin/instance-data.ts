// The data of an instance on its way to another one: a backup of what one keeps, and one that begins with a backup.
import { existsSync } from 'node:fs'
import { OperatorError } from '../base/errors.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import { lockDirectory } from '../fleet/directory-lock.ts'
import { findAccount, makeDataDirectory } from '../fleet/member-account.ts'
import type { TaskState } from '../instance/long-task.ts'
import type { AdminContext } from './admin-route.ts'

/** Writes what an instance keeps to a new file, whether it runs or not. @throws OperatorError */
export async function backupMember(
  context: AdminContext,
  { config, dataDir }: FleetMember,
  target: string,
  onProgress: (share: number) => void,
): Promise<void> {
  const { fleet } = context
  const { name } = config
  if (fleet.memberStatus(name)?.phase !== 'ready') {
    const { backupData, storedFile } = await import('../instance/stored-data.ts')
    await withLock(context, dataDir, async () => void (await backupData(storedFile(dataDir), target, { onProgress })))
    return
  }
  let state = (await fleet.call(name, 'store.backup', { file: target })) as TaskState
  while (!state.isDone) {
    onProgress(state.share)
    state = (await fleet.call(name, 'store.task', { task: state.task })) as TaskState
  }
}

/** Lets an instance that has never run begin with a backup. @throws OperatorError `data-exists` */
export async function beginWith(
  context: AdminContext,
  member: FleetMember,
  backup: string,
  onProgress: (share: number) => void,
): Promise<void> {
  const { config, dataDir } = member
  const { restoreData, storedFile } = await import('../instance/stored-data.ts')
  if (config.durability === 'memory') {
    throw new OperatorError('no-such-store', `${config.name} would keep nothing on disk`, {
      place: { key: 'durability' },
      fix: 'set durability: fsync, or create it without data',
    })
  }
  makeDataDirectory(dataDir, await findAccount(member, context.platform, context.uid))
  await withLock(context, dataDir, async () => {
    if (existsSync(storedFile(dataDir))) {
      throw new OperatorError('data-exists', 'there is data of an instance of that name already', {
        place: { file: storedFile(dataDir) },
        fix: 'move it away, or choose another name',
      })
    }
    await restoreData(backup, dataDir, context.clock, onProgress)
  })
}

async function withLock(context: AdminContext, directory: string, work: () => Promise<void>): Promise<void> {
  const { platform, clock, fleet } = context
  const { pid } = fleet.status()
  const options = { directory, holder: 'the daemon', isBrief: true, key: 'dataDir', pid, platform, clock }
  const lock = await lockDirectory(options)
  try {
    await work()
  } finally {
    lock.release()
  }
}
