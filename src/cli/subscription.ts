// `atoll subscription list`: who gets what.
import type { Command } from 'commander'
import { addListCommand, type ListFlags, printList } from './paged-list.ts'

export function registerSubscription(program: Command): void {
  const subscription = program.command('subscription').description('list subscriptions')
  addListCommand(subscription, 'list subscriptions: all, of a client, or to a filter')
    .option('--client <client>', 'only those of this client')
    .option('--filter <filter>', 'only those to exactly this filter')
    .action((flags: ListFlags & { client?: string; filter?: string }) =>
      printList(
        'subscriptions.list',
        { clientId: flags.client, filter: flags.filter },
        [
          ['CLIENT', 'clientId'],
          ['FILTER', 'filter'],
          ['QOS', 'qos'],
          ['NO LOCAL', 'noLocal'],
        ],
        flags,
      ),
    )
}
