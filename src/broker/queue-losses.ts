// What was lost of the messages that wait in queues: counts it, and tells the log of it with restraint, apart for each reason. Knows
// no queue.
import type { Clock } from '../base/clock.ts'
import type { LimitsConfig } from '../config/instance-config.ts'
import type { Counters } from '../observe/counters.ts'
import type { Log } from '../observe/log.ts'
import type { QueueLimit } from '../session/session-context.ts'
import { type Loss, LostMessages } from './lost-messages.ts'

export interface QueueLossesOptions {
  readonly clock: Clock
  readonly log: Log
  readonly counters: Counters
  readonly limits: () => LimitsConfig
}

export class QueueLosses {
  readonly #counters: Counters
  /** Because a queue was full, by the limit that it had reached. */
  readonly #toLimits: Record<QueueLimit, LostMessages>
  /** Because they waited too long. */
  readonly #toAge: LostMessages
  /** Because the store is damaged. */
  readonly #toDamage: LostMessages
  readonly #all: readonly LostMessages[]

  constructor({ clock, log, counters, limits }: QueueLossesOptions) {
    this.#counters = counters
    const lostTo = (limit: QueueLimit) =>
      new LostMessages(clock, (loss) => {
        const { [limit]: value, queuePolicy: policy } = limits()
        const fields = { ...fieldsOf(loss), limit: `limits.${limit}`, value, policy }
        log.warn('a queue is full, messages are dropped', fields)
      })
    this.#toLimits = {
      queueMessages: lostTo('queueMessages'),
      queueBytes: lostTo('queueBytes'),
      totalQueueBytes: lostTo('totalQueueBytes'),
    }
    this.#toAge = new LostMessages(clock, (loss) => {
      log.warn('messages have waited longer than limits.queueAge and are dropped', fieldsOf(loss))
    })
    this.#toDamage = new LostMessages(clock, (loss) => {
      const fix = 'restart the instance: its store is checked then, and what can be read is rescued'
      log.error('THE STORE IS DAMAGED: messages that wait for a client cannot be read', { ...fieldsOf(loss), fix })
    })
    this.#all = [...Object.values(this.#toLimits), this.#toAge, this.#toDamage]
  }

  noteFull(clientId: string, limit: QueueLimit): void {
    this.#counters.droppedQueueFull++
    this.#toLimits[limit].note(clientId, 1)
  }

  noteAged(clientId: string): void {
    this.#counters.droppedQueueAge++
    this.#toAge.note(clientId, 1)
  }

  noteDamaged(clientId: string, messages: number): void {
    this.#counters.droppedDamaged += messages
    this.#toDamage.note(clientId, messages)
  }

  /** Tells what it is time for. @returns whether there is something to tell later */
  tell(): boolean {
    let isUntold = false
    for (const lost of this.#all) if (lost.tell()) isUntold = true
    return isUntold
  }

  /** Whether it is time or not. */
  tellAll(): void {
    for (const lost of this.#all) lost.tellAll()
  }
}

function fieldsOf({ clientId, messages, messagesInAll }: Loss) {
  return { client: clientId ?? 'others', lost: messages, lostInAll: messagesInAll }
}
