// The lock on a directory that cannot lie: a socket inside it that listens as long as its holder lives, and answers every
// caller with the holder's name. The kernel lets go of it with the process, kill -9 included. The file `lock` beside it is
// for people to read and decides nothing.
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { bindUnixSocket } from '../transport/unix-socket.ts'

export interface DirectoryLockOptions {
  /** Absolute; it has to be there. */
  directory: string
  /** Who takes it, for people: `the instance plant-a`, `the daemon`. */
  holder: string
  /** It is a command, which lets go as soon as it is done. */
  isBrief?: boolean
  /** Configuration key that errors name. */
  key: string
  pid: number
  platform: NodeJS.Platform
  clock: Clock
}

export interface DirectoryLock {
  /** The holder stops by itself: whoever asks for the directory from now on waits for that. */
  announceEnd(): void
  /** Harmless when called again. */
  release(): void
}

/** What the holder says of itself. */
export interface LockHolder {
  pid: number
  holder: string
  /** ISO 8601. */
  since: string
  /** A command, which lets go as soon as it is done. */
  isBrief: boolean
  /** It stops, and lets go by itself. */
  isEnding: boolean
}

/** Code of the error when a command has the directory. */
export const directoryBusy = 'directory-busy'

const socketName = '.lock'
const textName = 'lock'
const answerLimitBytes = 4096
const answerTimeLimitMs = 1000
/** Longest wait for a holder that stops, as the host processes of a daemon that was killed do. */
const endTimeLimitMs = 20_000
const endPollMs = 50
const callerLimit = 16
const backlog = 64
/** From this length on the private directory in which a socket is made first may not fit into its address. */
const longDirectoryBytes = 60

/**
 * Waits for a holder that stops.
 * @throws OperatorError `directory-locked`, naming the holder; `directory-busy` for a command, which lets go; `listen-failed` when no lock can be made there
 */
export async function lockDirectory(options: DirectoryLockOptions): Promise<DirectoryLock> {
  const { clock } = options
  const endAtMs = clock.monotonicMs() + endTimeLimitMs
  for (;;) {
    try {
      return await tryLock(options)
    } catch (error) {
      if (!(error instanceof HeldError && error.isEnding) || clock.monotonicMs() > endAtMs) throw error
    }
    await wait(endPollMs)
  }
}

async function tryLock(options: DirectoryLockOptions): Promise<DirectoryLock> {
  const { directory, holder, isBrief = false, key, pid, platform, clock } = options
  const descriptor = needsShortcut(options) ? openSync(directory, 'r') : null
  const near = descriptor === null ? directory : `/proc/self/fd/${descriptor}`
  const us: LockHolder = { pid, holder, since: new Date(clock.wallMs()).toISOString(), isBrief, isEnding: false }
  const text = () => `${JSON.stringify(us)}\n`
  const server = createServer((socket) => {
    socket.on('error', () => {})
    // What came at the same time may be the reason to stop.
    setImmediate(() => socket.end(text()))
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
      hasSpare: true,
      onNotice: () => {},
    })
    server.on('error', () => {})
    const textPath = join(near, textName)
    tell(textPath, text())
    let isReleased = false
    return {
      announceEnd() {
        us.isEnding = true
      },
      release() {
        if (isReleased) return
        isReleased = true
        forget(textPath)
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

/** A disk that has no room for it costs no more than the text. */
function tell(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o644 })
  } catch {
    // What stands there now may be of an earlier holder, or a half.
    forget(path)
  }
}

function forget(path: string): void {
  try {
    rmSync(path, { force: true })
  } catch {
    // Nobody relies on it.
  }
}

/** The address of a socket is short, a data directory need not be. */
function needsShortcut({ directory, platform }: DirectoryLockOptions): boolean {
  return platform === 'linux' && Buffer.byteLength(directory) > longDirectoryBytes
}

function heldBy({ directory, key }: DirectoryLockOptions, who: LockHolder | 'gone' | null, cause: unknown): HeldError {
  const isEnding = who === 'gone' || (who?.isEnding ?? false)
  const shown =
    who === null || who === 'gone' ? 'another process' : `${who.holder} (process ${who.pid}, since ${who.since})`
  const isBrief = who !== null && who !== 'gone' && who.isBrief
  return new HeldError(`the directory ${directory} is in use by ${shown}`, { key, isBrief, isEnding, cause })
}

interface HeldDetails {
  key: string
  isBrief: boolean
  isEnding: boolean
  cause: unknown
}

class HeldError extends OperatorError {
  readonly isEnding: boolean

  constructor(message: string, { key, isBrief, isEnding, cause }: HeldDetails) {
    super(isBrief ? directoryBusy : 'directory-locked', message, {
      place: { key },
      fix: isBrief ? 'wait for its end' : 'stop that one first, or give each its own directory',
      cause,
    })
    this.isEnding = isEnding
  }
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

/** Null when the holder does not answer, as one that hangs; `gone` when it has let go by now. */
function askHolder(path: string): Promise<LockHolder | 'gone' | null> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    let text = ''
    const settle = (answer: LockHolder | 'gone' | null) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(answer)
    }
    const end = () => settle(text === '' ? 'gone' : parseHolder(text))
    const timer = setTimeout(() => settle(null), answerTimeLimitMs)
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
    const { pid, holder, since, isBrief, isEnding } = value as Partial<Record<keyof LockHolder, unknown>>
    if (typeof pid !== 'number' || typeof holder !== 'string' || typeof since !== 'string') return null
    return {
      pid,
      holder: printable(holder),
      since: printable(since),
      isBrief: isBrief === true,
      isEnding: isEnding === true,
    }
  } catch {
    return null
  }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}
