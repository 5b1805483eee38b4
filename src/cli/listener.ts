// `atoll listener …`: the listeners of running instances.
import type { Command } from 'commander'
import { OperatorError } from '../base/errors.ts'
import type { ListenerStatus } from '../fleet/fleet.ts'
import { type AdminFlags, openAdmin, printJson, printLine, printTable } from './admin-command.ts'
import { counted } from './counted.ts'
import {
  addInstanceCommand,
  addInstancesCommand,
  type InstanceFlags,
  oneInstance,
  someInstances,
} from './instance-option.ts'
import { oneByOne } from './one-by-one.ts'
import { formatPairs } from './table.ts'
import { readArguments } from './usage-error.ts'

interface ListenerRow extends ListenerStatus {
  instance: string
}

interface ListenerDetails extends ListenerRow {
  isStatic: boolean
  accepted: number
  refusedOverLimit: number
  throttled: number
  acceptErrors: number
  settings: Record<string, unknown>
}

/** Options that are keys of a listener. */
const keyOptions = [
  ['--mode <octal>', 'mode', 'UNIX sockets: permission bits of the socket file, as 0660'],
  ['--owner <account>', 'owner', 'UNIX sockets: owner of the socket file'],
  ['--group <account>', 'group', 'UNIX sockets: group of the socket file'],
  ['--protocols <list>', 'protocols', 'versions of MQTT, as 3.1.1,5'],
  ['--anonymous <flag>', 'anonymous', 'whether clients may connect without a user name: true or false'],
  ['--max-connections <number>', 'maxConnections', 'connections at one time'],
  ['--mount-point <text>', 'mountPoint', 'put before every topic of its clients'],
] as const

type KeyFlags = Partial<Record<(typeof keyOptions)[number][1], string>>

export function registerListener(program: Command): void {
  const listener = program
    .command('listener')
    .description('list, start, stop and delete listeners while the broker runs')
  const add = (usage: string, description: string) => addInstanceCommand(listener, usage, description)

  addInstancesCommand(listener, 'list', 'list the listeners of all instances').action(list)
  add('show <name>', 'show one listener').action(show)
  const start = add(
    'start <words...>',
    'start a new listener, address=local:/tmp/x.sock port=0 or unix:///tmp/x.sock, or a stopped one by its name',
  )
    .option('--name <name>', 'its name (default: made of the address)')
    .option('--save', 'keep it for the next start of the daemon')
  for (const [flags, , description] of keyOptions) start.option(flags, description)
  start.action(startOne)
  for (const verb of ['stop', 'delete'] as const) {
    add(`${verb} <name...>`, verb === 'stop' ? 'accept no more; it can be started again' : 'stop and forget listeners')
      .option('--disconnect', 'end its connections as well')
      .action((names: string[], flags: InstanceFlags & { disconnect?: true }) => end(verb, names, flags))
  }
}

async function list(flags: InstanceFlags): Promise<void> {
  const members = await someInstances(openAdmin(flags), flags)
  const rows = members.flatMap(({ name: instance, listeners }) =>
    listeners.map((listener): ListenerRow => ({ instance, ...listener })),
  )
  if (flags.json) printJson(rows)
  else {
    printTable(
      ['INSTANCE', 'NAME', 'ADDRESS', 'PHASE', 'CONNECTIONS'],
      rows.map(({ instance, name, address, phase, connections }) => [instance, name, address, phase, connections]),
    )
  }
}

async function show(name: string, flags: InstanceFlags): Promise<void> {
  const admin = openAdmin(flags)
  const instance = await oneInstance(admin, flags)
  printDetails(await admin.call<ListenerDetails>('listeners.show', { instance, params: { name } }), flags)
}

async function startOne(
  words: string[],
  flags: InstanceFlags & KeyFlags & { name?: string; save?: true },
): Promise<void> {
  const { readListenerWords } = await import('./listener-arguments.ts')
  const options = keyOptions.flatMap(([, key]) => (flags[key] === undefined ? [] : [`${key}=${flags[key]}`]))
  const name = flags.name === undefined ? [] : [`name=${flags.name}`]
  const params = {
    ...readArguments(() => readListenerWords([...words, ...name, ...options])),
    save: flags.save ?? false,
  }
  const admin = openAdmin(flags)
  const instance = await oneInstance(admin, flags)
  const started = await admin.call<ListenerDetails>('listeners.start', { instance, params }).catch(withOwnFix)
  if (flags.json) printJson(started)
  else printLine(`${started.name} ${started.phase} ${started.address}`)
}

async function end(
  verb: 'stop' | 'delete',
  names: string[],
  flags: InstanceFlags & { disconnect?: true },
): Promise<void> {
  const admin = openAdmin(flags)
  const instance = await oneInstance(admin, flags)
  const act = (name: string) => {
    const params = { name, connections: flags.disconnect ?? false }
    return admin.call<EndedListener>(`listeners.${verb}`, { instance, params })
  }
  await oneByOne(names, flags, act, (name, result) => {
    const count = flags.disconnect ? result.disconnected : result.connections
    const what = `${counted(count, 'connection')} ${flags.disconnect ? 'ended' : 'left open'}`
    const line = `${name} ${verb === 'stop' ? 'stopped' : 'deleted'}${count > 0 ? `, ${what}` : ''}`
    return result.isDescribed ? `${line}\nthe configuration describes it: it comes back with the next reload` : line
  })
}

/** What a file would call `listeners.NAME.anonymous` is an option here. */
function withOwnFix(error: unknown): never {
  if (!(error instanceof OperatorError) || error.code !== 'needs-authentication') throw error
  const { code, message, place } = error
  const fix = 'set auth.passwords of the instance, or give --anonymous true to let everyone in'
  throw new OperatorError(code, message, { place: place ?? undefined, fix })
}

interface EndedListener extends ListenerRow {
  disconnected: number
  isDescribed?: boolean
}

function printDetails(details: ListenerDetails, flags: AdminFlags): void {
  if (flags.json) printJson(details)
  else {
    const { settings, ...own } = details
    process.stdout.write(
      formatPairs(
        [...Object.entries(own), ...Object.entries(settings).filter(([key]) => key !== 'address')].map(pairOf),
      ),
    )
  }
}

function pairOf([key, value]: [string, unknown]): [string, string | number | boolean | null] {
  if (Array.isArray(value)) return [key, value.join(', ')]
  return [key, value as string | number | boolean | null]
}
