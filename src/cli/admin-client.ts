// The command line's way to the daemon: HTTP on its admin socket. Knows the addresses of operations from their names, and turns
// problems back into the errors that people read.
import { type IncomingMessage, request } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { apiBase, operationAddress } from '../admin/operation-address.ts'
import { OperatorError } from '../base/errors.ts'
import { defaultPaths } from '../config/default-paths.ts'
import { UsageError } from './usage-error.ts'

/** An answer beyond this is not that of a daemon. */
const answerLimitBytes = 64 * 1024 * 1024
const retryMs = 50
/** A daemon that has too many connections cuts them off too, and does not end. */
const stopAttempts = 40

/** Instance and parameters of an operation. */
export interface AdminCall {
  instance?: string
  params?: Readonly<Record<string, unknown>>
}

export class AdminClient {
  readonly socketPath: string

  readonly #timeLimitMs: number | null

  /** @param timeLimitMs of each call; null for none */
  constructor(socketPath: string, timeLimitMs: number | null = null) {
    this.socketPath = socketPath
    this.#timeLimitMs = timeLimitMs
  }

  /** @throws OperatorError with the code of the problem, or `daemon-not-running` */
  async call<Result>(operation: string, { instance = '', params = {} }: AdminCall = {}): Promise<Result> {
    const response = await this.#send(operation, instance, params)
    const text = await readText(response)
    const value = parseAnswer(text, this.socketPath)
    if (response.statusCode === 200) return value as Result
    throw errorOf(value)
  }

  /**
   * Asks for the end of the daemon. One that is ending already may not hear it any more, which is as good.
   * @returns its process; null when it had ended before it could answer
   */
  async requestStop(): Promise<number | null> {
    for (let attempt = 1; ; attempt++) {
      try {
        return (await this.call<{ pid: number }>('fleet.stop')).pid
      } catch (error) {
        if (attempt > 1 && error instanceof OperatorError && error.code === 'daemon-not-running') return null
        if (attempt === stopAttempts || !isGone(error)) throw error
      }
      await wait(retryMs)
    }
  }

  /** Resolves when the daemon, which was told to stop, has ended all instances and let go of its locks and its socket. */
  async whenEnded(): Promise<void> {
    for (;;) {
      try {
        const response = await this.#send('api.events', '', {})
        response.resume()
        await new Promise((resolve) => response.once('close', resolve))
      } catch (error) {
        if (error instanceof OperatorError && error.code === 'daemon-not-running') return
        // Whoever comes while it closes its socket is cut off unheard.
        if (!isGone(error)) throw error
      }
      // It still answers other connections while it stops.
      await wait(retryMs)
    }
  }

  #send(operation: string, instance: string, params: Readonly<Record<string, unknown>>): Promise<IncomingMessage> {
    const { method, path } = operationAddress(operation)
    const body = method === 'POST' ? Buffer.from(JSON.stringify(params)) : null
    const headers = body === null ? {} : { 'content-type': 'application/json', 'content-length': body.length }
    const { socketPath } = this
    return new Promise((resolve, reject) => {
      const sent = request({
        socketPath,
        method,
        path:
          apiBase + path.replace('{instance}', encodeURIComponent(instance)) + (body === null ? queryOf(params) : ''),
        headers: { ...headers, connection: 'close' },
        ...(this.#timeLimitMs === null ? {} : { signal: AbortSignal.timeout(this.#timeLimitMs) }),
      })
      sent.once('response', resolve)
      sent.once('error', (error: NodeJS.ErrnoException) => reject(connectionError(error, socketPath)))
      sent.end(body)
    })
  }
}

function isGone(error: unknown): boolean {
  return error instanceof OperatorError && error.code === 'daemon-gone'
}

function queryOf(params: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) {
    if (value === undefined || value === null) continue
    for (const one of [value].flat()) query.append(name, String(one))
  }
  return query.size > 0 ? `?${query}` : ''
}

function readText(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    response.on('data', (chunk: Buffer) => {
      length += chunk.length
      chunks.push(chunk)
      if (length > answerLimitBytes) response.destroy(new OperatorError('answer-too-large', 'the answer has no end'))
    })
    response.once('end', () => resolve(Buffer.concat(chunks).toString()))
    response.once('error', (error) =>
      reject(error instanceof OperatorError ? error : new OperatorError('daemon-gone', 'the daemon ended meanwhile')),
    )
  })
}

function parseAnswer(text: string, socketPath: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new OperatorError('not-the-daemon', `what listens at ${socketPath} gives no answer of atoll`, {
      fix: 'name its admin socket with --admin',
    })
  }
}

function errorOf(value: unknown): OperatorError {
  const { code, detail, key, fix, findings } = value as {
    code: string
    detail: string
    key: string | null
    fix: string | null
    findings?: {
      code: string
      message: string
      fix: string | null
      file?: string
      line?: number
      column?: number
      key?: string
    }[]
  }
  if (findings !== undefined && findings.length > 0) {
    const errors = findings.map(
      ({ code: own, message, fix: ownFix, ...place }) =>
        new OperatorError(own, message, { place, fix: ownFix ?? undefined }),
    )
    return Object.assign(new OperatorError(code, detail), { findings: errors })
  }
  // Which parameter it was tells something where a value is wrong, and nothing where the thing that it names is meant.
  const isOfThing = code.startsWith('no-such-') || code.endsWith('-exists')
  return new OperatorError(code, detail, {
    ...(key === null || isOfThing ? {} : { place: { key } }),
    ...(fix === null ? {} : { fix }),
  })
}

function connectionError(error: NodeJS.ErrnoException, socketPath: string): OperatorError {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') {
    return new OperatorError('daemon-not-running', `no daemon listens at ${socketPath}`, {
      fix: 'start it with atoll start, or name its socket with --admin unix:///path',
      cause: error,
    })
  }
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new OperatorError('not-permitted', `this account may not open ${socketPath}`, {
      fix: 'run as the account of the daemon, or give it admin.mode',
      cause: error,
    })
  }
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') {
    return new OperatorError('daemon-gone', 'the daemon ended meanwhile, or has too many connections', { cause: error })
  }
  return new OperatorError('cannot-connect', `cannot talk to the daemon at ${socketPath}: ${error.message}`, {
    cause: error,
  })
}

/** @throws OperatorError when neither option, variable nor account say where the socket is */
export function findAdminSocket(
  option: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
  uid: number,
): string {
  const named = option ?? environment.ATOLL_ADMIN
  if (named !== undefined && named !== '') {
    const path = named.startsWith('unix://') ? named.slice('unix://'.length) : named
    if (path.startsWith('/')) return path
    const where = option === undefined ? 'ATOLL_ADMIN' : '--admin'
    throw new UsageError(`${where}: ${named} is no address of an admin socket`, 'write unix:///path/admin.sock')
  }
  const paths = defaultPaths(uid, environment)
  if (paths !== null) return `${paths.runDir}/admin.sock`
  throw new OperatorError('no-home', 'neither HOME nor the XDG variables say where the admin socket is', {
    fix: 'name it with --admin unix:///path/admin.sock',
  })
}
