// The lock on a directory that cannot lie: a socket inside it that listens as long as its holder lives, and answers every
// caller with the holder's name. The kernel lets go of it with the process, kill -9 included. The file `lock` beside it is
// for people to read and decides nothing.
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { bindUnixSocket } from '../transport/unix-socket.ts'

export interface DirectoryLockOptions {
  /** Absolute; it has to be there. */
  directory: string
  /** Who takes it, for people: `the instance plant-a`, `the daemon`. */
  holder: string
  /** Configuration key that errors name. */
  key: string
  pid: number
  platform: NodeJS.Platform
  clock: Clock
}

export interface DirectoryLock {
  /** Harmless when called again. */
  release(): void
}

/** What the holder says of itself. */
export interface LockHolder {
  pid: number
  holder: string
  /** ISO 8601. */
  since: string
}

const socketName = '.lock'
const textName = 'lock'
const answerLimitBytes = 4096
const answerTimeLimitMs = 1000
const callerLimit = 16
const backlog = 64
/** From this length on the private directory in which a socket is made first may not fit into its address. */
const longDirectoryBytes = 60

/** @throws OperatorError `directory-locked`, naming the holder; `listen-failed` when no lock can be made there */
export async function lockDirectory(options: DirectoryLockOptions): Promise<DirectoryLock> {
  const { directory, holder, key, pid, platform, clock } = options
  const descriptor = needsShortcut(options) ? openSync(directory, 'r') : null
  const near = descriptor === null ? directory : `/proc/self/fd/${descriptor}`
  const us: LockHolder = { pid, holder, since: new Date(clock.wallMs()).toISOString() }
  const text = `${JSON.stringify(us)}\n`
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(text)
    socket.resume()
  })
  server.maxConnections = callerLimit
  server.unref()
  const socketPath = join(near, socketName)
  try {
    const bound = await bindUnixSocket(server, {
      path: socketPath,
      mode: 0o600,
      uid: null,
      gid: null,
      backlog,
      runDir: null,
      platform,
      clock,
      key,
      onNotice: () => {},
    })
    server.on('error', () => {})
    const textPath = join(near, textName)
    writeFileSync(textPath, text, { mode: 0o644 })
    let isReleased = false
    return {
      release() {
        if (isReleased) return
        isReleased = true
        rmSync(textPath, { force: true })
        bound.remove()
        server.close()
        if (descriptor !== null) closeSync(descriptor)
      },
    }
  } catch (error) {
    const failure =
      error instanceof OperatorError && error.code === 'socket-in-use'
        ? heldBy(options, (await askHolder(socketPath)) ?? readHolder(join(near, textName)), error)
        : renamed(error, near, directory)
    if (descriptor !== null) closeSync(descriptor)
    throw failure
  }
}

/** The address of a socket is short, a data directory need not be. */
function needsShortcut({ directory, platform }: DirectoryLockOptions): boolean {
  return platform === 'linux' && Buffer.byteLength(directory) > longDirectoryBytes
}

function heldBy({ directory, key }: DirectoryLockOptions, who: LockHolder | null, cause: unknown): OperatorError {
  const shown = who === null ? 'another process' : `${who.holder} (process ${who.pid}, since ${who.since})`
  return new OperatorError('directory-locked', `the directory ${directory} is in use by ${shown}`, {
    place: { key },
    fix: 'stop that one first, or give each its own directory',
    cause,
  })
}

function renamed(error: unknown, near: string, directory: string): unknown {
  if (!(error instanceof OperatorError)) return error
  const { code, place, fix, cause } = error
  const tell = (text: string) => text.replaceAll(near, directory)
  return new OperatorError(code, `cannot lock the directory: ${tell(error.message)}`, {
    place: place ?? undefined,
    fix: fix === null ? undefined : tell(fix),
    cause,
  })
}

/** Null when the holder does not answer, as one that hangs. */
function askHolder(path: string): Promise<LockHolder | null> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    let text = ''
    const end = () => {
      clearTimeout(timer)
      socket.destroy()
      resolve(parseHolder(text))
    }
    const timer = setTimeout(end, answerTimeLimitMs)
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.length > answerLimitBytes) end()
    })
    socket.on('error', end)
    socket.on('end', end)
  })
}

function readHolder(path: string): LockHolder | null {
  try {
    return parseHolder(readFileSync(path, 'utf8').slice(0, answerLimitBytes))
  } catch {
    return null
  }
}

function parseHolder(text: string): LockHolder | null {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return null
    const { pid, holder, since } = value as Partial<Record<keyof LockHolder, unknown>>
    if (typeof pid !== 'number' || typeof holder !== 'string' || typeof since !== 'string') return null
    return { pid, holder: printable(holder), since: printable(since) }
  } catch {
    return null
  }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}
