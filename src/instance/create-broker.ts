// The library: brokers inside somebody else's program. Any number of them in one process; no globals, no signal handlers.
import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { type Clock, createSystemClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import type { BrokerEvents } from '../broker/broker.ts'
import type { BrokerHooks } from '../broker/hooks.ts'
import { LocalClient } from '../broker/local-client.ts'
import type { InstanceConfig } from '../config/instance-config.ts'
import type { InstanceInput, listenerKeys, SectionInput } from '../config/keys.ts'
import { instanceFromInput } from '../config/resolve-instance.ts'
import { createLog, createSilentLog, type Log } from '../observe/log.ts'
import type { FaultDisk } from '../storage/memory-store.ts'
import type { ListenerPhase } from '../transport/listener.ts'
import { StreamConnection } from '../transport/stream-connection.ts'
import { addressGrammar } from './address-grammar.ts'
import { type BrokerCounters, readCounters } from './broker-counters.ts'
import { Instance, type InstancePhase } from './instance.ts'

export type { BrokerCounters }

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
  /** Folder of this broker alone for what must survive a restart; with it `durability` may be `os` or `fsync`. */
  dataDir?: string
  /** For tests of crashes: a disk of simulations from `atollmq/testing` in the place of `dataDir`. */
  disk?: FaultDisk
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
  readonly phase: ListenerPhase
  readonly connections: number
}

/** The keys of a listener that mean something for a stream. */
export type StreamOptions = {
  /** Shown as `memory:name` in log lines, hooks and events; `stream` when absent. */
  name?: string
} & Pick<
  SectionInput<typeof listenerKeys>,
  'protocols' | 'anonymous' | 'connectTimeout' | 'maxPacketSize' | 'receiveMaximum' | 'mountPoint'
>

/** One broker. See docs/library.md. */
export class AtollBroker {
  readonly #instance: Instance
  readonly #config: InstanceConfig
  #starting: Promise<void> | null = null
  readonly #abortStart = new AbortController()
  #stopping: Promise<void> | null = null

  /** @throws ConfigError with every finding */
  constructor(input: BrokerInput, surroundings: BrokerSurroundings) {
    const { name = 'default', ...rest } = input
    const clock = surroundings.clock ?? createSystemClock()
    this.#config = instanceFromInput(rest, surroundingsOfConfig(name))
    this.#instance = new Instance(this.#config, {
      clock,
      log: logOf(this.#config, clock, surroundings.writeLog),
      platform: process.platform,
      runDir: surroundings.runDir ?? null,
      environment: {},
      pid: process.pid,
      dataDir: surroundings.dataDir ?? null,
      disk: surroundings.disk,
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
  get counters(): BrokerCounters {
    return readCounters(this.#instance.broker)
  }

  /**
   * Opens the listeners. A broker starts once.
   * @throws OperatorError; nothing is left open then
   */
  async start(): Promise<this> {
    if (this.phase !== 'created') {
      const fix = 'create another one with createBroker'
      throw new OperatorError('already-started', `the broker cannot start: it is ${this.phase}`, { fix })
    }
    this.#starting = this.#instance.start(this.#abortStart.signal)
    await this.#starting
    return this
  }

  /**
   * Parts with all clients and closes all listeners, within the grace period. Harmless when called again or too early: a start
   * that is under way ends with an OperatorError `stopped-meanwhile`, unless it is nearly done.
   */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const { name } = this.#config
    this.#abortStart.abort(new OperatorError('stopped-meanwhile', `the broker ${name} was stopped while it started`))
    // Whether it succeeded is the business of the one who started it.
    await this.#starting?.catch(() => {})
    for (const { outlet } of this.#instance.broker.sessions.values()) {
      if (outlet instanceof LocalClient) outlet.disconnect()
    }
    await this.#instance.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Adds hooks; those added first are asked first. */
  use(hooks: BrokerHooks): this {
    this.#instance.broker.hooks.add(hooks)
    if (hooks.authorize !== undefined) this.#instance.broker.rights.changed()
    return this
  }

  /** Remembered answers of the `authorize` hook are forgotten. */
  rightsChanged(): void {
    this.#instance.broker.rights.changed()
  }

  on<Name extends keyof BrokerEvents>(name: Name, listener: (...values: BrokerEvents[Name]) => void): this {
    ;(this.#instance.broker.events as EventEmitter).on(name, listener as (...values: unknown[]) => void)
    return this
  }

  off<Name extends keyof BrokerEvents>(name: Name, listener: (...values: BrokerEvents[Name]) => void): this {
    ;(this.#instance.broker.events as EventEmitter).off(name, listener as (...values: unknown[]) => void)
    return this
  }

  /**
   * A client without a socket. Its Session ends with `close`; another client of the same name takes over.
   * @throws OperatorError `not-running`
   */
  client(clientId: string): LocalClient {
    this.#assertRunning()
    return new LocalClient(this.#instance.broker, clientId)
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
   * @param options the keys and defaults of a listener
   * @throws OperatorError `not-running`, ConfigError for options
   */
  accept(stream: Duplex, options: StreamOptions = {}): void {
    this.#assertRunning()
    const { name = 'stream', ...keys } = options
    const { broker } = this.#instance
    // As a loopback listener: whoever holds the stream is this program's own guest.
    const listeners = { [name]: { ...keys, address: 'tcp://127.0.0.1:0' } }
    const config = instanceFromInput({ listeners }, surroundingsOfConfig(name)).listeners[0]
    broker.accept(new StreamConnection(stream, name, broker.loop), { ...config, address: 'stream' })
  }

  #assertRunning(): void {
    if (this.phase === 'running') return
    const fix = this.phase === 'created' || this.phase === 'starting' ? 'await start()' : 'create another one'
    throw new OperatorError('not-running', `the broker does not run: it is ${this.phase}`, { fix })
  }
}

function surroundingsOfConfig(name: string): Parameters<typeof instanceFromInput>[1] {
  return { name, workingDirectory: process.cwd(), grammar: addressGrammar(process.platform) }
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
