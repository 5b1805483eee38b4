// One instance: the only place where a broker, its listeners, its users and its rights are put together. Starts and stops
// them in order. Knows no command line; installs no signal handler and ends no process.
import { readFileSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { LifeCycle, type Transitions } from '../base/life-cycle.ts'
import { Broker } from '../broker/broker.ts'
import { SysTopics } from '../broker/sys-topics.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import type { InstanceConfig, ListenerConfig } from '../config/instance-config.ts'
import type { Log } from '../observe/log.ts'
import { type AclAuthorizer, createAclAuthorizer } from '../security/acl-authorizer.ts'
import { type AclRules, parseAclFile } from '../security/acl-file.ts'
import { createPasswordAuthenticator, type PasswordAuthenticator } from '../security/password-authenticator.ts'
import { type PasswordEntries, parsePasswordFile } from '../security/password-file.ts'
import { isLoopback, parseAddress } from '../transport/address.ts'
import { parseListenFds } from '../transport/inherited-fds.ts'
import { createListener, type Listener } from '../transport/listener.ts'
import { Loop } from '../transport/loop.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { version } from './version.ts'

export interface InstanceEnvironment {
  clock: Clock
  log: Log
  platform: NodeJS.Platform
  /** Where missing directories of sockets are made; null for nowhere. */
  runDir: string | null
  /** Variables of the process, for socket activation. */
  environment: Readonly<Record<string, string | undefined>>
  pid: number
  /** Shared by the instances of one event loop; one of its own when absent. */
  loop?: Loop
  /** A number in [0, 1). */
  random?: () => number
}

export type InstancePhase = 'created' | 'starting' | 'running' | 'stopping' | 'stopped' | 'failed'

const transitions: Transitions<InstancePhase> = {
  created: ['starting', 'stopped'],
  starting: ['running', 'failed'],
  running: ['stopping'],
  stopping: ['stopped'],
  stopped: [],
  failed: ['stopped'],
}

/** What reload answers: listeners that were started and stopped. */
export interface ReloadReport {
  started: string[]
  stopped: string[]
}

interface SecurityFiles {
  passwords: PasswordEntries | null
  acl: AclRules | null
}

/** How often it is looked whether all connections have closed while stopping. */
const stopPollMs = 20

export class Instance {
  readonly broker: Broker
  readonly #environment: InstanceEnvironment
  readonly #life = new LifeCycle<InstancePhase>(transitions, 'created')
  #config: InstanceConfig
  #listeners: Listener[] = []
  readonly #sysTopics: SysTopics
  #passwords: PasswordAuthenticator | null = null
  #acl: AclAuthorizer | null = null
  #files: SecurityFiles = { passwords: null, acl: null }

  constructor(config: InstanceConfig, environment: InstanceEnvironment) {
    this.#config = config
    this.#environment = environment
    this.broker = new Broker({
      limits: config.limits,
      features: config.features,
      auth: config.auth,
      clock: environment.clock,
      loop: environment.loop ?? new Loop(),
      log: environment.log,
      random: environment.random ?? Math.random,
    })
    this.#sysTopics = new SysTopics(this.broker, version)
  }

  get phase(): InstancePhase {
    return this.#life.current
  }

  get name(): string {
    return this.#config.name
  }

  get listeners(): readonly Listener[] {
    return this.#listeners
  }

  /**
   * Starts everything, listeners last.
   * @throws OperatorError; nothing is left open then
   */
  async start(): Promise<void> {
    this.#life.to('starting')
    try {
      this.#useSecurity(readSecurityFiles(this.#config))
      this.broker.start()
      this.#sysTopics.start(this.#config.features.sysIntervalSeconds)
      for (const listener of this.#config.listeners) if (listener.enabled) await this.startListener(listener)
    } catch (error) {
      await this.#closeAll()
      this.#life.to('failed')
      throw error
    }
    this.#life.to('running')
  }

  /** Starts one more listener. @throws OperatorError; nothing is left behind then */
  async startListener(config: ListenerConfig): Promise<Listener> {
    const { broker } = this
    const { clock, log, platform, runDir, environment, pid } = this.#environment
    const inheritedFds = parseListenFds(environment, pid)
    const listener = createListener(
      config,
      { platform, runDir, inheritedFds, log, clock },
      (handle, peer, released) => {
        broker.accept(new SocketConnection(handle, peer, broker.loop, released), config)
      },
    )
    await listener.start()
    this.#listeners.push(listener)
    await this.#assertSafe(listener)
    return listener
  }

  /** What an inherited descriptor leads to is only known now; the rule of safe defaults holds for it as well. */
  async #assertSafe(listener: Listener): Promise<void> {
    const { config, address } = listener
    if (!config.address.startsWith('fd:') || config.anonymous !== null || this.#config.auth.passwords !== null) return
    const { platform } = this.#environment
    if (isLoopback(parseAddress(address, { platform, role: 'listener' }))) return
    await listener.stop()
    this.#listeners = this.#listeners.filter((other) => other !== listener)
    throw new OperatorError(
      'anonymous-listener',
      `${address} can be reached from other hosts and asks for no password`,
      {
        place: { key: `listeners.${config.name}` },
        fix: 'set auth.passwords, or anonymous: true on this listener',
      },
    )
  }

  /** Accepts no more, tells MQTT 5 clients 0x8B, and ends within the grace period. Harmless when it does not run. */
  async stop(): Promise<void> {
    if (this.phase === 'created' || this.phase === 'failed') this.#life.to('stopped')
    if (this.phase !== 'running') return
    this.#life.to('stopping')
    await Promise.all(this.#listeners.map((listener) => listener.stop()))
    this.broker.disconnectAll(ReasonCode.serverShuttingDown, 'the server stops')
    const deadlineMs = this.#environment.clock.monotonicMs() + this.#config.gracePeriodSeconds * 1000
    while (this.broker.connections.size > 0 && this.#environment.clock.monotonicMs() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, stopPollMs))
    }
    await this.#closeAll()
    this.#life.to('stopped')
  }

  async #closeAll(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.stop()))
    this.#sysTopics.stop()
    this.broker.stop()
  }

  /**
   * Takes all of a new configuration, with the files that it names, or nothing of it. Listeners that stay as they are
   * keep their connections; one that changed is stopped and started anew, and its clients connect again.
   * @throws OperatorError when the old one stays in force
   */
  async reload(config: InstanceConfig): Promise<ReloadReport> {
    if (this.phase !== 'running') throw new OperatorError('not-running', `the instance ${this.name} does not run`)
    const files = readSecurityFiles(config)
    const wanted = new Map(config.listeners.filter(({ enabled }) => enabled).map((one) => [one.name, one]))
    const isSame = (listener: Listener) => sameListener(wanted.get(listener.config.name), listener.config)
    const stays = this.#listeners.filter(isSame)
    const leaves = this.#listeners.filter((listener) => !isSame(listener))
    const comes = [...wanted.values()].filter((one) => !stays.some(({ config: { name } }) => name === one.name))
    await this.#swapListeners(stays, leaves, comes, files)
    this.#config = config
    this.broker.reconfigure(config.limits, config.features, config.auth)
    this.#sysTopics.start(config.features.sysIntervalSeconds)
    return { started: comes.map(({ name }) => name), stopped: leaves.map(({ config: { name } }) => name) }
  }

  /**
   * A listener never accepts under users and rules that it was not configured for: the old ones stop before those change,
   * the new ones start after. One that cannot start brings back all that made room for it.
   */
  async #swapListeners(
    stays: Listener[],
    leaves: Listener[],
    comes: ListenerConfig[],
    files: SecurityFiles,
  ): Promise<void> {
    const oldFiles = this.#files
    await Promise.all(leaves.map((listener) => listener.stop()))
    this.#listeners = [...stays]
    this.#useSecurity(files)
    try {
      for (const one of comes) await this.startListener(one)
    } catch (error) {
      const newer = this.#listeners.filter((listener) => !stays.includes(listener))
      await Promise.all(newer.map((listener) => listener.stop()))
      this.#listeners = [...stays]
      this.#useSecurity(oldFiles)
      for (const { config } of leaves) await this.startListener(config)
      throw error
    }
  }

  #useSecurity(files: SecurityFiles): void {
    this.#files = files
    const { passwords, acl } = files
    if (passwords === null) this.#passwords = null
    else if (this.#passwords === null) this.#passwords = createPasswordAuthenticator(passwords)
    else this.#passwords.update(passwords)
    this.broker.authenticator = this.#passwords
    if (acl === null) this.#acl = null
    else if (this.#acl === null) this.#acl = createAclAuthorizer(acl)
    else this.#acl.update(acl)
    this.broker.authorizer = this.#acl
  }
}

export function createInstance(config: InstanceConfig, environment: InstanceEnvironment): Instance {
  return new Instance(config, environment)
}

function sameListener(one: ListenerConfig | undefined, other: ListenerConfig): boolean {
  return one !== undefined && JSON.stringify(one) === JSON.stringify(other)
}

/** @throws OperatorError naming file and line */
function readSecurityFiles(config: InstanceConfig): SecurityFiles {
  const { passwords, acl } = config.auth
  return {
    passwords: passwords === null ? null : parsePasswordFile(readText(passwords, 'auth.passwords'), passwords),
    acl: acl === null ? null : parseAclFile(readText(acl, 'auth.acl'), acl),
  }
}

function readText(file: string, key: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const what = code === 'ENOENT' ? 'there is no such file' : `cannot be read: ${message}`
    throw new OperatorError('file-unreadable', what, { place: { file, key }, cause: error })
  }
}
