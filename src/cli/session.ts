// `atoll session …`: what the broker keeps for clients, connected or not.
import { type Command, Option } from 'commander'
import { escapeText } from '../observe/log.ts'
import { openAdmin } from './admin-command.ts'
import { confirm } from './confirm.ts'
import { addInstanceCommand, type InstanceFlags, oneInstance } from './instance-option.ts'
import { oneByOne } from './one-by-one.ts'
import { addListCommand, type ListFlags, printList } from './paged-list.ts'
import { printRow } from './print-row.ts'

interface SessionListFlags extends ListFlags {
  prefix?: string
  connected?: true
  disconnected?: true
}

export function registerSession(program: Command): void {
  const session = program.command('session').description('list, show and delete sessions')
  addListCommand(session, 'list sessions, connected or not')
    .option('--prefix <text>', 'only those whose client identifier begins so')
    .option('--connected', 'only those with a connection')
    .addOption(new Option('--disconnected', 'only those without').conflicts('connected'))
    .action((flags: SessionListFlags) => {
      const { prefix, connected, disconnected } = flags
      return printList(
        'sessions.list',
        { prefix, connected: connected ?? (disconnected ? false : undefined) },
        [
          ['CLIENT', 'clientId'],
          ['CONNECTED', 'isConnected'],
          ['EXPIRY', 'expirySeconds'],
          ['ENDS IN', 'endsInSeconds'],
          ['SUBSCRIPTIONS', 'subscriptions'],
          ['INFLIGHT', 'inflight'],
          ['QUEUED', 'queuedMessages'],
          ['BYTES', 'queuedBytes'],
          ['DROPPED', 'droppedMessages'],
        ],
        flags,
      )
    })
  addInstanceCommand(session, 'show <client>', 'show one session').action(
    async (clientId: string, flags: InstanceFlags) => {
      const admin = openAdmin(flags)
      const instance = await oneInstance(admin, flags)
      printRow(await admin.call('sessions.show', { instance, params: { clientId } }), flags)
    },
  )
  addInstanceCommand(session, 'delete <client...>', 'end sessions: their subscriptions and waiting messages are lost')
    .option('-y, --yes', 'do not ask')
    .action(async (clientIds: string[], flags: InstanceFlags & { yes?: true }) => {
      const admin = openAdmin(flags)
      const instance = await oneInstance(admin, flags)
      await confirm(`delete the sessions of ${clientIds.join(', ')}`, flags.yes ?? false)
      await oneByOne(
        clientIds,
        flags,
        (clientId) => admin.call('sessions.delete', { instance, params: { clientId } }),
        (clientId) => `${escapeText(clientId)} deleted`,
      )
    })
}
