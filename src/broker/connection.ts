// The protocol machine of one client: bound to one Network Connection and, once connected, to one Session. Finds the
// packets in the bytes and hands each to its handler. What packets mean is in the handlers, how they are written in `PacketWriter`.
import { ProtocolError } from '../base/errors.ts'
import { LifeCycle, type Transitions } from '../base/life-cycle.ts'
import { Timer } from '../base/timer-wheel.ts'
import { decodePacket, levelToAnswer } from '../codec/decode.ts'
import { PacketType, type ProtocolLevel, packetTypeName } from '../codec/packet-types.ts'
import type { Packet } from '../codec/packets.ts'
import type { Properties } from '../codec/properties.ts'
import { codeForConnack, codeForDisconnect, connectReturnCode, ReasonCode } from '../codec/reason-codes.ts'
import type { ListenerConfig } from '../config/instance-config.ts'
import type { Route } from '../routing/route-cache.ts'
import type { Session } from '../session/session.ts'
import type { NetworkConnection, NetworkReceiver } from '../transport/network-connection.ts'
import type { Broker } from './broker.ts'
import { DurableAnswers } from './durable-answers.ts'
import type { EnhancedExchange } from './handle-auth.ts'
import { handleAuth } from './handle-auth.ts'
import { handleConnect } from './handle-connect.ts'
import { handleDisconnect } from './handle-disconnect.ts'
import { handlePublish } from './handle-publish.ts'
import { handleSubscribe } from './handle-subscribe.ts'
import { handleUnsubscribe } from './handle-unsubscribe.ts'
import type { ClientInfo } from './hooks.ts'
import { PacketWriter } from './packet-writer.ts'
import type { RetainedReplay } from './retained-replay.ts'
import { TokenBucket } from './token-bucket.ts'

/**
 * awaiting-connect: nothing but CONNECT may come. authenticating: CONNECT is being decided on. connected: attached to a
 * Session. closing: the last bytes are on their way out, nothing is read any more. closed: gone.
 */
export type ConnectionPhase = 'awaiting-connect' | 'authenticating' | 'connected' | 'closing' | 'closed'

const transitions: Transitions<ConnectionPhase> = {
  'awaiting-connect': ['authenticating', 'closing', 'closed'],
  authenticating: ['connected', 'closing', 'closed'],
  connected: ['closing', 'closed'],
  closing: ['closed'],
  closed: [],
}

/** A CONNECT has a client id, a Will, a user name and a password of at most 64 KiB each; nobody needs them all full. */
const connectLimitBytes = 256 * 1024
/** What a client may send ahead while its CONNECT is being decided on. */
const earlyBytesLimit = 64 * 1024
/** Unfinished packets of all connections together, over which nobody who is not connected may add to them. */
const strangersLimitBytes = 64 * 1024 * 1024
/** How long a client may take to close its side after we have closed ours. */
const lingerMs = 2000
/** How long a hook may think about a packet of a connected client. */
const hookTimeoutMs = 30_000
const longestHeaderBytes = 5
/** A partial packet is given memory as its bytes come, never by the length that it announces. */
const firstCarryBytes = 4096

export class Connection implements NetworkReceiver {
  readonly broker: Broker
  readonly network: NetworkConnection
  readonly listener: ListenerConfig
  readonly writer: PacketWriter
  readonly answers: DurableAnswers
  readonly #life = new LifeCycle<ConnectionPhase>(transitions, 'awaiting-connect')
  session: Session | null = null
  info: ClientInfo | null = null
  keepAliveMs = 0
  /** Monotonic; once connected. */
  connectedAtMs = 0
  receivedAtMs = 0
  /** Keep alive while connected, the connect timeout before, the linger time after. */
  readonly #timer: Timer<Connection>

  /** What the client was told in CONNACK; a reload changes it for those who come after. */
  receiveMaximum = 0xffff
  inboundAliasMaximum = 0
  /** Session Expiry Interval of CONNECT: 0 there forbids another in DISCONNECT. */
  hasZeroExpiry = true

  /** Topic of the last PUBLISH: most clients publish to the same again. */
  lastRoute: Route | null = null
  /** Routes that this client may publish to, while `rightsGeneration` is the broker's. */
  allowedRoutes: Set<Route> | null = null
  rightsGeneration = -1
  /** Topics by alias, as the client has set them. [MQTT-3.3.2-7] */
  #inboundAliases: Map<number, Buffer> | null = null
  /** Bytes before every topic of this client (mount point); null for none. */
  mountPrefix: Buffer | null = null

  #carry: Buffer | null = null
  #carryLength = 0
  /** How many reasons there are not to read on: an answer that is awaited, a rate. */
  #holds = 0
  #messageBucket: TokenBucket | null = null
  #byteBucket: TokenBucket | null = null
  exchange: EnhancedExchange | null = null
  replay: RetainedReplay | null = null
  isWillDiscarded = false
  /** Monotonic; while the output is blocked. */
  blockedAtMs = 0
  /** Whether nothing is read because the client does not take the answers to what it sent before. */
  #isHeldByOutput = false

  constructor(broker: Broker, network: NetworkConnection, listener: ListenerConfig) {
    this.broker = broker
    this.network = network
    this.listener = listener
    this.writer = new PacketWriter(broker, this, this.#onBlocked)
    this.answers = new DurableAnswers(broker, this)
    this.#timer = new Timer<Connection>(this, onTimer)
    broker.wheel.set(this.#timer, listener.connectTimeoutSeconds * 1000)
  }

  get phase(): ConnectionPhase {
    return this.#life.current
  }

  get level(): ProtocolLevel {
    return this.writer.level
  }

  get isVersion5(): boolean {
    return this.writer.isVersion5
  }

  speak(level: ProtocolLevel): void {
    this.writer.level = level
    this.writer.isVersion5 = level === 5
  }

  get isOpen(): boolean {
    return this.phase !== 'closing' && this.phase !== 'closed'
  }

  // ---- reading

  received(buffer: Buffer, start: number, end: number): void {
    if (!this.isOpen) return
    const { broker } = this
    broker.counters.bytesReceived += end - start
    this.receivedAtMs = broker.clock.monotonicMs()
    try {
      if (this.writer.output.isBlocked && !this.#isHeldByOutput) this.#holdForOutput()
      if (this.#byteBucket !== null) this.#charge(this.#byteBucket, end - start)
      if (broker.byteBucket !== null) this.#chargeAll(broker.byteBucket, end - start)
      let position = start
      if (this.#carry !== null) {
        if (this.#holds > 0) {
          this.#keep(buffer, start, end)
          if (this.phase === 'authenticating' && this.#carryLength > earlyBytesLimit) this.network.pause()
          return
        }
        position = this.#completeCarry(buffer, start, end)
        if (position === -1) return
      }
      position = this.#consume(buffer, position, end)
      if (position < end && this.isOpen) this.#keep(buffer, position, end)
    } catch (error) {
      this.fail(error)
    }
  }

  /** Handles the whole packets in [start, end). @returns where the first incomplete or held one begins */
  #consume(buffer: Buffer, start: number, end: number): number {
    let position = start
    while (position < end && this.#holds === 0) {
      let bodyStart = position + 2
      if (bodyStart > end) {
        if (this.phase === 'awaiting-connect') this.#checkFirstByte(buffer[position])
        break
      }
      let length = buffer[position + 1]
      if (length > 0x7f) {
        length &= 0x7f
        let shift = 7
        for (;;) {
          if (bodyStart === end) break
          const byte = buffer[bodyStart++]
          length |= (byte & 0x7f) << shift
          if (byte < 0x80) {
            if (byte === 0)
              throw new ProtocolError(ReasonCode.malformedPacket, 'Remaining Length is not in its shortest form')
            shift = -1
            break
          }
          shift += 7
          if (shift === 28) throw new ProtocolError(ReasonCode.malformedPacket, 'Remaining Length has five bytes')
        }
        if (shift !== -1) {
          if (this.phase === 'awaiting-connect') this.#checkFirstByte(buffer[position])
          break
        }
      }
      const packetEnd = bodyStart + length
      if (this.phase !== 'connected') this.#checkEarly(buffer[position], packetEnd - position)
      else if (packetEnd - position > this.listener.maxPacketSizeBytes) {
        throw new ProtocolError(ReasonCode.packetTooLarge, `a packet of ${packetEnd - position} bytes`) // [MQTT-3.2.2-15]
      }
      if (packetEnd > end) break
      this.#handle(buffer, position, bodyStart, packetEnd)
      if (!this.isOpen) return end
      position = packetEnd
    }
    return position
  }

  /** What can be refused before the packet is whole, while nobody is authenticated. */
  #checkEarly(firstByte: number, packetBytes: number): void {
    if (this.phase === 'awaiting-connect') this.#checkFirstByte(firstByte)
    const limit = Math.min(connectLimitBytes, this.listener.maxPacketSizeBytes)
    if (packetBytes > limit)
      throw new ProtocolError(ReasonCode.packetTooLarge, `a first packet of ${packetBytes} bytes`)
  }

  /** [MQTT-3.1.0-1] */
  #checkFirstByte(firstByte: number): void {
    const isTls = firstByte === 0x16
    if (firstByte >> 4 === PacketType.connect && !isTls) return
    const what = isTls ? 'a TLS handshake on a plain listener' : firstByte === 0x47 ? 'an HTTP request' : null
    this.broker.refusedFirstPacket(this, what ?? `${packetTypeName(firstByte >> 4)} instead of CONNECT`)
    this.destroy()
    throw closedAlready
  }

  #handle(buffer: Buffer, packetStart: number, bodyStart: number, end: number): void {
    const firstByte = buffer[packetStart]
    const type = firstByte >> 4
    this.broker.counters.packetsReceived++
    this.answers.begin()
    if (type === PacketType.publish && this.phase === 'connected') {
      handlePublish(this, buffer, packetStart, bodyStart, end)
      if (this.#messageBucket !== null) this.#charge(this.#messageBucket, 1)
      if (this.broker.messageBucket !== null) this.#chargeAll(this.broker.messageBucket, 1)
      return
    }
    if (type === PacketType.puback && end - bodyStart === 2 && (firstByte & 0x0f) === 0 && this.session !== null) {
      const packetId = (buffer[bodyStart] << 8) | buffer[bodyStart + 1]
      if (packetId !== 0) {
        this.session.puback(packetId)
        return
      }
    }
    if (this.phase === 'awaiting-connect') {
      // Even a malformed CONNECT is answered in the client's own version.
      this.speak(levelToAnswer(buffer, bodyStart, end))
      this.#life.to('authenticating')
      const packet = decodePacket(firstByte, buffer, bodyStart, end, this.level)
      if (packet.type === 'connect') handleConnect(this, packet)
      return
    }
    this.#dispatch(decodePacket(firstByte, buffer, bodyStart, end, this.level))
  }

  #dispatch(packet: Packet): void {
    if (this.phase !== 'connected') {
      if (packet.type === 'auth' && this.exchange !== null) handleAuth(this, packet)
      else if (packet.type === 'disconnect') this.destroy()
      else throw new ProtocolError(ReasonCode.protocolError, `${packet.type.toUpperCase()} before CONNACK`)
      return
    }
    const session = this.session!
    switch (packet.type) {
      case 'puback':
        session.puback(packet.packetId)
        break
      case 'pubrec':
        session.pubrec(packet.packetId, packet.reasonCode)
        break
      case 'pubcomp':
        session.pubcomp(packet.packetId)
        break
      case 'pubrel': {
        const isKnown = session.releaseInbound(packet.packetId)
        // [MQTT-4.3.3-11]
        const reasonCode = isKnown ? 0 : ReasonCode.packetIdentifierNotFound
        this.answers.acknowledge(PacketType.pubcomp, packet.packetId, reasonCode)
        break
      }
      case 'subscribe':
        handleSubscribe(this, packet)
        break
      case 'unsubscribe':
        handleUnsubscribe(this, packet)
        break
      case 'pingreq':
        this.writer.send({ type: 'pingresp' }) // [MQTT-3.12.4-1]
        break
      case 'disconnect':
        handleDisconnect(this, packet)
        break
      case 'auth':
        handleAuth(this, packet)
        break
      default:
        // [MQTT-3.1.0-2], and packets that only a server sends.
        throw new ProtocolError(ReasonCode.protocolError, `${packet.type.toUpperCase()} from a client`)
    }
  }

  // ---- bytes that wait

  #setCarry(carry: Buffer | null): void {
    const { broker } = this
    broker.carriedBytes += (carry === null ? 0 : carry.length) - (this.#carry === null ? 0 : this.#carry.length)
    this.#carry = carry
    if (carry !== null && this.phase !== 'connected' && broker.carriedBytes > strangersLimitBytes) {
      throw new ProtocolError(ReasonCode.serverBusy, 'too many unfinished packets of clients that are not connected')
    }
  }

  /** Keeps [start, end) for later: an incomplete packet, or whole ones that must wait. */
  #keep(buffer: Buffer, start: number, end: number): void {
    const needed = this.#carryLength + end - start
    if (this.#carry === null || this.#carry.length < needed) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(needed * 2, firstCarryBytes)))
      this.#carry?.copy(larger, 0, 0, this.#carryLength)
      this.#setCarry(larger)
    }
    buffer.copy(this.#carry!, this.#carryLength, start, end)
    this.#carryLength = needed
  }

  /**
   * Adds what is missing of the packet in the carry and handles it.
   * @returns where the next packet begins in `buffer`, or -1 when all of it was taken
   */
  #completeCarry(buffer: Buffer, start: number, end: number): number {
    let position = start
    for (;;) {
      const missing = this.#missingBytes()
      if (missing === 0) break
      if (position === end) return -1
      const taken = Math.min(missing, end - position)
      this.#keepGrowing(buffer, position, position + taken)
      position += taken
    }
    const carry = this.#carry!
    const length = this.#carryLength
    // The carry is not used again: what was sent from it is only copied at the end of the turn.
    this.#setCarry(null)
    this.#carryLength = 0
    const consumed = this.#consume(carry, 0, length)
    if (consumed < length && this.isOpen) this.#keep(carry, consumed, length)
    if (this.#holds > 0 && position < end && this.isOpen) {
      this.#keep(buffer, position, end)
      return -1
    }
    return this.isOpen ? position : -1
  }

  /** Doubles, so that a large packet in small pieces is not copied again and again. */
  #keepGrowing(buffer: Buffer, start: number, end: number): void {
    const needed = this.#carryLength + end - start
    if (this.#carry!.length < needed) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#carry!.length * 2))
      this.#carry!.copy(larger, 0, 0, this.#carryLength)
      this.#setCarry(larger)
    }
    buffer.copy(this.#carry!, this.#carryLength, start, end)
    this.#carryLength = needed
  }

  /** Bytes until the first packet in the carry is whole; at least 1 while its length is not known. */
  #missingBytes(): number {
    const carry = this.#carry!
    const available = this.#carryLength
    if (available < 2) return 2 - available
    let length = 0
    for (let index = 1; ; index++) {
      if (index === longestHeaderBytes) return 0 // refused by `#consume`
      if (index === available) return 1
      const byte = carry[index]
      length |= (byte & 0x7f) << (7 * (index - 1))
      if (byte < 0x80) {
        const packetBytes = index + 1 + length
        const limit = this.phase === 'connected' ? this.listener.maxPacketSizeBytes : connectLimitBytes
        return packetBytes > limit ? 0 : Math.max(0, packetBytes - available)
      }
    }
  }

  /** Stops reading until `release` is called as often as `hold`. */
  hold(): void {
    // Who is not yet authenticated is read on, up to a limit, so that its going away is noticed at once.
    if (this.#holds++ === 0 && this.phase !== 'authenticating') this.network.pause()
  }

  release(): void {
    if (--this.#holds > 0 || !this.isOpen) return
    const carry = this.#carry
    if (carry !== null) {
      const length = this.#carryLength
      this.#setCarry(null)
      this.#carryLength = 0
      try {
        const consumed = this.#consume(carry, 0, length)
        if (consumed < length && this.isOpen) this.#keep(carry, consumed, length)
      } catch (error) {
        this.fail(error)
      }
    }
    if (this.#holds > 0 || !this.isOpen) return
    // What the client sent meanwhile is still unread, so its silence begins now.
    this.receivedAtMs = this.broker.clock.monotonicMs()
    this.network.resume()
  }

  /** Answers cannot be dropped as messages can, so who takes none of them may ask for no more. */
  #holdForOutput(): void {
    if (this.writer.output.queuedBytes < 2 * this.broker.limits.outputBytes) return
    this.#isHeldByOutput = true
    this.hold()
  }

  /** Reads nothing for a while. */
  holdFor(durationMs: number): void {
    this.hold()
    const { loop, wheel } = this.broker
    const timer = new Timer<Connection>(this, (connection) => {
      loop.run(() => connection.release())
    })
    wheel.set(timer, durationMs)
  }

  /**
   * Goes on with `next` when the answer is there; until then this connection, and only this one, reads nothing.
   * A rejection is passed to `next` as null, and so is an answer that does not come in time.
   */
  whenAnswered<T>(answer: Promise<T>, next: (value: T | null) => void): void {
    const { loop, wheel, log } = this.broker
    this.hold()
    const timer = new Timer<Connection>(this, () => {
      log.error('a hook did not answer in time', this.logFields())
      proceed(null)
    })
    let isOver = false
    const proceed = (value: T | null) => {
      if (isOver) return
      isOver = true
      wheel.clear(timer)
      // What others have noted meanwhile is not for this answer to wait for.
      this.answers.begin()
      loop.enter()
      try {
        if (this.isOpen) next(value)
      } catch (error) {
        this.fail(error)
      } finally {
        this.release()
        loop.leave()
      }
    }
    // Before, the connect timeout is the limit.
    if (this.phase === 'connected') wheel.set(timer, hookTimeoutMs)
    answer.then(proceed, (error: unknown) => {
      log.error('a hook failed', { error: String(error), ...this.logFields() })
      proceed(null)
    })
  }

  #charge(bucket: TokenBucket, amount: number): void {
    // Not the time of the last read: what had to wait is charged when it is handled.
    const waitMs = bucket.take(amount, this.broker.clock.monotonicMs())
    if (waitMs === 0) return
    this.broker.counters.rateLimited++
    if (this.broker.limits.ratePolicy === 'disconnect') {
      throw new ProtocolError(ReasonCode.messageRateTooHigh, 'the client sends faster than its limit')
    }
    this.holdFor(waitMs)
  }

  /** A rate that all clients share: who sends when it is used up has to wait, but has done nothing wrong. */
  #chargeAll(bucket: TokenBucket, amount: number): void {
    const waitMs = bucket.take(amount, this.broker.clock.monotonicMs())
    if (waitMs === 0) return
    this.broker.counters.rateLimited++
    this.holdFor(waitMs)
  }

  // ---- life

  /** From now on attached to a Session. */
  connected(session: Session, keepAliveSeconds: number): void {
    const { limits, clock } = this.broker
    this.#life.to('connected')
    this.connectedAtMs = clock.monotonicMs()
    this.session = session
    this.mountPrefix = this.listener.mountPoint === '' ? null : Buffer.from(this.listener.mountPoint)
    this.writer.start(this.mountPrefix)
    if (limits.messageRate > 0) this.#messageBucket = new TokenBucket(limits.messageRate, clock.monotonicMs())
    if (limits.byteRate > 0) this.#byteBucket = new TokenBucket(limits.byteRate, clock.monotonicMs())
    // [MQTT-3.1.2-22]
    this.keepAliveMs = keepAliveSeconds * 1500
    if (this.keepAliveMs > 0) this.broker.wheel.set(this.#timer, this.keepAliveMs)
    else this.broker.wheel.clear(this.#timer)
  }

  timerFired(): void {
    if (this.phase === 'closing') {
      this.network.destroy()
      return
    }
    if (this.phase !== 'connected') {
      this.fail(new ProtocolError(ReasonCode.serverUnavailable, 'no CONNECT, or no answer to it, in time'))
      return
    }
    const silentMs = this.broker.clock.monotonicMs() - this.receivedAtMs
    // A client that is not read from is not silent by its own fault.
    if (silentMs < this.keepAliveMs || this.#holds > 0) {
      this.broker.wheel.set(this.#timer, this.#holds > 0 ? this.keepAliveMs : this.keepAliveMs - silentMs)
      return
    }
    this.broker.counters.keepAliveTimeouts++
    this.disconnect(ReasonCode.keepAliveTimeout, 'keep alive timeout')
  }

  /** Ends the connection for what the peer, or a hook, did. Never throws: it is the last resort. */
  fail(error: unknown): void {
    if (error === closedAlready || !this.isOpen) return
    if (!(error instanceof ProtocolError)) {
      // A bug of ours ends this connection, not the broker.
      this.broker.log.error('internal error', {
        error: error instanceof Error ? (error.stack ?? '') : String(error),
        ...this.logFields(),
      })
      this.disconnect(ReasonCode.implementationSpecificError, 'internal error')
      return
    }
    this.broker.counters.protocolErrors++
    this.broker.log.info('connection refused or ended', { reason: error.message, ...this.logFields() })
    this.disconnect(error.reasonCode, error.message)
  }

  /** Says why, as far as the protocol has words for it, and closes. */
  disconnect(reasonCode: number, reason: string): void {
    if (!this.isOpen) return
    const properties: Properties = { reasonString: reason }
    if (this.phase === 'connected') {
      if (this.isVersion5)
        this.writer.send({ type: 'disconnect', reasonCode: codeForDisconnect(reasonCode), properties })
    } else {
      this.broker.counters.connectionsRefused++
      // As long as no CONNECT has come there is nothing to answer. [MQTT-3.14.0-1] [MQTT-3.2.2-7]
      const returnCode = this.isVersion5 ? codeForConnack(reasonCode) : connectReturnCode(reasonCode)
      if (this.phase === 'authenticating' && returnCode !== null) {
        this.writer.send({ type: 'connack', sessionPresent: false, reasonCode: returnCode, properties })
      }
    }
    this.close(reasonCode)
  }

  /** Closes after what was sent before is out. @param reasonCode for events */
  close(reasonCode: number): void {
    if (!this.isOpen) return
    this.writer.output.flush()
    this.#leave('closing', reasonCode)
    this.network.end()
    this.broker.wheel.set(this.#timer, lingerMs)
  }

  /** Closes at once, without a word. */
  destroy(): void {
    if (!this.isOpen) return
    this.#leave('closing', ReasonCode.unspecifiedError)
    this.network.destroy()
  }

  #leave(phase: 'closing' | 'closed', reasonCode: number): void {
    const wasConnected = this.phase === 'connected'
    this.#life.to(phase)
    this.broker.wheel.clear(this.#timer)
    this.writer.output.close()
    this.#setCarry(null)
    this.#carryLength = 0
    this.lastRoute = null
    this.allowedRoutes = null
    this.#forgetAliases()
    this.replay = null
    this.answers.clear()
    if (wasConnected) this.broker.connectionLost(this, reasonCode)
  }

  /** The topic that an alias of the client stands for. */
  aliasedTopic(alias: number): Buffer | undefined {
    return this.#inboundAliases?.get(alias)
  }

  setAlias(alias: number, topic: Buffer): void {
    this.#inboundAliases ??= new Map()
    this.broker.aliasBytes += topic.length - (this.#inboundAliases.get(alias)?.length ?? 0)
    this.#inboundAliases.set(alias, topic)
  }

  #forgetAliases(): void {
    if (this.#inboundAliases === null) return
    for (const topic of this.#inboundAliases.values()) this.broker.aliasBytes -= topic.length
    this.#inboundAliases = null
  }

  closed(error: Error | null): void {
    if (this.phase === 'closed') return
    if (this.isOpen) {
      if (error !== null) this.broker.log.debug('connection broke', { error: error.message, ...this.logFields() })
      this.#leave('closed', ReasonCode.unspecifiedError)
    } else {
      this.broker.wheel.clear(this.#timer)
      this.#life.to('closed')
    }
    this.broker.connectionClosed(this)
  }

  /** A topic or filter of the client as the broker knows it. */
  mount(topic: string): string {
    return this.listener.mountPoint + topic
  }

  unmount(topic: string): string {
    return topic.slice(this.listener.mountPoint.length)
  }

  logFields(): Record<string, string> {
    const fields: Record<string, string> = { listener: this.listener.name, peer: this.network.peer.label }
    if (this.info !== null) fields.client = this.info.clientId
    return fields
  }

  readonly #onBlocked = () => {
    this.blockedAtMs = this.broker.clock.monotonicMs()
    this.broker.blocked.add(this)
  }

  drained(): void {
    this.writer.output.drained()
    if (this.writer.output.isBlocked) return
    this.broker.blocked.delete(this)
    this.session?.pump()
    this.replay?.go()
    if (!this.#isHeldByOutput) return
    this.#isHeldByOutput = false
    this.release()
  }
}

function onTimer(connection: Connection): void {
  const { loop } = connection.broker
  loop.run(() => connection.timerFired())
}

/** Thrown to leave the reading of a chunk when the connection has been closed without a word. */
const closedAlready = new Error('closed')
