// What must survive a restart, as records that the broker notes and a store keeps. Changes noted in one turn of the loop are
// one batch, unless `splitBatch` is called between them: it is written as a whole or not at all, and what waits for it goes on
// when it has reached the chosen point.
// Knows no session, no connection and no packet beyond its bytes.
import type { Slices } from '../base/slices.ts'
import type { StoreFile } from './store-file.ts'

/** memory: nothing is kept. os: with the operating system, so a crash of the process loses nothing. fsync: on the disk. */
export type Durability = 'memory' | 'os' | 'fsync'

export interface SessionRecord {
  /** Stands for the client in the keys of deliveries; never used again for another Session. */
  readonly sessionNumber: number
  readonly clientId: string
  readonly username: string | null
  /** Replaces %g in rules. */
  readonly group: string | null
  /** Name of the listener through which the client came last, and its mount point. */
  readonly listener: string
  readonly mountPoint: string
  /** Protocol level: 3, 4 or 5. */
  readonly level: number
  readonly expirySeconds: number
  /** Wall clock, milliseconds; null while a connection is attached. */
  readonly detachedAtMs: number | null
  readonly will: WillRecord | null
  /** Deliveries of lesser order that wait in the queue may have been sent before the broker died; 0 for none. */
  readonly maybeSentBefore: number
}

export interface WillRecord {
  /** A whole PUBLISH in the layout of MQTT 5; bytes that never change, as those of a message. */
  readonly packet: Buffer
  readonly delaySeconds: number
}

export interface SubscriptionRecord {
  /** Without `$share/name/`. */
  readonly filter: string
  readonly shareName: string | null
  /** Subscription Options as on the wire. */
  readonly options: number
  readonly identifier: number | null
}

export interface MessageRecord {
  /** A whole PUBLISH; the Store keeps it by reference until it is written, so its bytes must never change. */
  readonly packet: Buffer
  readonly isVersion5: boolean
  /** Wall clock, milliseconds; for the Message Expiry Interval. */
  readonly receivedAtMs: number
}

/** One message on its way to one client; `order` grows with each of a Session. */
export interface DeliveryRecord {
  readonly messageNumber: number
  /** Of the packet of the message: what waits is accounted without reading it. */
  readonly sizeBytes: number
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly identifiers: readonly number[] | null
  /** Group of a Shared Subscription: share name and filter; null for an ordinary one. */
  readonly share: { readonly shareName: string; readonly filter: string } | null
  /** 0 while it waits in the queue. */
  readonly packetId: number
  /** PUBREC has come, PUBREL is owed. */
  readonly isReleased: boolean
}

/** All deliveries, counted at the start. */
export interface DeliveryTally {
  /** By message number: how many deliveries that are not released point to it, for those with more than one. */
  readonly references: Map<number, number>
  /** By session number: what waits in its queue, which is what has no Packet Identifier. */
  readonly queues: ReadonlyMap<number, QueueTally>
}

export interface QueueTally {
  messages: number
  /** Of their packets. */
  bytes: number
  lastOrder: number
  /** Of what is in flight behind the first in the queue, 0 for nothing: only the rescue of a damaged store leaves such a thing. */
  lastInflight: number
}

/** Everything of one Session, as it is read back. Deliveries come in their order. */
export interface StoredSession {
  readonly session: SessionRecord
  readonly subscriptions: readonly SubscriptionRecord[]
  /** Packet Identifiers of QoS 2 messages received and not yet released. */
  readonly inbound: readonly number[]
}

/** One delivery as it is read back, with its message. */
export interface StoredDelivery {
  readonly order: number
  readonly delivery: DeliveryRecord
  /** null for one that is released. */
  readonly message: MessageRecord | null
}

export type RecordCounts = Record<
  'sessions' | 'subscriptions' | 'inbound' | 'messages' | 'deliveries' | 'retained',
  number
>

/** What became of a damaged store. */
export interface RecoveryReport {
  /** Path of the damaged file, kept as it was found. */
  readonly setAside: string
  readonly rescued: RecordCounts
  /** Records that were found but are damaged, or belong to a Session or a message that is lost; all those of kind `inbound`. */
  readonly lost: RecordCounts
  /** How many records the file should hold by its own count, less those rescued; null when the file no longer says. */
  readonly missing: number | null
  /** What is wrong with the file, the first few findings, for people. */
  readonly findings: readonly string[]
}

/** Grows by one from batch to batch, from 1 on each time the store is opened. */
export type BatchNumber = number

export interface Store {
  readonly durability: Durability
  /** Why nothing new should be noted at the moment, for people: what would come of it is not known. null while all is well. */
  readonly problem: string | null
  /** As `problem`, before a message of so many bytes is noted: one that does not fit into what is left must not be. */
  problemWith(messageBytes: number): string | null
  /** The problem is only that room runs short: what was noted is written, and changes of what is kept may go on. */
  readonly isShort: boolean
  /** Bytes noted and not yet durable, roughly. They grow while there is a problem: note nothing new then but what must be. */
  readonly pendingBytes: number
  /** What was found damaged when the store was opened, and what became of it; null when all was well. */
  readonly recovery: RecoveryReport | null
  /** Something that was read since cannot be right: the next opening checks the whole store. Whoever finds that says so here. */
  isDamaged: boolean
  /** For tools; null where nothing is on disk. */
  readonly file: StoreFile | null

  // ---- changes: noted at once, written with the batch of this turn. Putting replaces; deleting what is not there is no error.
  putSession(record: SessionRecord): void
  /** With its subscriptions, deliveries and inbound identifiers, but not the messages: only the caller knows who else waits
   *  for them. Nothing may be noted for this number afterwards. */
  deleteSession(sessionNumber: number): void
  putSubscription(sessionNumber: number, record: SubscriptionRecord): void
  deleteSubscription(sessionNumber: number, filter: string, shareName: string | null): void
  putMessage(messageNumber: number, record: MessageRecord): void
  deleteMessage(messageNumber: number): void
  putDelivery(sessionNumber: number, order: number, record: DeliveryRecord): void
  deleteDelivery(sessionNumber: number, order: number): void
  putInbound(sessionNumber: number, packetId: number): void
  deleteInbound(sessionNumber: number, packetId: number): void
  putRetained(topic: string, record: MessageRecord): void
  deleteRetained(topic: string): void

  /** Between two changes that need not be written together: a batch that would take too much of the room there is ends here, and
   *  what is noted next is written after it. */
  splitBatch(): void
  /** How many changes may be noted in one piece without being too many for the room there is. */
  readonly mostChanges: number
  /** How many kept Sessions one message may be for: it is written for all of them at once, or not at all. */
  readonly mostReceivers: number
  /** The batch that is being gathered: what was noted so far is durable once `onDurable` has named it, or a later one. */
  readonly batch: BatchNumber
  /** Whether anything was noted for the batch being gathered. If not, nothing will name it: what needs no change need not wait
   *  for it, but see `batch - 1`, which may be on its way. */
  readonly isDirty: boolean
  /** Called with the newest batch that has reached the chosen point; never from within a change. A batch that could not be
   *  written is never named: see `onProblem`. */
  onDurable: ((batch: BatchNumber) => void) | null
  /** A batch could not be written (disk full, read-only, I/O error), the disk does not answer, or room runs short; the store goes
   *  on trying, and says null when all is well again. */
  onProblem: ((problem: string | null) => void) | null

  /** That the file was removed by somebody while it is open, for people: what is noted goes on to be kept, as soon as all that was in
   *  the file is written anew. null while it is there. */
  readonly fileLoss: string | null
  /** Called with `fileLoss` when that has changed; never from within a change. */
  onFileLoss: ((fileLoss: string | null) => void) | null

  // ---- reading back, at start: what is stored, without what waits to be written. What is iterated over is to be read to its
  // end or returned from within one turn, and read on in another.
  /** Those with larger numbers than `after`, in their order. */
  sessions(after?: number): Iterable<StoredSession>
  /** Those behind the topic `after`, all without it; the order of topics is the store's own. */
  retained(after?: string): Iterable<{ topic: string; message: MessageRecord }>
  /** Reads every delivery, about a second for a million. Messages that none points to are deleted. */
  tallyDeliveries(slices?: Slices): Promise<DeliveryTally>

  // ---- reading back, at any time: what was noted counts at once
  /** Deliveries of a Session from `fromOrder` on, with their messages; null for one that is released. One that is damaged, or is not
   *  released and has lost its message, is left out, and `onLost` called with its order. Ends after `limit` of them all, or when
   *  their packets have come to `limitBytes`. */
  deliveries(
    sessionNumber: number,
    fromOrder: number,
    limit: number,
    limitBytes?: number,
    onLost?: (order: number) => void,
  ): readonly StoredDelivery[]
  /** Before `deliveries` is called with the same values: resolves when the disk has given what that reads, so that neither one
   *  that is slow nor one that hangs holds up the loop; with false when the store was closed meanwhile. */
  prefetch(sessionNumber: number, fromOrder: number, limit: number, limitBytes: number): Promise<boolean>
  deliveryCount(sessionNumber: number): number
  hasMessage(messageNumber: number): boolean
  /** Larger than every number ever put; grows by leaps from start to start. */
  readonly nextSessionNumber: number
  readonly nextMessageNumber: number

  /** Resolves when everything noted so far has reached the chosen point, or rejects with an OperatorError when the next try to
   *  write fails. */
  flush(): Promise<void>
  /** Flushes and closes; rejects as `flush` does, and is closed all the same. Nothing may be noted afterwards. */
  close(): Promise<void>
}
