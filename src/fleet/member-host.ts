// Where one instance runs, as the supervisor sees it. Three kinds behind one interface: in the daemon, in a process of its
// own, in a process shared with others. Only control crosses it, and connections that were accepted elsewhere.
import type { Peer } from '../base/peer.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import type { StreamHandle } from '../transport/stream-handle.ts'
import type { ListenerStatus } from './fleet.ts'

/** What can be seen of an instance that runs. */
export interface Observation {
  listeners: ListenerStatus[]
  connections: number
  /** See `MemberStatus`. */
  problem: string | null
  recovery: string | null
  damage: string | null
}

/** Of an instance of which nothing was heard yet. */
export const nothingSeen: Observation = {
  listeners: [],
  connections: 0,
  problem: null,
  recovery: null,
  damage: null,
}

/** A Network Connection that a listener outside the host has accepted and of which nobody has read yet. */
export interface AcceptedConnection {
  handle: StreamHandle
  peer: Peer
  /** Name of the listener in the configuration of the instance. */
  listener: string
  /** To be called once, when the connection has closed. */
  released: () => void
  /** To be called instead, when the host ended before it could take the connection. */
  giveBack: () => void
}

/** Lives once: to start again, another one is made. */
export interface MemberHost {
  /** Process in which the instance runs; null before the start and after the end. */
  readonly pid: number | null
  /**
   * Resolves when all listeners listen.
   * @throws OperatorError; nothing is left then. Its code is one of `crashCodes` when trying again may help
   */
  start(member: FleetMember): Promise<void>
  /** Calls a control verb. @throws OperatorError */
  call(verb: string, params: unknown): Promise<unknown>
  /** Takes the new configuration as a whole or not at all. @throws OperatorError */
  reload(member: FleetMember): Promise<void>
  adopt(connection: AcceptedConnection): void
  observe(): Observation
  /** Asks the process whether it is there; one that says nothing is a problem, which `observe` tells. */
  ask(): Promise<void>
  reopenLog(): void
  /** Ends within the grace period of the instance; what hangs is killed. Never throws. */
  stop(): Promise<void>
  /** Makes a start that is under way end soon, one way or the other. */
  abort(): void
}

/** Told when an instance that had started ends by itself. */
export type OnHostEnd = (reason: string) => void

/** Errors of a start that are no mistake of the operator. */
export const crashCodes: readonly string[] = ['host-ended', 'no-answer', 'host-failed']
