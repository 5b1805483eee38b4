// What a fleet needs of this host before it starts: ports and sockets that no other program has, folders that can be written,
// file descriptors and memory for all limits together. Looks and tries, changes nothing. Knows no instance that runs.
import { accessSync, constants, lstatSync, readFileSync, statSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { totalmem } from 'node:os'
import { dirname } from 'node:path'
import { describeOperatorError, OperatorError, type Place } from '../base/errors.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import type { LoadedFleet } from '../config/load-fleet.ts'
import { formatSize } from '../config/quantities.ts'
import { type Address, formatAddress, parseAddress } from '../transport/address.ts'
import { describeListenError } from '../transport/listen-error.ts'
import { socketInUse } from '../transport/unix-socket.ts'
import { findUnknownAccounts } from './account-check.ts'
import { findRightsFaults } from './account-rights.ts'
import { findAccount } from './member-account.ts'

export interface HostFinding {
  /** An error keeps something from starting; a warning says what may go wrong under load. */
  severity: 'error' | 'warning'
  error: OperatorError
}

export interface HostFacts {
  /** Most files that one process may have open; null when unknown. */
  openFilesLimit: number | null
  memoryBytes: number
}

/** All that keeps a fleet from starting here, at once. It has the code and the place of the first finding. */
export class HostError extends OperatorError {
  readonly findings: readonly OperatorError[]

  /** @param findings at least one */
  constructor(findings: readonly [OperatorError, ...OperatorError[]]) {
    const [{ code, place }] = findings
    super(code, findings.map(describeOperatorError).join('\n'), { place: place ?? undefined })
    this.name = 'HostError'
    this.findings = findings
  }
}

/** Descriptors that a process needs beside its connections. */
const reservedFiles = 64
const attemptsAtOnce = 32
const probeLimitMs = 1000

/** The limits of this process, which those that it starts inherit. */
export function readHostFacts(): HostFacts {
  let openFilesLimit: number | null = null
  try {
    // Node raises its soft limit to the hard one when it starts.
    const match = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    if (match !== null) openFilesLimit = Number(match[1])
  } catch {
    // Not on Linux: unknown.
  }
  const constrained = process.constrainedMemory?.() ?? 0
  const memoryBytes = constrained > 0 && constrained < totalmem() ? constrained : totalmem()
  return { openFilesLimit, memoryBytes }
}

/**
 * @param own addresses that this process, or the daemon of this configuration, has already
 * @returns errors first; nothing is thrown for what the host lacks
 */
export async function checkHost(
  loaded: LoadedFleet,
  facts: HostFacts,
  platform: NodeJS.Platform,
  own: readonly string[] = [],
): Promise<HostFinding[]> {
  const { fleet, findPlace } = loaded
  const errors: OperatorError[] = await findUnknownAccounts(loaded, platform)
  const folders = new FolderCheck(fleet.runDir, errors)
  const wanted: { address: Address; place: Place }[] = []
  const want = (text: string, place: Place) => {
    const address = parseAddress(text, { platform, role: 'listener', place })
    if (formsOf(address).some((form) => own.includes(form))) return
    wanted.push({ address, place })
    if (address.kind === 'unix') folders.checkSocketFolder(dirname(address.path), place)
  }
  want(fleet.admin.listen, findPlace(null, ['admin', 'listen']))
  for (const member of fleet.members) {
    const { config, start, dataDir, logDir, user } = member
    const { name, listeners } = config
    // It takes its places when somebody starts it, and until then whoever has them may.
    if (start === 'manual') continue
    for (const listener of listeners) {
      if (listener.enabled) want(listener.address, findPlace(name, ['listeners', listener.name, 'address']))
    }
    if (user !== null) {
      errors.push(...(await askForAccount(member, loaded, platform)))
      continue
    }
    folders.checkOwnFolder(dataDir, findPlace(name, ['dataDir']))
    folders.checkOwnFolder(logDir, findPlace(name, ['logDir']))
  }
  for (let at = 0; at < wanted.length; at += attemptsAtOnce) {
    const some = wanted.slice(at, at + attemptsAtOnce)
    const failures = await Promise.all(some.map(({ address, place }) => tryAddress(address, place)))
    errors.push(...failures.filter((failure) => failure !== null))
  }
  const warnings = [...weighFiles(loaded, facts), ...weighMemory(fleet.members, facts)]
  return [
    ...errors.map((error) => ({ severity: 'error' as const, error })),
    ...warnings.map((error) => ({ severity: 'warning' as const, error })),
  ]
}

/** As a listener there would show it. */
function formsOf(address: Address): string[] {
  if (address.kind !== 'tcp' || address.host !== 'localhost') return [formatAddress(address)]
  return ['localhost', '127.0.0.1', '::1'].map((host) => formatAddress({ ...address, host }))
}

/** Under another account an instance has other rights than this process, and only root can try them. */
async function askForAccount(
  member: FleetMember,
  { fleet, findPlace }: LoadedFleet,
  platform: NodeJS.Platform,
): Promise<OperatorError[]> {
  if (process.geteuid?.() !== 0) return []
  // One that is not there has been found already.
  const account = await findAccount(member, platform, 0).catch(() => null)
  if (account === null) return []
  const faults = await findRightsFaults(member, account, fleet.runDir)
  return faults.map(({ code, message, fix, place }) => {
    const path = (place?.key ?? '').split('.')
    return new OperatorError(code, message, { place: findPlace(member.config.name, path), fix: fix ?? undefined })
  })
}

/** @returns why nobody can listen there at this moment; null when it is free */
async function tryAddress(address: Address, place: Place): Promise<OperatorError | null> {
  if (address.kind === 'unix') return tryPath(address.path, place)
  if (address.kind === 'fd' || (address.kind === 'tcp' && address.port === 0)) return null
  const server = createServer()
  const failure = await new Promise<NodeJS.ErrnoException | null>((resolve) => {
    server.once('error', resolve)
    const target =
      address.kind === 'abstract'
        ? { path: `\0${address.name}` }
        : { port: address.port, ...(address.host === '*' ? {} : { host: address.host }) }
    server.listen(target, () => resolve(null))
  })
  if (server.listening) await new Promise((resolve) => server.close(resolve))
  if (failure === null) return null
  const { code, message, fix } = describeListenError(failure, address, place.key ?? '')
  return new OperatorError(code, message, { place, fix: fix ?? undefined, cause: failure })
}

async function tryPath(path: string, place: Place): Promise<OperatorError | null> {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return null
  if (!stats.isSocket()) {
    const fix = 'move it away, or choose another path'
    return new OperatorError('path-occupied', `at ${path} is something that is no socket`, { place, fix })
  }
  const isAlive = await new Promise<boolean>((resolve) => {
    const socket = connect({ path, timeout: probeLimitMs })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true))
    socket.once('timeout', () => end(true))
    socket.once('error', (error: NodeJS.ErrnoException) =>
      end(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT'),
    )
  })
  return isAlive ? socketInUse(path, place) : null
}

/** Looks at each folder once, however many instances use it. */
class FolderCheck {
  readonly #runDir: string
  readonly #errors: OperatorError[]
  readonly #seen = new Set<string>()

  constructor(runDir: string, errors: OperatorError[]) {
    this.#runDir = runDir
    this.#errors = errors
  }

  /** Only in the run directory are the folders of sockets made when they are missing. */
  checkSocketFolder(folder: string, place: Place): void {
    const isOurs = `${folder}/`.startsWith(`${this.#runDir}/`)
    this.#check(folder, isOurs, place)
  }

  /** Folders of data and logs are made. */
  checkOwnFolder(folder: string, place: Place): void {
    this.#check(folder, true, place)
  }

  #check(folder: string, mayBeMissing: boolean, place: Place): void {
    let nearest = folder
    let stats = look(nearest)
    while (stats === null && nearest !== '/') {
      nearest = dirname(nearest)
      stats = look(nearest)
    }
    const fail = (code: string, message: string, fix: string) => {
      if (this.#seen.has(nearest + code)) return
      this.#seen.add(nearest + code)
      this.#errors.push(new OperatorError(code, message, { place, fix }))
    }
    if (nearest !== folder && !mayBeMissing) {
      fail('directory-missing', `the folder ${folder} does not exist`, `create it, or use a path in ${this.#runDir}`)
    } else if (stats !== null && !stats.isDirectory()) {
      fail('directory-missing', `${nearest} is no folder`, 'choose another path')
    } else if (!isWritable(nearest)) {
      fail(
        'directory-not-writable',
        `this account may not write in ${nearest}${nearest === folder ? '' : `, where ${folder} is to be made`}`,
        'give it the right to, or choose another folder',
      )
    }
  }
}

function look(path: string) {
  try {
    return statSync(path)
  } catch {
    return null
  }
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
    return true
  } catch {
    return false
  }
}

/**
 * The connections that the instances of one process may have, against the files that it may open. Each has to get along alone;
 * of those that share a process, the limits that somebody has set count together. The default limit is nobody's wish, and what
 * one of them does not use is there for the others.
 */
function weighFiles({ fleet: { members }, isStated }: LoadedFleet, { openFilesLimit }: HostFacts): OperatorError[] {
  if (openFilesLimit === null) return []
  /** @param places how many of them share a process at most */
  const together = (sharing: readonly FleetMember[], places: number) => {
    const stated = sharing.filter((member) => hasStatedLimit(member, isStated)).map(filesOf)
    const largest = stated.sort((left, right) => right - left).slice(0, places)
    return Math.max(sumOf(largest), ...sharing.map(filesOf))
  }
  const needed: { who: string; files: number }[] = []
  const inline = members.filter(({ isolation }) => isolation === 'inline')
  if (inline.length > 0) needed.push({ who: 'the daemon', files: together(inline, inline.length) })
  const pools = new Map<string, FleetMember[]>()
  for (const member of members) {
    const { isolation, pool, config } = member
    if (isolation === 'process') needed.push({ who: `the instance ${config.name}`, files: filesOf(member) })
    if (isolation !== 'shared') continue
    if (!pools.has(pool)) pools.set(pool, [])
    pools.get(pool)!.push(member)
  }
  for (const [pool, inPool] of pools) {
    // At worst the largest ones come together.
    needed.push({ who: `a process of the pool ${pool}`, files: together(inPool, inPool[0]!.poolSize) })
  }
  const over = needed.filter(({ files }) => files + reservedFiles > openFilesLimit)
  const worst = over.reduce((most, one) => (one.files > most.files ? one : most), { who: '', files: 0 })
  if (over.length === 0) return []
  const others = over.length === 1 ? '' : ` (and ${over.length - 1} more processes too many)`
  const message =
    `${worst.who} may have ${worst.files} connections and listeners${others}, and a process of this host may open ` +
    `${openFilesLimit} files`
  const fix = 'lower limits.connections, or raise the limit: ulimit -n, LimitNOFILE= in a systemd unit'
  return [new OperatorError('too-few-files', message, { fix })]
}

/** Connections and listeners: a connection counts for its instance and for its listener. */
function filesOf({ config: { listeners, limits } }: FleetMember): number {
  const enabled = listeners.filter((listener) => listener.enabled)
  return enabled.length + Math.min(limits.connections, sumOf(enabled.map(({ maxConnections }) => maxConnections)))
}

function hasStatedLimit({ config: { name, listeners } }: FleetMember, isStated: LoadedFleet['isStated']): boolean {
  const ofListener = (listener: string) => isStated(name, ['listeners', listener, 'maxConnections'])
  return isStated(name, ['limits', 'connections']) || listeners.some((listener) => ofListener(listener.name))
}

function weighMemory(members: readonly FleetMember[], { memoryBytes }: HostFacts): OperatorError[] {
  const total = sumOf(members.map(({ config }) => config.limits.memoryBytes))
  if (total <= memoryBytes) return []
  const message = `limits.memory of all instances together is ${inMebibytes(total)}, and this host has ${inMebibytes(memoryBytes)}`
  return [new OperatorError('too-little-memory', message, { fix: 'lower limits.memory' })]
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, one) => sum + one, 0)
}

function inMebibytes(bytes: number): string {
  return formatSize(Math.round(bytes / 1024 ** 2) * 1024 ** 2)
}
