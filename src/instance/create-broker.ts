// The library: brokers inside somebody else's program. Any number of them in one process; no globals, no signal handlers.
import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { type Clock, createSystemClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import type { BrokerEvents } from '../broker/broker.ts'
import type { BrokerHooks } from '../broker/hooks.ts'
import { LocalClient } from '../broker/local-client.ts'
import type { InstanceConfig, ListenerConfig } from '../config/instance-config.ts'
import type { InstanceInput } from '../config/keys.ts'
import { instanceFromInput } from '../config/resolve-instance.ts'
import { createLog, type Log } from '../observe/log.ts'
import { createSilentLog } from '../observe/log.ts'
import { StreamConnection } from '../transport/stream-connection.ts'
import { addressGrammar } from './address-grammar.ts'
import { Instance, type InstancePhase } from './instance.ts'

/** The keys of the configuration file, and what only a program can give. */
export type BrokerInput = InstanceInput & {
  /** Shown in log lines; `default` when absent. */
  name?: string
}

export interface BrokerSurroundings {
  /** Receives log lines without the final newline; nothing is logged when absent. */
  writeLog?: (line: string) => void
  /** For tests that crank time by hand. */
  clock?: Clock
  /** Where missing directories of UNIX sockets may be created; nowhere when absent. */
  runDir?: string
  /** A number in [0, 1), for tests that must repeat. */
  random?: () => number
}

/** A listener as the program sees it. */
export interface ListenerInfo {
  readonly name: string
  /** The real one: with the port that the system chose when 0 was asked for. */
  readonly address: string
  readonly phase: string
  readonly connections: number
}

/** One broker. See docs/library.md. */
export class AtollBroker {
  readonly #instance: Instance
  readonly #config: InstanceConfig
  readonly #localClients = new Set<LocalClient>()

  /** @throws ConfigError with every finding */
  constructor(input: BrokerInput, surroundings: BrokerSurroundings) {
    const { name = 'default', ...rest } = input
    const clock = surroundings.clock ?? createSystemClock()
    this.#config = instanceFromInput(rest as InstanceInput, {
      name,
      workingDirectory: process.cwd(),
      grammar: addressGrammar(process.platform),
    })
    this.#instance = new Instance(this.#config, {
      clock,
      log: logOf(this.#config, clock, surroundings.writeLog),
      platform: process.platform,
      runDir: surroundings.runDir ?? null,
      environment: {},
      pid: process.pid,
      random: surroundings.random,
    })
  }

  get phase(): InstancePhase {
    return this.#instance.phase
  }

  get listeners(): readonly ListenerInfo[] {
    return this.#instance.listeners.map(({ config: { name }, address, phase, connections }) => ({
      name,
      address,
      phase,
      connections,
    }))
  }

  /** Connected clients, in-process ones included. */
  get connectedClients(): number {
    return this.#instance.broker.sessions.attachedCount
  }

  /** A copy of all counters at this moment. */
  get counters(): Readonly<Record<string, number>> {
    const { broker } = this.#instance
    return {
      ...broker.counters,
      bytesSent: broker.bytesSent,
      dropped: broker.counters.dropped,
      sessions: broker.sessions.size,
      subscriptions: broker.router.subscriptionCount,
      retainedMessages: broker.retained.count,
      retainedBytes: broker.retained.bytes,
      queuedMessages: broker.queuedMessages,
      queuedBytes: broker.queuedBytes,
      outputBytes: broker.outputBytes,
    }
  }

  /** @throws OperatorError; nothing is left open then */
  async start(): Promise<this> {
    await this.#instance.start()
    return this
  }

  /** Parts with all clients and closes all listeners, within the grace period. */
  async stop(): Promise<void> {
    for (const client of [...this.#localClients]) await client.close()
    this.#localClients.clear()
    await this.#instance.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Adds hooks; those added first are asked first. */
  use(hooks: BrokerHooks): this {
    this.#instance.broker.hooks.add(hooks)
    if (hooks.authorize !== undefined) this.#instance.broker.rightsChanged()
    return this
  }

  /** Remembered answers of the `authorize` hook are forgotten. */
  rightsChanged(): void {
    this.#instance.broker.rightsChanged()
  }

  on<Name extends keyof BrokerEvents>(name: Name, listener: (...values: BrokerEvents[Name]) => void): this {
    ;(this.#instance.broker.events as EventEmitter).on(name, listener as (...values: unknown[]) => void)
    return this
  }

  off<Name extends keyof BrokerEvents>(name: Name, listener: (...values: BrokerEvents[Name]) => void): this {
    ;(this.#instance.broker.events as EventEmitter).off(name, listener as (...values: unknown[]) => void)
    return this
  }

  /** A client without a socket. Its Session ends with `close`; another one of the same name takes over. */
  client(clientId: string): LocalClient {
    if (this.phase !== 'running') throw new OperatorError('not-running', 'the broker does not run', { fix: 'await start()' })
    const client = new LocalClient(this.#instance.broker, clientId)
    this.#localClients.add(client)
    return client
  }

  /** Parts with a client. @returns false when there is none of this name */
  disconnectClient(clientId: string, reasonCode = 0x98): boolean {
    const { broker } = this.#instance
    const outlet = broker.sessions.get(clientId)?.outlet ?? null
    broker.loop.enter()
    outlet?.disconnect(reasonCode, 'administrative action')
    broker.loop.leave()
    return outlet !== null
  }

  /**
   * Serves MQTT over a stream of the program's own: one side of an in-memory pair, a tunnel, a pipe.
   * @param options as of a listener; the defaults are those of every listener
   */
  accept(stream: Duplex, options: { name?: string } & Partial<Omit<ListenerConfig, 'name' | 'address'>> = {}): void {
    const { name = 'stream', ...rest } = options
    const { broker } = this.#instance
    const template = instanceFromInput(
      { listeners: { [name]: 'tcp://127.0.0.1:0' } } as InstanceInput,
      { name, workingDirectory: '/', grammar: addressGrammar(process.platform) },
    ).listeners[0]
    const config: ListenerConfig = { ...template, ...rest, name, address: 'stream' }
    broker.accept(new StreamConnection(stream, name, broker.loop), config)
  }
}

function logOf(config: InstanceConfig, clock: Clock, writeLog: ((line: string) => void) | undefined): Log {
  if (writeLog === undefined) return createSilentLog()
  return createLog(config.log.level, config.log.format, clock, writeLog, { instance: config.name })
}

/**
 * Creates a broker in memory; `start` opens its listeners.
 * @throws ConfigError with every finding
 */
export function createBroker(input: BrokerInput = {}, surroundings: BrokerSurroundings = {}): AtollBroker {
  return new AtollBroker(input, surroundings)
}
