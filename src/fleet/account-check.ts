// Whether this host has the accounts and groups that a configuration names: owners of socket files, and under whom instances
// run. What such an account may do shows at the start only.
import { OperatorError } from '../base/errors.ts'
import type { LoadedFleet } from '../config/load-fleet.ts'
import type { NamedAccount } from '../config/named-things.ts'
import { findGroupId, findUserId } from '../transport/accounts.ts'

/** @returns a finding for each place that names an account which is not there */
export function findUnknownAccounts(
  { fleet, findPlace }: Pick<LoadedFleet, 'fleet' | 'findPlace'>,
  platform: NodeJS.Platform,
): Promise<OperatorError[]> {
  const named: NamedAccount[] = []
  for (const { config, user, group } of fleet.members) {
    const add = (kind: NamedAccount['kind'], account: string | null, path: readonly string[]) => {
      if (account !== null) named.push({ kind, account, place: findPlace(config.name, path) })
    }
    for (const listener of config.listeners) {
      add('user', listener.owner, ['listeners', listener.name, 'owner'])
      add('group', listener.group, ['listeners', listener.name, 'group'])
    }
    add('user', user, ['user'])
    add('group', group, ['group'])
  }
  return findUnknown(named, platform)
}

/** The same for accounts that a faulty configuration names. */
export async function findUnknown(named: readonly NamedAccount[], platform: NodeJS.Platform): Promise<OperatorError[]> {
  // Each is asked for once, however many listeners name it.
  const answers = new Map<string, Promise<OperatorError | null>>()
  const findings: OperatorError[] = []
  for (const { kind, account, place } of named) {
    const key = `${kind} ${account}`
    if (!answers.has(key)) answers.set(key, ask(kind, account, platform))
    const unknown = await answers.get(key)!
    if (unknown === null) continue
    const { code, message, fix } = unknown
    findings.push(new OperatorError(code, message, { place, fix: fix ?? undefined }))
  }
  return findings
}

async function ask(
  kind: NamedAccount['kind'],
  account: string,
  platform: NodeJS.Platform,
): Promise<OperatorError | null> {
  const find = kind === 'user' ? findUserId : findGroupId
  try {
    await find(account, { platform, key: kind })
    return null
  } catch (error) {
    if (error instanceof OperatorError) return error
    throw error
  }
}
