// The changes of one turn, gathered in memory: the last word for every record. What begins and ends within one batch is never
// written: a message that all its receivers have acknowledged before the batch is cut. Knows no engine.
import type { DeliveryRecord, MessageRecord, SessionRecord, SubscriptionRecord } from './store.ts'

export interface SubscriptionChange {
  readonly filter: string
  readonly shareName: string | null
  /** null: deleted. */
  readonly record: SubscriptionRecord | null
}

/** Numbers below these may have been given out before the next restart; written ahead, so that they are rarely written. */
export interface Reservation {
  readonly nextSessionNumber: number
  readonly nextMessageNumber: number
}

/** Bytes that one change takes beyond those of its packet, in memory, roughly. */
const changeBytes = 64

/** Of the deliveries of one Session, by order; a null is a deletion. */
export class DeliveryChanges extends Map<number, DeliveryRecord | null> {
  /** Nothing of a higher order was noted: who reads a long queue is always beyond it. */
  lastOrder = 0

  note(order: number, record: DeliveryRecord | null): void {
    this.set(order, record)
    if (order > this.lastOrder) this.lastOrder = order
  }
}

/** A null is a deletion. */
export class Batch {
  readonly number: number
  readonly sessions = new Map<number, SessionRecord | null>()
  readonly subscriptions = new Map<number, Map<string, SubscriptionChange>>()
  readonly inbound = new Map<number, Map<number, boolean>>()
  readonly messages = new Map<number, MessageRecord | null>()
  readonly deliveries = new Map<number, DeliveryChanges>()
  readonly retained = new Map<string, MessageRecord | null>()
  reservation: Reservation | null = null
  /** Nothing of a message of a higher number was noted. */
  #lastMessage = 0
  /** All that was noted, even what came to nothing. */
  changes = 0
  bytes = 0
  /** Messages and Sessions from these numbers on were first put into this batch: no engine holds anything of them. */
  readonly #freshMessage: number
  readonly #freshSession: number

  constructor(number: number, freshMessage: number, freshSession: number) {
    this.number = number
    this.#freshMessage = freshMessage
    this.#freshSession = freshSession
  }

  /** Whether it was first put into this batch. */
  isFreshMessage(messageNumber: number): boolean {
    return messageNumber >= this.#freshMessage
  }

  get isTouched(): boolean {
    return this.changes > 0
  }

  get isEmpty(): boolean {
    return this.recordCount === 0
  }

  /** Records that are put or deleted. */
  get recordCount(): number {
    let count = this.sessions.size + this.messages.size + this.retained.size + (this.reservation === null ? 0 : 1)
    for (const nested of [this.subscriptions, this.inbound, this.deliveries]) {
      for (const changes of nested.values()) count += changes.size
    }
    return count
  }

  putSession(record: SessionRecord): void {
    this.sessions.set(record.sessionNumber, record)
    this.bytes += changeBytes + record.clientId.length + (record.will?.packet.length ?? 0)
  }

  deleteSession(sessionNumber: number): void {
    this.subscriptions.delete(sessionNumber)
    this.inbound.delete(sessionNumber)
    this.deliveries.delete(sessionNumber)
    if (sessionNumber >= this.#freshSession) this.sessions.delete(sessionNumber)
    else this.sessions.set(sessionNumber, null)
    this.bytes += changeBytes
  }

  changeSubscription(sessionNumber: number, change: SubscriptionChange): void {
    const key =
      change.shareName === null ? `-${change.filter}` : `${change.shareName.length}:${change.shareName}${change.filter}`
    const changes = nested(this.subscriptions, sessionNumber)
    if (change.record === null && sessionNumber >= this.#freshSession) changes.delete(key)
    else changes.set(key, change)
    this.bytes += changeBytes + key.length
  }

  changeInbound(sessionNumber: number, packetId: number, isPresent: boolean): void {
    nested(this.inbound, sessionNumber).set(packetId, isPresent)
    this.bytes += changeBytes
  }

  /** What was noted of a message; undefined for nothing. */
  message(messageNumber: number): MessageRecord | null | undefined {
    return messageNumber > this.#lastMessage ? undefined : this.messages.get(messageNumber)
  }

  putMessage(messageNumber: number, record: MessageRecord): void {
    this.messages.set(messageNumber, record)
    if (messageNumber > this.#lastMessage) this.#lastMessage = messageNumber
    this.bytes += changeBytes + record.packet.length
  }

  deleteMessage(messageNumber: number): void {
    if (messageNumber < this.#freshMessage) {
      this.messages.set(messageNumber, null)
      if (messageNumber > this.#lastMessage) this.#lastMessage = messageNumber
      this.bytes += changeBytes
      return
    }
    const record = this.messages.get(messageNumber)
    if (record === undefined || record === null) return
    this.messages.delete(messageNumber)
    this.bytes -= changeBytes + record.packet.length
  }

  putDelivery(sessionNumber: number, order: number, record: DeliveryRecord): void {
    const changes = this.#deliveriesOf(sessionNumber)
    if (!changes.has(order)) this.bytes += changeBytes
    changes.note(order, record)
  }

  deleteDelivery(sessionNumber: number, order: number): void {
    const changes = this.#deliveriesOf(sessionNumber)
    const noted = changes.get(order)
    // A delivery of a message that is new in this batch is new as well.
    if (noted !== undefined && noted !== null && noted.messageNumber >= this.#freshMessage) {
      changes.delete(order)
      this.bytes -= changeBytes
      return
    }
    if (noted === undefined) this.bytes += changeBytes
    changes.note(order, null)
  }

  #deliveriesOf(sessionNumber: number): DeliveryChanges {
    let changes = this.deliveries.get(sessionNumber)
    if (changes === undefined) {
      changes = new DeliveryChanges()
      this.deliveries.set(sessionNumber, changes)
    }
    return changes
  }

  changeRetained(topic: string, record: MessageRecord | null): void {
    this.retained.set(topic, record)
    this.bytes += changeBytes + topic.length + (record?.packet.length ?? 0)
  }
}

function nested<Key, Value>(maps: Map<number, Map<Key, Value>>, sessionNumber: number): Map<Key, Value> {
  let map = maps.get(sessionNumber)
  if (map === undefined) {
    map = new Map()
    maps.set(sessionNumber, map)
  }
  return map
}
