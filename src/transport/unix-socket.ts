// A UNIX socket file that appears at its path with the right owner, group and mode, replaces only what is provably
// dead, and goes away only while it is still ours. Knows listening servers of Node, neither connections nor MQTT.
//
// How exactly one of several brokers gets a path, without a lock of the operating system, which Node does not offer:
// every starter binds its socket in a private directory of its own (`.atoll-XXXXXX`, mode 0700), where the name of the
// socket is unique. It then renames that directory to `.atoll=HASH`, which all starters for one path have in common.
// Renaming a directory succeeds only where there is none or an empty one, so the directory with its live socket is the
// lock. A holder that died leaves a dead socket in it; whoever comes next removes that by its unique name, which can
// never hit the socket of another, and tries again. The holder looks at the path and renames its socket there, and the
// lock is an empty directory.
//
// Guaranteed among brokers that keep to this, also across containers that share the directory: one wins, the others are
// told so, and a live socket is never replaced. Not guaranteed: that another program does not put something at the path
// in the microseconds between the last look at it and the rename.
import { createHash, randomBytes } from 'node:crypto'
import {
  type BigIntStats,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import { connect, type Server } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { OperatorError, type Place } from '../base/errors.ts'
import { isNoSpace, noSpace } from '../base/no-space.ts'
import { unixPathLimitBytes } from './address.ts'
import { listenOnce } from './listen-once.ts'
import { describeOwner, findUnixSocketOwner } from './socket-owner.ts'

export interface UnixSocketOptions {
  /** Absolute. */
  path: string
  /** Permission bits, as 0o660. */
  mode: number
  /** Numbers of account and group; null leaves those of the process. */
  uid: number | null
  gid: number | null
  backlog: number
  /** The only directory in which missing directories are created; null for nowhere. */
  runDir: string | null
  platform: NodeJS.Platform
  clock: Clock
  /** Configuration key that errors name. */
  key: string
  /**
   * Leaves an empty directory beside the socket, which becomes the private one when the disk has no room for another. It is so in
   * `runDir` too.
   */
  hasSpare?: boolean
  onNotice(message: string, fields: { path: string }): void
}

export interface BoundUnixSocket {
  /** Removes the file if it is still ours. To be called while the server listens: a dead one may be replaced any time. */
  remove(): void
}

const privatePrefix = '.atoll-'
const lockPrefix = '.atoll='
const spareName = '.atoll.spare'
const randomChars = 6
const hashChars = 6
/** `/.atoll-XXXXXX/hashXXXXXX` */
const privateBytes = 1 + privatePrefix.length + randomChars + 1 + hashChars + randomChars
const probeTimeLimitMs = 1000
const lockWaitMs = 25
const lockAttempts = 200
const leftoverAgeMs = 10_000
const leftoverLimit = 100

/**
 * Makes `server` listen at the path.
 * @throws OperatorError `socket-path-too-long`, `socket-in-use`, `path-occupied`, `directory-missing`,
 *   `directory-writable-by-others`, `no-space` or `listen-failed`; nothing is left behind then
 */
export async function bindUnixSocket(server: Server, options: UnixSocketOptions): Promise<BoundUnixSocket> {
  const { path } = options
  checkLength(options)
  const directory = dirname(path)
  prepareDirectory(directory, options)
  await examine(options)
  await removeLeftovers(directory, options)

  const hash = hashOf(path)
  const lock = join(directory, `${lockPrefix}${hash}`)
  let home = attempt(options, `cannot create a directory in ${directory}`, () => makeHome(directory, options))
  const name = hash + home.slice(-randomChars)
  try {
    // mkdtemp heeds the umask, and a strange one would lock us out of our own directory.
    attempt(options, `cannot set the mode of ${home}`, () => chmodSync(home, 0o700))
    try {
      await listenOnce(server, { path: join(home, name), backlog: options.backlog })
    } catch (error) {
      throw failure(options, `cannot make a socket in ${home}`, error)
    }
    attempt(options, `cannot give ${path} to uid ${options.uid ?? 'ours'} gid ${options.gid ?? 'ours'}`, () => {
      if (options.uid !== null || options.gid !== null)
        lchownSync(join(home, name), options.uid ?? -1, options.gid ?? -1)
      chmodSync(join(home, name), options.mode)
    })
    await takeLock(home, lock, options)
    home = lock
    const ours = lstatSync(join(lock, name), { bigint: true })
    const old = await examine(options)
    attempt(options, `cannot put the socket at ${path}`, () => {
      const now = look(path)
      if (now === null ? old !== null : !isSame(now, old)) throw new Error('it changed hands at this moment')
      renameSync(join(lock, name), path)
    })
    if (old !== null) options.onNotice('replaced the socket file that a dead process had left', { path })
    return { remove: () => removeOurs(ours, options) }
  } catch (error) {
    server.close()
    tolerate(() => unlinkSync(join(home, name)))
    throw error
  } finally {
    // Empty by now, unless the next starter has the lock already: then it stays.
    tolerate(() => rmdirSync(home))
    if (keepsSpare(directory, options)) makeSpare(directory)
  }
}

/** Directories that are ours; others are not to be littered. */
function keepsSpare(directory: string, { hasSpare = false, runDir }: UnixSocketOptions): boolean {
  return hasSpare || directory === runDir
}

function makeHome(directory: string, options: UnixSocketOptions): string {
  try {
    return mkdtempSync(join(directory, privatePrefix))
  } catch (error) {
    if (!keepsSpare(directory, options) || !isNoSpace(error)) throw error
    const home = join(directory, `${privatePrefix}${randomBytes(randomChars / 2).toString('hex')}`)
    // Of two starters only one finds it.
    if (tolerate(() => renameSync(join(directory, spareName), home) === undefined)) return home
    throw error
  }
}

/** For whoever comes next, if there is room: it may be another account than ours, to which the directory belongs. */
function makeSpare(directory: string): void {
  const spare = join(directory, spareName)
  tolerate(() => {
    mkdirSync(spare, { mode: 0o700 })
    const { uid, gid } = statSync(directory)
    // By its descriptor: the owner of the directory may put something else in its place meanwhile.
    const descriptor = openSync(spare, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
    try {
      if (fstatSync(descriptor).uid !== uid) fchownSync(descriptor, uid, gid)
    } finally {
      closeSync(descriptor)
    }
  })
}

function checkLength({ path, platform, key }: UnixSocketOptions): void {
  const limit = unixPathLimitBytes(platform)
  const bytes = Buffer.byteLength(path)
  const directoryBytes = Buffer.byteLength(dirname(path))
  const fix = `choose a shorter directory, such as ${platform === 'linux' ? '/run/atoll' : '/tmp/atoll'}`
  if (bytes > limit) {
    const message = `the socket path ${path} has ${bytes} bytes, and ${limit} is the limit of this platform`
    throw new OperatorError('socket-path-too-long', message, { place: { key }, fix })
  }
  if (directoryBytes + privateBytes > limit) {
    const message =
      `the directory of the socket path ${path} has ${directoryBytes} bytes, and ${limit - privateBytes} is the ` +
      'limit, because the socket is made in a private directory inside it first'
    throw new OperatorError('socket-path-too-long', message, { place: { key }, fix })
  }
}

function prepareDirectory(directory: string, options: UnixSocketOptions): void {
  const { key, runDir } = options
  const missing: string[] = []
  let at = directory
  let stats = tolerate(() => statSync(at))
  for (; stats === undefined && at !== '/'; stats = tolerate(() => statSync(at))) {
    missing.unshift(at)
    at = dirname(at)
  }
  if (stats !== undefined && !stats.isDirectory()) {
    const fix = 'choose another path for the socket'
    throw new OperatorError('directory-missing', `${at} is not a directory`, { place: { key }, fix })
  }
  for (const one of missing) {
    if (runDir === null || (one !== runDir && !one.startsWith(runDir.replace(/\/*$/, '/')))) {
      const inRunDir =
        runDir === null ? '' : `, or use a path in ${runDir}, where directories are created by themselves`
      throw new OperatorError('directory-missing', `the directory ${one} does not exist or cannot be reached`, {
        place: { key },
        fix: `create it${inRunDir}`,
      })
    }
    attempt(options, `cannot create the directory ${one}`, () => {
      try {
        mkdirSync(one)
      } catch (error) {
        // Another starter was quicker, and gives it its rights.
        if (codeOf(error) === 'EEXIST' && statSync(one).isDirectory()) return
        throw error
      }
      chmodSync(one, 0o755)
      if (options.uid !== null || options.gid !== null) chownSync(one, options.uid ?? -1, options.gid ?? -1)
    })
  }
  const { mode } = attempt(options, `cannot look at ${directory}`, () => statSync(directory))
  if ((mode & 0o002) !== 0 && (mode & 0o1000) === 0) {
    const message = `everybody may write in the directory ${directory} and so replace the socket`
    const fix = `chmod o-w ${directory}, or choose another directory`
    throw new OperatorError('directory-writable-by-others', message, { place: { key }, fix })
  }
}

/** What is at the path: null for nothing, the identity of a dead socket; anything else is refused. */
async function examine(options: UnixSocketOptions): Promise<BigIntStats | null> {
  const { path, key } = options
  for (let round = 0; round < 5; round++) {
    const stats = attempt(options, `cannot look at ${path}`, () => look(path))
    if (stats === null) return null
    if (!stats.isSocket()) {
      const fix = 'move it away or choose another path; it was left untouched'
      throw new OperatorError('path-occupied', `at ${path} is ${kindOf(stats)}, not a socket`, { place: { key }, fix })
    }
    const state = await probe(path, options.platform)
    if (state === 'dead') return stats
    if (state === 'alive') throw socketInUse(options.path, { key: options.key })
    if (state !== 'gone') {
      const message = `at ${path} is a socket, and whether it is in use cannot be told: ${state}`
      const fix = 'see to whom it belongs; remove it if it is not in use'
      throw new OperatorError('socket-in-use', message, { place: { key }, fix })
    }
  }
  throw new OperatorError('socket-in-use', `the socket at ${path} comes and goes`, {
    place: { key },
    fix: 'look which other program uses this path',
  })
}

/** `dead`: nobody listens. `gone`: it is going or gone, look again. Anything else that is not `alive` is the error. */
async function probe(path: string, platform: NodeJS.Platform): Promise<string> {
  // Systems with BSD sockets refuse also when the queue of a live listener is full, so one refusal proves nothing there.
  for (let refusals = platform === 'linux' ? 1 : 3; ; refusals--) {
    const state = await probeOnce(path)
    if (state !== 'dead' || refusals === 1) return state
    await wait(100)
  }
}

function probeOnce(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    const end = (state: string) => {
      socket.destroy()
      clearTimeout(timer)
      resolve(state)
    }
    const timer = setTimeout(() => end(`no answer within ${probeTimeLimitMs} ms`), probeTimeLimitMs)
    socket.once('connect', () => end('alive'))
    socket.once('error', (error) => {
      const code = codeOf(error)
      // Linux: EAGAIN when the queue of a live listener is full, ECONNRESET when its process dies at this moment.
      if (code === 'ECONNREFUSED') end('dead')
      else if (code === 'ENOENT' || code === 'ECONNRESET') end('gone')
      else end(code === 'EAGAIN' ? 'alive' : code)
    })
  })
}

async function takeLock(home: string, lock: string, options: UnixSocketOptions): Promise<void> {
  for (let round = 0; round < lockAttempts; round++) {
    try {
      renameSync(home, lock)
      return
    } catch (error) {
      const code = codeOf(error)
      if (code !== 'ENOTEMPTY' && code !== 'EEXIST') {
        throw failure(options, `cannot take the lock directory ${lock}`, error)
      }
    }
    let isHeld = false
    const names = attempt(options, `cannot look into ${lock}`, () =>
      tolerateCode('ENOENT', [], () => readdirSync(lock)),
    )
    for (const name of names.slice(0, leftoverLimit)) {
      const state = await stateOfPrivateSocket(join(lock, name), options)
      if (state === 'dead') tolerate(() => unlinkSync(join(lock, name)))
      else if (state === 'foreign') {
        throw failure(options, `${join(lock, name)} is in the way`, new Error('it is no socket of a broker'))
      } else if (state !== 'gone') isHeld = true
    }
    if (isHeld) await wait(lockWaitMs)
  }
  throw socketInUse(options.path, { key: options.key })
}

async function stateOfPrivateSocket(file: string, options: UnixSocketOptions): Promise<string> {
  const stats = look(file)
  if (stats === null) return 'gone'
  if (!stats.isSocket() || basename(file).length !== hashChars + randomChars) return 'foreign'
  return probe(file, options.platform)
}

/** Private directories of processes that were killed while they started. Whatever is not surely ours and dead stays. */
async function removeLeftovers(directory: string, options: UnixSocketOptions): Promise<void> {
  const isOurs = (name: string) =>
    name.length === privatePrefix.length + randomChars &&
    (name.startsWith(privatePrefix) || name.startsWith(lockPrefix))
  const found = (tolerate(() => readdirSync(directory)) ?? []).filter(isOurs)
  for (const leftover of found.slice(0, leftoverLimit).map((name) => join(directory, name))) {
    const stats = look(leftover)
    if (!stats?.isDirectory() || Number(stats.uid) !== process.geteuid?.() || (Number(stats.mode) & 0o777) !== 0o700)
      continue
    // A young one may be that of a starter that has not come to listening yet.
    if (options.clock.wallMs() - Number(stats.mtimeMs) < leftoverAgeMs) continue
    const names = tolerate(() => readdirSync(leftover)) ?? []
    if (names.length > 1) continue
    if (names.length === 1) {
      if ((await stateOfPrivateSocket(join(leftover, names[0]), options)) !== 'dead') continue
      tolerate(() => unlinkSync(join(leftover, names[0])))
    }
    if (tolerate(() => rmdirSync(leftover) === undefined)) {
      options.onNotice('removed a private directory that a dead process had left', { path: leftover })
    }
  }
}

function removeOurs(ours: BigIntStats, options: UnixSocketOptions): void {
  const now = tolerate(() => look(options.path)) ?? null
  if (now !== null && isSame(now, ours)) tolerate(() => unlinkSync(options.path))
  else options.onNotice('the socket file had gone, or was no longer ours and was left as it is', { path: options.path })
}

/** The same for all starters at a path. Two paths of one hash only wait for each other while they start. */
function hashOf(path: string): string {
  return createHash('sha256').update(basename(path)).digest('hex').slice(0, hashChars)
}

/** The error for a path at which somebody listens, naming who. */
export function socketInUse(path: string, place: Place): OperatorError {
  const hash = hashOf(path)
  const prefix = join(dirname(path), privatePrefix)
  // The kernel shows the name under which a socket was bound, which for our own kind is the private one.
  const isBoundFor = (bound: string) =>
    bound === path ||
    (bound.startsWith(prefix) &&
      basename(bound).startsWith(hash) &&
      bound.length === dirname(path).length + privateBytes)
  const owner = findUnixSocketOwner(isBoundFor)
  return new OperatorError('socket-in-use', `the socket ${path} is in use${describeOwner(owner)}`, {
    place,
    fix: 'stop that process, or choose another path',
  })
}

function look(path: string): BigIntStats | null {
  return tolerateCode('ENOENT', null, () => lstatSync(path, { bigint: true }))
}

function isSame(one: BigIntStats, other: BigIntStats | null): boolean {
  return other !== null && one.dev === other.dev && one.ino === other.ino
}

function kindOf(stats: BigIntStats): string {
  if (stats.isSymbolicLink()) return 'a symbolic link'
  if (stats.isDirectory()) return 'a directory'
  return stats.isFile() ? 'a regular file' : 'a special file'
}

function attempt<Result>(options: UnixSocketOptions, what: string, act: () => Result): Result {
  try {
    return act()
  } catch (error) {
    throw failure(options, what, error)
  }
}

function failure({ path, key }: UnixSocketOptions, what: string, cause: unknown): OperatorError {
  const code = codeOf(cause)
  if (isNoSpace(cause)) {
    return new OperatorError(noSpace, `${what}: ${(cause as Error).message}`, {
      place: { key },
      fix: `make room on the file system of ${dirname(path)}`,
      cause,
    })
  }
  const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
  const fix = denied ? `give the account of the broker the right to it, or choose another path than ${path}` : undefined
  return new OperatorError('listen-failed', `${what}: ${(cause as Error).message}`, { place: { key }, fix, cause })
}

function tolerate<Result>(act: () => Result): Result | undefined {
  try {
    return act()
  } catch {
    return undefined
  }
}

function tolerateCode<Result>(code: string, otherwise: Result, act: () => Result): Result {
  try {
    return act()
  } catch (error) {
    if (codeOf(error) === code) return otherwise
    throw error
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}
