// `atoll systemd print|install`: the units by which systemd runs the fleet of a configuration.
import { existsSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import type { Command } from 'commander'
import { OperatorError } from '../base/errors.ts'
import { escapeText } from '../observe/log.ts'
import { parseAddress } from '../transport/address.ts'
import { printLine } from './admin-command.ts'
import { type ServicePlan, type SocketPlan, serviceUnits, socketUnitName, type Unit } from './service-units.ts'

interface SystemdOptions {
  config: string
  user: string
  group?: string
  socket: string[]
}

interface InstallOptions extends SystemdOptions {
  directory: string
  force?: true
}

const collect = (value: string, values: string[]): string[] => [...values, value]

export function registerSystemd(program: Command): void {
  const systemd = program.command('systemd').description('units by which systemd runs the fleet of a configuration')
  const add = (name: string, description: string) =>
    systemd
      .command(name)
      .description(description)
      .option('-c, --config <file>', 'configuration of the fleet', '/etc/atoll/atoll.yaml')
      .option('--user <name>', 'account of the daemon; root, if instances have accounts of their own', 'atoll')
      .option('--group <name>', 'group of the daemon (default: called like the account)')
      .option(
        '--socket <name=address>',
        'socket that systemd opens for the listener with the address fd:NAME; can be repeated',
        collect,
        [],
      )
  add('print', 'print the units').action(print)
  add('install', 'write the units, and say how to go on')
    .option('--directory <directory>', 'where to write them', '/etc/systemd/system')
    .option('--force', 'write over units that are there')
    .action(install)
}

async function print(options: SystemdOptions): Promise<void> {
  const units = serviceUnits(await planOf(options))
  process.stdout.write(units.map(({ fileName, text }) => `# ${fileName}\n${text}`).join('\n'))
}

async function install(options: InstallOptions): Promise<void> {
  const plan = await planOf(options)
  const units = serviceUnits(plan)
  const directory = resolve(options.directory)
  writeUnits(units, directory, options.force ?? false)
  for (const { fileName } of units) printLine(`wrote ${escapeText(join(directory, fileName))}`)
  printLine('next:')
  for (const line of nextSteps(plan)) printLine(`  ${escapeText(line)}`)
}

/** @throws OperatorError, with nothing written when a unit is there already */
function writeUnits(units: readonly Unit[], directory: string, isForced: boolean): void {
  const present = units.map(({ fileName }) => join(directory, fileName)).find((path) => existsSync(path))
  if (present !== undefined && !isForced) {
    throw new OperatorError('file-exists', 'there is such a unit already', {
      place: { file: present },
      fix: 'look at it with systemctl cat, or write over it with --force',
    })
  }
  for (const { fileName, text } of units) {
    const file = join(directory, fileName)
    try {
      // Not through a link: what it leads to is not this unit.
      rmSync(file, { force: true })
      writeFileSync(file, text, { flag: 'wx', mode: 0o644 })
    } catch (error) {
      throw new OperatorError('cannot-write', (error as Error).message, { place: { file }, cause: error })
    }
  }
}

function nextSteps({ user, group, configFile, sockets }: ServicePlan): string[] {
  const folder = dirname(configFile)
  const account = [
    `id -u ${user} || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin ${user}`,
    existsSync(folder)
      ? `let ${user} read ${folder}, and write there if commands are to save`
      : `install -d -o ${user} -g ${group} -m 0750 ${JSON.stringify(folder)}`,
  ]
  return [
    ...(user === 'root' ? [] : account),
    ...(existsSync(configFile) ? [] : [`write the configuration ${configFile}`]),
    ...sockets.map(({ name }) => `give a listener of the configuration the address fd:${name}`),
    'systemctl daemon-reload',
    `systemctl enable --now ${[...sockets.map(({ name }) => socketUnitName(name)), 'atoll.service'].join(' ')}`,
  ]
}

async function planOf({ config, user, group = user, socket }: SystemdOptions): Promise<ServicePlan> {
  const configFile = resolve(config)
  for (const account of [user, group]) {
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$/.test(account)) {
      throw new OperatorError('usage', `${JSON.stringify(account)} is no name of an account`)
    }
  }
  if (/[\u0000-\u001f\u007f]/.test(configFile)) {
    throw new OperatorError('usage', `the path ${JSON.stringify(configFile)} has a control character`)
  }
  const sockets = socket.map(readSocket)
  if (new Set(sockets.map(({ name }) => name)).size < sockets.length) {
    throw new OperatorError('usage', 'two sockets have one name', { fix: 'give each a name of its own' })
  }
  return {
    command: [process.execPath, realpathSync(process.argv[1])],
    configFile,
    user,
    group,
    gracePeriodSeconds: await gracePeriodOf(configFile),
    sockets,
  }
}

/** That of the configuration, if it is there already. @throws ConfigError when it has to be mended first */
async function gracePeriodOf(configFile: string): Promise<number> {
  if (!existsSync(configFile)) return 10
  const { readFleet } = await import('./read-config.ts')
  return readFleet({ config: configFile, listen: [], set: [] }).fleet.gracePeriodSeconds
}

function readSocket(text: string): SocketPlan {
  const [, name, written] = /^([A-Za-z0-9][A-Za-z0-9_-]{0,63})=(.+)$/s.exec(text) ?? []
  if (name === undefined) {
    throw new OperatorError('usage', `${JSON.stringify(text)} is no socket`, {
      fix: 'write it as mqtt=tcp://0.0.0.0:1883, with a name of letters, digits, - and _',
    })
  }
  const address = parseAddress(written, { platform: process.platform, role: 'listener' })
  if (address.kind === 'fd') {
    throw new OperatorError('usage', `the socket ${name} has no address of its own`, {
      fix: 'write tcp://host:port or unix:///path, and fd: in the configuration',
    })
  }
  if (address.kind === 'tcp' && (address.port === 0 || (address.host !== '*' && isIP(address.host) === 0))) {
    throw new OperatorError('usage', `the socket ${name} needs an IP address or *, and a port`)
  }
  return { name, address }
}
