// `atoll retained …`: the last message of each topic that is kept for newcomers.
import { isUtf8 } from 'node:buffer'
import type { Command } from 'commander'
import { OperatorError } from '../base/errors.ts'
import { openAdmin, printJson, printLine } from './admin-command.ts'
import { confirm } from './confirm.ts'
import { addInstanceCommand, type InstanceFlags, oneInstance } from './instance-option.ts'
import { addListCommand, type ListFlags, printList } from './paged-list.ts'
import { printRow } from './print-row.ts'

interface Message {
  payload: string
}

export function registerRetained(program: Command): void {
  const retained = program.command('retained').description('list, show and delete retained messages')
  addListCommand(retained, 'list retained messages')
    .option('--filter <filter>', 'only those whose topic matches')
    .action((flags: ListFlags & { filter?: string }) =>
      printList(
        'retained.list',
        { filter: flags.filter },
        [
          ['TOPIC', 'topic'],
          ['QOS', 'qos'],
          ['BYTES', 'payloadBytes'],
          ['EXPIRES IN', 'expiresInSeconds'],
        ],
        flags,
      ),
    )
  addInstanceCommand(retained, 'get <topic>', 'show the retained message of a topic; with --json its payload is Base64')
    .option('--raw', 'print the payload and nothing else')
    .action(get)
  addInstanceCommand(retained, 'delete [topic]', 'delete the retained message of a topic, or all that match a filter')
    .option('--filter <filter>', 'all whose topic matches')
    .option('-y, --yes', 'do not ask')
    .action(remove)
}

async function get(topic: string, flags: InstanceFlags & { raw?: true }): Promise<void> {
  const admin = openAdmin(flags)
  const instance = await oneInstance(admin, flags)
  const message = await admin.call<Message>('retained.get', { instance, params: { topic } })
  const payload = Buffer.from(message.payload, 'base64')
  if (flags.raw) process.stdout.write(payload)
  else if (flags.json) printJson(message)
  else printRow({ ...message, payload: isUtf8(payload) ? payload.toString() : `(Base64) ${message.payload}` }, flags)
}

async function remove(
  topic: string | undefined,
  flags: InstanceFlags & { filter?: string; yes?: true },
): Promise<void> {
  const { filter } = flags
  if ((topic === undefined) === (filter === undefined)) {
    throw new OperatorError('usage', 'give either a topic or --filter')
  }
  const admin = openAdmin(flags)
  const instance = await oneInstance(admin, flags)
  if (filter !== undefined) await confirm(`delete all retained messages of ${filter}`, flags.yes ?? false)
  const result = await admin.call<{ deleted: number }>('retained.delete', { instance, params: { topic, filter } })
  if (flags.json) printJson(result)
  else printLine(`${result.deleted} deleted`)
}
