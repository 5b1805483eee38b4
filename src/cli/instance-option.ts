// `-i NAME`: whose listeners, clients, sessions … a command is about.
import type { Command } from 'commander'
import { OperatorError } from '../base/errors.ts'
import type { MemberStatus } from '../fleet/fleet.ts'
import type { AdminClient } from './admin-client.ts'
import { type AdminFlags, addAdminOptions } from './admin-command.ts'
import { selectInstances } from './instance.ts'

export interface InstanceFlags extends AdminFlags {
  instance?: string
}

export function addInstanceCommand(group: Command, usage: string, description: string): Command {
  return addAdminOptions(group.command(usage))
    .description(description)
    .option('-i, --instance <name>', 'instance; not needed when there is only one')
}

/** Of a command that lists what several instances have. */
export function addInstancesCommand(group: Command, usage: string, description: string): Command {
  return addAdminOptions(group.command(usage))
    .description(description)
    .option('-i, --instance <name>', 'only of this instance; the name may hold * and ?')
}

/** The one that is meant. @throws OperatorError when there are several and none was named */
export async function oneInstance(admin: AdminClient, { instance }: InstanceFlags): Promise<string> {
  if (instance !== undefined) return instance
  const members = await admin.call<MemberStatus[]>('instances.list')
  if (members.length === 1) return members[0].name
  if (members.length === 0) {
    throw new OperatorError('no-such-instance', 'there is no instance', { fix: 'atoll instance create makes one' })
  }
  throw new OperatorError('usage', `there are ${members.length} instances, and this is about one`, {
    fix: 'name it with -i NAME',
  })
}

/** Those that are meant, by default all. @throws OperatorError when none fits */
export function someInstances(admin: AdminClient, { instance }: InstanceFlags): Promise<MemberStatus[]> {
  return instance === undefined ? admin.call<MemberStatus[]>('instances.list') : selectInstances(admin, [instance])
}
