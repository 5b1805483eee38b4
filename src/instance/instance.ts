// One instance: the only place where a broker, its listeners, its users and its rights are put together. Starts and stops
// them in order. Knows no command line; installs no signal handler and ends no process.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { LifeCycle, type Transitions } from '../base/life-cycle.ts'
import { Broker } from '../broker/broker.ts'
import { SysTopics } from '../broker/sys-topics.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import { closestName } from '../config/closest-name.ts'
import type { InstanceConfig, ListenerConfig } from '../config/instance-config.ts'
import { quote } from '../config/quantities.ts'
import type { Log } from '../observe/log.ts'
import { type AclAuthorizer, createAclAuthorizer } from '../security/acl-authorizer.ts'
import { type AclRules, parseAclFile } from '../security/acl-file.ts'
import { createPasswordAuthenticator, type PasswordAuthenticator } from '../security/password-authenticator.ts'
import { type PasswordEntries, parsePasswordFile } from '../security/password-file.ts'
import type { FaultDisk } from '../storage/memory-store.ts'
import type { Store } from '../storage/store.ts'
import { isLoopback, parseAddress } from '../transport/address.ts'
import { parseListenFds } from '../transport/inherited-fds.ts'
import { createListener } from '../transport/listener.ts'
import { Loop } from '../transport/loop.ts'
import { SocketConnection } from '../transport/socket-connection.ts'
import { ManagedListener } from './managed-listener.ts'
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
  /** Absolute path of the folder for what must survive a restart; the caller keeps others out. null: nothing can be kept. */
  dataDir: string | null
  /** In the place of `dataDir`, for simulations. */
  disk?: FaultDisk
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

/** What reload answers. */
export interface ReloadReport {
  /** The configuration that was in force until now. */
  before: InstanceConfig
  /** Names of listeners; one that changed is in both. */
  started: string[]
  stopped: string[]
}

interface SecurityFiles {
  passwords: PasswordEntries | null
  acl: AclRules | null
}

/** As many as a configuration may describe. */
const listenersLimit = 1000

/** How often it is looked whether all connections have closed while stopping. */
const stopPollMs = 20

export class Instance {
  readonly broker: Broker
  readonly #environment: InstanceEnvironment
  readonly #life = new LifeCycle<InstancePhase>(transitions, 'created')
  #config: InstanceConfig
  /** Static and dynamic ones alike, by name. */
  readonly #listeners = new Map<string, ManagedListener>()
  /** The last of those that change listeners: one waits for the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #startedAtMs: number | null = null
  readonly #sysTopics: SysTopics
  #store: Store | null = null
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

  get platform(): NodeJS.Platform {
    return this.#environment.platform
  }

  get config(): InstanceConfig {
    return this.#config
  }

  /** Seconds since it is ready; 0 before. */
  get uptimeSeconds(): number {
    if (this.#startedAtMs === null) return 0
    return Math.floor((this.#environment.clock.monotonicMs() - this.#startedAtMs) / 1000)
  }

  /** null where nothing is kept. */
  get store(): Store | null {
    return this.#store
  }

  /** Why it cannot do all of its work at the moment, for people; null while all is well. */
  get problem(): string | null {
    return this.#store?.problem ?? this.#store?.fileLoss ?? null
  }

  /** That its store was found damaged at the start, and what became of it, for people; null when it was whole. */
  get recovery(): string | null {
    const recovery = this.#store?.recovery ?? null
    if (recovery === null) return null
    const { setAside, rescued, lost, missing } = recovery
    const findings = [
      `THE STORE WAS DAMAGED, set aside as ${setAside}`,
      `rescued: ${listCounts(rescued)}`,
      `found but damaged, or of a Session or message that is gone: ${listCounts(lost)}`,
      missing === null ? 'how many are missing nobody knows' : `missing in all: ${missing}`,
    ]
    return findings.join('; ')
  }

  /** That its store has turned out to be damaged since the start, and what to do, for people; null while nothing is known of it. */
  get damage(): string | null {
    if (this.#store?.isDamaged !== true) return null
    const { droppedDamaged } = this.broker.counters
    const what = droppedDamaged === 0 ? 'records' : `${droppedDamaged} messages that waited for clients`
    return (
      `THE STORE IS DAMAGED: ${what} cannot be read; atoll store verify -i ${this.name} tells what is wrong; ` +
      `atoll instance restart ${this.name} sets the file aside and brings over what can be read`
    )
  }

  /** Somebody has read its store and found it damaged: the next start mends it. @param findings what is wrong, for people */
  foundDamaged(findings: readonly string[]): void {
    if (this.#store === null) return
    this.#store.isDamaged = true
    this.#environment.log.error('THE STORE IS DAMAGED, a check has found', {
      finding: findings[0],
      fix: 'restart the instance: its store is checked then, and what can be read is rescued',
    })
  }

  get listeners(): readonly ManagedListener[] {
    return [...this.#listeners.values()]
  }

  listener(name: string): ManagedListener | null {
    return this.#listeners.get(name) ?? null
  }

  /**
   * Starts everything, listeners last.
   * @param signal ends a start that is under way
   * @throws OperatorError, or the reason of the signal; nothing is left open then
   */
  async start(signal?: AbortSignal): Promise<void> {
    this.#life.to('starting')
    try {
      this.#useSecurity(readSecurityFiles(this.#config))
      this.broker.start()
      await this.#openStore(signal)
      this.#sysTopics.start(this.#config.features.sysIntervalSeconds)
      for (const config of this.#config.listeners) {
        const listener = this.#createListener(config, true)
        this.#listeners.set(config.name, listener)
        if (config.enabled) await this.#open(listener)
      }
    } catch (error) {
      await this.#closeAll()
      this.#life.to('failed')
      throw error
    }
    this.#startedAtMs = this.#environment.clock.monotonicMs()
    this.#life.to('running')
  }

  /** Brings back what was kept, and keeps from now on what an acknowledgement promises. */
  async #openStore(signal: AbortSignal | undefined): Promise<void> {
    const { durability } = this.#config
    const { disk, log, clock } = this.#environment
    if (durability === 'memory') {
      await this.#leaveStore()
      return
    }
    // Not loaded where nothing is stored.
    const { restore } = await import('../broker/restore.ts')
    if (disk === undefined) {
      await this.#openStoreFile(durability, signal)
    } else {
      const { createFaultStore } = await import('../storage/memory-store.ts')
      this.#store = createFaultStore(disk, { durability, clock, answerMs: () => this.#diskLimits.answerMs })
    }
    const store = this.#store as Store
    const { recovery } = store
    if (recovery !== null) {
      const { setAside, rescued, lost, missing, findings } = recovery
      log.error('THE STORE WAS DAMAGED and has been set aside', {
        setAside,
        rescued: JSON.stringify(rescued),
        lost: JSON.stringify(lost),
        missing: missing ?? 'unknown',
        finding: findings[0] ?? 'damaged records',
      })
    }
    const startedAtMs = clock.monotonicMs()
    const report = await restore(this.broker, store, signal)
    log.info('state restored', { ...report, durability, ms: Math.round(clock.monotonicMs() - startedAtMs) })
    if (store.isDamaged)
      log.error('THE STORE IS DAMAGED: some of it cannot be read; a restart checks it and rescues what it can')
  }

  /** What was kept before is not used, and may be again one day. */
  async #leaveStore(): Promise<void> {
    const { dataDir, log } = this.#environment
    if (dataDir === null) return
    const { markOutdated } = await import('../storage/outdated-store.ts')
    const directory = join(dataDir, 'store')
    try {
      if (markOutdated(directory) === null) return
    } catch (error) {
      log.error('it cannot be noted beside the store that clients go on without it', {
        directory,
        error: String(error),
      })
    }
    log.warn('what was kept on disk is not used with durability: memory, and comes back with os or fsync', {
      directory,
    })
  }

  get #diskLimits() {
    const { diskFreeBytes, storeBytes, diskTimeoutSeconds } = this.#config.limits
    return { freeBytes: diskFreeBytes, fileBytes: storeBytes, answerMs: diskTimeoutSeconds * 1000 }
  }

  async #openStoreFile(durability: 'os' | 'fsync', signal: AbortSignal | undefined): Promise<void> {
    const { dataDir, log, clock } = this.#environment
    if (dataDir === null) {
      throw new OperatorError('no-data-directory', `durability: ${durability} needs a folder for the data`, {
        place: { key: 'durability' },
        fix: 'name a dataDir, or set durability: memory',
      })
    }
    const { openLmdbStore } = await import('../storage/lmdb-store.ts')
    const limits = () => this.#diskLimits
    this.#store = await openLmdbStore({ directory: join(dataDir, 'store'), durability, clock, limits, signal })
    const { networkFileSystemOf } = await import('../storage/network-file-system.ts')
    const fileSystem = await networkFileSystemOf(dataDir, this.#environment.platform)
    if (fileSystem !== null) {
      log.warn('the data is on a network file system, which does not keep what durability promises', {
        dataDir,
        fileSystem,
      })
    }
  }

  /** Everything noted is written, then the file is closed. */
  async #closeStore(): Promise<void> {
    const store = this.#store
    this.#store = null
    if (store === null) return
    const { log } = this.#environment
    const closed = store.close().catch((error: unknown) => {
      log.error('what was not yet acknowledged could not be written', { error: String(error) })
    })
    // What waits is not acknowledged, so it may be given up.
    const waitMs = Math.max(1, this.#config.gracePeriodSeconds) * 1000
    const isClosed = await Promise.race([closed.then(() => true), patience(waitMs)])
    if (!isClosed) log.error('the disk does not answer: the store is left as it is', { waitedMs: waitMs })
  }

  // ---- listeners at run time

  /**
   * Adds a listener that no configuration describes and starts it. A reload leaves it alone, unless it brings a listener of
   * the same name.
   * @throws OperatorError; nothing is left behind then
   */
  addListener(config: ListenerConfig): Promise<ManagedListener> {
    return this.#inTurn(async () => {
      this.#expectRunning()
      if (this.#listeners.has(config.name)) {
        throw new OperatorError('listener-exists', `there is a listener ${config.name} already`, {
          place: { key: 'name' },
          fix: 'choose another name, or delete that one first',
        })
      }
      if (this.#listeners.size >= listenersLimit) {
        throw new OperatorError('too-many-listeners', `an instance has at most ${listenersLimit} listeners`, {
          fix: 'delete one that is stopped',
        })
      }
      const listener = this.#createListener(config, false)
      await this.#open(listener)
      this.#listeners.set(config.name, listener)
      return listener
    })
  }

  /** Starts a listener that was stopped. @throws OperatorError; it is stopped as before then */
  startListener(name: string): Promise<ManagedListener> {
    return this.#inTurn(async () => {
      this.#expectRunning()
      const listener = this.expectListener(name)
      if (!listener.isStopped) {
        const fix = 'stop it first, or start another one under another name'
        throw new OperatorError('listener-exists', `the listener ${name} is started already`, {
          place: { key: 'name' },
          fix,
        })
      }
      await this.#open(listener)
      return listener
    })
  }

  /** It accepts no more and can be started again; its connections stay. Harmless when it is stopped. @throws OperatorError */
  stopListener(name: string): Promise<ManagedListener> {
    return this.#inTurn(async () => {
      const listener = this.expectListener(name)
      await listener.stop()
      return listener
    })
  }

  /** Stops it and forgets it; a static one comes back with the next reload. @throws OperatorError */
  deleteListener(name: string): Promise<ManagedListener> {
    return this.#inTurn(async () => {
      const listener = this.expectListener(name)
      await listener.stop()
      this.#listeners.delete(name)
      return listener
    })
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  #expectRunning(): void {
    if (this.phase !== 'running') throw new OperatorError('not-running', `the instance ${this.name} does not run`)
  }

  /** @throws OperatorError `no-such-listener` */
  expectListener(name: string): ManagedListener {
    const listener = this.#listeners.get(name)
    if (listener !== undefined) return listener
    const near = closestName(name, this.#listeners.keys())
    throw new OperatorError('no-such-listener', `there is no listener ${quote(name)}`, {
      place: { key: 'name' },
      ...(near === null ? {} : { fix: `did you mean ${near}?` }),
    })
  }

  #createListener(first: ListenerConfig, isStatic: boolean): ManagedListener {
    const { broker } = this
    const { clock, log, platform, runDir, environment, pid } = this.#environment
    return new ManagedListener(first, isStatic, (config) => {
      const inheritedFds = parseListenFds(environment, pid)
      return createListener(config, { platform, runDir, inheritedFds, log, clock }, (handle, peer, released) => {
        broker.accept(new SocketConnection(handle, peer, broker.loop, released), config)
      })
    })
  }

  async #open(listener: ManagedListener): Promise<void> {
    await listener.start()
    // What an inherited descriptor leads to is only known now.
    if (!listener.config.address.startsWith('fd:')) return
    try {
      this.#assertSafe(listener, this.#config)
    } catch (error) {
      await listener.stop()
      throw error
    }
  }

  /** The rule of safe defaults, for listeners whose addresses were not in the configuration that was checked. */
  #assertSafe({ config, address, name }: ManagedListener, { auth }: InstanceConfig): void {
    if (config.anonymous !== null || auth.passwords !== null) return
    const { platform } = this.#environment
    if (isLoopback(parseAddress(address, { platform, role: 'listener' }))) return
    throw new OperatorError(
      'anonymous-listener',
      `${address} can be reached from other hosts and asks for no password`,
      {
        place: { key: `listeners.${name}` },
        fix: 'set auth.passwords, or anonymous: true on this listener',
      },
    )
  }

  /** Accepts no more, tells MQTT 5 clients 0x8B, and ends within the grace period. Harmless when it does not run. */
  async stop(): Promise<void> {
    if (this.phase === 'created' || this.phase === 'failed') this.#life.to('stopped')
    if (this.phase !== 'running') return
    this.#life.to('stopping')
    await this.#inTurn(() => this.#stopListeners())
    this.broker.disconnectAll(ReasonCode.serverShuttingDown, 'the server stops')
    const deadlineMs = this.#environment.clock.monotonicMs() + this.#config.gracePeriodSeconds * 1000
    while (this.broker.connections.size > 0 && this.#environment.clock.monotonicMs() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, stopPollMs))
    }
    await this.#closeAll()
    this.#life.to('stopped')
  }

  async #stopListeners(): Promise<void> {
    await Promise.all(this.listeners.map((listener) => listener.stop()))
  }

  async #closeAll(): Promise<void> {
    await this.#stopListeners()
    this.#sysTopics.stop()
    this.broker.stop()
    await this.#closeStore()
  }

  /**
   * Takes all of a new configuration, with the files that it names, or nothing of it. Listeners that stay as they are
   * keep their connections, and stay stopped if somebody has stopped them; one that changed is stopped and started anew.
   * @throws OperatorError when the old one stays in force
   */
  reload(config: InstanceConfig): Promise<ReloadReport> {
    return this.#inTurn(async () => {
      this.#expectRunning()
      const before = this.#config
      const { started, stopped } = await this.#swapListeners(config, readSecurityFiles(config))
      this.#config = config
      this.broker.reconfigure(config.limits, config.features, config.auth)
      this.#sysTopics.start(config.features.sysIntervalSeconds)
      return { before, started, stopped }
    })
  }

  /**
   * A listener never accepts under users and rules that it was not configured for: the old ones stop before those change,
   * the new ones start after. One that cannot start brings back all that made room for it.
   */
  async #swapListeners(
    config: InstanceConfig,
    files: SecurityFiles,
  ): Promise<{ started: string[]; stopped: string[] }> {
    const wanted = new Map(config.listeners.map((one) => [one.name, one]))
    const stays = this.listeners.filter((listener) => {
      const one = wanted.get(listener.name)
      return one === undefined ? !listener.isStatic : sameListener(one, listener.config)
    })
    for (const listener of stays) if (!listener.isStopped) this.#assertSafe(listener, config)
    const leaves = this.listeners.filter((listener) => !stays.includes(listener))
    const comes = config.listeners.filter(({ name }) => !stays.some((listener) => listener.name === name))
    const stopped: string[] = []
    const undo: (() => void | Promise<void>)[] = []
    try {
      for (const listener of leaves) {
        if (!listener.isStopped) {
          await listener.stop()
          stopped.push(listener.name)
          undo.push(() => listener.start())
        }
        if (wanted.has(listener.name)) continue
        this.#listeners.delete(listener.name)
        undo.push(() => void this.#listeners.set(listener.name, listener))
      }
      const oldFiles = this.#files
      this.#useSecurity(files)
      undo.push(() => this.#useSecurity(oldFiles))
      for (const one of comes) await this.#bring(one, undo)
    } catch (error) {
      for (const step of undo.reverse()) await this.#undoStep(step)
      throw error
    }
    for (const listener of stays) if (wanted.has(listener.name)) listener.isStatic = true
    return { started: comes.filter(({ enabled }) => enabled).map(({ name }) => name), stopped }
  }

  async #bring(config: ListenerConfig, undo: (() => void | Promise<void>)[]): Promise<void> {
    const known = this.#listeners.get(config.name)
    const listener = known ?? this.#createListener(config, true)
    if (known === undefined) {
      this.#listeners.set(config.name, listener)
      undo.push(() => void this.#listeners.delete(config.name))
    } else {
      const { config: oldConfig, isStatic } = listener
      listener.configure(config)
      listener.isStatic = true
      undo.push(() => {
        listener.configure(oldConfig)
        listener.isStatic = isStatic
      })
    }
    if (!config.enabled) return
    await this.#open(listener)
    undo.push(() => listener.stop())
  }

  async #undoStep(step: () => void | Promise<void>): Promise<void> {
    try {
      await step()
    } catch (error) {
      this.#environment.log.error('a reload could not be taken back as a whole', { error: String(error) })
    }
  }

  #useSecurity(files: SecurityFiles): void {
    this.#files = files
    const { passwords, acl } = files
    if (passwords === null) this.#passwords = null
    else if (this.#passwords === null) this.#passwords = createPasswordAuthenticator(passwords)
    else this.#passwords.update(passwords)
    this.broker.rights.authenticator = this.#passwords
    if (acl === null) this.#acl = null
    else if (this.#acl === null) this.#acl = createAclAuthorizer(acl)
    else this.#acl.update(acl)
    this.broker.rights.authorizer = this.#acl
  }
}

export function createInstance(config: InstanceConfig, environment: InstanceEnvironment): Instance {
  return new Instance(config, environment)
}

function listCounts(counts: Readonly<Record<string, number>>): string {
  const some = Object.entries(counts).filter(([, count]) => count > 0)
  return some.map(([name, count]) => `${count} ${name}`).join(', ') || 'nothing'
}

/** Resolves to false after so long, and keeps no process alive. */
function patience(ms: number): Promise<boolean> {
  return new Promise((resolve) => setTimeout(resolve, ms, false).unref())
}

function sameListener(one: ListenerConfig, other: ListenerConfig): boolean {
  return isDeepStrictEqual(one, other)
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
