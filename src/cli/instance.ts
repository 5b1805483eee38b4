// `atoll instance …`: the instances of the running fleet, by name or pattern.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { OperatorError } from '../base/errors.ts'
import type { MemberChange, MemberStatus } from '../fleet/fleet.ts'
import { escapeText } from '../observe/log.ts'
import type { AdminClient } from './admin-client.ts'
import { type AdminFlags, addAdminOptions, openAdmin, printJson, printLine } from './admin-command.ts'
import { exitCodes } from './exit-codes.ts'
import { instanceLogLevelDescription, setInstanceLogLevel } from './loglevel.ts'
import { oneByOne } from './one-by-one.ts'
import { readableTimes } from './readable-times.ts'
import { describeLine, findingsOf, reportError } from './report-error.ts'
import { selectNames } from './select-names.ts'
import { UsageError } from './usage-error.ts'
import { wholeNumber } from './whole-number.ts'

interface SelectFlags extends AdminFlags {
  all?: true
}

/** Instances that are started or stopped at one time. */
const atOneTime = 8

export function registerInstance(program: Command): void {
  const instance = program.command('instance').description('list, create, start, stop and delete instances')
  const add = (usage: string, description: string) => addAdminOptions(instance.command(usage)).description(description)

  add('list [name...]', 'list the instances; names may hold * and ?').action(list)
  add('show <name>', 'show one instance with its configuration').action(show)
  add('create <name> [setting...]', 'create an instance; settings are keys and variables, as port=1885')
    .option('--template <name>', 'template to make it from')
    .option('--save', 'keep it for the next start of the daemon')
    .action(create)
  add('clone <name> <new> [listener=address...]', 'create an instance like another one, with addresses of its own')
    .option('--save', 'keep it for the next start of the daemon')
    .option('--with-data', 'begin with all that the other one keeps on disk')
    .action(clone)
  for (const verb of ['start', 'stop', 'restart'] as const) {
    add(`${verb} [name...]`, `${verb} instances; names may hold * and ?`)
      .option('--all', 'all instances')
      .option('--wait', 'return when it is done (the default)')
      .option('--no-wait', 'return at once')
      .action((names: string[], flags: SelectFlags & { wait?: boolean }) =>
        forEach(names, flags, (admin, name) =>
          admin.call<MemberStatus>(`instances.${verb}`, { instance: name, params: { wait: flags.wait !== false } }),
        ),
      )
  }
  add('reload [name...]', 'apply what the configuration says of these instances')
    .option('--all', 'all instances')
    .action(reload)
  add('delete <name...>', 'stop and forget instances that were created by a command; their data is kept')
    .option('--purge', 'delete their data as well')
    .option('-y, --yes', 'do not ask')
    .action(remove)
  add('export <name> [file]', 'write the whole configuration of an instance, to be imported or included')
    .option('--with-data', 'write what it keeps on disk to FILE.data beside it')
    .action(exportOne)
  add('import <file> [listener=address...]', 'create the instances of a file that export has written')
    .option('--name <name>', 'another name, when the file holds one instance')
    .option('--with-data', 'begin with what is in FILE.data, when the file holds one instance')
    .option('--save', 'keep them for the next start of the daemon')
    .action(importFile)
  add('loglevel <words...>', instanceLogLevelDescription)
    .usage('[options] [name...] <level>')
    .option('--all', 'all instances')
    .action((words: string[], flags: SelectFlags) =>
      setInstanceLogLevel(words, flags, (names) => chosen(openAdmin(flags), names, flags)),
    )
  add('logs <name...>', 'print the log of instances; with --json an object with instance and line for each line')
    .option('-f, --follow', 'go on with what is written from now on')
    .option('-n, --lines <number>', 'so many of the last lines', wholeNumber(0, 1_000_000), 20)
    .action(logs)
}

/** The instances that are meant. @throws OperatorError when one does not exist */
export async function selectInstances(admin: AdminClient, patterns: readonly string[]): Promise<MemberStatus[]> {
  const members = await admin.call<MemberStatus[]>('instances.list')
  const names = await selectNames(
    patterns,
    members.map(({ name }) => name),
    'instance',
  )
  return members.filter(({ name }) => names.has(name))
}

async function list(names: string[], flags: AdminFlags): Promise<void> {
  const members = await selectOrAll(openAdmin(flags), names)
  if (flags.json) printJson(members)
  else (await import('./status.ts')).printInstances(members)
}

async function selectOrAll(admin: AdminClient, patterns: readonly string[]): Promise<MemberStatus[]> {
  return patterns.length > 0 ? selectInstances(admin, patterns) : admin.call<MemberStatus[]>('instances.list')
}

async function show(name: string, flags: AdminFlags): Promise<void> {
  const shown = await openAdmin(flags).call<object>('instances.show', { instance: name })
  if (flags.json) printJson(shown)
  else await printYaml(Object.fromEntries(readableTimes(shown)))
}

async function create(
  name: string,
  settings: string[],
  flags: AdminFlags & { template?: string; save?: true },
): Promise<void> {
  const { readSettings } = await import('./setting-arguments.ts')
  const params = { name, template: flags.template ?? null, settings: readSettings(settings), save: flags.save ?? false }
  printState(await openAdmin(flags).call<MemberStatus>('instances.create', { params }), flags)
}

async function clone(
  name: string,
  newName: string,
  addresses: string[],
  flags: AdminFlags & { save?: true; withData?: true },
): Promise<void> {
  const { readSettings } = await import('./setting-arguments.ts')
  const { save = false, withData = false } = flags
  const params = { name: newName, listeners: readSettings(addresses), save, withData }
  const admin = openAdmin(flags)
  const { showWork } = await import('./follow-work.ts')
  const cloned = admin.call<MemberStatus>('instances.clone', { instance: name, params })
  printState(await showWork(admin, 'clone', newName, cloned), flags)
}

async function reload(names: string[], flags: SelectFlags): Promise<void> {
  const admin = openAdmin(flags)
  const changes: MemberChange[] = []
  const told = new Set<string>()
  for (const { name } of await chosen(admin, names, flags)) {
    try {
      changes.push(await admin.call<MemberChange>('instances.reload', { instance: name }))
    } catch (error) {
      const fault = isRejection(error) ? new OperatorError(error.code, `${name}: ${error.message}`) : error
      // A file that is wrong is so for all of them.
      const text = fault instanceof OperatorError ? findingsOf(fault).map(describeLine).join('\n') : String(fault)
      if (!told.has(text)) process.exitCode = reportError(fault)
      told.add(text)
    }
  }
  if (changes.length === 0 && !flags.json) return
  const { printChanges } = await import('./apply.ts')
  printChanges(changes, flags)
}

function isRejection(error: unknown): error is OperatorError {
  return error instanceof OperatorError && error.code === 'rejected'
}

async function remove(patterns: string[], flags: AdminFlags & { purge?: true; yes?: true }): Promise<void> {
  const admin = openAdmin(flags)
  const names = (await selectInstances(admin, patterns)).map(({ name }) => name)
  const { confirm } = await import('./confirm.ts')
  const what = names.length === 1 ? `the instance ${names[0]}` : `the instances ${names.join(', ')}`
  await confirm(`delete ${what}${flags.purge ? ' and all data' : ''}`, flags.yes ?? false)
  const params = { purge: flags.purge ?? false }
  await oneByOne(
    names,
    flags,
    (name) => admin.call<{ dataDir: string }>('instances.delete', { instance: name, params }),
    (name, { dataDir }) => `${name} deleted${flags.purge ? '' : `, its data is kept in ${escapeText(dataDir)}`}`,
  )
}

async function exportOne(
  name: string,
  file: string | undefined,
  flags: AdminFlags & { withData?: true },
): Promise<void> {
  if (flags.withData && file === undefined) throw new UsageError('--with-data needs a file')
  const { settings } = await openAdmin(flags).call<{ settings: unknown }>('instances.export', { instance: name })
  const { safeJson } = await import('../admin/safe-json.ts')
  const { stringify } = await import('yaml')
  const document = { instances: { [name]: settings } }
  const text = flags.json ? `${safeJson(document, 2)}\n` : stringify(document)
  if (file === undefined) process.stdout.write(text)
  else {
    try {
      writeFileSync(file, text, { flag: 'wx', mode: 0o600 })
    } catch (error) {
      const { expectFolderOf } = await import('../instance/stored-data.ts')
      expectFolderOf(resolve(file))
      throw new OperatorError('cannot-write', (error as Error).message, { place: { file } })
    }
    if (flags.withData) {
      const { backup } = await import('./backup.ts')
      try {
        await backup(`${file}.data`, { ...flags, instance: name })
      } catch (error) {
        // Without the data it would be taken for the whole.
        rmSync(file, { force: true })
        throw error
      }
    }
    if (!flags.json) printLine(`${name} exported to ${escapeText(file)}`)
  }
}

async function importFile(
  file: string,
  addresses: string[],
  flags: AdminFlags & { name?: string; save?: true; withData?: true },
): Promise<void> {
  const instances = await readInstances(file)
  if ((flags.name !== undefined || flags.withData || addresses.length > 0) && instances.length !== 1) {
    throw new UsageError(
      `${file} holds ${instances.length} instances, and --name, --with-data and addresses of listeners are about one`,
    )
  }
  const { readSettings } = await import('./setting-arguments.ts')
  const { showWork } = await import('./follow-work.ts')
  const { withAddresses } = await import('./imported-listeners.ts')
  const given = new Map(Object.entries(readSettings(addresses)).map(([name, value]) => [name, String(value)]))
  const admin = openAdmin(flags)
  const states: MemberStatus[] = []
  for (const [name, settings] of instances) {
    const newName = flags.name ?? name
    const own = withAddresses(settings, given, name, newName)
    const params = {
      name: newName,
      // Under another name it has folders of its own.
      settings: newName === name ? own : { ...(own as object), dataDir: undefined, logDir: undefined },
      save: flags.save ?? false,
      data: flags.withData ? resolve(`${file}.data`) : null,
    }
    const created = admin.call<MemberStatus>('instances.create', { params })
    states.push(await showWork(admin, 'import', params.name, created))
    if (!flags.json) printState(states.at(-1)!, flags)
  }
  if (flags.json) printJson(states)
}

async function readInstances(file: string): Promise<[string, unknown][]> {
  const { parse } = await import('yaml')
  let content: unknown
  try {
    content = parse(readFileSync(file, 'utf8'), { maxAliasCount: 0 })
  } catch (error) {
    const [message] = (error as Error).message.split('\n')
    throw new OperatorError('file-unreadable', message, { place: { file } })
  }
  const instances = (content as { instances?: unknown } | null)?.instances
  if (typeof instances === 'object' && instances !== null && !Array.isArray(instances)) return Object.entries(instances)
  throw new OperatorError('syntax', 'the file has no instances', {
    place: { file },
    fix: 'give one of instance export',
  })
}

async function logs(patterns: string[], flags: AdminFlags & { follow?: true; lines: number }): Promise<void> {
  const admin = openAdmin(flags)
  const { printLogs } = await import('./instance-logs.ts')
  const files = []
  for (const { name } of await selectInstances(admin, patterns)) {
    const { logFile } = await admin.call<{ logFile: string | null }>('instances.show', { instance: name })
    files.push({ name, file: logFile })
  }
  await printLogs(files, flags.lines, flags.follow ?? false, flags.json ?? false)
}

async function chosen(admin: AdminClient, names: readonly string[], flags: SelectFlags): Promise<MemberStatus[]> {
  if ((flags.all ?? false) === names.length > 0) {
    throw new UsageError('give either names or --all')
  }
  return flags.all ? admin.call<MemberStatus[]>('instances.list') : selectInstances(admin, names)
}

/** The same on several instances; one that fails keeps nobody else from it. */
async function forEach(
  names: readonly string[],
  flags: SelectFlags,
  act: (admin: AdminClient, name: string) => Promise<MemberStatus>,
): Promise<void> {
  const admin = openAdmin(flags)
  const waiting = await chosen(admin, names, flags)
  const states: MemberStatus[] = []
  const work = async () => {
    for (let member = waiting.shift(); member !== undefined; member = waiting.shift()) {
      try {
        const state = await act(admin, member.name)
        states.push(state)
        if (!flags.json) printState(state, flags)
      } catch (error) {
        process.exitCode = reportError(error)
      }
    }
  }
  await Promise.all(Array.from({ length: atOneTime }, work))
  if (flags.json) printJson(states)
}

function printState(state: MemberStatus, flags: AdminFlags): void {
  if (flags.json) printJson(state)
  else {
    const { name, phase, reason, pid } = state
    printLine(`${name} ${phase}${pid === null ? '' : ` pid ${pid}`}${reason === null ? '' : ` ${escapeText(reason)}`}`)
  }
  if (state.phase === 'failed') process.exitCode = exitCodes.failure
}

async function printYaml(value: unknown): Promise<void> {
  const { stringify } = await import('yaml')
  // Whatever a peer has chosen stays text: YAML quotes and escapes control characters.
  process.stdout.write(stringify(value))
}
