// One instance under supervision: what is wanted of it, what is seen of it, and what is done about the difference. The
// only writer of its status. Knows neither the other instances nor how hosts work.
import type { Clock } from '../base/clock.ts'
import { describeOperatorError, OperatorError } from '../base/errors.ts'
import { LifeCycle, type Transitions } from '../base/life-cycle.ts'
import { noSpace } from '../base/no-space.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import { directoryBusy } from './directory-lock.ts'
import { Door, type DoorEnvironment } from './door.ts'
import { assertNotDoors, overlayDoors } from './door-view.ts'
import type { ListenerStatus, MemberPhase, MemberStatus } from './fleet.ts'
import { crashCodes, type MemberHost, nothingSeen, type OnHostEnd } from './member-host.ts'
import { notRunning, stoppedMeanwhile } from './running-instance.ts'
import type { StartGate } from './start-gate.ts'

export interface MemberEnvironment extends DoorEnvironment {
  clock: Clock
  /** Makes what the host needs, and the host. @throws OperatorError */
  createHost(member: FleetMember, onEnd: OnHostEnd): Promise<MemberHost>
  /** Limits how many start at the same time. */
  startGate: StartGate
  onPhase(name: string, phase: MemberPhase, reason: string | null): void
}

const transitions: Transitions<MemberPhase> = {
  stopped: ['waiting', 'starting', 'failed'],
  waiting: ['starting', 'stopped', 'failed'],
  starting: ['ready', 'stopping', 'backing-off', 'failed'],
  ready: ['stopping', 'backing-off', 'failed'],
  stopping: ['stopped', 'waiting'],
  'backing-off': ['starting', 'waiting', 'stopped', 'failed'],
  failed: ['waiting', 'starting', 'stopped', 'failed'],
}

/** A command has its data, as a backup of an instance that slept, or its disk has no room: that ends without a change of anything here. */
const passingCodes: readonly string[] = [directoryBusy, noSpace]
/** Until then: from the first wait to the longest. */
const busySeconds = 0.5
const busyLimitSeconds = 10

/** An instance counts as idle when it was seen without a connection so often in a row. */
const idleLooks = 4

export class Member {
  readonly #environment: MemberEnvironment
  readonly #life = new LifeCycle<MemberPhase>(transitions, 'stopped')
  #config: FleetMember
  #host: MemberHost | null = null
  #door: Door | null = null
  /** Why it failed or crashed last; a start by hand forgets it. */
  #reason: string | null = null
  #reasonAtMs: number | null = null
  /** What the last start that failed threw. */
  #failure: unknown = null
  #restarts = 0
  #readySinceMs: number | null = null
  /** When it crashed, on the monotonic clock; within the burst period only. */
  #crashesMs: number[] = []
  #restartTimer: NodeJS.Timeout | undefined
  /** Starts in a row that failed for a reason that passes. */
  #busyStarts = 0
  #idleTimer: NodeJS.Timeout | undefined
  /** One thing at a time. */
  #queue: Promise<unknown> = Promise.resolve()

  constructor(config: FleetMember, environment: MemberEnvironment) {
    this.#config = config
    this.#environment = environment
  }

  get name(): string {
    return this.#config.config.name
  }

  get config(): FleetMember {
    return this.#config
  }

  get phase(): MemberPhase {
    return this.#life.current
  }

  /** Why its start failed, as it was thrown; null when it did not, or crashed. */
  get failure(): unknown {
    return isInTrouble(this.phase) ? this.#failure : null
  }

  status(): MemberStatus {
    const { isolation, start } = this.#config
    const listeners = this.#listeners()
    const { problem, recovery, damage } = this.phase === 'ready' ? (this.#host?.observe() ?? nothingSeen) : nothingSeen
    return {
      name: this.name,
      phase: this.phase,
      pid: this.#host?.pid ?? null,
      isolation,
      start,
      listeners,
      connections: Math.max(this.#host?.observe().connections ?? 0, this.#door?.connections ?? 0),
      restarts: this.#restarts,
      isReady: this.phase === 'ready' && problem === null,
      problem,
      recovery,
      damage,
      readySinceMs: this.#readySinceMs,
      reason: isInTrouble(this.phase) ? this.#reason : null,
      lastFailure: this.#reason,
      lastFailureAtMs: this.#reasonAtMs,
    }
  }

  /** Looks whether its process is there; what became of that the status tells. */
  async ask(): Promise<void> {
    if (this.phase === 'ready') await this.#host?.ask()
  }

  #listeners(): ListenerStatus[] {
    const shown: ListenerStatus[] = []
    const add = (more: readonly ListenerStatus[]) => {
      for (const one of more) if (!shown.some(({ name }) => name === one.name)) shown.push(one)
    }
    add(this.#door?.listeners ?? [])
    add(this.#host?.observe().listeners ?? [])
    const { listeners } = this.#config.config
    add(listeners.map(({ name, address }) => ({ name, address, phase: 'stopped', connections: 0 })))
    return shown
  }

  /** As the fleet starts it: at once, or with its first connection, or not at all. Never throws: the status tells. */
  async open(): Promise<void> {
    const { start } = this.#config
    if (start === 'always') await this.start().catch(() => {})
    if (start === 'on-demand') await this.#inTurn(() => this.#wait()).catch(() => {})
  }

  /** Resolves when it is ready. Crashes of before are forgotten. @throws OperatorError why it is not */
  async start(): Promise<void> {
    await this.#inTurn(async () => {
      if (this.phase === 'ready') return
      // A stop came after this was asked for, and ended the start before it.
      if (this.#is('stopping')) throw stoppedMeanwhile(this.name)
      this.#crashesMs = []
      this.#failure = null
      this.#reason = null
      this.#reasonAtMs = null
      await this.#start()
      if (this.#is('ready')) return
      if (this.#is('stopping')) throw stoppedMeanwhile(this.name)
      throw new OperatorError('not-ready', `the instance ${this.name} is not ready: ${this.#reason ?? this.phase}`)
    })
  }

  /** Resolves when it has stopped. Never throws. */
  async stop(): Promise<void> {
    // A start that is under way is not waited for.
    if (this.phase === 'starting') {
      this.#to('stopping')
      this.#host?.abort()
    }
    await this.#inTurn(() => this.#stop())
  }

  /** Both take their turns here and now, so that a stop that is asked for later has the last word. */
  async restart(): Promise<void> {
    void this.stop()
    await this.start()
  }

  /** Refuses its start for a reason that lies in the configuration of the fleet. */
  fail(reason: string): void {
    this.#to('failed', reason)
  }

  async call(verb: string, params: unknown): Promise<unknown> {
    if (this.#host === null || this.phase !== 'ready') throw notRunning(this.name)
    if (this.#door === null) return this.#host.call(verb, params)
    assertNotDoors(verb, params, this.#door.listeners)
    const answer = await this.#host.call(verb, params)
    return overlayDoors(verb, answer, this.#door?.listeners ?? [])
  }

  reopenLog(): void {
    this.#host?.reopenLog()
  }

  /** Takes what needs no restart. @throws OperatorError when everything is as it was */
  async change(next: FleetMember): Promise<void> {
    await this.#inTurn(async () => {
      const old = this.#config
      if (this.#host !== null && this.phase === 'ready') await this.#host.reload(next)
      try {
        await this.#door?.change(next)
      } catch (error) {
        await this.#host?.reload(old)
        throw error
      }
      this.#config = next
      this.#watchIdle()
    })
  }

  /**
   * Stops, takes the new configuration, and is again what it was: running, waiting or stopped.
   * @throws OperatorError when that fails; the old configuration is back then, and runs if it still can
   */
  async replace(next: FleetMember): Promise<void> {
    const old = this.#config
    const isWanted = this.phase !== 'stopped'
    await this.stop()
    this.#config = next
    if (!isWanted) return
    const bring = async () => {
      const isLazy = this.#config.start === 'on-demand'
      await (isLazy ? this.#inTurn(() => this.#wait()) : this.start())
    }
    try {
      await bring()
    } catch (error) {
      // Somebody wants it stopped, whatever its configuration.
      if (error instanceof OperatorError && error.code === 'stopped-meanwhile') return
      await this.stop()
      this.#config = old
      await bring().catch(() => {})
      throw error
    }
  }

  #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const turn = this.#queue.then(act)
    this.#queue = turn.catch(() => {})
    return turn
  }

  async #wait(): Promise<void> {
    // Somebody has started it meanwhile, or a stop is to follow.
    if (this.phase === 'ready' || this.phase === 'stopping') return
    await this.#openDoor()
    if (this.phase !== 'waiting') this.#to('waiting')
    // Somebody may have come while the listeners were opened.
    if (this.#door!.isKnocked) this.#knocked()
  }

  /** @throws OperatorError, and it has failed */
  async #openDoor(): Promise<void> {
    if (this.#door !== null) return
    const log = this.#environment.log.with({ instance: this.name })
    const door = new Door({ ...this.#environment, log }, () => this.#knocked())
    try {
      await door.open(this.#config)
    } catch (error) {
      this.#to('failed', describeFailure(error))
      throw error
    }
    this.#door = door
  }

  #knocked(): void {
    if (this.phase !== 'waiting') return
    void this.#inTurn(async () => {
      if (this.phase === 'waiting') await this.#start().catch(() => {})
    })
  }

  /** Resolves when it is ready, or will be tried again. @throws OperatorError, and it has failed or is stopping */
  async #start(): Promise<void> {
    clearTimeout(this.#restartTimer)
    if (this.#config.start === 'on-demand') await this.#openDoor()
    this.#to('starting')
    const begunAtMs = this.#environment.clock.monotonicMs()
    let host: MemberHost | null = null
    try {
      await this.#environment.startGate.pass(async () => {
        host = await this.#environment.createHost(this.#config, (reason) => this.#ended(host, reason))
        this.#host = host
        // Stopped while it waited for its turn.
        if (this.#is('starting')) await host.start(this.#config)
      })
    } catch (error) {
      this.#host = null
      if (this.#is('stopping')) throw stoppedMeanwhile(this.name)
      if (error instanceof OperatorError && crashCodes.includes(error.code)) {
        this.#failure = null
        this.#crashed(describeFailure(error))
        return
      }
      this.#failure = error
      if (!(error instanceof OperatorError)) {
        this.#environment.log.error('a bug in the start of an instance', {
          instance: this.name,
          stack: error instanceof Error ? error.stack : String(error),
        })
      }
      if (error instanceof OperatorError && passingCodes.includes(error.code)) {
        const lastedSeconds = (this.#environment.clock.monotonicMs() - begunAtMs) / 1000
        const delaySeconds = Math.min(busySeconds * 2 ** this.#busyStarts++, busyLimitSeconds)
        // One that reads a large store first leaves the disk alone for half of the time.
        this.#backOff(describeFailure(error), Math.max(delaySeconds, lastedSeconds))
        return
      }
      await this.#fail(describeFailure(error))
      throw error
    }
    if (!this.#is('starting')) return
    this.#busyStarts = 0
    this.#failure = null
    this.#readySinceMs = this.#environment.clock.wallMs()
    this.#to('ready')
    this.#door?.connect((connection) => host!.adopt(connection))
    this.#watchIdle()
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#restartTimer)
    await this.#stopHost()
    await this.#closeDoor()
    if (this.phase !== 'stopped') this.#to('stopped')
  }

  async #stopHost(): Promise<void> {
    clearInterval(this.#idleTimer)
    this.#door?.hold()
    this.#readySinceMs = null
    if (this.phase === 'ready') this.#to('stopping')
    const host = this.#host
    await host?.stop()
    this.#host = null
  }

  async #closeDoor(): Promise<void> {
    const door = this.#door
    this.#door = null
    await door?.close()
  }

  /** The host has ended by itself. */
  #ended(host: MemberHost | null, reason: string): void {
    if (host !== this.#host || this.phase !== 'ready') return
    clearInterval(this.#idleTimer)
    this.#door?.hold()
    this.#host = null
    this.#readySinceMs = null
    this.#crashed(reason)
  }

  #crashed(reason: string): void {
    const { backoffSeconds, backoffLimitSeconds, burst, burstSeconds } = this.#config.restart
    const nowMs = this.#environment.clock.monotonicMs()
    this.#crashesMs = [...this.#crashesMs.filter((atMs) => nowMs - atMs < burstSeconds * 1000), nowMs]
    const crashes = this.#crashesMs.length
    this.#restarts++
    if (crashes > burst) {
      void this.#fail(`${reason} (${crashes} times within ${burstSeconds} s)`)
      return
    }
    this.#backOff(reason, Math.min(backoffSeconds * 2 ** (crashes - 1), backoffLimitSeconds))
  }

  #backOff(reason: string, delaySeconds: number): void {
    this.#to('backing-off', reason)
    this.#restartTimer = setTimeout(() => {
      void this.#inTurn(() => this.#comeBack()).catch(() => {})
    }, delaySeconds * 1000)
  }

  async #comeBack(): Promise<void> {
    if (this.phase !== 'backing-off') return
    if (this.#door !== null && !this.#door.isKnocked) this.#to('waiting')
    else await this.#start()
  }

  async #fail(reason: string): Promise<void> {
    this.#to('failed', reason)
    await this.#closeDoor()
  }

  /** Looks a few times per idle period whether an on-demand instance has a connection. */
  #watchIdle(): void {
    clearInterval(this.#idleTimer)
    const { start, stopWhenIdleSeconds } = this.#config
    if (start !== 'on-demand' || stopWhenIdleSeconds === 0 || this.phase !== 'ready') return
    let idle = 0
    this.#idleTimer = setInterval(
      () => {
        idle = this.status().connections === 0 ? idle + 1 : 0
        if (idle > idleLooks) void this.#inTurn(() => this.#rest()).catch(() => {})
      },
      (stopWhenIdleSeconds * 1000) / idleLooks,
    )
  }

  /** Stops the instance, its listeners stay. Whoever comes while it stops starts it again. */
  async #rest(): Promise<void> {
    if (this.phase !== 'ready' || this.status().connections > 0) return
    await this.#stopHost()
    // A stop by hand has come in between.
    if (this.#door === null) return
    this.#to('waiting')
    if (this.#door.isKnocked) await this.#start()
  }

  #is(phase: MemberPhase): boolean {
    return this.phase === phase
  }

  #to(phase: MemberPhase, reason: string | null = null): void {
    this.#life.to(phase)
    if (reason !== null) {
      this.#reason = reason
      this.#reasonAtMs = this.#environment.clock.wallMs()
    }
    this.#environment.onPhase(this.name, phase, reason)
  }
}

function isInTrouble(phase: MemberPhase): boolean {
  return phase === 'failed' || phase === 'backing-off'
}

/** For people. */
export function describeFailure(error: unknown): string {
  if (error instanceof OperatorError) return describeOperatorError(error)
  // It stands in tables and log lines; the stack of a bug is told where it is caught.
  return error instanceof Error ? error.message : String(error)
}
