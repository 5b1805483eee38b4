// Whether this host has the accounts and groups that a configuration names: owners of socket files, and under whom instances
// run. What such an account may do shows at the start only.
import { OperatorError } from '../base/errors.ts'
import type { LoadedFleet } from '../config/load-fleet.ts'
import { findGroupId, findUserId } from '../transport/accounts.ts'

type Kind = 'user' | 'group'

/** @returns a finding for each place that names an account which is not there */
export async function findUnknownAccounts(
  { fleet, findPlace }: Pick<LoadedFleet, 'fleet' | 'findPlace'>,
  platform: NodeJS.Platform,
): Promise<OperatorError[]> {
  const named = fleet.members.flatMap(({ config: { name, listeners }, user, group }) => [
    ...listeners.flatMap((listener) => [
      { kind: 'user' as const, account: listener.owner, instance: name, path: ['listeners', listener.name, 'owner'] },
      { kind: 'group' as const, account: listener.group, instance: name, path: ['listeners', listener.name, 'group'] },
    ]),
    { kind: 'user' as const, account: user, instance: name, path: ['user'] },
    { kind: 'group' as const, account: group, instance: name, path: ['group'] },
  ])
  // Each is asked for once, however many listeners name it.
  const answers = new Map<string, Promise<OperatorError | null>>()
  const findings: OperatorError[] = []
  for (const { kind, account, instance, path } of named) {
    if (account === null) continue
    const key = `${kind} ${account}`
    if (!answers.has(key)) answers.set(key, ask(kind, account, platform))
    const unknown = await answers.get(key)!
    if (unknown === null) continue
    const { code, message, fix } = unknown
    findings.push(new OperatorError(code, message, { place: findPlace(instance, path), fix: fix ?? undefined }))
  }
  return findings
}

async function ask(kind: Kind, account: string, platform: NodeJS.Platform): Promise<OperatorError | null> {
  const find = kind === 'user' ? findUserId : findGroupId
  try {
    await find(account, { platform, key: kind })
    return null
  } catch (error) {
    if (error instanceof OperatorError) return error
    throw error
  }
}
