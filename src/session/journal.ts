// Notes in the store what must survive a restart, and tells when it has reached the chosen point. Sessions and the broker
// call it where their state changes; without a store there is no journal, and nothing of this costs anything.
import type { Clock } from '../base/clock.ts'
import { ApplicationMessage, parsePublish } from '../codec/application-message.ts'
import type { ShareGroup } from '../routing/share-group.ts'
import type { Subscription } from '../routing/subscription.ts'
import type { DeliveryRecord, MessageRecord, Store } from '../storage/store.ts'
import type { Delivery } from './delivery.ts'
import type { Session } from './session.ts'

/** Whoever has something to send once a batch is durable. */
export interface DurableWaiter {
  /** Sends what waited for `batch` or an earlier one. @returns whether more is waiting */
  durable(batch: number): boolean
}

/** Messages of a queue as they are read back. */
export interface QueuePage {
  readonly deliveries: readonly Delivery[]
  /** How many between them are damaged. */
  readonly lost: number
  /** Where the next page begins; where this one does when there is nothing more. */
  readonly nextOrder: number
}

/** A page ends when it has so many messages, or so many bytes of them. */
export interface PageLimits {
  readonly messages: number
  readonly bytes: number
}

export interface JournalOptions {
  /** What the store holds already; see `DeliveryTally`. */
  references: Map<number, number>
  shareGroup(filter: string, shareName: string): ShareGroup | null
  /** Called around whatever is sent when a batch has become durable, or a page of a queue has come. */
  enter(work: () => void): void
  /** Called when the store can write no more, with null when it can again. */
  onProblem(problem: string | null): void
}

export class Journal {
  readonly #store: Store
  readonly #clock: Clock
  #nextSessionNumber: number
  #nextMessageNumber: number
  readonly #waiters = new Set<DurableWaiter>()
  readonly #callbacks: { batch: number; run: () => void }[] = []
  /** Clients whose Session has ended, and the batch that tells it. */
  readonly #ends = new Map<string, number>()
  /** Grows with every change: who sees it grow has to wait for `batch`. */
  changes = 0
  /** How many deliveries in the store point to a message, by its number, for those with more than one. */
  readonly #references: Map<number, number>
  readonly #shareGroup: JournalOptions['shareGroup']
  readonly #enter: JournalOptions['enter']

  constructor(store: Store, clock: Clock, options: JournalOptions) {
    this.#store = store
    this.#clock = clock
    this.#references = options.references
    this.#shareGroup = options.shareGroup
    this.#enter = options.enter
    this.#nextSessionNumber = store.nextSessionNumber
    this.#nextMessageNumber = store.nextMessageNumber
    store.onDurable = (batch) => this.#enter(() => this.#durable(batch))
    store.onProblem = options.onProblem
  }

  /** Why nothing can be written; null while all is well. */
  get problem(): string | null {
    return this.#store.problem
  }

  /** As `problem`, for one message of so many bytes. */
  problemWith(messageBytes: number): string | null {
    return this.#store.problemWith(messageBytes)
  }

  /** The batch that holds what was noted last. */
  get batch(): number {
    return this.#store.batch
  }

  /** Before a packet is handled, and wherever else what is noted next need not be written together with what was noted before. */
  splitBatch(): void {
    this.#store.splitBatch()
  }

  /** How many changes may be noted in one piece. */
  get mostChanges(): number {
    return this.#store.mostChanges
  }

  /** How many kept Sessions one message may be for. */
  get mostReceivers(): number {
    return this.#store.mostReceivers
  }

  /** Bytes noted and not yet durable, roughly. */
  get pendingBytes(): number {
    return this.#store.pendingBytes
  }

  /** Lets `waiter` know of every batch until it says that it waits no more. */
  await(waiter: DurableWaiter): void {
    this.#waiters.add(waiter)
  }

  /** Runs once `batch` is durable, which has to hold a change: nothing names one that holds nothing. */
  whenDurable(run: () => void, batch = this.#store.batch): void {
    this.#callbacks.push({ batch, run })
  }

  /** The batch that tells the end of a Session of this client and is not durable yet; 0 when there is none. */
  endOf(clientId: string): number {
    return this.#ends.get(clientId) ?? 0
  }

  #durable(batch: number): void {
    while (this.#callbacks.length > 0 && this.#callbacks[0].batch <= batch) this.#callbacks.shift()!.run()
    for (const [clientId, end] of this.#ends) if (end <= batch) this.#ends.delete(clientId)
    for (const waiter of this.#waiters) if (!waiter.durable(batch)) this.#waiters.delete(waiter)
  }

  // ---- sessions

  /** Notes who the Session belongs to, its expiry and its Will. @param detachedForMs how long it has had no connection; null while it has one */
  session(session: Session, detachedForMs: number | null): void {
    if (session.storeNumber === 0) session.storeNumber = this.#nextSessionNumber++
    const { client } = session
    const will = session.will ?? session.willInQuestion
    this.changes++
    this.#store.putSession({
      sessionNumber: session.storeNumber,
      clientId: session.clientId,
      username: client?.username ?? null,
      group: client?.group ?? null,
      listener: client?.listener ?? '',
      mountPoint: session.mountPoint,
      level: client?.level ?? 4,
      expirySeconds: session.expirySeconds,
      detachedAtMs: detachedForMs === null ? null : this.#clock.wallMs() - detachedForMs,
      maybeSentBefore: session.maybeSentBefore,
      will: will === null ? null : { packet: packetOf(will.message), delaySeconds: will.delaySeconds },
    })
  }

  /** The Session is over, and what is its own goes little by little: a restart meanwhile finds one that has expired. */
  sessionEnding(session: Session): void {
    this.session(session, 0)
    this.#ends.set(session.clientId, this.#store.batch)
  }

  /** The Session is over: nothing of it is kept. Its deliveries have been let go one by one. */
  sessionEnded(session: Session): void {
    this.changes++
    this.#store.deleteSession(session.storeNumber)
    this.#ends.set(session.clientId, this.#store.batch)
    session.storeNumber = 0
  }

  subscribed(session: Session, subscription: Subscription): void {
    this.changes++
    this.#store.putSubscription(session.storeNumber, {
      filter: subscription.filter,
      shareName: subscription.share?.shareName ?? null,
      options: subscription.options,
      identifier: subscription.identifiers?.[0] ?? null,
    })
  }

  unsubscribed(session: Session, subscription: Subscription): void {
    this.changes++
    const { filter, share } = subscription
    this.#store.deleteSubscription(session.storeNumber, filter, share?.shareName ?? null)
  }

  // ---- messages on their way

  /** A message has come into the hands of the Session. @param packetId 0 while it waits in the queue */
  delivery(session: Session, delivery: Delivery, packetId: number): void {
    const { message } = delivery
    const { storeNumber } = message
    if (storeNumber === 0 || !this.#isKept(storeNumber)) {
      message.storeNumber = this.#nextMessageNumber++
      this.#store.putMessage(message.storeNumber, this.#recordOf(message))
    } else this.#references.set(storeNumber, (this.#references.get(storeNumber) ?? 1) + 1)
    this.deliveryChanged(session, delivery, packetId)
  }

  /** The last delivery of a message that was read back is over without the object that once was put hearing of it. */
  #isKept(messageNumber: number): boolean {
    return this.#references.has(messageNumber) || this.#store.hasMessage(messageNumber)
  }

  /** It has got its Packet Identifier. */
  deliveryChanged(session: Session, delivery: Delivery, packetId: number): void {
    this.changes++
    this.#store.putDelivery(session.storeNumber, delivery.order, recordOf(delivery, packetId, false))
  }

  /** PUBREC has come: PUBREL is owed, and the message itself no longer needed. */
  deliveryReleased(session: Session, delivery: Delivery, packetId: number): void {
    this.changes++
    this.#store.putDelivery(session.storeNumber, delivery.order, recordOf(delivery, packetId, true))
    this.#letGo(delivery.message)
  }

  /** @param delivery null once it was released */
  deliveryOver(session: Session, order: number, delivery: Delivery | null): void {
    this.changes++
    this.#store.deleteDelivery(session.storeNumber, order)
    if (delivery !== null) this.#letGo(delivery.message)
  }

  #letGo(message: ApplicationMessage): void {
    const { storeNumber } = message
    const others = (this.#references.get(storeNumber) ?? 1) - 1
    if (others > 1) this.#references.set(storeNumber, others)
    else if (others === 1) this.#references.delete(storeNumber)
    else {
      this.#store.deleteMessage(storeNumber)
      message.storeNumber = 0
    }
  }

  /**
   * Reads messages back that wait in the queue of a Session, from `fromOrder` on, without holding up the loop for the disk.
   * @param take reads a page when it can be had: the one that was asked for, or a smaller one
   */
  fetchQueued(
    session: Session,
    fromOrder: number,
    page: PageLimits,
    take: (read: (page: PageLimits) => QueuePage) => void,
  ): void {
    void this.#store.prefetch(session.storeNumber, fromOrder, page.messages, page.bytes).then((isOpen) => {
      if (isOpen) this.#enter(() => take(({ messages, bytes }) => this.#queued(session, fromOrder, messages, bytes)))
    })
  }

  #queued(session: Session, fromOrder: number, limit: number, limitBytes: number): QueuePage {
    const deliveries: Delivery[] = []
    let lost = 0
    let nextOrder = fromOrder
    const page = this.#store.deliveries(session.storeNumber, fromOrder, limit, limitBytes, (order) => {
      lost++
      nextOrder = order + 1
    })
    const nowMs = { wall: this.#clock.wallMs(), monotonic: this.#clock.monotonicMs() }
    for (const { order, delivery, message } of page) {
      if (message === null) continue
      const own = this.messageOf(message, nowMs)
      own.storeNumber = delivery.messageNumber
      deliveries.push(this.deliveryOf(delivery, order, own))
      nextOrder = Math.max(nextOrder, order + 1)
    }
    return { deliveries, lost, nextOrder }
  }

  /** The store does not hold what it should: the next start checks it. */
  damaged(): void {
    this.#store.isDamaged = true
  }

  deliveryOf(record: DeliveryRecord, order: number, message: ApplicationMessage): Delivery {
    const { qos, retain, identifiers } = record
    const share = record.share === null ? null : this.#shareGroup(record.share.filter, record.share.shareName)
    return { message, qos, retain, identifiers, share, order }
  }

  messageOf(
    record: MessageRecord,
    nowMs = { wall: this.#clock.wallMs(), monotonic: this.#clock.monotonicMs() },
  ): ApplicationMessage {
    const { packet } = record
    let bodyStart = 1
    while (packet[bodyStart] > 0x7f) bodyStart++
    const message = new ApplicationMessage()
    parsePublish(message, packet, 0, bodyStart + 1, packet.length, record.isVersion5)
    message.isOwned = true
    // Clocks may have been set back since.
    message.receivedAtMs = nowMs.monotonic - Math.max(0, nowMs.wall - record.receivedAtMs)
    return message
  }

  inbound(session: Session, packetId: number): void {
    this.changes++
    this.#store.putInbound(session.storeNumber, packetId)
  }

  inboundReleased(session: Session, packetId: number): void {
    this.changes++
    this.#store.deleteInbound(session.storeNumber, packetId)
  }

  // ---- retained messages

  retained(topic: string, message: ApplicationMessage): void {
    this.changes++
    this.#store.putRetained(topic, this.#recordOf(message))
  }

  retainedGone(topic: string): void {
    this.changes++
    this.#store.deleteRetained(topic)
  }

  #recordOf(message: ApplicationMessage): MessageRecord {
    const waitedMs = message.receivedAtMs === 0 ? 0 : this.#clock.monotonicMs() - message.receivedAtMs
    return {
      packet: packetOf(message),
      isVersion5: message.isVersion5,
      receivedAtMs: this.#clock.wallMs() - waitedMs,
    }
  }
}

/** Bytes that stay as they are: the store may write them after this turn. */
function packetOf(message: ApplicationMessage): Buffer {
  const own = message.own()
  return own.buffer.subarray(own.packetStart, own.packetEnd)
}

function recordOf(delivery: Delivery, packetId: number, isReleased: boolean): DeliveryRecord {
  const { message, qos, retain, identifiers, share } = delivery
  return {
    messageNumber: message.storeNumber,
    sizeBytes: message.sizeBytes,
    qos,
    retain,
    identifiers,
    share: share === null ? null : { shareName: share.shareName, filter: share.filter },
    packetId,
    isReleased,
  }
}
