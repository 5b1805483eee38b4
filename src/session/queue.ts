// The messages that wait for one client, oldest first: the first of them in memory, the rest, when they are many, in the
// store only, from where they come back in pages, which takes a while. Limits and policies are its Session's business.
import { Deque } from '../base/deque.ts'
import type { Delivery } from './delivery.ts'
import type { Journal, PageLimits, QueuePage } from './journal.ts'
import type { Session } from './session.ts'

/** Of all queues of an instance together. */
export interface QueueAccount {
  messages: number
  bytes: number
  /** The part of `bytes` that is in memory. */
  memoryBytes: number
  /** Over it, what can wait in the store does so. */
  memoryLimitBytes: number
}

/** Accounted for each queued message beside its bytes. */
export const queueOverheadBytes = 64
/** What one queue keeps in memory before the rest waits in the store. */
const windowBytes = 256 * 1024
/** What is read from the store at a time. */
const largePage: PageLimits = { messages: 1024, bytes: 128 * 1024 }
/** The same while all queues together have more in memory than they should. */
const smallPage: PageLimits = { messages: 16, bytes: 4096 }
/** With so little left in memory the next page is asked for: a client that takes its queue must hardly ever wait for the store. */
const littleBytes = windowBytes / 2
const smallLittleBytes = 1024

export function queuedSizeOf(delivery: Delivery): number {
  return delivery.message.sizeBytes + queueOverheadBytes
}

export class Queue {
  readonly #session: Session
  readonly #account: QueueAccount
  /** null when nothing of this queue is in the store: then all of it is in memory. */
  readonly #journal: Journal | null
  readonly #first = new Deque<Delivery>()
  #memoryBytes = 0
  /** Behind those in memory, in the store only: how many, and from which order on. */
  #storedMessages = 0
  #storedBytes = 0
  #storedFrom = 0
  /** Of those in the store: how many have been told as lost. */
  #lostMessages = 0
  /** A page is on its way from the store. */
  #isFetching = false

  constructor(session: Session, account: QueueAccount, journal: Journal | null) {
    this.#session = session
    this.#account = account
    this.#journal = journal
  }

  get messages(): number {
    return this.#first.length + this.#storedMessages
  }

  get bytes(): number {
    return this.#memoryBytes + this.#storedBytes
  }

  /** @param delivery noted in the journal, if there is one */
  push(delivery: Delivery): void {
    const size = queuedSizeOf(delivery)
    const account = this.#account
    account.messages++
    account.bytes += size
    const isRoomInMemory =
      this.#memoryBytes + size <= windowBytes && account.memoryBytes + size <= account.memoryLimitBytes
    if (this.#journal !== null && (this.#storedMessages > 0 || !isRoomInMemory)) {
      if (this.#storedMessages === 0) this.#storedFrom = delivery.order
      this.#storedMessages++
      this.#storedBytes += size
      return
    }
    this.#first.push(delivery)
    this.#memoryBytes += size
    account.memoryBytes += size
  }

  /** What a restart has left in the store, from `fromOrder` on. @param bytes of the packets alone */
  restore(fromOrder: number, messages: number, bytes: number): void {
    const size = bytes + messages * queueOverheadBytes
    this.#storedFrom = fromOrder
    this.#storedMessages = messages
    this.#storedBytes = size
    this.#account.messages += messages
    this.#account.bytes += size
  }

  /** Whether the oldest is in memory; if not, `fetch` brings it there. */
  get isAtHand(): boolean {
    return this.#first.length > 0
  }

  /** The oldest, if it is at hand. */
  peek(): Delivery | undefined {
    return this.#first.peek()
  }

  /** Takes the oldest, if it is at hand. */
  shift(): Delivery | undefined {
    const delivery = this.#first.shift()
    if (delivery === undefined) return undefined
    const size = queuedSizeOf(delivery)
    this.#memoryBytes -= size
    this.#account.memoryBytes -= size
    this.#account.messages--
    this.#account.bytes -= size
    if (this.#memoryBytes <= (this.#isMemoryShort ? smallLittleBytes : littleBytes)) this.fetch()
    return delivery
  }

  /** Brings the next page from the store into memory, if there is one; the Session is told when it is there. */
  fetch(): void {
    if (this.#isFetching || this.#storedMessages === 0) return
    this.#isFetching = true
    const page = this.#isMemoryShort ? smallPage : largePage
    this.#journal!.fetchQueued(this.#session, this.#storedFrom, page, (read) => {
      this.#isFetching = false
      // Others have got their pages meanwhile.
      this.#take(read(this.#isMemoryShort ? smallPage : page))
      this.#session.queueArrived()
    })
  }

  get #isMemoryShort(): boolean {
    return this.#account.memoryBytes >= this.#account.memoryLimitBytes
  }

  #take({ deliveries, lost, nextOrder }: QueuePage): void {
    let bytes = 0
    for (const delivery of deliveries) {
      this.#first.push(delivery)
      bytes += queuedSizeOf(delivery)
    }
    this.#storedMessages -= deliveries.length
    this.#storedBytes -= bytes
    this.#memoryBytes += bytes
    this.#account.memoryBytes += bytes
    this.#tellLost(lost)
    if (nextOrder > this.#storedFrom) this.#storedFrom = nextOrder
    else this.#giveUpTheRest()
  }

  #tellLost(messages: number): void {
    if (messages <= 0) return
    this.#lostMessages += messages
    this.#session.queueLost(messages)
  }

  /** The store has no more of what it should have: it was damaged. */
  #giveUpTheRest(): void {
    this.#tellLost(this.#storedMessages - this.#lostMessages)
    this.#lostMessages = 0
    this.#account.messages -= this.#storedMessages
    this.#account.bytes -= this.#storedBytes
    this.#storedMessages = 0
    this.#storedBytes = 0
  }
}
