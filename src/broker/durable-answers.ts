// Answers that promise something, held back until the store has what they promise. They keep their order.
import { Deque } from '../base/deque.ts'
import { PacketType } from '../codec/packet-types.ts'
import type { DurableWaiter } from '../session/journal.ts'
import type { Broker } from './broker.ts'
import type { Connection } from './connection.ts'

interface Answer {
  /** 0 for one that only keeps its place behind others. */
  readonly batch: number
  /** null for an acknowledgement. */
  readonly send: (() => void) | null
  readonly type: number
  readonly packetId: number
  readonly reasonCode: number
}

export class DurableAnswers implements DurableWaiter {
  readonly #broker: Broker
  readonly #connection: Connection
  #waiting: Deque<Answer> | null = null
  #isHolding = false
  /** QoS 1 messages that are taken and not yet acknowledged. */
  waitingPubacks = 0
  /** The journal's changes when the packet began to be handled. */
  #changesBefore = 0

  constructor(broker: Broker, connection: Connection) {
    this.#broker = broker
    this.#connection = connection
  }

  /** What is noted from now on is what the next answer has to wait for. */
  begin(): void {
    const { journal } = this.#broker
    if (journal === null) return
    journal.splitBatch()
    this.#changesBefore = journal.changes
  }

  clear(): void {
    this.#waiting = null
  }

  /** PUBACK, PUBREC or PUBCOMP, once all that was noted in the store for it has reached the chosen point. */
  acknowledge(type: number, packetId: number, reasonCode: number): void {
    if (!this.#hasToWait) {
      this.#connection.writer.acknowledge(type, packetId, reasonCode)
      return
    }
    if (type === PacketType.puback) this.waitingPubacks++
    this.#push({ batch: this.#batch, send: null, type, packetId, reasonCode })
  }

  /**
   * Runs `send` when what was noted since the packet began to be handled is durable: at once when it noted nothing and no
   * answer before it waits.
   */
  when(send: () => void): void {
    if (this.#hasToWait) this.#push({ batch: this.#batch, send, type: 0, packetId: 0, reasonCode: 0 })
    else send()
  }

  get #hasToWait(): boolean {
    const { journal } = this.#broker
    const isBehindOthers = this.#waiting !== null && this.#waiting.length > 0
    return journal !== null && (isBehindOthers || journal.changes !== this.#changesBefore)
  }

  get #batch(): number {
    const journal = this.#broker.journal!
    return journal.changes === this.#changesBefore ? 0 : journal.batch
  }

  #push(answer: Answer): void {
    this.#waiting ??= new Deque()
    this.#waiting.push(answer)
    this.#broker.journal!.await(this)
    // MQTT 3 clients know no Receive Maximum: those who run ahead of the store are not read.
    if (this.#waiting.length >= this.#broker.limits.receiveMaximum && !this.#isHolding) {
      this.#isHolding = true
      this.#connection.hold()
    }
  }

  #release({ send, type, packetId, reasonCode }: Answer): void {
    if (send !== null) {
      send()
      return
    }
    if (type === PacketType.puback) this.waitingPubacks--
    this.#connection.writer.acknowledge(type, packetId, reasonCode)
  }

  durable(batch: number): boolean {
    const waiting = this.#waiting
    if (waiting === null || !this.#connection.isOpen) return false
    while (waiting.length > 0 && waiting.peek()!.batch <= batch) this.#release(waiting.shift()!)
    if (waiting.length > 0) return true
    if (this.#isHolding) {
      this.#isHolding = false
      this.#connection.release()
    }
    return this.#waiting !== null && this.#waiting.length > 0
  }
}
