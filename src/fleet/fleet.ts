// The observed state of a fleet, as the supervisor writes it and everybody else reads it, and the supervisor's interface.
import type { FleetConfig, Isolation, StartPolicy } from '../config/fleet-config.ts'
import type { ChangeKind, DaemonChange, KeyChange, MemberChange } from '../config/fleet-plan.ts'

/**
 * stopped: not running, nobody asked for it. waiting: on-demand, its listeners are open in the supervisor. starting, ready,
 * stopping: as they say; ready means that its listeners listen. backing-off: crashed, will be restarted. failed: crashed too
 * often, or its configuration cannot work; stays so until somebody acts.
 */
export type MemberPhase = 'stopped' | 'waiting' | 'starting' | 'ready' | 'stopping' | 'backing-off' | 'failed'

export interface ListenerStatus {
  name: string
  address: string
  phase: string
  connections: number
}

export interface MemberStatus {
  name: string
  phase: MemberPhase
  /** Process in which it runs; null while it does not. */
  pid: number | null
  isolation: Isolation
  start: StartPolicy
  listeners: ListenerStatus[]
  connections: number
  restarts: number
  /** Its phase is `ready`, and it has no problem. */
  isReady: boolean
  /** Why it cannot do all of its work although it runs, as of its disk; null while all is well. */
  problem: string | null
  /** That its store was damaged at the start, and what was rescued and lost, for people; null when it was whole. */
  recovery: string | null
  /** That its store has turned out to be damaged since the start, and what to do, for people; null while nothing is known of it. */
  damage: string | null
  /** Milliseconds since the epoch; null while it is not ready. */
  readySinceMs: number | null
  /** Why it has failed or backs off, for people; null in every other phase. */
  reason: string | null
  /** Why it failed or crashed last, for people, also after it has come back; null when it did not since its start by hand. */
  lastFailure: string | null
  /** Milliseconds since the epoch, of `lastFailure`. */
  lastFailureAtMs: number | null
}

export interface FleetStatus {
  pid: number
  version: string
  startedAtMs: number
  members: MemberStatus[]
}

export type { ChangeKind, DaemonChange, KeyChange, MemberChange }

/** What applying a configuration means, or has meant: for an instance, or for the daemon itself. */
export type FleetChange = MemberChange | DaemonChange

export type FleetEvent =
  | { kind: 'phase'; name: string; phase: MemberPhase; reason: string | null; atMs: number }
  | { kind: 'applied'; changes: MemberChange[]; atMs: number }

export interface Fleet {
  readonly config: FleetConfig
  status(): FleetStatus
  /** The same, after each process was asked whether it is there; one that hangs has a problem then. Takes 2 s at most. */
  askedStatus(): Promise<FleetStatus>
  memberStatus(name: string): MemberStatus | null
  /** What `apply` would do. */
  plan(next: FleetConfig): Promise<MemberChange[]>
  /** The same for the keys of the daemon itself. */
  planDaemon(next: FleetConfig): KeyChange[]
  /**
   * All or nothing for each instance; an instance that does not change keeps its connections. One that could not start with
   * its configuration or files is tried again.
   * @param only the one instance that this is about: of those that have failed no other is tried again
   */
  apply(next: FleetConfig, only?: string): Promise<MemberChange[]>
  startMember(name: string): Promise<void>
  stopMember(name: string): Promise<void>
  restartMember(name: string): Promise<void>
  /** Calls a control verb of one instance, wherever it runs. @throws OperatorError */
  call(name: string, verb: string, params: unknown): Promise<unknown>
  /** @returns a function that ends it */
  subscribe(listener: (event: FleetEvent) => void): () => void
  stop(): Promise<void>
}
