// A client inside the process: a Session without a socket. Messages are handed over in a later turn of the loop, so that a
// handler may publish and subscribe as it likes.
import { ProtocolError } from '../base/errors.ts'
import { type ApplicationMessage, createMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import type { Properties } from '../codec/properties.ts'
import { describeReasonCode, ReasonCode } from '../codec/reason-codes.ts'
import type { Subscription } from '../routing/subscription.ts'
import type { Journal } from '../session/journal.ts'
import type { Outlet } from '../session/outlet.ts'
import type { Session } from '../session/session.ts'
import { isSharedFilter, isValidTopicFilter, matchesFilter, parseSharedFilter } from '../topic/topic-filter.ts'
import { isReservedTopicName, isValidTopicName } from '../topic/topic-name.ts'
import type { Broker } from './broker.ts'
import type { Message } from './hooks.ts'
import { RetainedReplay } from './retained-replay.ts'

export type MessageHandler = (message: Message) => void | Promise<void>

export interface LocalSubscribeOptions {
  qos?: Qos
  noLocal?: boolean
  retainAsPublished?: boolean
  retainHandling?: 0 | 1 | 2
}

export interface LocalPublishOptions {
  qos?: Qos
  retain?: boolean
  properties?: Properties
}

/** Messages handed over in one turn of the loop. */
const messagesPerTurn = 1024

interface Arrival {
  message: ApplicationMessage
  qos: Qos
  retain: boolean
  /** 0 for QoS 0. */
  packetId: number
}

export class LocalClient implements Outlet {
  readonly clientId: string
  readonly #broker: Broker
  readonly #session: Session
  readonly #handlers = new Map<string, MessageHandler>()
  #arrivals: Arrival[] = []
  /** Limited as the output of a connection is. */
  #arrivedBytes = 0
  /** Publishers whose message is not stored yet. */
  readonly #unstored = new Set<(error: Error) => void>()
  #isScheduled = false
  #isClosed = false
  readonly #replay: RetainedReplay

  constructor(broker: Broker, clientId: string) {
    this.clientId = clientId
    this.#broker = broker
    broker.sessions.get(clientId)?.outlet?.disconnect(ReasonCode.sessionTakenOver, 'an in-process client took over')
    const old = broker.sessions.get(clientId)
    if (old !== null) broker.sessions.end(old)
    this.#session = broker.sessions.create(clientId)
    this.#session.attach(this, broker.limits.inflight)
    broker.sessions.attached()
    this.#replay = new RetainedReplay(broker, this.#session, this)
  }

  /** A replay of retained messages waits while there is no room. */
  get isBlocked(): boolean {
    return !this.isWritable
  }

  get queuedBytes(): number {
    return this.isWritable ? 0 : Number.POSITIVE_INFINITY
  }

  /**
   * Publishes a message. When the promise resolves it is with the Sessions of all subscribers; with QoS 1 and 2 it is also
   * stored for those that are kept, and as retained message, as an acknowledgement promises it to other clients.
   * @param payload a string is sent as UTF-8
   * @throws ProtocolError for a topic that cannot be published to
   */
  async publish(topic: string, payload: string | Uint8Array, options: LocalPublishOptions = {}): Promise<void> {
    this.#assertOpen()
    if (!isValidTopicName(topic) || isReservedTopicName(topic)) {
      throw new ProtocolError(ReasonCode.topicNameInvalid, `${JSON.stringify(topic)} cannot be published to`)
    }
    if (options.properties?.topicAlias !== undefined) {
      throw new ProtocolError(ReasonCode.topicAliasInvalid, 'a topic alias belongs to one connection')
    }
    if (typeof payload !== 'string' && !(payload instanceof Uint8Array)) {
      throw new TypeError('a payload is a string or bytes (Buffer, Uint8Array)')
    }
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : Buffer.from(payload)
    const message = createMessage(topic, bytes, { ...options, nowMs: this.#broker.clock.monotonicMs() })
    const broker = this.#broker
    const { hooks } = broker
    if (hooks.onPublish !== null) {
      const verdict = await hooks.runPublish(null, message, '')
      if (verdict >= 0x80) throw new ProtocolError(verdict, `refused: ${describeReasonCode(verdict)}`)
      if (verdict !== 0) return
    }
    const { journal } = broker
    const problem = broker.refusalOfStore(broker.router.routeOf(topic), message, this.#session)
    if (problem !== null) {
      broker.storeRefusals.note(problem)
      throw new ProtocolError(ReasonCode.quotaExceeded, problem)
    }
    const changesBefore = journal?.changes
    broker.publish(message, this.#session)
    if (journal !== null && message.qos > 0 && journal.changes !== changesBefore) await this.#stored(journal)
  }

  #stored(journal: Journal): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#unstored.add(reject)
      journal.whenDurable(() => {
        this.#unstored.delete(reject)
        resolve()
      })
    })
  }

  /**
   * Subscribes; a handler of the same filter is replaced.
   * @throws ProtocolError for a filter that is not valid
   */
  async subscribe(filter: string, handler: MessageHandler, options: LocalSubscribeOptions = {}): Promise<void> {
    this.#assertOpen()
    const broker = this.#broker
    const shared = parseSharedFilter(filter)
    if (isSharedFilter(filter) ? shared === null : !isValidTopicFilter(filter)) {
      throw new ProtocolError(ReasonCode.topicFilterInvalid, `${JSON.stringify(filter)} is not a topic filter`)
    }
    const row = {
      filter: shared?.filter ?? filter,
      shareName: shared?.shareName ?? null,
      qos: options.qos ?? 0,
      noLocal: options.noLocal ?? false,
      retainAsPublished: options.retainAsPublished ?? false,
      identifier: null,
    }
    const existing = broker.router.find(this.#session, row.filter, row.shareName)
    let subscription: Subscription
    if (existing === null) {
      if (!broker.hasRoomForSubscription(this.#session)) {
        throw new ProtocolError(ReasonCode.quotaExceeded, 'no room for more subscriptions')
      }
      subscription = broker.router.add(this.#session, row)
      this.#session.addSubscription(subscription)
    } else {
      broker.router.update(existing, row)
      subscription = existing
    }
    this.#handlers.set(filter, handler)
    const handling = options.retainHandling ?? 0
    if (shared === null && (handling === 0 || (handling === 1 && existing === null))) {
      this.#replay.add(subscription)
      broker.loop.run(this.#replay.go)
    }
  }

  async unsubscribe(filter: string): Promise<void> {
    this.#assertOpen()
    this.#handlers.delete(filter)
    const shared = parseSharedFilter(filter)
    const subscription = this.#broker.router.find(this.#session, shared?.filter ?? filter, shared?.shareName ?? null)
    if (subscription !== null) this.#broker.unsubscribe(this.#session, subscription)
  }

  /** Ends the Session; messages not yet handed over are dropped. */
  async close(): Promise<void> {
    this.disconnect()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disconnect()
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new Error(`the in-process client ${JSON.stringify(this.clientId)} is closed`)
  }

  // ---- Outlet

  get isWritable(): boolean {
    return this.#arrivedBytes < this.#broker.limits.outputBytes
  }

  sendQos0(message: ApplicationMessage, retain: boolean, _identifiers: unknown, hasWaited: boolean): boolean {
    if (!hasWaited && !this.isWritable) {
      this.#broker.counters.droppedOutputFull++
      return false
    }
    this.#arrive({ message: message.own(), qos: 0, retain, packetId: 0 })
    return true
  }

  sendPublish(
    message: ApplicationMessage,
    qos: Qos,
    retain: boolean,
    _identifiers: readonly number[] | null,
    packetId: number,
  ): boolean {
    this.#arrive({ message: message.own(), qos, retain, packetId })
    return true
  }

  sendPubrel(packetId: number): void {
    this.#session.pubcomp(packetId)
  }

  disconnect(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#arrivals = []
    this.#arrivedBytes = 0
    const tooEarly = new Error(
      `the in-process client ${JSON.stringify(this.clientId)} was closed before that was stored`,
    )
    for (const reject of this.#unstored) reject(tooEarly)
    this.#unstored.clear()
    this.#broker.sessions.detached(this.#session, true)
  }

  #arrive(arrival: Arrival): void {
    this.#arrivals.push(arrival)
    this.#arrivedBytes += arrival.message.sizeBytes
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#broker.loop.run(() => this.#handOver())
    })
  }

  #handOver(): void {
    const arrivals = this.#arrivals.splice(0, messagesPerTurn)
    for (const { message } of arrivals) this.#arrivedBytes -= message.sizeBytes
    for (const { message, qos, retain, packetId } of arrivals) {
      if (this.#isClosed) break
      this.#callHandlers(message, qos, retain)
      if (qos === 1) this.#session.puback(packetId)
      if (qos === 2) {
        this.#session.pubrec(packetId, ReasonCode.success)
      }
    }
    this.#session.pump()
    this.#replay.go()
    if (this.#arrivals.length > 0) this.#schedule()
  }

  #callHandlers(message: ApplicationMessage, qos: Qos, retain: boolean): void {
    const { topic, payload, properties } = message
    const view: Message = { topic, payload, qos, retain, properties }
    for (const [filter, handler] of [...this.#handlers]) {
      if (!matchesFilter(parseSharedFilter(filter)?.filter ?? filter, topic)) continue
      try {
        const answer: unknown = handler(view)
        if (answer instanceof Promise) answer.catch((error: unknown) => this.#handlerFailed(error))
      } catch (error) {
        this.#handlerFailed(error)
      }
    }
  }

  #handlerFailed(error: unknown): void {
    this.#broker.log.error('a message handler failed', { client: this.clientId, error: String(error) })
  }
}
