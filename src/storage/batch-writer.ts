// Turns batches into records, each in one transaction; and knows of which deleted Sessions parts are still there. Knows neither the
// file nor how much room it has.
import type { Batch } from './batch.ts'
import { afterSession, ofSession } from './key-ranges.ts'
import type { Changes } from './page-need.ts'
import { asKey, type Database } from './record-access.ts'
import { type EncodedRecord, formatVersion, NumberKey, RecordEncoder, recordKind } from './record-codec.ts'

/** As of the last reservation that is in the file. */
export interface NextNumbers {
  readonly nextSessionNumber: number
  readonly nextMessageNumber: number
}

export class BatchWriter {
  readonly #numbers: NextNumbers
  readonly #encoder = new RecordEncoder()
  readonly #key = new NumberKey()
  readonly #leftovers: Set<number>
  #isOlderFormat: boolean

  /** @param leftovers deleted Sessions of which parts are still to be removed */
  constructor(numbers: NextNumbers, isOlderFormat: boolean, leftovers: Set<number>) {
    this.#numbers = numbers
    this.#isOlderFormat = isOlderFormat
    this.#leftovers = leftovers
  }

  /** Whether the file is of an older format until something is written. */
  get isOlderFormat(): boolean {
    return this.#isOlderFormat
  }

  get hasLeftovers(): boolean {
    return this.#leftovers.size > 0
  }

  /** Whether it is deleted, though parts of it may be there. */
  isLeftover(sessionNumber: number): boolean {
    return this.#leftovers.has(sessionNumber)
  }

  /** How many records of deleted Sessions go with a batch, of so many at most. */
  removalsWith({ sessions }: Batch, most: number): number {
    if (this.#leftovers.size > 0) return most
    for (const record of sessions.values()) if (record === null) return most
    return 0
  }

  /**
   * @param leftovers so many records of deleted Sessions go with the changes at most
   * @param also what else belongs into the transaction
   * @throws (rejects) the error of `lmdb`; nothing is written then
   */
  async write(database: Database, changes: Changes, leftovers: number, also = () => {}): Promise<void> {
    const removed: number[] = []
    const left: number[] = []
    await database.batch(() => {
      this.#put(database, changes, leftovers, removed, left)
      also()
    })
    this.#isOlderFormat = false
    for (const sessionNumber of left) this.#leftovers.add(sessionNumber)
    for (const sessionNumber of removed) this.#leftovers.delete(sessionNumber)
  }

  #put(database: Database, batch: Changes, leftovers: number, removed: number[], left: number[]): void {
    const encoder = this.#encoder
    encoder.reset()
    // A file of an older format becomes one of this with the first record.
    if (batch.reservation !== null || this.#isOlderFormat) {
      const { nextSessionNumber, nextMessageNumber } = batch.reservation ?? this.#numbers
      put(database, encoder.meta(formatVersion, nextSessionNumber, nextMessageNumber))
    }
    let room = leftovers
    for (const [sessionNumber, record] of batch.sessions) {
      if (record !== null) {
        put(database, encoder.session(record))
        continue
      }
      database.remove(encoder.sessionKey(recordKind.session, sessionNumber))
      room = this.#removeParts(database, sessionNumber, room)
      if (room > 0) continue
      put(database, encoder.leftover(sessionNumber))
      left.push(sessionNumber)
    }
    for (const sessionNumber of this.#leftovers) {
      if (room > 0) room = this.#removeParts(database, sessionNumber, room)
      if (room === 0) break
      database.remove(encoder.sessionKey(recordKind.leftover, sessionNumber))
      removed.push(sessionNumber)
    }
    for (const [sessionNumber, changes] of batch.subscriptions) {
      for (const { filter, shareName, record } of changes.values()) {
        if (record === null) database.remove(encoder.subscriptionKey(sessionNumber, filter, shareName))
        else put(database, encoder.subscription(sessionNumber, record))
      }
    }
    for (const [sessionNumber, changes] of batch.inbound) {
      for (const [packetId, isPresent] of changes) {
        if (isPresent) put(database, encoder.inbound(sessionNumber, packetId))
        else database.remove(encoder.inboundKey(sessionNumber, packetId))
      }
    }
    for (const [messageNumber, record] of batch.messages) {
      if (record === null) database.remove(asKey(this.#key.message(messageNumber)))
      else put(database, encoder.message(messageNumber, record))
    }
    for (const [sessionNumber, changes] of batch.deliveries) {
      for (const [order, record] of changes) {
        if (record === null) database.remove(asKey(this.#key.delivery(sessionNumber, order)))
        else put(database, encoder.delivery(sessionNumber, order, record))
      }
    }
    for (const [topic, record] of batch.retained) {
      if (record === null) database.remove(encoder.retainedKey(topic))
      else put(database, encoder.retained(topic, record))
    }
  }

  /** Removes up to `room` records that belong to a Session; returns how much room is left, 0 when there may be more of them. */
  #removeParts(database: Database, sessionNumber: number, room: number): number {
    database.resetReadTxn()
    for (const kind of [recordKind.subscription, recordKind.inbound, recordKind.delivery]) {
      const start = ofSession(kind, sessionNumber)
      for (const key of database.getKeys({ start, end: afterSession(kind, sessionNumber), limit: room })) {
        database.remove(key)
        room--
      }
      if (room === 0) return 0
    }
    return room
  }
}

function put(database: Database, { key, value }: EncodedRecord): void {
  database.put(key, value)
}
