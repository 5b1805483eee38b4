// Finds the messages of one page of a queue. Their numbers mostly grow by little, and stepping on to the next record of the file
// costs a third of looking one up: it steps while that pays. It is good for one turn, in which nothing changes.

import type { Database, RecordAccess } from './record-access.ts'
import { messageNumberOf, NumberKey, recordKind } from './record-codec.ts'

/** So many steps cost about as much as a look. */
const mostSteps = 3
const end = Buffer.of(recordKind.message + 1)

export class MessageSteps {
  readonly #database: Database
  readonly #access: RecordAccess
  readonly #key = new NumberKey()
  #entries: Iterator<unknown> | null = null
  /** The message that `#entries` has come to. */
  #at = 0
  /** The one that was asked for last. */
  #last = Number.NEGATIVE_INFINITY

  constructor(database: Database, access: RecordAccess) {
    this.#database = database
    this.#access = access
  }

  /** Reads a message in place, its key as well. @returns whether it is there */
  read(messageNumber: number): boolean {
    // Steps miss what lies behind a damaged key.
    return this.#stepTo(messageNumber) || this.#access.get(this.#database, this.#key.message(messageNumber))
  }

  #stepTo(messageNumber: number): boolean {
    const isNear = messageNumber > this.#last && messageNumber - this.#last <= mostSteps
    this.#last = messageNumber
    if (this.#entries !== null && messageNumber > this.#at && messageNumber - this.#at <= mostSteps) {
      while (this.#step()) if (this.#at >= messageNumber) return this.#at === messageNumber
      return false
    }
    if (!isNear) return false
    this.close()
    const start = Buffer.from(this.#key.message(messageNumber).bytes.subarray(0, this.#key.length))
    this.#entries = this.#database.getRange({ start, end })[Symbol.iterator]()
    return this.#step() && this.#at === messageNumber
  }

  #step(): boolean {
    if (!this.#access.next(this.#entries!)) {
      this.#entries = null
      return false
    }
    this.#at = messageNumberOf(this.#access.keys, this.#access.keyStart)
    return true
  }

  close(): void {
    this.#entries?.return?.()
    this.#entries = null
  }
}
