// A fleet that runs nothing and remembers what it was told, and an admin server over it on a socket in a folder of its own.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import type { FleetConfig } from '../config/fleet-config.ts'
import { loadFleet } from '../config/load-fleet.ts'
import { SavedChanges, savedChangesFile } from '../config/saved-changes.ts'
import type { Fleet, FleetEvent, MemberStatus } from '../fleet/fleet.ts'
import { addressGrammar } from '../instance/address-grammar.ts'
import type { ControlVerb } from '../instance/control-verb.ts'
import { createLog } from '../observe/log.ts'
import type { AdminContext } from './admin-route.ts'
import { createAdminServer } from './admin-server.ts'
import { LongWork } from './long-work.ts'
import { apiBase } from './operation-address.ts'

export class StubFleet implements Fleet {
  config: FleetConfig
  readonly calls: unknown[] = []
  readonly #listeners = new Set<(event: FleetEvent) => void>()
  /** What the next call of a verb answers. */
  answer: () => unknown = () => ({ items: [], cursor: null })

  constructor(config: FleetConfig) {
    this.config = config
  }

  status() {
    const members = this.config.members.map(({ config }) => this.memberStatus(config.name)!)
    return { pid: 1, version: '0', startedAtMs: 0, members }
  }

  memberStatus(name: string): MemberStatus | null {
    if (!this.config.members.some(({ config }) => config.name === name)) return null
    const state = {
      phase: 'ready',
      pid: 1,
      isolation: 'inline',
      start: 'always',
      isReady: true,
      problem: null,
      recovery: null,
      damage: null,
      readySinceMs: 0,
      reason: null,
      lastFailure: null,
      lastFailureAtMs: null,
    } as const
    return { name, ...state, listeners: [], connections: 0, restarts: 0 }
  }

  async askedStatus() {
    return this.status()
  }

  async plan(next: FleetConfig) {
    return next.members.map(({ config: { name } }) => ({ name, kind: 'unchanged' as const, keys: [], reason: null }))
  }

  planDaemon() {
    return []
  }

  async apply(next: FleetConfig) {
    this.config = next
    return this.plan(next)
  }

  async startMember(name: string) {
    this.calls.push(['start', name])
  }

  async stopMember(name: string) {
    this.calls.push(['stop', name])
    throw new OperatorError('no-answer', 'it does not stop')
  }

  async restartMember(name: string) {
    this.calls.push(['restart', name])
  }

  async call(name: string, verb: string, params: unknown) {
    this.calls.push([name, verb, params])
    return this.answer()
  }

  subscribe(listener: (event: FleetEvent) => void) {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  emit(event: FleetEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  get readerCount(): number {
    return this.#listeners.size
  }

  async stop() {}
}

export interface Answer {
  status: number
  headers: IncomingMessage['headers']
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: JSON of any shape
  json: any
}

export interface AdminFixture {
  fleet: StubFleet
  clock: ManualClock
  context: AdminContext
  socketPath: string
  lines: string[]
  stopReasons: string[]
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  stop(): Promise<void>
}

export async function startAdmin(test: TestContext, verbs: readonly ControlVerb[]): Promise<AdminFixture> {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-admin-'))
  const socketPath = join(folder, 'a.sock')
  const file = join(folder, 'atoll.yaml')
  writeFileSync(file, 'instances: {a: {}, b: {}}')
  const changes = new SavedChanges(savedChangesFile(file))
  const readConfig = () =>
    loadFleet({
      file,
      environment: { HOME: folder },
      listen: [],
      settings: [],
      workingDirectory: folder,
      uid: 1000,
      grammar: addressGrammar(process.platform),
      changes,
    }).fleet
  const fleet = new StubFleet(readConfig())
  const clock = new ManualClock()
  const lines: string[] = []
  const stopReasons: string[] = []
  const context: AdminContext = {
    fleet,
    verbs,
    changes,
    longWork: new LongWork(),
    platform: process.platform,
    uid: process.getuid!(),
    log: createLog('debug', 'text', clock, (line) => lines.push(line)),
    clock,
    logFileOf: () => null,
    readConfig,
    applyConfig: () => fleet.apply(readConfig()),
    requestStop: (reason) => stopReasons.push(reason),
  }
  const server = createAdminServer(context, {
    listen: `unix://${socketPath}`,
    mode: 0o600,
    runDir: null,
    platform: process.platform,
    version: '1.2.3',
  })
  await server.start()
  test.after(async () => {
    await server.stop()
    rmSync(folder, { recursive: true })
  })
  const send: AdminFixture['send'] = (method, path, body, headers = {}) =>
    sendRequest(socketPath, method, path.startsWith('/api') ? path : apiBase + path, body, headers)
  return { fleet, clock, context, socketPath, lines, stopReasons, send, stop: () => server.stop() }
}

/** @param body text or bytes as they are, anything else as JSON */
function sendRequest(
  socketPath: string,
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<Answer> {
  const isJson = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body)
  return new Promise((resolve, reject) => {
    const sent = request(
      { socketPath, method, path, headers: { ...(isJson ? { 'content-type': 'application/json' } : {}), ...headers } },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part) => {
          text += part
        })
        response.on('end', () => {
          const isObject = text.startsWith('{') || text.startsWith('[')
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            text,
            json: isObject ? JSON.parse(text) : null,
          })
        })
      },
    )
    sent.on('error', reject)
    sent.end(isJson ? JSON.stringify(body) : (body as string | Buffer | undefined))
  })
}
