// Gives a new Subscription the retained messages that match it: as many at a time as the client takes, so that `#` over a
// million messages holds up nobody.
import type { ApplicationMessage } from '../codec/application-message.ts'
import type { Subscription } from '../routing/subscription.ts'
import type { Outlet } from '../session/outlet.ts'
import type { Session } from '../session/session.ts'
import type { Broker } from './broker.ts'

/** Messages sent, or pauses of the walk, after which others get their turn. */
const messagesPerTurn = 500
const pausesPerTurn = 8
/** Output that waits for the client before more is read from the store. */
const outputBytes = 128 * 1024

interface Walk {
  readonly messages: Generator<ApplicationMessage | null, void, void>
  readonly subscription: Subscription
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
  /** Whom it is for: a Session may be in other hands when it is to go on. */
  readonly #outlet: Outlet | null
  #walk: Walk | null = null
  /** Those whose turn has not come; never more than the client has Subscriptions. */
  readonly #waiting = new Set<Subscription>()
  #pending: ApplicationMessage | null = null
  #isScheduled = false

  constructor(broker: Broker, session: Session, output: ReplayOutput) {
    this.#broker = broker
    this.#session = session
    this.#output = output
    this.#outlet = session.outlet
  }

  add(subscription: Subscription): void {
    this.#waiting.add(subscription)
  }

  /** The next walk, unless one is under way. Nothing is sent any more for a Subscription that is gone. [MQTT-3.10.4-2] */
  #begin(): Walk | null {
    if (this.#walk !== null && this.#isHeld(this.#walk.subscription)) return this.#walk
    this.#walk = null
    this.#pending = null
    for (const subscription of this.#waiting) {
      this.#waiting.delete(subscription)
      if (!this.#isHeld(subscription)) continue
      this.#walk = { messages: this.#broker.retained.matching(subscription.filter), subscription }
      break
    }
    return this.#walk
  }

  #isHeld(subscription: Subscription): boolean {
    return this.#broker.router.find(this.#session, subscription.filter, null) === subscription
  }

  /** Sends what there is room for; goes on by itself, by `session.refill`, or when called on a drained output. */
  readonly go = (): void => {
    if (this.#session.outlet !== this.#outlet) {
      this.#walk = null
      this.#waiting.clear()
      return
    }
    this.#session.refill = null
    // What waited for room may have been replaced or removed since; the client must not see the older after the newer.
    if (this.#pending !== null) this.#pending = this.#broker.retained.get(this.#pending.topic)
    let messages = 0
    let pauses = 0
    let walk = this.#begin()
    while (walk !== null) {
      if (this.#session.outlet !== this.#outlet) {
        this.#walk = null
        this.#waiting.clear()
        return
      }
      const { subscription } = walk
      const message = this.#pending ?? this.#next(walk.messages)
      if (message === undefined) {
        this.#walk = null
        walk = this.#begin()
        continue
      }
      if (message === null) {
        if (++pauses < pausesPerTurn) continue
        this.#later()
        return
      }
      const qos = subscription.qos < message.qos ? subscription.qos : message.qos
      this.#pending = message
      if (this.#output.isBlocked && this.#output.queuedBytes >= this.#room) return // `drained` goes on
      if (!this.#session.hasRoomFor(qos)) {
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

  /** Below the limit at which a QoS 0 message would be dropped. */
  get #room(): number {
    return Math.min(outputBytes, this.#broker.limits.outputBytes)
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
      this.#broker.loop.run(this.go)
    })
  }
}
