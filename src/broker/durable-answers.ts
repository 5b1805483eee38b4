// Answers that promise something, held back until the store has what they promise. They keep their order.
import { Deque } from '../base/deque.ts'
import { PacketType } from '../codec/packet-types.ts'
import type { DurableWaiter } from '../session/journal.ts'
import type { Broker } from './broker.ts'
import type { Connection } from './connection.ts'

export class DurableAnswers implements DurableWaiter {
  readonly #broker: Broker
  readonly #connection: Connection
  #waiting: Deque<{ batch: number; answer: () => void }> | null = null
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
    if (journal !== null) this.#changesBefore = journal.changes
  }

  clear(): void {
    this.#waiting = null
  }

  /** PUBACK, PUBREC or PUBCOMP, once all that was noted in the store for it has reached the chosen point. */
  acknowledge(type: number, packetId: number, reasonCode: number): void {
    const { writer } = this.#connection
    if (this.#broker.journal === null) {
      writer.acknowledge(type, packetId, reasonCode)
      return
    }
    const count = type === PacketType.puback ? 1 : 0
    this.waitingPubacks += count
    this.when(() => {
      this.waitingPubacks -= count
      writer.acknowledge(type, packetId, reasonCode)
    })
  }

  /**
   * Runs `answer` when what was noted since the packet began to be handled is durable: at once when it noted nothing and
   * no answer before it waits.
   */
  when(answer: () => void): void {
    const { journal, limits } = this.#broker
    const isWaiting = this.#waiting !== null && this.#waiting.length > 0
    if (journal === null || (!isWaiting && journal.changes === this.#changesBefore)) {
      answer()
      return
    }
    this.#waiting ??= new Deque()
    this.#waiting.push({ batch: journal.changes === this.#changesBefore ? 0 : journal.batch, answer })
    journal.await(this)
    // MQTT 3 clients know no Receive Maximum: those who run ahead of the store are not read.
    if (this.#waiting.length >= limits.receiveMaximum && !this.#isHolding) {
      this.#isHolding = true
      this.#connection.hold()
    }
  }

  durable(batch: number): boolean {
    const waiting = this.#waiting
    if (waiting === null || !this.#connection.isOpen) return false
    while (waiting.length > 0 && waiting.peek()!.batch <= batch) waiting.shift()!.answer()
    if (waiting.length > 0) return true
    if (this.#isHolding) {
      this.#isHolding = false
      this.#connection.release()
    }
    return this.#waiting !== null && this.#waiting.length > 0
  }
}
