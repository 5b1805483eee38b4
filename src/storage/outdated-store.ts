// A store that clients have gone on without: its instance ran with `durability: memory` meanwhile, or a backup brought it back. A note
// beside it says so until it is opened. Loads no engine.
import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { isNoSpace } from '../base/no-space.ts'
import { Slices } from '../base/slices.ts'
import type { Store, StoredSession } from './store.ts'

export const fileName = 'store.mdb'
/** Says which file it means, because a crash may leave it beside another one; empty, whatever file is there. */
const noteName = 'store.outdated'

/**
 * To be called before the first client goes on without it.
 * @param path where the file is at the moment
 * @returns path of the note; null when there is no such file
 */
export function markOutdated(directory: string, path = join(directory, fileName)): string | null {
  const identity = identityOf(path)
  if (identity === null) return null
  const note = join(directory, noteName)
  const descriptor = openSync(note, 'w', 0o600)
  try {
    tell(descriptor, identity)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
  return note
}

function tell(descriptor: number, identity: string): void {
  try {
    writeFileSync(descriptor, identity)
  } catch (error) {
    // The empty note took no room.
    if (!isNoSpace(error)) throw error
    ftruncateSync(descriptor, 0)
  }
}

export function isOutdated(directory: string): boolean {
  try {
    const identity = readFileSync(join(directory, noteName), 'utf8')
    return identity === '' || identity === identityOf(join(directory, fileName))
  } catch {
    return false
  }
}

export function clearOutdated(directory: string): void {
  rmSync(join(directory, noteName), { force: true })
}

/**
 * Packet Identifiers of QoS 2 messages: their publishers have gone on, and use them for other messages by now,
 * which would be taken for those that came before, acknowledged and lost. A message that comes twice is the lesser evil.
 */
export async function forgetInbound(store: Store, clock: Clock, signal: AbortSignal | undefined): Promise<void> {
  await new Slices(clock, { signal }).each<StoredSession>(
    (last) => store.sessions(last?.session.sessionNumber),
    ({ session, inbound }) => {
      for (const packetId of inbound) store.deleteInbound(session.sessionNumber, packetId)
    },
  )
  await store.flush()
}

function identityOf(path: string): string | null {
  // Not its device: the number of that may be another one after the next boot.
  return statSync(path, { throwIfNoEntry: false, bigint: true })?.ino.toString() ?? null
}
