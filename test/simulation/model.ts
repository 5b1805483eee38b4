// What a broker has to do, as plainly as the specification says it: sessions, subscriptions, retained messages, Wills, and
// for every message who may and who must get it. No bytes, no windows, no queues. Must never import the product.
import assert from 'node:assert/strict'
import type { Qos } from '../kit/wire.ts'

export interface ModelSubscription {
  filter: string
  shareName: string | null
  qos: Qos
  noLocal: boolean
  retainAsPublished: boolean
  retainHandling: number
  identifier: number | null
}

export interface ModelMessage {
  /** The beginning of the payload; '' for an empty one. */
  id: string
  topic: string
  qos: Qos
  retain: boolean
  expirySeconds: number | null
  publisher: string
}

interface PublishedMessage extends ModelMessage {
  /** Grows with every message that the broker takes. */
  order: number
  publishedAtMs: number
}

export interface ModelWill extends ModelMessage {
  delaySeconds: number
}

interface SharedDelivery {
  /** Who had it already. */
  receivers: { session: ModelSession; expectation: Expectation }[]
  isRequired: boolean
  /** A session that may have held it has ended, so that it may come again or late. */
  isReassigned: boolean
}

/** One copy of a message that one session may get. */
interface Expectation {
  message: PublishedMessage
  kind: 'live' | 'retained' | 'shared'
  qos: Qos
  retain: boolean
  identifiers: string
  isRequired: boolean
  /** What came of it. */
  arrival: Arrival | null
  /** Nothing may come of it any more. */
  isVoid: boolean
  shared: SharedDelivery | null
  /** For retained messages: the filter that asked for them, and what replaced the message since. */
  filter: string
  supersededBy: number | null
}

/** What a client saw of one PUBLISH. */
export interface Arrival {
  id: string
  topic: string
  qos: Qos
  retain: boolean
  /** null where the protocol has none. */
  identifiers: number[] | null
  expirySeconds: number | null
  /** Whether it may have been under way for a while, because the client did not read. */
  isLate: boolean
}

export class ModelSession {
  readonly clientId: string
  readonly subscriptions = new Map<string, ModelSubscription>()
  readonly expectations: Expectation[] = []
  /** Packet Identifiers of QoS 2 messages that the broker has taken and not seen released. */
  readonly inboundQos2 = new Set<number>()
  /** Order of the last first-time arrival per publisher, topic and QoS. */
  readonly lastOrder = new Map<string, number>()
  readonly arrivedOrders = new Set<number>()
  /** How often retained messages were asked for on this connection, by filter. */
  readonly asked = new Map<string, number>()
  expirySeconds = 0
  isConnected = true
  isEnded = false
  endsAtMs = Number.POSITIVE_INFINITY
  will: ModelWill | null = null
  willAtMs = Number.POSITIVE_INFINITY

  constructor(clientId: string) {
    this.clientId = clientId
  }
}

export function topicMatches(filter: string, topic: string): boolean {
  const levels = filter.split('/')
  const names = topic.split('/')
  if (topic.startsWith('$') && (levels[0] === '+' || levels[0] === '#')) return false
  const depth = levels.indexOf('#')
  if (depth !== -1) {
    return names.length >= depth && levels.slice(0, depth).every((level, at) => level === '+' || level === names[at])
  }
  return levels.length === names.length && levels.every((level, at) => level === '+' || level === names[at])
}

const keyOf = ({ shareName, filter }: { shareName: string | null; filter: string }) =>
  shareName === null ? filter : `$share/${shareName}/${filter}`

const smaller = (one: Qos, other: Qos): Qos => (one < other ? one : other)

const sorted = (identifiers: number[]) => [...identifiers].sort((a, b) => a - b).join()

export class Model {
  readonly sessions = new Map<string, ModelSession>()
  readonly retained = new Map<string, PublishedMessage>()
  /** Messages that their publisher sent again, for which there is no one order. */
  readonly #repeated = new Set<string>()
  readonly #published = new Set<string>()
  readonly #nowMs: () => number
  /** Whether the client reads what it is sent, so that nothing may be dropped. */
  readonly #isReading: (clientId: string) => boolean
  #order = 0

  constructor(nowMs: () => number, isReading: (clientId: string) => boolean) {
    this.#nowMs = nowMs
    this.#isReading = isReading
  }

  // ---- sessions

  /** @returns Session Present */
  connect(clientId: string, options: { isClean: boolean; expirySeconds: number; will: ModelWill | null }): boolean {
    let session = this.sessions.get(clientId)
    if (session?.isConnected === true) this.connectionLost(clientId, false)
    session = this.sessions.get(clientId)
    if (session !== undefined && options.isClean) {
      this.#end(session, this.#nowMs())
      session = undefined
    }
    const isPresent = session !== undefined
    session ??= new ModelSession(clientId)
    this.sessions.set(clientId, session)
    session.isConnected = true
    session.asked.clear()
    session.endsAtMs = Number.POSITIVE_INFINITY
    session.willAtMs = Number.POSITIVE_INFINITY
    session.expirySeconds = options.expirySeconds
    session.will = options.will
    return isPresent
  }

  connectionLost(clientId: string, isWillDiscarded: boolean): void {
    const session = this.sessions.get(clientId)!
    const nowMs = this.#nowMs()
    session.isConnected = false
    for (const expectation of session.expectations) {
      if (expectation.qos === 0 || expectation.kind === 'retained') expectation.isRequired = false
    }
    if (isWillDiscarded) session.will = null
    if (session.expirySeconds === 0) {
      this.#end(session, nowMs)
      return
    }
    session.endsAtMs = nowMs + session.expirySeconds * 1000
    if (session.will === null) return
    if (session.will.delaySeconds === 0) this.#publishWill(session, nowMs)
    else session.willAtMs = nowMs + Math.min(session.will.delaySeconds, session.expirySeconds) * 1000
  }

  /** Times at which something happens by itself. */
  deadlines(): number[] {
    const all = [...this.sessions.values()].flatMap(({ endsAtMs, willAtMs }) => [endsAtMs, willAtMs])
    return all.filter((atMs) => atMs !== Number.POSITIVE_INFINITY).sort((a, b) => a - b)
  }

  /** Does what is due by now, in its order. */
  timePassed(): void {
    for (;;) {
      const next = this.deadlines()[0]
      if (next === undefined || next > this.#nowMs()) return
      for (const session of [...this.sessions.values()]) {
        if (session.willAtMs === next) this.#publishWill(session, next)
        if (session.endsAtMs === next) this.#end(session, next)
      }
    }
  }

  #publishWill(session: ModelSession, atMs: number): void {
    const { will } = session
    session.will = null
    session.willAtMs = Number.POSITIVE_INFINITY
    if (will !== null) this.publish(will, atMs)
  }

  #end(session: ModelSession, atMs: number): void {
    this.#publishWill(session, atMs)
    session.isEnded = true
    this.sessions.delete(session.clientId)
    for (const expectation of session.expectations) {
      const { shared, message } = expectation
      if (shared === null) continue
      shared.isRequired = false
      shared.isReassigned = true
      for (const other of this.sessions.values()) {
        const subscription = other.subscriptions.get(expectation.filter)
        if (subscription === undefined || other.expectations.some((one) => one.shared === shared)) continue
        this.#expect(other, message, 'shared', [subscription], { shared, filter: expectation.filter })
      }
    }
  }

  // ---- subscriptions

  subscribe(clientId: string, subscription: ModelSubscription): void {
    const session = this.sessions.get(clientId)!
    const key = keyOf(subscription)
    const isNew = !session.subscriptions.has(key)
    session.subscriptions.set(key, subscription)
    const { retainHandling, shareName, filter } = subscription
    // What is still to be sent for the old one is sent for this one.
    for (const pending of [...session.expectations]) {
      if (pending.kind !== 'retained' || pending.isVoid || pending.filter !== key) continue
      if (pending.arrival !== null) {
        // What came looks the same as for another filter, so it may have been that one, and this is still to be sent.
        const twin = session.expectations.find(
          (other) => isPendingRetained(other) && other.filter !== key && isTwin(other, pending),
        )
        if (twin === undefined) continue
        twin.arrival = pending.arrival
        pending.arrival = null
      }
      pending.isRequired = false
      const added = this.#expect(session, pending.message, 'retained', [subscription], { shared: null, filter: key })
      added.isRequired = false
      added.supersededBy = pending.supersededBy
    }
    if (shareName !== null || retainHandling === 2 || (retainHandling === 1 && !isNew)) return
    session.asked.set(key, (session.asked.get(key) ?? 0) + 1)
    for (const message of this.retained.values()) {
      if (!topicMatches(filter, message.topic) || this.#hasExpired(message)) continue
      this.#expect(session, message, 'retained', [subscription], { shared: null, filter: key })
    }
  }

  /** @returns whether there was one */
  unsubscribe(clientId: string, key: string): boolean {
    return this.sessions.get(clientId)!.subscriptions.delete(key)
  }

  /** The client has seen UNSUBACK: retained messages that were not sent before must not come any more. */
  unsubscribed(clientId: string, key: string): void {
    const session = this.sessions.get(clientId)
    if (session === undefined || session.subscriptions.has(key)) return
    for (const expectation of session.expectations) {
      if (expectation.kind !== 'retained' || expectation.filter !== key) continue
      expectation.isVoid = true
      if (expectation.arrival !== null) continue
      // What came before for another filter looks the same, so it may have been this one, and the other is still to come.
      const twin = session.expectations.find(
        (other) => other.arrival !== null && !other.isVoid && isTwin(other, expectation),
      )
      if (twin === undefined) continue
      expectation.arrival = twin.arrival
      twin.arrival = null
      twin.isRequired = false
    }
  }

  // ---- messages

  /** @returns how many get it: sessions, and one for each share */
  publish(given: ModelMessage, publishedAtMs = this.#nowMs()): number {
    const message: PublishedMessage = { ...given, order: ++this.#order, publishedAtMs }
    if (this.#published.has(message.id)) this.#repeated.add(message.id)
    this.#published.add(message.id)
    if (message.retain) this.#retain(message)
    let receivers = 0
    const shares = new Map<string, ModelSession[]>()
    for (const session of this.sessions.values()) {
      const matching = [...session.subscriptions.values()].filter(({ filter }) => topicMatches(filter, message.topic))
      for (const { shareName, filter } of matching) {
        if (shareName === null) continue
        const key = keyOf({ shareName, filter })
        shares.set(key, [...(shares.get(key) ?? []), session])
      }
      const ordinary = matching.filter(
        ({ shareName, noLocal }) => shareName === null && !(noLocal && session.clientId === message.publisher),
      )
      if (ordinary.length === 0) continue
      receivers++
      this.#expect(session, message, 'live', ordinary, { shared: null, filter: '' })
    }
    for (const [key, members] of shares) {
      receivers++
      const isRequired = members.every(({ expirySeconds, subscriptions }) => {
        return expirySeconds > 0 && smaller(subscriptions.get(key)!.qos, message.qos) > 0
      })
      const shared: SharedDelivery = { receivers: [], isRequired, isReassigned: false }
      for (const session of members) {
        this.#expect(session, message, 'shared', [session.subscriptions.get(key)!], { shared, filter: key })
      }
    }
    return receivers
  }

  #retain(message: PublishedMessage): void {
    if (message.id === '') this.retained.delete(message.topic)
    else this.retained.set(message.topic, message)
    // Whoever is still being sent retained messages may get the old or the new one.
    for (const session of this.sessions.values()) {
      // What was waited for may have been unsubscribed meanwhile: what waited behind it is still to be looked for.
      const unsent = session.expectations.filter(({ kind, arrival }) => kind === 'retained' && arrival === null)
      if (unsent.length === 0) continue
      for (const expectation of unsent) {
        if (expectation.isVoid || expectation.message.topic !== message.topic) continue
        expectation.isRequired = false
        expectation.supersededBy ??= message.order
      }
      for (const [key, subscription] of session.subscriptions) {
        if (message.id === '' || subscription.shareName !== null || !topicMatches(key, message.topic)) continue
        for (let left = session.asked.get(key) ?? 0; left > 0; left--) {
          const added = this.#expect(session, message, 'retained', [subscription], { shared: null, filter: key })
          added.isRequired = false
        }
      }
    }
  }

  #expect(
    session: ModelSession,
    message: PublishedMessage,
    kind: Expectation['kind'],
    subscriptions: ModelSubscription[],
    { shared, filter }: { shared: SharedDelivery | null; filter: string },
  ): Expectation {
    const qos = smaller(Math.max(...subscriptions.map((one) => one.qos)) as Qos, message.qos)
    const isOwn = subscriptions.every(({ noLocal }) => noLocal) && session.clientId === message.publisher
    const expectation: Expectation = {
      message,
      kind,
      qos,
      retain: kind === 'retained' || (message.retain && subscriptions.some((one) => one.retainAsPublished)),
      identifiers: sorted(subscriptions.flatMap(({ identifier }) => (identifier === null ? [] : [identifier]))),
      // The specification does not say whether No Local holds for retained messages.
      isRequired: shared === null && !isOwn && (qos > 0 || (session.isConnected && this.#isReading(session.clientId))),
      arrival: null,
      isVoid: false,
      shared,
      filter,
      supersededBy: null,
    }
    session.expectations.push(expectation)
    return expectation
  }

  #hasExpired({ expirySeconds, publishedAtMs }: PublishedMessage): boolean {
    return expirySeconds !== null && this.#nowMs() - publishedAtMs >= expirySeconds * 1000
  }

  // ---- what clients saw

  /** A message has come to a client for the first time. @throws AssertionError when it should not have */
  arrived(clientId: string, arrival: Arrival): void {
    const session = this.sessions.get(clientId)
    assert.ok(session !== undefined, `${clientId} has no session and gets ${JSON.stringify(arrival)}`)
    const found = this.#place(session, arrival, new Set())
    if (found === null) {
      const candidates = session.expectations.filter(({ message }) => message.id === arrival.id)
      const told = candidates.map((one) => ({ ...one, shared: one.shared?.receivers.length }))
      assert.fail(`${clientId} gets ${JSON.stringify(arrival)}; expected for it: ${JSON.stringify(told)}`)
    }
    this.#checkOrder(session, found)
    this.#checkExpiry(session, found, arrival)
  }

  /**
   * Finds what an arrival was expected as. Copies of one message may look alike, so one that was taken for something else
   * before may have to make room.
   */
  #place(session: ModelSession, arrival: Arrival, visited: Set<Expectation>): Expectation | null {
    const identifiers = arrival.identifiers === null ? null : sorted(arrival.identifiers)
    const fitting = session.expectations.filter((one) => {
      const { message, qos, retain, isVoid } = one
      const isSame = message.id === arrival.id && message.topic === arrival.topic
      if (!isSame || isVoid || qos !== arrival.qos || retain !== arrival.retain || visited.has(one)) return false
      return identifiers === null || one.identifiers === identifiers
    })
    const free = fitting.filter((one) => one.arrival === null && (one.shared === null || mayReceiveShared(one.shared)))
    const found = free.find(isWanted) ?? free[0] ?? this.#makeRoom(fitting, visited)
    if (found === null) return null
    found.arrival = arrival
    found.shared?.receivers.push({ session, expectation: found })
    return found
  }

  #makeRoom(fitting: Expectation[], visited: Set<Expectation>): Expectation | null {
    for (const wanted of fitting) {
      const { shared } = wanted
      const last = shared?.receivers.at(-1)
      if (shared === null || last === undefined || visited.has(last.expectation)) continue
      visited.add(wanted).add(last.expectation)
      if (this.#place(last.session, last.expectation.arrival!, visited) === null) continue
      last.expectation.arrival = null
      shared.receivers.splice(shared.receivers.indexOf(last), 1)
      if (wanted.arrival === null && mayReceiveShared(shared)) return wanted
    }
    return null
  }

  #checkOrder(session: ModelSession, { message, kind, qos, retain, supersededBy }: Expectation): void {
    const { order, publisher, topic, id } = message
    if (kind === 'retained') {
      const isStale = supersededBy !== null && session.arrivedOrders.has(supersededBy) && !this.#repeated.has(id)
      assert.ok(!isStale, `${session.clientId} gets the retained message ${id} after the one that replaced it`)
      return
    }
    session.arrivedOrders.add(order)
    // Copies of one message look alike, so one that is given to another member, or comes as retained, may be any of them.
    const isAnyOf = session.expectations.some((one) => {
      if (one.message !== message) return false
      return one.shared?.isReassigned || (one.kind === 'retained' && one.qos === qos && one.retain === retain)
    })
    if (isAnyOf || this.#repeated.has(id)) return
    const key = JSON.stringify([publisher, topic, qos])
    const last = session.lastOrder.get(key) ?? 0
    assert.ok(order >= last, `${session.clientId} gets ${id} on ${topic} out of order`) // [MQTT-4.6.0-6]
    session.lastOrder.set(key, order)
  }

  #checkExpiry(session: ModelSession, { message, shared }: Expectation, arrival: Arrival): void {
    const { expirySeconds, publishedAtMs, id } = message
    if (this.#repeated.has(id)) return
    if (arrival.expirySeconds !== null) {
      assert.ok(expirySeconds !== null, `${id} has got a Message Expiry Interval`)
      const waitedSeconds = Math.floor((this.#nowMs() - publishedAtMs) / 1000)
      // What was sent once is sent again however late it is.
      const isInTime = arrival.expirySeconds <= expirySeconds && (arrival.expirySeconds > 0 || arrival.isLate)
      const isExact = arrival.expirySeconds === expirySeconds - waitedSeconds // [MQTT-3.3.2-6]
      const isRight = isInTime && (isExact || arrival.isLate || shared !== null)
      assert.ok(isRight, `${id} waited ${waitedSeconds} of ${expirySeconds} s, and says ${arrival.expirySeconds}`)
    }
    if (arrival.isLate || shared !== null) return
    assert.ok(!this.#hasExpired(message), `${session.clientId} gets ${id} after its time`) // [MQTT-3.3.2-5]
  }

  /** @throws AssertionError for a QoS 0 message that a reading client did not get, unless the broker says it dropped some */
  checkQos0(isStrict: boolean): void {
    for (const session of this.sessions.values()) {
      for (const expectation of session.expectations) {
        // Retained messages may have to wait behind others that are to be acknowledged.
        if (expectation.qos > 0 || expectation.kind !== 'live') continue
        if (isStrict && expectation.arrival === null && expectation.isRequired && this.#isReading(session.clientId)) {
          assert.fail(`${session.clientId} did not get ${JSON.stringify(expectation)}`)
        }
        expectation.isRequired = false
      }
    }
  }

  /** To be called when everybody has read and acknowledged all. @throws AssertionError for a message that did not come */
  checkComplete(): void {
    for (const session of this.sessions.values()) {
      for (const expectation of session.expectations) {
        const { message, shared } = expectation
        if (this.#hasExpired(message)) continue
        if (shared === null ? isOver(expectation) || !expectation.isRequired : !shared.isRequired) continue
        if (shared !== null && shared.receivers.length > 0) continue
        assert.fail(`${session.clientId} did not get ${JSON.stringify(expectation)}`)
      }
    }
  }

  /** What is retained now, by topic. */
  retainedNow(): Map<string, string> {
    const live = [...this.retained.values()].filter((message) => !this.#hasExpired(message))
    return new Map(live.map(({ topic, id }) => [topic, id]))
  }
}

/** Whether a client can't tell which of the two has come. */
const isTwin = (one: Expectation, other: Expectation) =>
  one.kind === other.kind &&
  one.message === other.message &&
  one.qos === other.qos &&
  one.retain === other.retain &&
  one.identifiers === other.identifiers

const isOver = ({ arrival, isVoid }: Expectation) => isVoid || arrival !== null

const isWanted = ({ isRequired, shared }: Expectation) =>
  isRequired || (shared !== null && shared.isRequired && shared.receivers.length === 0)

const isPendingRetained = (expectation: Expectation) => expectation.kind === 'retained' && !isOver(expectation)

/** One of the group and once; what was sent with QoS 1 again after the session of who had it has ended. [MQTT-4.8.2-4] */
function mayReceiveShared({ receivers }: SharedDelivery): boolean {
  return receivers.every(({ session, expectation }) => session.isEnded && expectation.qos === 1)
}
