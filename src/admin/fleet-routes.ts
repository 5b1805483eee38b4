// The operations on the fleet and on its instances as a whole. Each is a few calls of the supervisor; what they change is done
// one at a time, and taken back as a whole when it fails.
import { rmSync } from 'node:fs'
import { join, sep } from 'node:path'
import * as z from 'zod'
import { OperatorError } from '../base/errors.ts'
import { ConfigError } from '../config/config-error.ts'
import { type FleetConfig, type FleetMember, longestGraceSeconds } from '../config/fleet-config.ts'
import { findFleetConflicts } from '../config/fleet-conflicts.ts'
import { withDaemon } from '../config/fleet-plan.ts'
import { namePattern } from '../config/keys.ts'
import { unsavedFile } from '../config/saved-changes.ts'
import type { MemberChange, MemberStatus } from '../fleet/fleet.ts'
import { addressGrammar } from '../instance/address-grammar.ts'
import { type LogLevel, logLevels } from '../observe/log.ts'
import { type AdminContext, type AdminRoute, route } from './admin-route.ts'
import { describeMember } from './describe-member.ts'
import { backupMember, beginWith } from './instance-data.ts'
import { renamedAddress } from './renamed-address.ts'

const nothing = z.strictObject({})
const file = z
  .string()
  .startsWith('/')
  .max(4096)
  .nullable()
  .default(null)
  .describe('Absolute path of the configuration file; null for the one that is in force')
const wait = z
  .boolean()
  .default(true)
  .describe('Whether to answer only when the state is reached; otherwise failures are in the log and in the status')
const save = z.boolean().default(false).describe('Whether it is kept for the next start of the daemon')
const data = z
  .string()
  .startsWith('/')
  .max(4096)
  .nullable()
  .default(null)
  .describe('Absolute path of a backup that it begins with; null for nothing')
const instanceName = z.string().regex(namePattern, 'expected letters, digits, - and _, at most 64')
const settings = z
  .record(z.string().max(200), z.unknown())
  .default({})
  .describe('The instance as the configuration file describes it: keys, and the variables of the template')

export const fleetRoutes: readonly AdminRoute[] = [
  route('fleet.status', 'The daemon and all its instances.', nothing, ({ fleet }) => fleet.askedStatus()),
  route(
    'fleet.plan',
    'What apply would change, by instance and key; an element without name is the daemon itself.',
    z.strictObject({ file }),
    async ({ fleet, readConfig }, _, params) => {
      const next = readConfig(params.file)
      return withDaemon(await fleet.plan(next), fleet.planDaemon(next))
    },
  ),
  route(
    'fleet.apply',
    'Makes the fleet what its configuration says, all or nothing for each instance.',
    z.strictObject({ file }),
    (context, _, params) => context.applyConfig(params.file),
  ),
  route('fleet.reload', 'Reads the configuration and the files that it names again.', nothing, (context) =>
    context.applyConfig(null),
  ),
  route(
    'fleet.loglevel',
    'Changes how much the daemon itself logs, until its next start or until another level is configured.',
    z.strictObject({ level: z.enum(logLevels as [LogLevel, ...LogLevel[]]) }),
    ({ log }, _, { level }) => {
      log.setLevel(level)
      return { level: log.level }
    },
  ),
  route(
    'fleet.progress',
    'Instances that are being made, with data it may be, and how far that has come.',
    nothing,
    ({ longWork }) => longWork.running,
    z.array(
      z.strictObject({
        operation: z.string(),
        instance: z.string().meta({ description: 'That is being made.' }),
        share: z.number().meta({ description: 'From 0 to 1, as far as it is known.' }),
      }),
    ),
  ),
  route('fleet.stop', 'Stops all instances and ends the daemon.', nothing, (context) => {
    context.requestStop('the admin API')
    return { pid: context.fleet.status().pid }
  }),

  route(
    'instances.list',
    'All instances with their state.',
    nothing,
    async ({ fleet }) => (await fleet.askedStatus()).members,
  ),
  route('instances.show', 'One instance: its state, where it came from and its configuration.', nothing, showInstance),
  route(
    'instances.create',
    'Creates an instance that no file describes, and starts it.',
    z.strictObject({ name: instanceName, template: z.string().max(64).nullable().default(null), settings, save, data }),
    (context, _, params) =>
      context.longWork.during('instances.create', params.name, (onProgress) =>
        createInstance(context, params, onProgress),
      ),
  ),
  route(
    'instances.clone',
    'Creates an instance like another. Its name replaces the old one in the paths of sockets.',
    z.strictObject({
      name: instanceName.describe('Name of the new instance'),
      listeners: z
        .record(instanceName, z.string().max(4096))
        .default({})
        .describe('Addresses that take the place of those of the original'),
      save,
      withData: z.boolean().default(false).describe('Whether it begins with all that the original keeps on disk'),
    }),
    (context, source, params) =>
      context.longWork.during('instances.clone', params.name, (onProgress) =>
        cloneInstance(context, source, params, onProgress),
      ),
  ),
  route(
    'instances.export',
    'The whole resulting configuration of one instance, as instances.create takes it.',
    nothing,
    (context, name) => ({ name, settings: describeMember(memberOf(context, name)) }),
  ),
  route('instances.start', 'Starts an instance.', z.strictObject({ wait }), (context, name, params) =>
    reach(context, name, params.wait, context.fleet.startMember(name)),
  ),
  route(
    'instances.stop',
    'Stops an instance; it stays so until it is started.',
    z.strictObject({ wait }),
    (...given) => {
      const [context, name, params] = given
      return reach(context, name, params.wait, context.fleet.stopMember(name))
    },
  ),
  route('instances.restart', 'Stops and starts an instance.', z.strictObject({ wait }), (context, name, params) =>
    reach(context, name, params.wait, context.fleet.restartMember(name)),
  ),
  route('instances.reload', 'Applies what the configuration says of this one instance.', nothing, reloadInstance),
  route(
    'instances.delete',
    'Stops and forgets an instance that was created by a command.',
    z.strictObject({ purge: z.boolean().default(false).describe('Whether its data is deleted as well') }),
    deleteInstance,
  ),
]

export function memberOf({ fleet }: AdminContext, name: string): FleetMember {
  const member = fleet.config.members.find(({ config }) => config.name === name)
  if (member === undefined) throw new OperatorError('no-such-instance', `there is no instance ${name}`)
  return member
}

/**
 * Applies the configuration that is in force, with one member put in, replaced or (null) taken out.
 * @throws OperatorError when that was rejected
 */
export async function applyMember(
  context: AdminContext,
  name: string,
  member: FleetMember | null,
): Promise<MemberChange> {
  const { fleet } = context
  const isOther = ({ config }: FleetMember) => config.name !== name
  const at = fleet.config.members.findIndex((one) => !isOther(one))
  const members = fleet.config.members.filter(isOther)
  if (member !== null) members.splice(at === -1 ? members.length : at, 0, member)
  const next: FleetConfig = { ...fleet.config, members, gracePeriodSeconds: longestGraceSeconds(members) }
  // What does not run now takes its place all the same: a reload would find the conflict, and apply nothing.
  const names = new Set(members.map(({ config }) => config.name))
  const conflicts = findFleetConflicts(
    members,
    next.admin,
    names,
    addressGrammar(context.platform),
    (instance, path) => ({
      key: instance === null ? path.join('.') : ['instances', instance, ...path].join('.'),
    }),
  )
  if (conflicts.length > 0) throw new ConfigError(conflicts)
  const change = (await fleet.apply(next, name)).find((one) => one.name === name)
  if (change === undefined) return { name, kind: 'unchanged', keys: [], reason: null }
  if (change.kind === 'rejected') throw new OperatorError('rejected', change.reason ?? `${name} was left as it was`)
  return change
}

async function showInstance(context: AdminContext, name: string): Promise<object> {
  const member = memberOf(context, name)
  const { members } = await context.fleet.askedStatus()
  const status = members.find((one) => one.name === name)
  const { isolation, dataDir, template, file: source } = member
  return {
    ...status,
    counts: status?.phase === 'ready' ? await countsOf(context, name) : null,
    isolation,
    dataDir,
    logFile: context.logFileOf(member),
    template,
    file: source === unsavedFile ? null : source,
    isSaved: context.changes.isSaved(name),
    config: describeMember(member),
  }
}

/** What only the instance knows; the rest stands in its status already. */
async function countsOf({ fleet }: AdminContext, name: string): Promise<object | null> {
  const shown = await fleet.call(name, 'instance.show', {}).catch((error) => {
    // That it hangs stands in its status.
    if (error instanceof OperatorError && error.code === 'no-answer') return null
    throw error
  })
  if (shown === null) return null
  const { name: _, phase, listeners, ...counts } = shown as Record<string, unknown>
  return counts
}

async function createInstance(
  context: AdminContext,
  params: {
    name: string
    template: string | null
    settings: Record<string, unknown>
    save: boolean
    data: string | null
  },
  onProgress: (share: number) => void,
): Promise<MemberStatus | null> {
  const { name, template } = params
  const { fleet, changes } = context
  const document = template === null ? params.settings : { template, ...params.settings }
  return await changes.exclusively(async () => {
    if (fleet.memberStatus(name) !== null) {
      throw new OperatorError('instance-exists', `there is an instance ${name} already`, {
        fix: 'choose another name, or delete that one first',
      })
    }
    changes.putInstance(name, document, params.save)
    const described = context.readConfig(null).members.find(({ config }) => config.name === name)
    if (described === undefined) throw new Error(`the configuration does not show the new instance ${name}`)
    if (params.data !== null) await beginWith(context, described, params.data, onProgress)
    await applyMember(context, name, described)
    return fleet.memberStatus(name)
  })
}

async function cloneInstance(
  context: AdminContext,
  source: string,
  params: { name: string; listeners: Record<string, string>; save: boolean; withData: boolean },
  onProgress: (share: number) => void,
): Promise<MemberStatus | null> {
  const document = describeMember(memberOf(context, source))
  const listeners = new Map(Object.entries(document.listeners as Record<string, Record<string, unknown>>))
  for (const [name, listener] of listeners) {
    const address = params.listeners[name] ?? renamedAddress(String(listener.address), source, params.name)
    listeners.set(name, { ...listener, address })
  }
  const settings = { ...document, listeners: Object.fromEntries(listeners), dataDir: undefined, logDir: undefined }
  const { name } = params
  const next = { name, template: null, settings, save: params.save, data: null }
  if (!params.withData) return await createInstance(context, next, onProgress)
  const original = memberOf(context, source)
  const backup = join(original.dataDir, `clone-${name}.backup`)
  rmSync(backup, { force: true })
  try {
    // It is read after the copying, and again in its new place.
    await backupMember(context, original, backup, (share) => onProgress(share / 2))
    return await createInstance(context, { ...next, data: backup }, (share) => onProgress((1 + share) / 2))
  } finally {
    rmSync(backup, { force: true })
  }
}

async function reloadInstance(context: AdminContext, name: string): Promise<MemberChange> {
  return await context.changes.exclusively(async () => {
    const described = context.readConfig(null).members.find(({ config }) => config.name === name)
    if (described === undefined) {
      throw new OperatorError('not-described', `the configuration describes no instance ${name} any more`, {
        fix: 'atoll apply removes it',
      })
    }
    return await applyMember(context, name, described)
  })
}

async function deleteInstance(
  context: AdminContext,
  name: string,
  params: { purge: boolean },
): Promise<{ name: string; dataDir: string; purged: boolean }> {
  const { fleet, changes } = context
  const member = memberOf(context, name)
  const { dataDir } = member
  if (!changes.hasInstance(name)) {
    throw new OperatorError(
      'described-in-file',
      `the instance ${name} is described in ${member.file ?? 'the defaults'}`,
      {
        fix: 'take it out there and run atoll apply',
      },
    )
  }
  // An instance may have set its folder to one that holds more than its own.
  if (params.purge && !dataDir.startsWith(`${fleet.config.dataDir}${sep}`)) {
    throw new OperatorError(
      'not-purged',
      `the data of ${name} lies in ${dataDir}, outside of ${fleet.config.dataDir}`,
      {
        fix: 'delete without --purge, and remove the folder by hand',
      },
    )
  }
  await changes.exclusively(async () => {
    changes.deleteInstance(name)
    await applyMember(context, name, null)
  })
  if (params.purge) rmSync(dataDir, { recursive: true, force: true })
  return { name, dataDir, purged: params.purge }
}

/** What a start, stop or restart answers: the state then, or at once. */
async function reach(
  context: AdminContext,
  name: string,
  isAwaited: boolean,
  reached: Promise<void>,
): Promise<MemberStatus | null> {
  if (isAwaited) await reached
  else {
    reached.catch((error) => {
      const message = error instanceof Error ? error.message : String(error)
      context.log.warn('what was asked for over the admin API failed', { instance: name, error: message })
    })
  }
  return context.fleet.memberStatus(name)
}
