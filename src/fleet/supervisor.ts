// The supervisor: keeps the observed fleet equal to the desired one. It owns the instances' hosts and lives, and nothing of
// what happens inside an instance. Installs no signal handler and reads no file of the configuration.
import { mkdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import type { FleetConfig, FleetMember } from '../config/fleet-config.ts'
import { planFleet, planFleetKeys } from '../config/fleet-plan.ts'
import { checkAuthFiles } from '../instance/check-auth-files.ts'
import { version } from '../instance/version.ts'
import { createLog, type Log } from '../observe/log.ts'
import { LogFile } from '../observe/log-file.ts'
import { parseListenFds } from '../transport/inherited-fds.ts'
import { Loop } from '../transport/loop.ts'
import { findRightsFaults } from './account-rights.ts'
import { ChildHost } from './child-host.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'
import type { Fleet, FleetEvent, FleetStatus, KeyChange, MemberChange, MemberPhase, MemberStatus } from './fleet.ts'
import { HostProcess, type HostProcessOptions } from './host-process.ts'
import { InlineHost } from './inline-host.ts'
import { describeFailure, Member, type MemberEnvironment } from './member.ts'
import { findAccount, type MemberAccount, makeDirectories, makeSocketFolders } from './member-account.ts'
import type { MemberHost, OnHostEnd } from './member-host.ts'
import { logPath } from './running-instance.ts'
import { SharedPool } from './shared-pool.ts'
import { StartGate } from './start-gate.ts'
import { findOrderFaults, inOrder } from './start-order.ts'

export interface SupervisorEnvironment {
  clock: Clock
  /** Of the daemon. */
  log: Log
  platform: NodeJS.Platform
  pid: number
  /** Account of the daemon. */
  uid: number
  /** Variables of the daemon; host processes get them too, except those of service managers. */
  environment: Readonly<Record<string, string | undefined>>
  /** Where instances in the daemon itself write their log; null for a file each, as all others have. */
  writeInlineLog: ((line: string) => void) | null
  /** Entry of a host process; the one that belongs to this build when absent. */
  hostEntry?: string
}

/** Instances that start at the same time. */
const startsPerProcessor = 4

/** Of an instance whose configuration is as it was. */
const filesRead = 'the files of users and rights were read again'

/** Why a change did not work that may work when others have made room. */
const roomCodes = ['port-in-use', 'socket-in-use']

export class Supervisor implements Fleet {
  readonly #environment: SupervisorEnvironment
  readonly #memberEnvironment: MemberEnvironment
  readonly #startedAtMs: number
  readonly #loop = new Loop()
  readonly #members = new Map<string, Member>()
  readonly #pools = new Map<string, SharedPool>()
  readonly #listeners = new Set<(event: FleetEvent) => void>()
  #config: FleetConfig
  #lock: DirectoryLock | null = null
  #opening: Promise<unknown> = Promise.resolve()
  #applying: Promise<unknown> = Promise.resolve()
  #isStopping = false

  constructor(config: FleetConfig, environment: SupervisorEnvironment) {
    const { clock, log, platform } = environment
    this.#config = config
    this.#environment = environment
    this.#startedAtMs = clock.wallMs()
    this.#memberEnvironment = {
      clock,
      log,
      platform,
      runDir: config.runDir,
      startGate: new StartGate(startsPerProcessor * availableParallelism()),
      createHost: (member, onEnd) => this.#createHost(member, onEnd),
      onPhase: (name, phase, reason) => this.#tellPhase(name, phase, reason),
    }
  }

  get config(): FleetConfig {
    return this.#config
  }

  /**
   * Starts what is to be started with the fleet. Resolves when each instance is ready, waits, or has failed, which its
   * status tells.
   * @throws OperatorError `directory-locked` when a daemon runs with this run directory already
   */
  async start(): Promise<void> {
    const { clock, pid, platform } = this.#environment
    const { runDir, members } = this.#config
    try {
      mkdirSync(runDir, { recursive: true, mode: 0o755 })
    } catch (error) {
      const message = `the run directory cannot be created: ${(error as Error).message}`
      throw new OperatorError('directory-missing', message, { place: { key: 'runDir' }, cause: error })
    }
    this.#lock = await lockDirectory({ directory: runDir, holder: 'the daemon', key: 'runDir', pid, platform, clock })
    const faults = findOrderFaults(members)
    for (const config of members) {
      const member = new Member(config, this.#memberEnvironment)
      this.#members.set(member.name, member)
      const fault = faults.get(member.name)
      if (fault !== undefined) member.fail(fault)
    }
    this.#opening = this.#open(members.filter(({ config }) => !faults.has(config.name)))
    await this.#opening
  }

  async #open(members: readonly FleetMember[]): Promise<void> {
    const after = new Map(members.map((member) => [member.config.name, member.after]))
    await inOrder(
      [...after.keys()],
      (name) => after.get(name) ?? [],
      async (name) => {
        if (!this.#isStopping) await this.#members.get(name)?.open()
      },
    )
  }

  status(): FleetStatus {
    return {
      pid: this.#environment.pid,
      version,
      startedAtMs: this.#startedAtMs,
      members: [...this.#members.values()].map((member) => member.status()),
    }
  }

  async askedStatus(): Promise<FleetStatus> {
    await Promise.all([...this.#members.values()].map((member) => member.ask()))
    return this.status()
  }

  memberStatus(name: string): MemberStatus | null {
    return this.#members.get(name)?.status() ?? null
  }

  /** Why the start of an instance failed, as it was thrown; null when it did not. */
  failureOf(name: string): unknown {
    return this.#members.get(name)?.failure ?? null
  }

  async plan(next: FleetConfig, only?: string): Promise<MemberChange[]> {
    const authFaults = new Map<string, string | null>()
    const faults = findOrderFaults(next.members)
    const running = { ...this.#config, members: [...this.#members.values()].map(({ config }) => config) }
    const wanted = new Map(next.members.map((member) => [member.config.name, member]))
    const changes: MemberChange[] = []
    for (const change of planFleet(running, next)) {
      const { name } = change
      // Its files may have been mended, or somebody else has let go of what it wants.
      const isAgain = change.kind === 'unchanged' && (only ?? name) === name && this.failureOf(name) !== null
      const kind = isAgain ? 'restart' : change.kind
      change.kind = kind
      const member = wanted.get(name)
      const fault = member === undefined ? null : (faults.get(name) ?? (await this.#refusal(member, kind, authFaults)))
      changes.push(fault === null ? change : { name, kind: 'rejected', keys: [], reason: fault })
    }
    return changes
  }

  /** Why an instance cannot take its new configuration, as far as that shows before anything is stopped; null when nothing does. */
  async #refusal(
    next: FleetMember,
    kind: MemberChange['kind'],
    authFaults: Map<string, string | null>,
  ): Promise<string | null> {
    const phase = this.#members.get(next.config.name)?.phase
    if (phase === 'stopped' || (phase === undefined && next.start === 'manual')) return null
    const authFault = findAuthFault(next, authFaults)
    if (authFault !== null || kind === 'unchanged') return authFault
    const { platform, uid } = this.#environment
    try {
      const [fault] = await findRightsFaults(next, await findAccount(next, platform, uid), this.#config.runDir)
      return fault === undefined ? null : describeFailure(fault)
    } catch (error) {
      return describeFailure(error)
    }
  }

  planDaemon(next: FleetConfig): KeyChange[] {
    return planFleetKeys(this.#config, next)
  }

  apply(next: FleetConfig, only?: string): Promise<MemberChange[]> {
    const applied = this.#applying.then(() => this.#apply(next, only))
    this.#applying = applied.catch(() => {})
    return applied
  }

  async #apply(next: FleetConfig, only: string | undefined): Promise<MemberChange[]> {
    const changes = await this.plan(next, only)
    const wanted = new Map(next.members.map((member) => [member.config.name, member]))
    const ofKind = (...kinds: MemberChange['kind'][]) => changes.filter(({ kind }) => kinds.includes(kind))

    await Promise.all(ofKind('removed').map(({ name }) => this.#remove(name)))
    const crowded: MemberChange[] = []
    await Promise.all(
      ofKind('unchanged', 'hot', 'restart').map(async (change) => {
        const code = await this.#change(change, wanted.get(change.name)!)
        if (code !== null && roomCodes.includes(code)) crowded.push(change)
      }),
    )
    // By now others may have left the port that these want.
    for (const change of crowded) {
      const { keys } = change
      const isHot = keys.every(({ kind }) => kind !== 'restart')
      Object.assign(change, { kind: isHot ? 'hot' : 'restart', reason: null })
      await this.#change(change, wanted.get(change.name)!)
    }
    await this.#create(ofKind('created'), wanted)

    const members = next.members.flatMap(({ config: { name } }) => this.#members.get(name)?.config ?? [])
    for (const { key, kind, from, to } of this.planDaemon(next)) {
      if (kind !== 'next-start') continue
      const detail = { key, running: String(from), wanted: String(to) }
      this.#environment.log.warn('a change waits for the next start of the daemon', detail)
    }
    const { runDir, admin, log } = this.#config
    this.#config = { ...next, runDir, admin, log: { ...next.log, format: log.format }, members }
    this.#emit({ kind: 'applied', changes, atMs: this.#environment.clock.wallMs() })
    return changes
  }

  /** @returns the code of the error for which the change was rejected */
  async #change(change: MemberChange, next: FleetMember): Promise<string | null> {
    const member = this.#members.get(change.name)!
    try {
      // One that has failed is tried anew with whatever is new.
      if (change.kind === 'restart' || (change.kind === 'hot' && member.phase === 'failed')) await member.replace(next)
      // A file that the configuration names may have changed while its name has not.
      else if (change.kind === 'hot' || namesFiles(next)) await member.change(next)
      if (change.kind === 'unchanged' && namesFiles(next) && member.phase === 'ready') change.reason = filesRead
      return null
    } catch (error) {
      this.#reject(change, error)
      return error instanceof OperatorError ? error.code : null
    }
  }

  async #create(changes: readonly MemberChange[], wanted: ReadonlyMap<string, FleetMember>): Promise<void> {
    const members = changes.map(({ name }) => wanted.get(name)!)
    for (const config of members) this.#members.set(config.config.name, new Member(config, this.#memberEnvironment))
    await this.#open(members)
    for (const change of changes) {
      const status = this.memberStatus(change.name)
      if (status?.phase !== 'failed') continue
      await this.#remove(change.name)
      this.#reject(change, status.reason)
    }
  }

  async #remove(name: string): Promise<void> {
    const member = this.#members.get(name)
    // First of all, so that nobody starts it again behind its stop.
    this.#members.delete(name)
    await member?.stop()
  }

  #reject(change: MemberChange, error: unknown): void {
    change.kind = 'rejected'
    change.reason = typeof error === 'string' ? error : describeFailure(error)
  }

  startMember(name: string): Promise<void> {
    return this.#find(name).start()
  }

  stopMember(name: string): Promise<void> {
    return this.#find(name).stop()
  }

  restartMember(name: string): Promise<void> {
    return this.#find(name).restart()
  }

  async call(name: string, verb: string, params: unknown): Promise<unknown> {
    return this.#find(name).call(verb, params)
  }

  /** Whoever has moved the log files away wants new ones. */
  reopenLogs(): void {
    for (const member of this.#members.values()) member.reopenLog()
  }

  subscribe(listener: (event: FleetEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Makes starts that are under way end soon, and lets none begin with the fleet: a stop is to follow. */
  abort(): void {
    this.#isStopping = true
    for (const member of this.#members.values()) if (member.phase === 'starting') void member.stop()
  }

  /** Stops all instances, those first that were started last. Never throws. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#stopAll()
    // What was under way may have started something in the meantime.
    await Promise.all([this.#opening, this.#applying])
    await this.#stopAll()
    this.#lock?.release()
    this.#lock = null
  }

  async #stopAll(): Promise<void> {
    const members = [...this.#members.values()]
    const followers = (name: string) =>
      members.filter(({ config }) => config.after.includes(name)).map((member) => member.name)
    // Those that wait for each other have never been started.
    const faults = findOrderFaults(members.map(({ config }) => config))
    const names = members.map(({ name }) => name).filter((name) => !faults.has(name))
    await inOrder(names, followers, async (name) => this.#members.get(name)?.stop())
  }

  #find(name: string): Member {
    const member = this.#members.get(name)
    if (member !== undefined) return member
    throw new OperatorError('unknown-instance', `there is no instance ${JSON.stringify(name.slice(0, 200))}`, {
      fix: 'see atoll instance list',
    })
  }

  async #createHost(member: FleetMember, onEnd: OnHostEnd): Promise<MemberHost> {
    const { platform, uid, writeInlineLog } = this.#environment
    const account = await findAccount(member, platform, uid)
    const { runDir } = this.#config
    const { isolation, pool, poolSize } = member
    const [fault] = await findRightsFaults(member, account, runDir)
    if (fault !== undefined) throw fault
    makeDirectories(member, account, isolation !== 'inline' || writeInlineLog === null)
    makeSocketFolders(member, account, runDir)
    const { name } = member.config
    if (isolation === 'inline') return new InlineHost(this.#inlineEnvironment())
    if (isolation === 'process') {
      const acquire = async (one: FleetMember) => {
        const host = await this.#launchOwn(one, account)
        return { host, release: () => host.end() }
      }
      return new ChildHost({ name, runDir, acquire, isAlone: true, onEnd })
    }
    const acquire = () => this.#pool(pool).acquire(name, poolSize)
    return new ChildHost({ name, runDir, acquire, isAlone: false, onEnd })
  }

  #inlineEnvironment() {
    const { clock, platform, pid, environment, writeInlineLog } = this.#environment
    const { runDir } = this.#config
    return { clock, platform, pid, runDir, environment, loop: this.#loop, writeLog: writeInlineLog }
  }

  #pool(name: string): SharedPool {
    let pool = this.#pools.get(name)
    if (pool === undefined) {
      const onLine = (line: string) => this.#environment.log.warn('output of a host process', { pool: name, line })
      pool = new SharedPool(() =>
        this.#launch({ isShared: true, heapBytes: 0, uid: null, gid: null, nice: 0, inheritedFds: [], onLine }),
      )
      this.#pools.set(name, pool)
    }
    return pool
  }

  #launchOwn(member: FleetMember, account: MemberAccount): Promise<HostProcess> {
    const { heapBytes, nice } = member
    const log = this.#outputLog(member, account)
    const onLine = (line: string) => log.warn('output of the host process', { line })
    const inheritedFds = this.#inheritedFds(member)
    return this.#launch({ isShared: false, heapBytes, nice, ...account, inheritedFds, onLine })
  }

  /** Sockets from the service manager go to the processes of instances that name one. */
  #inheritedFds({ config: { listeners } }: FleetMember): number[] {
    if (!listeners.some(({ address }) => address.startsWith('fd:'))) return []
    const { environment, pid } = this.#environment
    return [...parseListenFds(environment, pid).names.keys()]
  }

  /** Where that goes which a process of its own says beside its log: into that log. */
  #outputLog(member: FleetMember, { uid, gid }: MemberAccount): Log {
    const { clock, log } = this.#environment
    const { name, log: settings } = member.config
    // Another account may put anything at the path, and the daemon must not write there with rights of its own.
    if (uid !== null || gid !== null) return log.with({ instance: name })
    const file = new LogFile(logPath(member), clock, { sizeBytes: 0, ageSeconds: 0, keptFiles: 0 })
    const write = (line: string) => {
      file.write(line)
      // The instance writes the same file and turns it over: never hold on to it.
      void file.flush().then(() => file.reopen())
    }
    return createLog(settings.level, settings.format, clock, write, { instance: name })
  }

  #launch(options: Omit<HostProcessOptions, 'entry' | 'environment'>): Promise<HostProcess> {
    const { environment, hostEntry } = this.#environment
    const entry = hostEntry ?? fileURLToPath(new URL('./host-main.js', import.meta.url))
    return HostProcess.launch({ ...options, entry, environment })
  }

  #tellPhase(name: string, phase: MemberPhase, reason: string | null): void {
    const { log, clock } = this.#environment
    const tell = phase === 'failed' ? log.error : phase === 'backing-off' ? log.warn : log.info
    tell(`the instance is ${phase}`, { instance: name, reason })
    this.#emit({ kind: 'phase', name, phase, reason, atMs: clock.wallMs() })
  }

  #emit(event: FleetEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (error) {
        this.#environment.log.error('a listener to events of the fleet failed', { error: String(error) })
      }
    }
  }
}

export function createSupervisor(config: FleetConfig, environment: SupervisorEnvironment): Supervisor {
  return new Supervisor(config, environment)
}

/** Each file is read once, however many instances name it. @param known by both paths */
function findAuthFault(member: FleetMember, known: Map<string, string | null>): string | null {
  const { passwords, acl } = member.config.auth
  if (passwords === null && acl === null) return null
  const key = JSON.stringify([passwords, acl])
  let fault = known.get(key)
  if (fault === undefined) {
    const [first] = checkAuthFiles({ passwords, acl })
    fault = first === undefined ? null : describeFailure(first)
    known.set(key, fault)
  }
  return fault
}

function namesFiles({ config: { auth } }: FleetMember): boolean {
  return auth.passwords !== null || auth.acl !== null
}
