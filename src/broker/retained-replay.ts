// Gives a new Subscription the retained messages that match it: as many at a time as the client takes, so that `#` over a
// million messages holds up nobody.
import type { ApplicationMessage } from '../codec/application-message.ts'
import type { Subscription } from '../routing/subscription.ts'
import type { Session } from '../session/session.ts'
import type { Broker } from './broker.ts'

/** Messages sent, or pauses of the walk, after which others get their turn. */
const messagesPerTurn = 500
const pausesPerTurn = 8
/** Output that waits for the client before more is read from the store. */
const outputBytes = 128 * 1024

interface Walk {
  messages: Generator<ApplicationMessage | null, void, void>
  subscription: Subscription
}

/** What a replay must know of the way out. */
export interface ReplayOutput {
  readonly queuedBytes: number
  readonly isBlocked: boolean
}

export class RetainedReplay {
  readonly #broker: Broker
  readonly #session: Session
  readonly #output: ReplayOutput
  readonly #walks: Walk[] = []
  #pending: ApplicationMessage | null = null
  #isScheduled = false

  constructor(broker: Broker, session: Session, output: ReplayOutput) {
    this.#broker = broker
    this.#session = session
    this.#output = output
  }

  add(subscription: Subscription): void {
    this.#walks.push({ messages: this.#broker.retained.matching(subscription.filter), subscription })
  }

  /** Sends what there is room for; goes on by itself, by `session.refill`, or when called on a drained output. */
  readonly go = (): void => {
    this.#session.refill = null
    let messages = 0
    let pauses = 0
    while (this.#walks.length > 0) {
      if (this.#session.outlet === null) {
        this.#walks.length = 0
        return
      }
      const { subscription, messages: walk } = this.#walks[0]
      const message = this.#pending ?? this.#next(walk)
      if (message === undefined) {
        this.#walks.shift()
        continue
      }
      if (message === null) {
        if (++pauses < pausesPerTurn) continue
        this.#later()
        return
      }
      const qos = subscription.qos < message.qos ? subscription.qos : message.qos
      this.#pending = message
      if (this.#output.isBlocked && this.#output.queuedBytes > outputBytes) return // `drained` goes on
      if (qos > 0 && !this.#session.hasRoom) {
        this.#session.refill = this.go
        return
      }
      this.#pending = null
      if (this.#broker.mayReceiveRetained(this.#session, message)) {
        this.#session.deliver(message, qos, true, subscription.identifiers, null)
      }
      if (++messages === messagesPerTurn) {
        this.#later()
        return
      }
    }
  }

  #next(walk: Generator<ApplicationMessage | null, void, void>): ApplicationMessage | null | undefined {
    const { done, value } = walk.next()
    return done === true ? undefined : value
  }

  #later(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#broker.loop.enter()
      this.go()
      this.#broker.loop.leave()
    })
  }
}
