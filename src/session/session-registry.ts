// All Sessions of one instance by Client Identifier, and their ends: expiry, takeover, Wills that wait.
import { Timer, type TimerWheel } from '../base/timer-wheel.ts'
import type { Delivery } from './delivery.ts'
import { neverExpires, Session, type Will } from './session.ts'
import type { SessionContext } from './session-context.ts'

/** What the broker does when a Session's life reaches a turn. */
export interface SessionEvents {
  publishWill(session: Session, will: Will): void
  /** Subscriptions are to be removed, and shared messages given to others. */
  ended(session: Session, orphans: Delivery[]): void
}

/** Timers take fewer milliseconds than the longest Session Expiry Interval has. */
const longestTimerMs = 0x7fff_ffff

export class SessionRegistry {
  readonly #sessions = new Map<string, Session>()
  readonly #context: SessionContext
  readonly #wheel: TimerWheel
  readonly #events: SessionEvents
  attachedCount = 0

  constructor(context: SessionContext, wheel: TimerWheel, events: SessionEvents) {
    this.#context = context
    this.#wheel = wheel
    this.#events = events
  }

  readonly #onExpiry = (session: Session) => this.#expire(session)
  readonly #onWill = (session: Session) => this.#armWill(session)

  get size(): number {
    return this.#sessions.size
  }

  values(): IterableIterator<Session> {
    return this.#sessions.values()
  }

  get(clientId: string): Session | null {
    return this.#sessions.get(clientId) ?? null
  }

  create(clientId: string): Session {
    const session = new Session(clientId, this.#context)
    this.#sessions.set(clientId, session)
    return session
  }

  /** The client is back: nothing expires, and a Will that waited is not sent. [MQTT-3.1.3-9] */
  resume(session: Session): void {
    this.#clear(session.expiryTimer)
    if (session.willTimer?.isSet === true) {
      this.#clear(session.willTimer)
      session.will = null
    }
  }

  attached(): void {
    this.attachedCount++
  }

  /**
   * The connection is gone.
   * @param isWillDiscarded after DISCONNECT 0x00 [MQTT-3.14.4-3]
   */
  detached(session: Session, isWillDiscarded: boolean): void {
    this.attachedCount--
    session.detach()
    if (isWillDiscarded) session.will = null
    this.abandoned(session)
  }

  /** A Session without a connection: from now on its time runs. */
  abandoned(session: Session): void {
    this.wasAbandoned(session, 0)
    if (session.isStored && !session.isEnded) this.#context.journal?.session(session, 0)
  }

  /** It has been so for a while, which the store knows: a clock that is wrong for once must not move what stands there. */
  wasAbandoned(session: Session, forMs: number): void {
    session.detachedAtMs = this.#context.nowMs() - forMs
    const { will, expirySeconds } = session
    if (will !== null) {
      session.willDueAtMs = session.detachedAtMs + Math.min(will.delaySeconds, expirySeconds) * 1000
      this.#armWill(session)
    }
    if (expirySeconds !== neverExpires && forMs >= expirySeconds * 1000) this.end(session)
    else this.armExpiry(session)
  }

  /** The clock was set: when each client left stands in the store by that. */
  noteAgain(): void {
    const { journal } = this.#context
    for (const session of this.#sessions.values()) {
      if (session.isAttached || !session.isStored || session.isEnded) continue
      journal?.splitBatch()
      journal?.session(session, this.#context.nowMs() - session.detachedAtMs)
    }
  }

  #armWill(session: Session): void {
    const delayMs = session.willDueAtMs - this.#context.nowMs()
    if (delayMs <= 0) {
      this.#publishWill(session)
      return
    }
    session.willTimer ??= new Timer<Session>(session, this.#onWill)
    this.#wheel.set(session.willTimer, Math.min(delayMs, longestTimerMs))
  }

  #clear(timer: Timer<Session> | null): void {
    if (timer !== null) this.#wheel.clear(timer)
  }

  /** Sets the timer after which a Session without a connection ends. [MQTT-4.1.0-2] */
  armExpiry(session: Session): void {
    if (session.expirySeconds === neverExpires) return
    const endsAtMs = session.detachedAtMs + session.expirySeconds * 1000
    const delayMs = Math.max(0, endsAtMs - this.#context.nowMs())
    session.expiryTimer ??= new Timer<Session>(session, this.#onExpiry)
    this.#wheel.set(session.expiryTimer, Math.min(delayMs, longestTimerMs))
  }

  #expire(session: Session): void {
    const endsAtMs = session.detachedAtMs + session.expirySeconds * 1000
    if (endsAtMs > this.#context.nowMs()) {
      this.armExpiry(session)
      return
    }
    this.#context.counters.sessionsExpired++
    this.end(session)
  }

  #publishWill(session: Session): void {
    const { will } = session
    session.will = null // [MQTT-3.1.2-10]
    this.#clear(session.willTimer)
    if (will === null) return
    this.#events.publishWill(session, will)
    this.noteWithoutWill(session)
  }

  /** Its Will was published, or will not be. */
  noteWithoutWill(session: Session): void {
    if (!session.isStored) return
    const detachedForMs = session.isAttached ? null : this.#context.nowMs() - session.detachedAtMs
    this.#context.journal?.session(session, detachedForMs)
  }

  /** Ends a Session that has no connection; a Will that still waits is published. [MQTT-3.1.2-8] */
  end(session: Session): void {
    if (session.isEnded) return
    this.#publishWill(session)
    this.#clear(session.expiryTimer)
    if (this.#sessions.get(session.clientId) === session) this.#sessions.delete(session.clientId)
    this.#events.ended(session, session.end())
  }
}
