// Batches kept in maps. What a process keeps that keeps nothing else, and the disk of simulations. Knows no file.
import type { Batch } from './batch.ts'
import type { Engine, Reference } from './engine.ts'
import type { DeliveryRecord, MessageRecord, SessionRecord, StoredSession, SubscriptionRecord } from './store.ts'

export class MemoryEngine implements Engine {
  readonly hasLeftovers = false
  readonly fileLoss = null
  onFileLoss: (() => void) | null = null
  shortage: string | null = null
  isDamaged = false
  nextSessionNumber = 1
  nextMessageNumber = 1
  readonly #sessions = new Map<number, SessionRecord>()
  readonly #subscriptions = new Map<number, Map<string, SubscriptionRecord>>()
  readonly #inbound = new Map<number, Set<number>>()
  readonly #messages = new Map<number, MessageRecord>()
  readonly #deliveries = new Map<number, Map<number, DeliveryRecord>>()
  readonly #retained = new Map<string, MessageRecord>()

  /** Fills an empty engine with what this one holds. */
  copyTo(copy: MemoryEngine): void {
    copy.nextSessionNumber = this.nextSessionNumber
    copy.nextMessageNumber = this.nextMessageNumber
    for (const [number, record] of this.#sessions) copy.#sessions.set(number, record)
    for (const [number, records] of this.#subscriptions) copy.#subscriptions.set(number, new Map(records))
    for (const [number, packetIds] of this.#inbound) copy.#inbound.set(number, new Set(packetIds))
    for (const [number, record] of this.#messages) copy.#messages.set(number, record)
    for (const [number, records] of this.#deliveries) copy.#deliveries.set(number, new Map(records))
    for (const [topic, record] of this.#retained) copy.#retained.set(topic, record)
  }

  write(batch: Batch): Promise<void> {
    this.apply(batch)
    return Promise.resolve()
  }

  get mostChanges(): number {
    return Number.POSITIVE_INFINITY
  }

  get mostReceivers(): number {
    return Number.POSITIVE_INFINITY
  }

  hasRoomFor(): boolean {
    return true
  }

  prefetch(): Promise<void> {
    return Promise.resolve()
  }

  look(): Promise<void> {
    return Promise.resolve()
  }

  apply(batch: Batch): void {
    if (batch.reservation !== null) {
      this.nextSessionNumber = batch.reservation.nextSessionNumber
      this.nextMessageNumber = batch.reservation.nextMessageNumber
    }
    for (const [number, record] of batch.sessions) {
      if (record !== null) {
        this.#sessions.set(number, record)
        continue
      }
      this.#sessions.delete(number)
      this.#subscriptions.delete(number)
      this.#inbound.delete(number)
      this.#deliveries.delete(number)
    }
    for (const [number, changes] of batch.subscriptions) {
      const records = this.#subscriptions.get(number) ?? new Map<string, SubscriptionRecord>()
      this.#subscriptions.set(number, records)
      for (const [key, { record }] of changes) {
        if (record === null) records.delete(key)
        else records.set(key, record)
      }
    }
    for (const [number, changes] of batch.inbound) {
      const packetIds = this.#inbound.get(number) ?? new Set()
      this.#inbound.set(number, packetIds)
      for (const [packetId, isPresent] of changes) {
        if (isPresent) packetIds.add(packetId)
        else packetIds.delete(packetId)
      }
    }
    for (const [number, record] of batch.messages) {
      if (record === null) this.#messages.delete(number)
      else this.#messages.set(number, record)
    }
    for (const [number, changes] of batch.deliveries) {
      const records = this.#deliveries.get(number) ?? new Map<number, DeliveryRecord>()
      this.#deliveries.set(number, records)
      for (const [order, record] of changes) {
        if (record === null) records.delete(order)
        else records.set(order, record)
      }
    }
    for (const [topic, record] of batch.retained) {
      if (record === null) this.#retained.delete(topic)
      else this.#retained.set(topic, record)
    }
  }

  *sessions(after = 0): Iterable<StoredSession> {
    for (const number of inOrder(this.#sessions.keys(), after)) {
      const session = this.#sessions.get(number) as SessionRecord
      const subscriptions = [...(this.#subscriptions.get(number)?.values() ?? [])]
      yield { session, subscriptions, inbound: [...(this.#inbound.get(number) ?? [])].sort((a, b) => a - b) }
    }
  }

  *retained(after?: string): Iterable<{ topic: string; message: MessageRecord }> {
    const topics = [...this.#retained.keys()].filter((topic) => after === undefined || topic > after)
    for (const topic of topics.sort()) yield { topic, message: this.#retained.get(topic) as MessageRecord }
  }

  *deliveries(sessionNumber: number, fromOrder: number): Iterable<readonly [number, DeliveryRecord]> {
    const records = this.#deliveries.get(sessionNumber)
    if (records === undefined) return
    for (const order of inOrder(records.keys(), fromOrder - 1)) yield [order, records.get(order) as DeliveryRecord]
  }

  countDeliveries(sessionNumber: number): number {
    return this.#deliveries.get(sessionNumber)?.size ?? 0
  }

  hasDelivery(sessionNumber: number, order: number): boolean {
    return this.#deliveries.get(sessionNumber)?.has(order) ?? false
  }

  hasMessage(messageNumber: number): boolean {
    return this.#messages.has(messageNumber)
  }

  message(messageNumber: number): MessageRecord | null {
    return this.#messages.get(messageNumber) ?? null
  }

  *references(after: Reference | null): Iterable<Reference> {
    for (const sessionNumber of inOrder(this.#deliveries.keys(), (after?.sessionNumber ?? 0) - 1)) {
      const fromOrder = after?.sessionNumber === sessionNumber ? after.order + 1 : 0
      for (const [order, { messageNumber, packetId, isReleased, sizeBytes }] of this.deliveries(
        sessionNumber,
        fromOrder,
      )) {
        const queuedBytes = packetId === 0 ? sizeBytes : -1
        yield { messageNumber: isReleased ? null : messageNumber, sessionNumber, order, queuedBytes }
      }
    }
  }

  messageNumbers(after: number): Iterable<number> {
    return inOrder(this.#messages.keys(), after)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

function inOrder(numbers: Iterable<number>, after: number): number[] {
  return [...numbers].filter((number) => number > after).sort((a, b) => a - b)
}
