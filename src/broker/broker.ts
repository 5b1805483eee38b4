// One broker: what its connections share, and the few things that happen across connections. Knows no listener, no file
// and no process; several of them live beside each other without knowing.
import { EventEmitter } from 'node:events'
import type { Clock } from '../base/clock.ts'
import { ProtocolError } from '../base/errors.ts'
import { Throttle } from '../base/throttle.ts'
import { TimerWheel } from '../base/timer-wheel.ts'
import { ApplicationMessage, type PublishForm } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import { describeReasonCode, ReasonCode } from '../codec/reason-codes.ts'
import type { AuthConfig, FeaturesConfig, LimitsConfig, ListenerConfig } from '../config/instance-config.ts'
import { Counters } from '../observe/counters.ts'
import type { Log } from '../observe/log.ts'
import { RetainedStore } from '../routing/retained-store.ts'
import type { Route } from '../routing/route-cache.ts'
import { Router } from '../routing/router.ts'
import type { Subscriber, Subscription } from '../routing/subscription.ts'
import type { Delivery } from '../session/delivery.ts'
import { Journal } from '../session/journal.ts'
import type { Session, Will } from '../session/session.ts'
import type { SessionContext } from '../session/session-context.ts'
import { SessionRegistry } from '../session/session-registry.ts'
import type { Store } from '../storage/store.ts'
import type { Loop } from '../transport/loop.ts'
import type { NetworkConnection } from '../transport/network-connection.ts'
import { Pulse } from '../transport/pulse.ts'
import { Connection } from './connection.ts'
import { droppedByHook, HookRegistry } from './hook-registry.ts'
import type { ClientInfo, MaybePromise } from './hooks.ts'
import { MessageVariants } from './message-variants.ts'
import { QueueLosses } from './queue-losses.ts'
import { Rights } from './rights.ts'
import { StoreRefusals } from './store-refusals.ts'
import { TokenBucket } from './token-bucket.ts'

export interface BrokerOptions {
  limits: LimitsConfig
  features: FeaturesConfig
  auth: Pick<AuthConfig, 'deniedPublish'>
  clock: Clock
  loop: Loop
  log: Log
  /** A number in [0, 1). */
  random: () => number
}

/** What a broker tells those who listen; never in the way of a message. */
export interface BrokerEvents {
  clientConnected: [ClientInfo]
  clientDisconnected: [ClientInfo, { reasonCode: number }]
  subscribed: [ClientInfo, { filter: string; qos: Qos }]
  unsubscribed: [ClientInfo, { filter: string }]
  sessionEnded: [{ clientId: string }]
}

const housekeepingMs = 1000
/** A wall clock that has moved so far against the monotonic one was set, or the machine was suspended. */
const clockStepMs = 60_000
/** Of lines that peers can cause as often as they like. */
const logPeriodMs = 10_000
/** The limits of Subscriptions are limits of memory, too: so much for each filter on average, and for a few long ones. */
const filterBytesEach = 1024
const leastFilterBytes = 1024 * 1024
/** Expired retained messages that one housekeeping looks for. */
const sweepVisits = 10_000
/** What each half of the route cache may hold. */
const routeCacheLimitBytes = 64 * 1024 * 1024
/** Queues in memory where there is no limit of memory. */
const queueMemoryBytes = 128 * 1024 * 1024

/** Over it, what can wait in the store waits there alone. */
function queueMemoryLimitBytes({ memoryBytes }: LimitsConfig): number {
  return memoryBytes === 0 ? queueMemoryBytes : memoryBytes / 4
}

export class Broker {
  limits: LimitsConfig
  features: FeaturesConfig
  auth: Pick<AuthConfig, 'deniedPublish'>
  readonly clock: Clock
  readonly loop: Loop
  readonly log: Log
  readonly wheel: TimerWheel
  readonly counters = new Counters()
  readonly hooks: HookRegistry
  readonly rights: Rights
  readonly events = new EventEmitter<BrokerEvents>()
  readonly router: Router
  readonly retained = new RetainedStore()
  readonly sessions: SessionRegistry
  readonly connections = new Set<Connection>()
  /** Connections whose client does not take what it is sent. */
  readonly blocked = new Set<Connection>()
  /** The PUBLISH being handled, used again for each. */
  readonly inbound = new ApplicationMessage()
  /** Its encodings for other kinds of receivers. */
  readonly variants = new MessageVariants()
  /** How the packet being written is to look, used again for each. */
  readonly form: PublishForm = {
    isVersion5: false,
    firstByte: 0,
    packetId: 0,
    subscriptionIdentifiers: null,
    topicAlias: 0,
    topicSkip: 0,
    expirySeconds: null,
  }
  /** Grows when anything changes that may change an answer on rights. */
  rightsGeneration = 0
  /** Notes what must survive a restart; null when nothing does. */
  journal: Journal | null = null
  /** Told of a topic or filter before somebody sees for the first time what is retained there. */
  onLook: ((filter: string) => void) | null = null
  /** null where nothing is kept. */
  store: Store | null = null
  /** Bytes that connections keep of packets that are not whole or must wait. */
  carriedBytes = 0
  /** What all clients together may still send in this second; null without a limit. */
  messageBucket: TokenBucket | null = null
  byteBucket: TokenBucket | null = null
  /** Bytes of the topics for which clients have set aliases. */
  aliasBytes = 0
  /** Whether anybody has to be asked for rights at all. */
  hasRules = false
  /** QoS 0 is not kept for clients that do not read. */
  isMemoryHigh = false
  /** Publishers have to wait. */
  isMemoryCritical = false
  connectedMaximum = 0
  readonly storeRefusals: StoreRefusals
  readonly #context: SessionContext
  readonly #housekeeping: Pulse
  readonly #firstPacketLines: Throttle
  readonly #losses: QueueLosses
  /** Of the wall clock against the monotonic one. */
  #wallOffsetMs: number

  constructor(options: BrokerOptions) {
    this.limits = options.limits
    this.features = options.features
    this.auth = options.auth
    this.clock = options.clock
    this.loop = options.loop
    this.log = options.log
    this.#wallOffsetMs = options.clock.wallMs() - options.clock.monotonicMs()
    this.hooks = new HookRegistry(options.log)
    this.rights = new Rights(this.hooks, () => this.#forgetRights())
    this.#firstPacketLines = new Throttle(options.clock, logPeriodMs)
    const { clock, log, counters } = this
    this.#losses = new QueueLosses({ clock, log, counters, limits: () => this.limits })
    this.storeRefusals = new StoreRefusals(clock, log, counters)
    this.wheel = new TimerWheel(options.clock)
    this.router = new Router({
      shareStrategy: options.features.shareStrategy,
      random: options.random,
      cacheLimitBytes: routeCacheLimitBytes,
      onAdd: (filter) => this.onLook?.(filter),
    })
    this.#context = {
      limits: options.limits,
      counters: this.counters,
      queues: {
        messages: 0,
        bytes: 0,
        memoryBytes: 0,
        memoryLimitBytes: queueMemoryLimitBytes(options.limits),
        limitBytes: options.limits.totalQueueBytes,
        inflightBytes: 0,
      },
      willBytes: 0,
      nowMs: () => options.clock.monotonicMs(),
      isMemoryHigh: () => this.isMemoryHigh,
      mayReceive: null,
      rightsGeneration: 0,
      journal: null,
      orphaned: (orphans) => this.#orphaned(orphans),
      storeRefused: (problem) => this.storeRefusals.note(problem),
      queueFull: (session, limit) => this.#losses.noteFull(session.clientId, limit),
      queueAged: (session) => this.#losses.noteAged(session.clientId),
      queueLost: (session, messages) => this.#losses.noteDamaged(session.clientId, messages),
    }
    this.#housekeeping = new Pulse(this.loop, this.clock, housekeepingMs, () => this.#keepHouse())
    this.sessions = new SessionRegistry(this.#context, this.wheel, {
      publishWill: (session, will) => this.#publishWill(session, will),
      ended: (session, orphans) => this.#sessionEnded(session, orphans),
    })
    this.#limitRates()
  }

  start(): void {
    this.#housekeeping.start()
  }

  /** Parts with every client. @param reasonCode for MQTT 5 clients */
  disconnectAll(reasonCode: number, reason: string): void {
    this.loop.run(() => {
      for (const connection of [...this.connections]) connection.disconnect(reasonCode, reason)
    })
  }

  stop(): void {
    this.loop.run(() => {
      this.#watchClock()
      for (const connection of [...this.connections]) connection.destroy()
    })
    this.#housekeeping.stop()
    this.#losses.tellAll()
    this.storeRefusals.tellAll()
    this.wheel.stop()
  }

  /** Takes a new Network Connection into service. */
  accept(network: NetworkConnection, listener: ListenerConfig): Connection {
    this.counters.connectionsAccepted++
    const connection = new Connection(this, network, listener)
    this.connections.add(connection)
    this.loop.run(() => network.start(connection))
    return connection
  }

  reconfigure(limits: LimitsConfig, features: FeaturesConfig, auth: Pick<AuthConfig, 'deniedPublish'>): void {
    this.limits = limits
    this.features = features
    this.auth = auth
    this.router.shareStrategy = features.shareStrategy
    this.#context.limits = limits
    this.#context.queues.limitBytes = limits.totalQueueBytes
    this.#context.queues.memoryLimitBytes = queueMemoryLimitBytes(limits)
    this.#limitRates()
    this.#watchMemory()
  }

  #limitRates(): void {
    const { totalMessageRate, totalByteRate } = this.limits
    const bucketOf = (perSecond: number) =>
      perSecond === 0 ? null : new TokenBucket(perSecond, this.clock.monotonicMs())
    this.messageBucket = bucketOf(totalMessageRate)
    this.byteBucket = bucketOf(totalByteRate)
  }

  // ---- who and what may they

  /** Every remembered answer on rights is forgotten. */
  #forgetRights(): void {
    const { rights } = this
    this.rightsGeneration++
    this.hasRules = rights.hasRules
    this.#context.rightsGeneration = this.rightsGeneration
    this.#context.mayReceive = this.hasRules ? (session, topic) => rights.mayReceive(session, topic) : null
    this.router.admitWith(
      this.hasRules ? (subscriber: Subscriber, topic) => rights.mayReceive(subscriber as Session, topic) : null,
    )
  }

  /** A Session has come into the hands of another user: what may be received is asked anew. */
  userChanged(session: Session): void {
    session.forgetRights()
    if (this.hasRules) this.router.invalidate()
  }

  mayReceiveRetained(session: Session, message: ApplicationMessage): boolean {
    if (message.expiryAt !== -1 && message.hasExpired(this.clock.monotonicMs())) return false
    return !this.hasRules || this.rights.mayReceive(session, message.topic)
  }

  /** Why no further client is taken in, or null. */
  refusalOfNewClient(connection: Connection, clientId: string): ProtocolError | null {
    // A client that takes its own place over needs no other.
    const session = this.sessions.get(clientId)
    const isReturning = session?.isAttached === true
    if (!isReturning && this.sessions.attachedCount >= this.limits.connections) {
      return new ProtocolError(ReasonCode.quotaExceeded, 'no room for more connections')
    }
    // Nobody else can take what waits for it out of memory.
    const isAwaited = session !== null && session.inflightCount + session.queuedMessages > 0
    if (this.isMemoryHigh && !isAwaited) return new ProtocolError(ReasonCode.quotaExceeded, 'memory is near its limit')
    return connection.isOpen ? null : new ProtocolError(ReasonCode.serverShuttingDown, 'the server stops')
  }

  grantedExpiry(requestedSeconds: number): number {
    return Math.min(requestedSeconds, this.limits.sessionExpirySeconds)
  }

  hasRoomForSubscription(session: Session): boolean {
    const { subscriptionsPerClient, subscriptions } = this.limits
    return (
      session.subscriptionCount < subscriptionsPerClient &&
      this.router.subscriptionCount < subscriptions &&
      session.filterBytes < Math.max(leastFilterBytes, subscriptionsPerClient * filterBytesEach) &&
      this.router.filterBytes < Math.max(leastFilterBytes, subscriptions * filterBytesEach)
    )
  }

  // ---- the store

  /** Keeps from now on what must survive a restart. @param references see `DeliveryTally` */
  useJournal(store: Store, references: Map<number, number>): Journal {
    this.journal = new Journal(store, this.clock, {
      references,
      shareGroup: (filter, shareName) => this.router.shareGroup(filter, shareName),
      enter: (work) => this.loop.run(work),
      // As work of the loop: who watches whether there is news watches that.
      onProblem: (problem) =>
        this.loop.run(() => {
          if (problem === null) this.log.info('the store works again')
          else this.log.error('the store takes nothing new: QoS 1 and 2 for kept sessions are refused', { problem })
        }),
    })
    store.onFileLoss = (fileLoss) => this.loop.run(() => this.#tellFileLoss(fileLoss, store.file?.path))
    this.store = store
    this.#context.journal = this.journal
    return this.journal
  }

  #tellFileLoss(fileLoss: string | null, path: string | undefined): void {
    if (fileLoss === null) this.log.info('the store is there again, with all that was in it', { path })
    else this.log.error('SOMEBODY HAS REMOVED THE STORE while the broker runs', { path, problem: fileLoss })
  }

  /** Why nothing can be stored, for people; null while all is well or nothing is to be. */
  get storeProblem(): string | null {
    return this.journal === null ? null : this.journal.problem
  }

  /** Why a client with a kept Session can't come in; one that is there may come back as long as its messages can be taken out. */
  storeRefusal(clientId: string): string | null {
    const problem = this.storeProblem
    return problem !== null && this.store?.isShort && this.sessions.get(clientId)?.isStored ? null : problem
  }

  /** Why a message can't be taken on, because it would have to be stored; null when it can. */
  refusalOfStore(route: Route, message: ApplicationMessage, publisher: Session): string | null {
    const { journal } = this
    if (journal === null) return null
    const problem = journal.problemWith(message.sizeBytes)
    if (problem !== null) return this.#wouldStore(route, message, publisher) ? problem : null
    const { mostReceivers } = journal
    if (message.qos === 0 || mostReceivers === Number.POSITIVE_INFINITY) return null
    const isForTooMany = this.router.countStoredReceivers(route) > mostReceivers
    return isForTooMany
      ? 'no space left for the store: the message is for more Sessions than what is left is enough for'
      : null
  }

  /** Whether an acknowledgement of this message would promise that something has been stored. */
  #wouldStore(route: Route, message: ApplicationMessage, publisher: Session): boolean {
    if (message.retain) return true
    if (message.qos === 2 && publisher.isStored) return true
    return message.qos > 0 && this.router.countStoredReceivers(route) > 0
  }

  // ---- what happens across connections

  /** Keeps or removes the retained message of a topic. @returns false when there is no room for it [MQTT-3.3.1-5] */
  retain(topic: string, message: ApplicationMessage): boolean {
    if (message.payloadLength === 0) {
      // [MQTT-3.3.1-6] [MQTT-3.3.1-7]
      this.retained.delete(topic)
      // Also when it is gone already: the batch that says so may be on its way.
      if (!isOwnTopic(topic)) this.journal?.retainedGone(topic)
      return true
    }
    const { retainedMessages, retainedBytes } = this.limits
    if (!this.retained.hasRoom(topic, message.sizeBytes, retainedMessages, retainedBytes)) return false
    this.retained.set(topic, message)
    if (!isOwnTopic(topic)) this.journal?.retained(topic, message)
    return true
  }

  /**
   * Publishes a message that no connection brought: a Will, the broker's own, one of the embedding program.
   * @param publisher whose No Local Subscriptions do not get it
   * @returns how many clients got it
   */
  publish(message: ApplicationMessage, publisher: Subscriber | null): number {
    const route = this.router.routeOf(message.topic)
    return this.loop.run(() => {
      if (message.retain && !this.retain(route.topic, message)) this.counters.retainedRefused++
      return this.router.dispatch(route, message, publisher)
    })
  }

  #publishWill(session: Session, will: Will): void {
    const { client } = session
    const decide = (isAllowed: boolean): MaybePromise<number> =>
      isAllowed ? this.hooks.runPublish(client, will.message, session.mountPoint) : ReasonCode.notAuthorized
    const finish = (verdict: number) => {
      if (verdict === droppedByHook) this.counters.droppedByHook++
      else if (verdict !== ReasonCode.success) this.counters.publishDenied++
      else {
        will.message.receivedAtMs = this.clock.monotonicMs()
        this.publish(will.message, session)
      }
    }
    // Rights may have changed since CONNECT.
    const right = will.mayPublish()
    const answer = typeof right === 'boolean' ? decide(right) : right.then(decide)
    if (typeof answer === 'number') {
      finish(answer)
      return
    }
    session.willInQuestion = will
    const settle = (work: () => void) => {
      if (session.willInQuestion === will) session.willInQuestion = null
      this.loop.run(() => {
        work()
        this.sessions.noteWithoutWill(session)
      })
    }
    answer.then(
      (verdict) => settle(() => finish(verdict)),
      (error: unknown) =>
        settle(() => this.log.error('a hook failed', { error: String(error), client: session.clientId })),
    )
  }

  unsubscribe(session: Session, subscription: Subscription): void {
    if (session.isStored) this.journal?.unsubscribed(session, subscription)
    this.router.remove(subscription)
    session.removeSubscription(subscription)
  }

  #sessionEnded(session: Session, orphans: Delivery[]): void {
    for (let subscription = session.subscriptions; subscription !== null; ) {
      const next: Subscription | null = subscription.nextOfSubscriber
      this.unsubscribe(session, subscription)
      subscription = next
    }
    if (orphans.length > 0) this.#orphaned(orphans)
    this.#emit('sessionEnded', { clientId: session.clientId })
  }

  /** Messages of Shared Subscriptions that their Session can no longer send go to other members. */
  #orphaned(orphans: readonly Delivery[]): void {
    this.loop.run(() => {
      for (const { share, message } of orphans) this.router.dispatchShared(share!, message.topic, message)
    })
  }

  // ---- lives

  clientConnected(connection: Connection): void {
    const client = connection.info!
    if (this.sessions.attachedCount > this.connectedMaximum) this.connectedMaximum = this.sessions.attachedCount
    this.log.info('client connected', { client: client.clientId, user: client.username, peer: client.peer.label })
    this.#emit('clientConnected', client)
  }

  /** A connected client is no longer so; its Session is given free. */
  connectionLost(connection: Connection, reasonCode: number): void {
    const client = connection.info!
    const reason = reasonCode === 0 ? 'normal disconnection (0x00)' : describeReasonCode(reasonCode)
    this.log.info('client disconnected', { client: client.clientId, reason })
    const session = connection.session!
    connection.session = null
    this.sessions.detached(session, connection.isWillDiscarded)
    this.hooks.runDisconnect(client, reasonCode)
    this.#emit('clientDisconnected', client, { reasonCode })
  }

  connectionClosed(connection: Connection): void {
    this.counters.connectionsClosed++
    this.counters.bytesSent += connection.writer.output.writtenBytes
    this.connections.delete(connection)
    this.blocked.delete(connection)
  }

  subscribed(client: ClientInfo, filter: string, qos: Qos): void {
    this.#emit('subscribed', client, { filter, qos })
  }

  unsubscribed(client: ClientInfo, filter: string): void {
    this.hooks.runUnsubscribe(client, filter)
    this.#emit('unsubscribed', client, { filter })
  }

  /** A listener that throws is its owner's mistake, and must not end the client's connection. */
  #emit<Name extends keyof BrokerEvents>(name: Name, ...values: BrokerEvents[Name]): void {
    if (this.events.listenerCount(name) === 0) return
    try {
      ;(this.events as EventEmitter).emit(name, ...values)
    } catch (error) {
      this.log.error('an event listener failed', { event: name, error: String(error) })
    }
  }

  /** Says once in a while who speaks something else than MQTT. */
  refusedFirstPacket(connection: Connection, what: string): void {
    this.counters.connectionsRefused++
    this.counters.protocolErrors++
    const heldBack = this.#firstPacketLines.pass()
    if (heldBack === null) return
    const suppressed = heldBack || undefined
    this.log.warn('a connection does not begin with CONNECT', { got: what, suppressed, ...connection.logFields() })
  }

  /** Bytes that wait to be written to clients that do not read. */
  get outputBytes(): number {
    let bytes = 0
    for (const connection of this.blocked) bytes += connection.writer.output.queuedBytes
    return bytes
  }

  /** Bytes written to all connections so far. */
  get bytesSent(): number {
    let bytes = this.counters.bytesSent
    for (const connection of this.connections) bytes += connection.writer.output.writtenBytes
    return bytes
  }

  get queuedBytes(): number {
    return this.#context.queues.bytes
  }

  get queuedMessages(): number {
    return this.#context.queues.messages
  }

  /** @returns whether something changes although nothing happens */
  #keepHouse(): boolean {
    if (this.blocked.size > 0 || this.retained.isExpiring) this.loop.run(() => this.#sweep())
    this.#watchMemory()
    this.#watchClock()
    const isLossUntold = this.#losses.tell()
    const isRefusalUntold = this.storeRefusals.tell()
    return isLossUntold || isRefusalUntold || this.blocked.size > 0 || this.retained.isExpiring || this.isMemoryHigh
  }

  /** What a restart reckons by the wall clock must stay true when that was wrong and is set. */
  #watchClock(): void {
    const offsetMs = this.clock.wallMs() - this.clock.monotonicMs()
    const byMs = offsetMs - this.#wallOffsetMs
    if (Math.abs(byMs) < clockStepMs) return
    this.#wallOffsetMs = offsetMs
    this.log.warn('the clock of this machine was set, or stood still', { bySeconds: Math.round(byMs / 1000) })
    if (this.journal !== null) this.loop.run(() => this.sessions.noteAgain())
  }

  #sweep(): void {
    const nowMs = this.clock.monotonicMs()
    for (const connection of [...this.blocked]) {
      if (nowMs - connection.blockedAtMs < this.limits.stallTimeoutSeconds * 1000) continue
      // It may take a moment until it has gone.
      this.blocked.delete(connection)
      this.counters.stallTimeouts++
      this.log.info('client takes nothing, closing', connection.logFields())
      connection.disconnect(ReasonCode.quotaExceeded, 'the client does not read')
    }
    this.counters.retainedExpired += this.retained.sweep(nowMs, sweepVisits, (topic) =>
      this.journal?.retainedGone(topic),
    )
  }

  #watchMemory(): void {
    const limit = this.limits.memoryBytes
    const held =
      limit === 0
        ? 0
        : this.#context.queues.memoryBytes +
          this.#context.queues.inflightBytes +
          this.retained.bytes +
          this.outputBytes +
          this.#context.willBytes +
          this.carriedBytes +
          this.aliasBytes +
          (this.store?.pendingBytes ?? 0)
    const wasHigh = this.isMemoryHigh
    this.isMemoryHigh = limit > 0 && held > limit * 0.8
    this.isMemoryCritical = limit > 0 && held > limit * 0.95
    if (this.isMemoryHigh !== wasHigh) {
      this.log.warn(wasHigh ? 'memory is below its limit again' : 'memory is near its limit', { held, limit })
    }
  }
}

/** What the broker tells of itself is made anew after a restart. */
function isOwnTopic(topic: string): boolean {
  return topic.startsWith('$SYS/')
}
