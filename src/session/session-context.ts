// What a Session needs of the broker around it: limits, accounts, rights, the journal, and who is told of what it loses.
import type { Counters } from '../observe/counters.ts'
import type { Delivery } from './delivery.ts'
import type { Journal } from './journal.ts'
import type { QueueAccount } from './queue.ts'
import type { Session } from './session.ts'

export interface SessionLimits {
  queueMessages: number
  queueBytes: number
  /** How long a message may wait; 0 for as long as it takes. */
  queueAgeSeconds: number
  queuePolicy: 'drop-oldest' | 'drop-newest' | 'disconnect'
  /** QoS 0 messages wait for kept Sessions too. */
  queueQos0: boolean
}

/** What a queue can be too full for; keys of the limits of an instance. */
export type QueueLimit = 'queueMessages' | 'queueBytes' | 'totalQueueBytes'

/** What the Sessions of one instance share. */
export interface SessionContext {
  limits: SessionLimits
  counters: Counters
  queues: QueueAccount & {
    /** For all of them. */
    limitBytes: number
    /** Of messages kept to be sent again. */
    inflightBytes: number
  }
  /** Of all Wills that wait for the end of a connection, or longer. */
  willBytes: number
  nowMs(): number
  /** Near its limit: what was promised to nobody is not kept. */
  isMemoryHigh(): boolean
  /** Asked again before a message that waited is sent; see `rightsGeneration`. */
  mayReceive: ((session: Session, topic: string) => boolean) | null
  /** Grows when rights change. */
  rightsGeneration: number
  /** null when nothing survives a restart. */
  journal: Journal | null
  /** Shared messages of a Session that has ended, found in the store after its end. */
  orphaned(orphans: readonly Delivery[]): void
  /** A QoS 0 message that would have waited is dropped: the store takes nothing new. @param problem for people */
  storeRefused(problem: string): void
  /** A message for the Session is dropped because its queue, or that of all together, has reached the limit. */
  queueFull(session: Session, limit: QueueLimit): void
  /** One is dropped because it has waited too long. */
  queueAged(session: Session): void
  /** Messages in the queue of the Session cannot be read back. */
  queueLost(session: Session, messages: number): void
}
