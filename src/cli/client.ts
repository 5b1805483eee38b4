// `atoll client …`: who is connected, over whatever kind of socket.
import { type Command, Option } from 'commander'
import { escapeText } from '../observe/log.ts'
import { openAdmin } from './admin-command.ts'
import { addInstanceCommand, type InstanceFlags, oneInstance } from './instance-option.ts'
import { oneByOne } from './one-by-one.ts'
import { addListCommand, type ListFlags, printList } from './paged-list.ts'
import { printRow } from './print-row.ts'

interface ClientListFlags extends ListFlags {
  listener?: string
  prefix?: string
  username?: string
  connected?: true
  disconnected?: true
}

export function registerClient(program: Command): void {
  const client = program.command('client').description('list, show and disconnect clients')
  addListCommand(client, 'list clients, connected or not')
    .option('--listener <name>', 'only those of this listener')
    .option('--prefix <text>', 'only those whose client identifier begins so')
    .option('--username <name>', 'only those of this user')
    .option('--connected', 'only those that are connected')
    .addOption(new Option('--disconnected', 'only those that are not').conflicts('connected'))
    .action((flags: ClientListFlags) => {
      const { listener, prefix, username, connected, disconnected } = flags
      const params = { listener, prefix, username, connected: connected ?? (disconnected ? false : undefined) }
      return printList(
        'clients.list',
        params,
        [
          ['CLIENT', 'clientId'],
          ['USER', 'username'],
          ['CONNECTED', 'isConnected'],
          ['PEER', 'peer'],
          ['LISTENER', 'listener'],
          ['MQTT', 'protocolVersion'],
          ['SUBSCRIPTIONS', 'subscriptions'],
          ['INFLIGHT', 'inflight'],
          ['QUEUED', 'queuedMessages'],
        ],
        flags,
      )
    })
  addInstanceCommand(client, 'show <client>', 'show one client and its peer').action(
    async (clientId: string, flags: InstanceFlags) => {
      const admin = openAdmin(flags)
      const instance = await oneInstance(admin, flags)
      printRow(await admin.call('clients.show', { instance, params: { clientId } }), flags)
    },
  )
  addInstanceCommand(
    client,
    'disconnect <client...>',
    'part with clients; their sessions stay as they asked for',
  ).action(async (clientIds: string[], flags: InstanceFlags) => {
    const admin = openAdmin(flags)
    const instance = await oneInstance(admin, flags)
    await oneByOne(
      clientIds,
      flags,
      (clientId) => admin.call('clients.disconnect', { instance, params: { clientId } }),
      (clientId) => `${escapeText(clientId)} disconnected`,
    )
  })
}
