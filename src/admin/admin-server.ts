// The admin API: HTTP on a UNIX socket that only its owner may open. Turns requests into the operations of the table, and their
// failures into problems. Holds every limit against a caller that is slow, greedy or broken. Knows no operation by name.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Server as NetServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { OperatorError } from '../base/errors.ts'
import { parseAddress } from '../transport/address.ts'
import { type BoundUnixSocket, bindUnixSocket } from '../transport/unix-socket.ts'
import type { AdminContext, AdminRoute } from './admin-route.ts'
import { adminRoutes } from './admin-routes.ts'
import { EventStream } from './event-stream.ts'
import { FollowUps } from './follow-ups.ts'
import { openApiDocument } from './openapi.ts'
import { apiBase, operationAddress } from './operation-address.ts'
import { HttpError, problemOf } from './problem.ts'
import { ParamsReader, readBody } from './read-params.ts'
import { safeJson } from './safe-json.ts'

export const requestLimit = 32
const connectionLimit = 128
const headerLimitBytes = 16 * 1024
const headersTimeoutMs = 10_000
const requestTimeoutMs = 30_000
/** How long a stop waits for callers that do not take their answer, or have not asked to the end. */
const lastAnswersLimitMs = 500
/** Of the parameters in the line of the audit log. */
const auditLimitChars = 500

export interface AdminServerOptions {
  /** `unix:///…/admin.sock` */
  listen: string
  mode: number
  /** Where missing directories are made; null for nowhere. */
  runDir: string | null
  platform: NodeJS.Platform
  version: string
}

export interface AdminServer {
  /** @throws OperatorError when the socket cannot be had */
  start(): Promise<void>
  /** Cuts off whoever is still connected. */
  stop(): Promise<void>
}

interface Operation {
  route: AdminRoute
  params: ParamsReader
}

export function createAdminServer(context: AdminContext, options: AdminServerOptions): AdminServer {
  return new HttpAdminServer(context, options)
}

class HttpAdminServer implements AdminServer {
  readonly #context: AdminContext
  readonly #options: AdminServerOptions
  readonly #server: Server
  readonly #routes: readonly AdminRoute[]
  /** By method and path. */
  readonly #operations: ReadonlyMap<string, Operation>
  readonly #paths: ReadonlySet<string>
  readonly #followUps = new FollowUps()
  #openApi: string | null = null
  #events: EventStream | null = null
  #bound: BoundUnixSocket | null = null
  readonly #unanswered = new Set<ServerResponse>()

  constructor(context: AdminContext, options: AdminServerOptions) {
    this.#context = context
    this.#options = options
    this.#routes = adminRoutes(context.verbs, options.platform)
    const operations = new Map<string, Operation>()
    for (const route of this.#routes) {
      const { method, path } = operationAddress(route.id)
      operations.set(`${method} ${path}`, { route, params: new ParamsReader(route.params) })
    }
    this.#operations = operations
    this.#paths = new Set([...operations.keys()].map((key) => key.slice(key.indexOf(' ') + 1)))
    this.#server = createServer(
      { maxHeaderSize: headerLimitBytes, headersTimeout: headersTimeoutMs, requestTimeout: requestTimeoutMs },
      (request, response) => void this.#onRequest(request, response),
    )
    this.#server.maxConnections = connectionLimit
    // Node answers 400, 408 and 431 by itself when a listener does not; it has no body then.
    this.#server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n')
      else socket.destroy()
    })
  }

  async start(): Promise<void> {
    const { listen, mode, runDir, platform } = this.#options
    const { clock, log, fleet } = this.#context
    const address = parseAddress(listen, { platform, role: 'listener', place: { key: 'admin.listen' } })
    if (address.kind !== 'unix') {
      throw new OperatorError('address-unsupported', `the admin API listens on UNIX sockets only, not on ${listen}`, {
        place: { key: 'admin.listen' },
        fix: 'write unix:///path/admin.sock',
      })
    }
    const binding = bindUnixSocket(this.#server as NetServer, {
      path: address.path,
      mode,
      uid: null,
      gid: null,
      backlog: connectionLimit,
      runDir,
      platform,
      clock,
      key: 'admin.listen',
      onNotice: (message, fields) => log.info(message, { listener: 'admin', ...fields }),
    })
    this.#bound = await binding.catch((error: unknown) => {
      if (!(error instanceof OperatorError) || error.code !== 'socket-in-use') throw error
      throw new OperatorError(error.code, error.message, {
        place: error.place ?? undefined,
        fix: 'a daemon runs there: stop it with atoll stop, or give this one a runDir and a dataDir of its own',
        cause: error,
      })
    })
    this.#events = new EventStream(fleet, clock)
  }

  async stop(): Promise<void> {
    if (this.#bound === null) return
    this.#bound.remove()
    this.#bound = null
    this.#events?.close()
    const closed = new Promise((resolve) => this.#server.close(resolve))
    // The answer to whoever asked for the stop is on its way.
    const answered = Promise.all(
      [...this.#unanswered].map((response) => new Promise((resolve) => response.once('close', resolve))),
    )
    const limit = new AbortController()
    await Promise.race([answered, wait(lastAnswersLimitMs, null, { signal: limit.signal }).catch(() => {})])
    limit.abort()
    this.#server.closeAllConnections()
    await closed
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => {})
    if (this.#unanswered.size >= requestLimit) {
      this.#fail(
        response,
        new HttpError(503, 'too-many-requests', `${requestLimit} requests at one time are the limit`),
      )
      return
    }
    this.#unanswered.add(response)
    const release = () => {
      this.#unanswered.delete(response)
    }
    const caller = new AbortController()
    response.on('close', () => {
      release()
      if (!response.writableFinished) caller.abort()
    })
    try {
      await this.#answer(request, response, release, caller.signal)
    } catch (error) {
      this.#fail(response, error)
    }
  }

  async #answer(
    request: IncomingMessage,
    response: ServerResponse,
    release: () => void,
    caller: AbortSignal,
  ): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://admin')
    const { path, instance } = this.#place(url.pathname)
    if (path === '/openapi.json' && request.method === 'GET') {
      this.#openApi ??= safeJson(openApiDocument(this.#routes, this.#options.version), 2)
      respond(response, 200, 'application/json', this.#openApi)
      return
    }
    if (path === '/events' && request.method === 'GET') {
      this.#events!.add(response)
      release()
      return
    }
    const operation = this.#operations.get(`${request.method} ${path}`)
    if (operation === undefined) throw this.#notFound(path, response)
    if (instance !== '' && this.#context.fleet.memberStatus(instance) === null) {
      throw new OperatorError('no-such-instance', `there is no instance ${instance}`, {
        fix: 'see atoll instance list',
      })
    }
    if (request.method === 'GET') {
      const params = operation.params.fromQuery(url.searchParams)
      respondJson(response, await operation.route.run(this.#context, instance, params as never, caller))
      return
    }
    if (url.search !== '') throw new HttpError(400, 'query-unused', 'parameters of a POST belong into its body')
    const params = operation.params.fromBody(await readBody(request))
    await this.#runAudited(operation.route, instance, params, response, caller)
  }

  /** One line in the log for each act: a request that fails, and one that does not merely go on with another. */
  async #runAudited(
    route: AdminRoute,
    instance: string,
    params: object,
    response: ServerResponse,
    caller: AbortSignal,
  ): Promise<void> {
    const { log } = this.#context
    const fields = {
      by: 'admin socket',
      operation: route.id,
      instance: instance === '' ? undefined : instance,
      params: safeJson(params).slice(0, auditLimitChars),
    }
    const isFollowUp = route.isFollowUp || this.#followUps.take(route.id, instance, params)
    let result: unknown
    try {
      result = await route.run(this.#context, instance, params as never, caller)
    } catch (error) {
      log.warn('audit', { ...fields, result: error instanceof OperatorError ? error.code : 'failed' })
      throw error
    }
    if (!isFollowUp) log.info('audit', { ...fields, result: 'ok' })
    this.#followUps.note(route.id, instance, params, result)
    respondJson(response, result)
  }

  /** The path as the table has it, and the name that stood in the place of `{instance}`. */
  #place(pathname: string): { path: string; instance: string } {
    if (!pathname.startsWith(`${apiBase}/`)) return { path: '', instance: '' }
    const path = pathname.slice(apiBase.length)
    if (this.#paths.has(path) || path === '/openapi.json' || path === '/events') return { path, instance: '' }
    const [, resource, name, ...rest] = path.split('/')
    if (resource !== 'instances' || name === undefined || name === '') return { path: '', instance: '' }
    try {
      return { path: ['/instances/{instance}', ...rest].join('/'), instance: decodeURIComponent(name) }
    } catch {
      throw new HttpError(400, 'syntax', 'the address is not encoded as it should be')
    }
  }

  #notFound(path: string, response: ServerResponse): HttpError {
    if (!this.#paths.has(path) && path !== '/openapi.json' && path !== '/events') {
      return new HttpError(404, 'no-such-address', 'the API has no such address', {
        fix: `see ${apiBase}/openapi.json`,
      })
    }
    const allowed = ['GET', 'POST'].filter((method) => this.#operations.has(`${method} ${path}`))
    response.setHeader('allow', allowed.length > 0 ? allowed.join(', ') : 'GET')
    return new HttpError(405, 'wrong-method', 'the address has no such method')
  }

  #fail(response: ServerResponse, error: unknown): void {
    const problem = problemOf(error)
    if (problem.status === 500) {
      this.#context.log.error('a request of the admin API ran into a bug', {
        error: error instanceof Error ? error.stack : String(error),
      })
    }
    if (response.headersSent) response.destroy()
    // Of a request that was not read to its end nothing more is wanted.
    else if (!response.req.complete) response.setHeader('connection', 'close')
    if (!response.headersSent) respond(response, problem.status, 'application/problem+json', safeJson(problem))
  }
}

function respondJson(response: ServerResponse, value: unknown): void {
  respond(response, 200, 'application/json', safeJson(value ?? {}))
}

function respond(response: ServerResponse, status: number, type: string, text: string): void {
  const body = Buffer.from(text)
  response.writeHead(status, {
    'content-type': `${type}; charset=utf-8`,
    'content-length': body.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(body)
}
