// What outlives a connection (chapter 4.1): Subscriptions, messages in flight in both directions, the queue, the Will.
// `deliver` is the one gate for live, retained and queued messages. Knows no bytes on a wire: it writes to an Outlet.

import { Deque } from '../base/deque.ts'
import { ProtocolError } from '../base/errors.ts'
import type { Timer } from '../base/timer-wheel.ts'
import type { ApplicationMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import type { ShareGroup } from '../routing/share-group.ts'
import type { Subscriber, Subscription } from '../routing/subscription.ts'
import type { QueueTally } from '../storage/store.ts'
import { filterBytes } from '../topic/topic-filter.ts'
import type { ClientInfo } from './client-info.ts'
import type { Delivery } from './delivery.ts'
import { Awaiting, InflightWindow } from './inflight-window.ts'
import type { DurableWaiter, Journal } from './journal.ts'
import type { Outlet } from './outlet.ts'
import { Queue, queuedSizeOf, queueOverheadBytes } from './queue.ts'
import type { QueueLimit, SessionContext } from './session-context.ts'

export interface Will {
  /** Whether the client may publish it, asked anew when the time has come. */
  readonly mayPublish: () => boolean | Promise<boolean>
  readonly message: ApplicationMessage
  readonly topic: string
  readonly delaySeconds: number
}

/** Session Expiry Interval that never ends. */
export const neverExpires = 0xffff_ffff

/** Messages of one queue that one turn lets go of: it may be long, and in the store. */
const letGoPerTurn = 4096
/** QoS 0 messages of one Session, as `queuedSizeOf` reckons them, that have left its queue and wait for the store to forget them. */
const departingLimitBytes = 64 * 1024
/** No fewer than are in that. */
export const departingLimitMessages = departingLimitBytes / queueOverheadBytes
/** With so much on its way to the disk, the end of a Session waits for it. */
const manyPendingBytes = 1024 * 1024

export class Session implements Subscriber, DurableWaiter {
  readonly clientId: string
  readonly #context: SessionContext
  /** Who it was that connected last. */
  client: ClientInfo | null = null
  /** Of the listener that the client came through. */
  mountPoint = ''
  expirySeconds = 0
  /** Whether in-flight messages may have to be sent again on another connection. */
  isDurable = false
  isEnded = false
  /** Grows with each connection that waits for it: the last one gets it. */
  claims = 0
  /** In the store; 0 while it is not there. */
  storeNumber = 0
  #order = 0
  /** Queued messages of lesser order may have been sent before the broker died. */
  maybeSentBefore = 0
  /** What is sent once the batch is durable: QoS 2 messages and PUBRELs by Packet Identifier, and QoS 0 messages from the queue. */
  #unsent: Deque<{ batch: number; packetId: number; departing: Delivery | null }> | null = null
  /** Of the QoS 0 messages among them. */
  #departingBytes = 0
  /** So much of the queue was not worth sending that the rest waits for another turn. */
  #isPumpDue = false
  #will: Will | null = null
  /** Its time has come, and whether it may be published is not answered yet: until then the store keeps it. */
  willInQuestion: Will | null = null
  #outlet: Outlet | null = null
  /** First of the list of Subscriptions. */
  subscriptions: Subscription | null = null
  subscriptionCount = 0
  filterBytes = 0
  readonly inflight = new InflightWindow<Delivery>()
  /** When set, more can be had as soon as there is room: the rest of the retained messages. */
  refill: (() => void) | null = null
  #window = 0
  /** Open identifiers that are still to be sent again on this connection. */
  #resends: Deque<number> | null = null
  /** null when nothing waits. */
  #queue: Queue | null = null
  /** Since the start of the broker, because the queue was full or they had waited too long. */
  droppedMessages = 0
  /** Of the messages that are kept until they are acknowledged. */
  #inflightBytes = 0
  /** Packet Identifiers of QoS 2 messages received and not yet released. [MQTT-4.3.3-10] */
  inboundQos2: Set<number> | null = null
  #rightsGeneration: number
  /** Made when they are first needed: most Sessions never are without a connection. */
  expiryTimer: Timer<Session> | null = null
  willTimer: Timer<Session> | null = null
  /** Monotonic; while no connection is attached. */
  detachedAtMs = 0
  willDueAtMs = 0

  constructor(clientId: string, context: SessionContext) {
    this.clientId = clientId
    this.#context = context
    this.#rightsGeneration = context.rightsGeneration
  }

  get outlet(): Outlet | null {
    return this.#outlet
  }

  /** Whether a QoS 1 or 2 message given to `deliver` now would be sent at once. */
  get hasRoom(): boolean {
    return this.#outlet !== null && this.#queue === null && this.#hasRoom(this.#outlet)
  }

  /** As `hasRoom`, for a message of this QoS. */
  hasRoomFor(qos: Qos): boolean {
    return qos > 0 ? this.hasRoom : !this.#queuesQos0 || !this.#hasQos0ToWait(this.#outlet)
  }

  get will(): Will | null {
    return this.#will
  }

  set will(will: Will | null) {
    this.#context.willBytes += (will?.message.sizeBytes ?? 0) - (this.#will?.message.sizeBytes ?? 0)
    this.#will = will
  }

  get isOnline(): boolean {
    return this.#outlet?.isWritable === true
  }

  get isAttached(): boolean {
    return this.#outlet !== null
  }

  get inflightCount(): number {
    return this.inflight.count
  }

  get isStored(): boolean {
    return this.storeNumber !== 0
  }

  get queuedMessages(): number {
    return this.#queue?.messages ?? 0
  }

  get queuedBytes(): number {
    return this.#queue?.bytes ?? 0
  }

  /**
   * Binds a connection.
   * @param window QoS 1 and 2 messages that may be in flight [MQTT-3.3.4-9] [MQTT-4.9.0-1]
   */
  attach(outlet: Outlet, window: number): void {
    this.#outlet = outlet
    this.#window = window
    this.#resends = null
    if (this.inflight.count > 0) {
      this.#resends = new Deque()
      for (const id of this.inflight.inOrder()) this.#resends.push(id)
    }
  }

  detach(): void {
    this.#outlet = null
    this.#resends = null
    this.#unsent = null
    this.#departingBytes = 0
    this.#isPumpDue = false
    this.refill = null
    this.inflight.shrink()
  }

  /** Sends what the window and the output allow: first what was in flight before, then the queue. */
  pump(): void {
    const outlet = this.#outlet
    if (outlet === null) return
    while (this.#resends !== null && outlet.isWritable && this.#activeCount < this.#window) {
      this.#resend(outlet, this.#resends.shift()!)
      if (this.#resends !== null && this.#resends.length === 0) this.#resends = null
    }
    for (let dropped = 0; this.#queue !== null && this.#hasRoomForNext(outlet, this.#queue); ) {
      if (!this.#queue.isAtHand) {
        this.#queue.fetch()
        return
      }
      this.#journal?.splitBatch()
      const delivery = this.#shiftQueue()
      if (delivery !== null) this.#send(outlet, delivery, false)
      else if (++dropped >= letGoPerTurn && this.#journal !== null) {
        this.#isPumpDue = true
        this.#journal.await(this)
        return
      }
    }
    if (this.refill !== null && this.hasRoom) this.refill()
  }

  get #activeCount(): number {
    return this.inflight.count - (this.#resends === null ? 0 : this.#resends.length)
  }

  #hasRoom(outlet: Outlet): boolean {
    // A client that acknowledges nothing may not hold more than one that is away.
    if (this.#inflightBytes > this.#context.limits.queueBytes) return false
    const isNextInOrder = this.#resends === null && this.#departingBytes === 0
    return this.inflight.count < this.#window && isNextInOrder && outlet.isWritable
  }

  #hasRoomForNext(outlet: Outlet, queue: Queue): boolean {
    if (queue.peek()?.qos !== 0) return this.#hasRoom(outlet)
    return this.#resends === null && this.#departingBytes < departingLimitBytes && outlet.isWritable
  }

  /** [MQTT-4.4.0-1] [MQTT-3.3.1-1] */
  #resend(outlet: Outlet, packetId: number): void {
    if (this.inflight.awaiting(packetId) === Awaiting.pubcomp) {
      outlet.sendPubrel(packetId, ReasonCode.success)
      return
    }
    const delivery = this.inflight.kept(packetId)
    if (delivery === null || !this.#isStillAllowed(delivery)) {
      this.#close(packetId)
      return
    }
    const { message, qos, retain, identifiers } = delivery
    if (!outlet.sendPublish(message, qos, retain, identifiers, packetId, true)) this.#close(packetId)
  }

  deliver(
    message: ApplicationMessage,
    qos: Qos,
    retain: boolean,
    identifiers: readonly number[] | null,
    share: ShareGroup | null,
  ): void {
    const outlet = this.#outlet
    if (qos === 0) {
      if (this.#queuesQos0 && this.#hasQos0ToWait(outlet)) this.#enqueueQos0(message, retain, identifiers, share)
      else if (outlet !== null) outlet.sendQos0(message, retain, identifiers, false)
      return
    }
    if (this.isEnded) return
    if (outlet !== null && this.#queue === null && this.#hasRoom(outlet)) {
      if (this.isDurable || share !== null) {
        this.#send(outlet, this.#keep(message, qos, retain, identifiers, share), true)
      } else {
        const packetId = this.inflight.open(qos, null, 0)
        if (!outlet.sendPublish(message, qos, retain, identifiers, packetId, false)) this.#close(packetId)
      }
    } else this.#enqueue(this.#keep(this.#waiting(message), qos, retain, identifiers, share))
  }

  get #queuesQos0(): boolean {
    return this.isDurable && this.#context.limits.queueQos0 && !this.isEnded
  }

  /** What waits comes first. */
  #hasQos0ToWait(outlet: Outlet | null): boolean {
    return outlet === null || this.#queue !== null || this.#departingBytes > 0 || !outlet.isWritable
  }

  #enqueueQos0(
    message: ApplicationMessage,
    retain: boolean,
    identifiers: readonly number[] | null,
    share: ShareGroup | null,
  ): void {
    if (this.#context.isMemoryHigh()) {
      this.#context.counters.droppedOutputFull++
      return
    }
    const journal = this.#journal
    if (journal !== null) {
      // Nobody was promised anything: each may be written by itself.
      if (message.qos === 0) journal.splitBatch()
      const problem = journal.problemWith(message.sizeBytes)
      if (problem !== null) {
        this.#context.storeRefused(problem)
        return
      }
    }
    this.#enqueue(this.#keep(this.#waiting(message), 0, retain, identifiers, share))
  }

  #waiting(message: ApplicationMessage): ApplicationMessage {
    // What waits long must not hold a page of short-lived copies.
    const own = message.own(Buffer.allocUnsafeSlow)
    // A retained message begins to wait now.
    if (own.receivedAtMs === 0) own.receivedAtMs = this.#context.nowMs()
    return own
  }

  #keep(
    message: ApplicationMessage,
    qos: Qos,
    retain: boolean,
    identifiers: readonly number[] | null,
    share: ShareGroup | null,
  ): Delivery {
    return { message: message.own(), qos, retain, identifiers, share, order: ++this.#order }
  }

  /** @param isNew whether it comes straight from `deliver`, and not from the queue */
  #send(outlet: Outlet, delivery: Delivery, isNew: boolean): void {
    if (delivery.qos === 0) {
      this.#sendQueuedQos0(outlet, delivery)
      return
    }
    const isKept = this.isDurable || delivery.share !== null
    const { message, qos, retain, identifiers } = delivery
    const packetId = this.inflight.open(qos, isKept ? delivery : null, delivery.order)
    if (isKept) this.#account(message.sizeBytes + queueOverheadBytes)
    const journal = this.#journal
    if (journal !== null) {
      if (isNew) journal.delivery(this, delivery, packetId)
      else journal.deliveryChanged(this, delivery, packetId)
      // After a restart it has to have the same identifier, or the client would take it for another message.
      if (qos === 2) {
        this.#sendWhenDurable(journal, packetId)
        return
      }
    }
    const isDuplicate = qos === 1 && delivery.order < this.maybeSentBefore
    if (!outlet.sendPublish(message, qos, retain, identifiers, packetId, isDuplicate)) this.#close(packetId)
  }

  #sendQueuedQos0(outlet: Outlet, delivery: Delivery): void {
    const journal = this.#journal
    if (journal === null) {
      outlet.sendQos0(delivery.message, delivery.retain, delivery.identifiers, true)
      return
    }
    // At most once: a restart must not find again what the client has been sent.
    journal.deliveryOver(this, delivery.order, delivery)
    this.#departingBytes += queuedSizeOf(delivery)
    this.#sendWhenDurable(journal, 0, delivery)
  }

  get #journal(): Journal | null {
    return this.storeNumber === 0 ? null : this.#context.journal
  }

  #sendWhenDurable(journal: Journal, packetId: number, departing: Delivery | null = null): void {
    this.#unsent ??= new Deque()
    this.#unsent.push({ batch: journal.batch, packetId, departing })
    journal.await(this)
  }

  durable(batch: number): boolean {
    if (this.isEnded) return this.#goOnEnding()
    let hasDeparted = false
    while (this.#unsent !== null && this.#unsent.length > 0 && this.#unsent.peek()!.batch <= batch) {
      const { packetId, departing } = this.#unsent.shift()!
      if (departing === null) this.#sendDurable(packetId)
      else {
        this.#departingBytes -= queuedSizeOf(departing)
        this.#outlet?.sendQos0(departing.message, departing.retain, departing.identifiers, true)
        hasDeparted = true
      }
    }
    if (this.#isPumpDue || hasDeparted) {
      this.#isPumpDue = false
      this.pump()
    }
    // Whoever was told of a message may have ended it meanwhile.
    return this.isEnded || this.#isPumpDue || (this.#unsent !== null && this.#unsent.length > 0)
  }

  #sendDurable(packetId: number): void {
    const outlet = this.#outlet
    if (outlet === null) return
    if (this.inflight.awaiting(packetId) === Awaiting.pubcomp) {
      outlet.sendPubrel(packetId, ReasonCode.success)
      return
    }
    const delivery = this.inflight.kept(packetId)
    if (delivery === null) return
    const { message, qos, retain, identifiers } = delivery
    if (!outlet.sendPublish(message, qos, retain, identifiers, packetId, false)) this.#close(packetId)
  }

  #close(packetId: number): void {
    const delivery = this.inflight.kept(packetId)
    this.#journal?.deliveryOver(this, this.inflight.order(packetId), delivery)
    if (delivery !== null) this.#account(-delivery.message.sizeBytes - queueOverheadBytes)
    this.inflight.close(packetId)
  }

  #account(bytes: number): void {
    this.#inflightBytes += bytes
    this.#context.queues.inflightBytes += bytes
  }

  #enqueue(delivery: Delivery): void {
    const { limits, queues } = this.#context
    this.#dropStale()
    const limit = this.#makeRoom(1, queuedSizeOf(delivery), delivery.qos)
    if (limit !== null) {
      // Their order has no gaps, so that it tells how many messages are between two: see `restoreQueue`.
      this.#order--
      this.#queueFull(limit)
      if (limits.queuePolicy === 'disconnect' && delivery.qos > 0)
        this.#outlet?.disconnect(ReasonCode.quotaExceeded, 'the queue is full')
      return
    }
    const journal = this.#journal
    this.#queue ??= new Queue(this, queues, journal)
    journal?.delivery(this, delivery, 0)
    this.#queue.push(delivery)
  }

  /** The limit that so much more would go beyond; null for none. Those of bytes first: they may be too small for it alone. */
  #limitReached(messages: number, bytes: number): QueueLimit | null {
    const { limits, queues } = this.#context
    if (this.queuedBytes + bytes > limits.queueBytes) return 'queueBytes'
    if (queues.bytes + bytes > queues.limitBytes) return 'totalQueueBytes'
    return this.queuedMessages + messages > limits.queueMessages ? 'queueMessages' : null
  }

  /**
   * Drops the oldest, where that is the policy and helps, until so much more fits; but QoS 0 makes no room for itself at the cost of
   * QoS 1 and 2.
   * @returns null when it may come: also when room will be made little by little, as the oldest come from the store, or because
   * limits were lowered under a long queue; otherwise the limit that is in the way
   */
  #makeRoom(messages: number, bytes: number, qos: Qos): QueueLimit | null {
    const { limits, queues } = this.#context
    const fitsAlone = bytes <= limits.queueBytes && queues.bytes - this.queuedBytes + bytes <= queues.limitBytes
    for (let dropped = 0; ; dropped++) {
      const limit = this.#limitReached(messages, bytes)
      if (limit === null || dropped === letGoPerTurn) return null
      if (this.#queue === null || !fitsAlone) return limit
      if (!this.#queue.isAtHand) {
        this.#queue.fetch()
        // Only where the oldest will go is there going to be room.
        return limits.queuePolicy === 'drop-oldest' || limits.queueAgeSeconds > 0 ? null : limit
      }
      if (limits.queuePolicy !== 'drop-oldest' || (qos === 0 && this.#queue.peek()!.qos > 0)) return limit
      this.#queueFull(limit)
      this.#drop(this.#takeFirst()!)
    }
  }

  /** A page of the queue has come from the store. */
  queueArrived(): void {
    if (this.#queue?.messages === 0) this.#queue = null
    if (this.isEnded) {
      if (this.#goOnEnding()) this.#journal!.await(this)
      return
    }
    this.#dropStale()
    this.#makeRoom(0, 0, 2)
    this.pump()
  }

  /** The store cannot give so many messages of the queue. */
  queueLost(messages: number): void {
    this.#journal?.damaged()
    this.#context.queueLost(this, messages)
  }

  #queueFull(limit: QueueLimit): void {
    this.droppedMessages++
    this.#context.queueFull(this, limit)
  }

  /** @returns undefined when none is at hand */
  #takeFirst(): Delivery | undefined {
    const delivery = this.#queue!.shift()
    if (this.#queue!.messages === 0) this.#queue = null
    return delivery
  }

  /** What has waited too long makes room for what comes. */
  #dropStale(): void {
    for (let count = 0; count < letGoPerTurn && this.#queue !== null; count++) {
      const oldest = this.#queue.peek()
      if (oldest === undefined || !this.#isStale(oldest.message)) return
      this.#drop(this.#takeFirst()!)
    }
  }

  /** Counts it as well: whoever asks drops it. [MQTT-3.3.2-5] */
  #isStale(message: ApplicationMessage): boolean {
    const { limits, counters, nowMs } = this.#context
    if (message.expiryAt === -1 && limits.queueAgeSeconds === 0) return false
    const now = nowMs()
    if (message.hasExpired(now)) counters.droppedExpired++
    else if (limits.queueAgeSeconds > 0 && now - message.receivedAtMs >= limits.queueAgeSeconds * 1000) {
      this.droppedMessages++
      this.#context.queueAged(this)
    } else return false
    return true
  }

  /** A message that was queued goes nowhere. */
  #drop(delivery: Delivery): null {
    this.#journal?.deliveryOver(this, delivery.order, delivery)
    return null
  }

  /** The next queued message, if it is still worth sending. */
  #shiftQueue(): Delivery | null {
    const delivery = this.#takeFirst()
    if (delivery === undefined) return null
    return !this.#isStale(delivery.message) && this.#isStillAllowed(delivery) ? delivery : this.#drop(delivery)
  }

  /** What waits is looked at again before it is sent. */
  forgetRights(): void {
    this.#rightsGeneration = -1
  }

  /** Rights may have been taken away while the message waited. */
  #isStillAllowed(delivery: Delivery): boolean {
    const { mayReceive, rightsGeneration, counters } = this.#context
    if (mayReceive === null || this.#rightsGeneration === rightsGeneration) return true
    const isAllowed = mayReceive(this, delivery.message.topic)
    if (this.#queue === null && this.#resends === null) this.#rightsGeneration = rightsGeneration
    if (!isAllowed) counters.droppedDenied++
    return isAllowed
  }

  /** @throws ProtocolError for an acknowledgement of the wrong kind */
  puback(packetId: number): void {
    const awaiting = this.inflight.awaiting(packetId)
    if (awaiting === Awaiting.nothing) {
      this.#context.counters.acknowledgementsUnknown++
      return
    }
    if (awaiting !== Awaiting.puback) throw new ProtocolError(ReasonCode.protocolError, 'PUBACK for a QoS 2 message')
    this.#close(packetId)
    this.#pumpAfterAcknowledgement()
  }

  /** @throws ProtocolError */
  pubrec(packetId: number, reasonCode: number): void {
    const awaiting = this.inflight.awaiting(packetId)
    if (awaiting === Awaiting.nothing) {
      this.#context.counters.acknowledgementsUnknown++
      if (reasonCode < 0x80) this.#outlet?.sendPubrel(packetId, ReasonCode.packetIdentifierNotFound)
      return
    }
    if (awaiting === Awaiting.puback) throw new ProtocolError(ReasonCode.protocolError, 'PUBREC for a QoS 1 message')
    if (reasonCode >= 0x80) {
      // [MQTT-4.4.0-2]: the message is over, and there is no PUBREL.
      this.#close(packetId)
      this.#pumpAfterAcknowledgement()
      return
    }
    const delivery = this.inflight.kept(packetId)
    if (delivery !== null) this.#account(-delivery.message.sizeBytes - queueOverheadBytes)
    this.inflight.released(packetId)
    const journal = this.#journal
    if (journal !== null && delivery !== null) {
      // Once PUBREL is out PUBLISH must never come again. [MQTT-4.3.3-6]
      journal.deliveryReleased(this, delivery, packetId)
      this.#sendWhenDurable(journal, packetId)
    } else this.#outlet?.sendPubrel(packetId, ReasonCode.success) // [MQTT-4.3.3-4]
  }

  /** @throws ProtocolError */
  pubcomp(packetId: number): void {
    const awaiting = this.inflight.awaiting(packetId)
    if (awaiting === Awaiting.nothing) {
      this.#context.counters.acknowledgementsUnknown++
      return
    }
    if (awaiting !== Awaiting.pubcomp) throw new ProtocolError(ReasonCode.protocolError, 'PUBCOMP before PUBREL')
    this.#close(packetId)
    this.#pumpAfterAcknowledgement()
  }

  #pumpAfterAcknowledgement(): void {
    if (this.#queue !== null || this.#resends !== null || this.refill !== null) this.pump()
  }

  /** @returns whether it was open */
  releaseInbound(packetId: number): boolean {
    const wasOpen = this.inboundQos2?.delete(packetId) === true
    if (wasOpen) this.#journal?.inboundReleased(this, packetId)
    return wasOpen
  }

  openInbound(packetId: number): void {
    this.inboundQos2 ??= new Set()
    this.inboundQos2.add(packetId)
    this.#journal?.inbound(this, packetId)
  }

  /** Puts a message back in flight that was so before a restart. */
  restoreInflight(delivery: Delivery, packetId: number, isReleased: boolean): void {
    this.#order = Math.max(this.#order, delivery.order)
    // One message at a time has an identifier: an earlier one was over, and only the rescue of a damaged store brings it back.
    if (this.inflight.awaiting(packetId) !== Awaiting.nothing) this.#close(packetId)
    const awaiting = isReleased ? Awaiting.pubcomp : delivery.qos === 2 ? Awaiting.pubrec : Awaiting.puback
    this.inflight.restore(packetId, awaiting, isReleased ? null : delivery, delivery.order)
    if (!isReleased) this.#account(queuedSizeOf(delivery))
  }

  /**
   * Takes up the queue that the store holds from `fromOrder` on.
   * @param maybeSent how many of them may have been sent before, which the broker had no time to note [MQTT-3.3.1-1]
   */
  restoreQueue(fromOrder: number, { messages, bytes, lastOrder }: QueueTally, maybeSent: number): void {
    this.#order = Math.max(this.#order, lastOrder)
    if (maybeSent > 0) this.maybeSentBefore = Math.min(fromOrder + maybeSent, lastOrder + 1)
    this.#queue = new Queue(this, this.#context.queues, this.#journal)
    this.#queue.restore(fromOrder, messages, bytes)
  }

  /** All that the store had is here: what comes from now on, whose order may begin anew, was never sent. [MQTT-4.3.2-2] */
  restored(): void {
    this.maybeSentBefore = Math.min(this.maybeSentBefore, this.#order + 1)
  }

  addSubscription(subscription: Subscription): void {
    subscription.nextOfSubscriber = this.subscriptions
    if (this.subscriptions !== null) this.subscriptions.previousOfSubscriber = subscription
    this.subscriptions = subscription
    this.subscriptionCount++
    this.filterBytes += filterBytes(subscription.filter)
  }

  removeSubscription(subscription: Subscription): void {
    const { previousOfSubscriber: previous, nextOfSubscriber: next } = subscription
    if (previous === null) this.subscriptions = next
    else previous.nextOfSubscriber = next
    if (next !== null) next.previousOfSubscriber = previous
    subscription.previousOfSubscriber = null
    subscription.nextOfSubscriber = null
    this.subscriptionCount--
    this.filterBytes -= filterBytes(subscription.filter)
  }

  /**
   * Forgets everything.
   * @returns shared messages that other members of their groups can still have; never one whose QoS 2 delivery has
   * begun [MQTT-4.8.2-5]
   */
  end(): Delivery[] {
    this.isEnded = true
    this.inboundQos2 = null
    const orphans: Delivery[] = []
    const journal = this.#journal
    if (journal === null) {
      this.#letGo(orphans, Number.POSITIVE_INFINITY)
      return orphans
    }
    this.expirySeconds = 0
    journal.sessionEnding(this)
    this.#letGo(orphans, Math.min(letGoPerTurn, journal.mostChanges))
    if (this.#isEmpty) journal.sessionEnded(this)
    else journal.await(this)
    return orphans
  }

  get #isEmpty(): boolean {
    return this.inflight.count === 0 && this.#queue === null
  }

  /** Lets go of up to `limit` messages, as far as they are at hand; returns of how many. */
  #letGo(orphans: Delivery[], limit: number): number {
    let count = 0
    if (this.inflight.count > 0) {
      for (const packetId of this.inflight.inOrder()) {
        if (count === limit) return count
        const delivery = this.inflight.kept(packetId)
        if (delivery !== null && delivery.share !== null && delivery.qos === 1) orphans.push(delivery)
        this.#close(packetId)
        count++
      }
    }
    for (; count < limit && this.#queue?.isAtHand; count++) {
      const delivery = this.#takeFirst()!
      this.#drop(delivery)
      if (delivery.share !== null) orphans.push(delivery)
    }
    return count
  }

  /** @returns whether it waits for a batch */
  #goOnEnding(): boolean {
    const journal = this.#journal
    if (journal === null) return false
    for (let count = 0; count < letGoPerTurn; ) {
      journal.splitBatch()
      const orphans: Delivery[] = []
      const released = this.#letGo(orphans, Math.min(letGoPerTurn, journal.mostChanges))
      if (orphans.length > 0) this.#context.orphaned(orphans)
      if (released === 0) break
      count += released
    }
    if (this.#isEmpty) {
      journal.sessionEnded(this)
      return false
    }
    if (this.inflight.count > 0 || this.#queue!.isAtHand || journal.pendingBytes > manyPendingBytes) return true
    this.#queue!.fetch()
    return false
  }
}
