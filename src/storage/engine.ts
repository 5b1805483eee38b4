// What keeps batches: the lower half of a store. It writes one batch at a time and reads back what is written; gathering,
// retrying and what waits in memory are the business of the store above it.
import type { Batch } from './batch.ts'
import type { DeliveryRecord, MessageRecord, StoredSession } from './store.ts'

/** One delivery, as far as it is needed for counting. */
export interface Reference {
  /** null for one that is released. */
  readonly messageNumber: number | null
  readonly sessionNumber: number
  readonly order: number
  /** Size of the packet of one that waits in the queue; -1 for one that is in flight. */
  readonly queuedBytes: number
}

export interface Engine {
  /**
   * Writes a batch as a whole or not at all; called again only after the promise has settled. Resolves when the batch has
   * reached the chosen point.
   * @throws (rejects) an OperatorError that says why it could not be written; the same batch may be written again.
   */
  write(batch: Batch): Promise<void>
  /** Why nothing new should be taken on although batches can still be written, for people; null while there is room. */
  readonly shortage: string | null
  /**
   * Whether there is room for so many bytes more without a shortage, as far as is known.
   * @param messageBytes of one message that comes on top
   */
  hasRoomFor(bytes: number, messageBytes?: number): boolean
  /** With so many changes a batch should end where it can: there may be no room for more of them at once. */
  readonly mostChanges: number
  /** How many kept Sessions there is room for to take one message on, which is written for all of them at once. */
  readonly mostReceivers: number
  /** Looks anew how much room there is. Never rejects; takes as long as the disk does. */
  look(): Promise<void>
  /** Whether parts of deleted Sessions are still to be removed, or the file needs care: an empty batch takes it on. */
  readonly hasLeftovers: boolean
  /** That the file was removed by somebody while it is open, for people, until it has been written anew; else null. */
  readonly fileLoss: string | null
  /** Called when `fileLoss` has changed. */
  onFileLoss: (() => void) | null
  readonly nextSessionNumber: number
  readonly nextMessageNumber: number
  /** Something that was read cannot be right: the next opening looks at all of it. Whoever finds that says so here. */
  isDamaged: boolean
  // What follows is to be read to its end or returned from within one turn. It comes in the order of its keys.
  /** Those with larger numbers than `after`. */
  sessions(after?: number): Iterable<StoredSession>
  /** Those behind the topic `after`, all without it; the order of topics is the engine's own. */
  retained(after?: string): Iterable<{ topic: string; message: MessageRecord }>
  /** Deliveries of one Session in order; null for one that is damaged. Ends early where nothing can be read on. */
  deliveries(sessionNumber: number, fromOrder: number): Iterable<readonly [order: number, DeliveryRecord | null]>
  /** All deliveries behind `after`, by Session. */
  references(after: Reference | null): Iterable<Reference>
  /** Those larger than `after`. */
  messageNumbers(after: number): Iterable<number>

  /** Resolves when `deliveries` and the `message`s of the first `limit`, or `limitBytes`, of them can be read without the disk. Never rejects. */
  prefetch(sessionNumber: number, fromOrder: number, limit: number, limitBytes: number): Promise<void>
  countDeliveries(sessionNumber: number): number
  hasDelivery(sessionNumber: number, order: number): boolean
  hasMessage(messageNumber: number): boolean
  message(messageNumber: number): MessageRecord | null
  close(): Promise<void>
}
