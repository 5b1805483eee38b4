// An MQTT client over one connection, as strict with its server as the broker is with its clients. Does not reconnect:
// whoever wants that calls `connectClient` again.
import type { Socket } from 'node:net'
import { OperatorError, ProtocolError } from '../base/errors.ts'
import { LifeCycle, type Transitions } from '../base/life-cycle.ts'
import { malformed } from '../codec/byte-reader.ts'
import { decodePacket } from '../codec/decode.ts'
import { encodePacket, packetLength } from '../codec/encode.ts'
import { PacketType, type ProtocolLevel, type Qos } from '../codec/packet-types.ts'
import type { ConnackPacket, Packet, PublishPacket, SubscriptionRequest, WillPacket } from '../codec/packets.ts'
import type { Properties } from '../codec/properties.ts'
import { describeReasonCode, ReasonCode } from '../codec/reason-codes.ts'
import { hasWildcard } from '../topic/topic-filter.ts'
import { type Address, formatAddress } from '../transport/address.ts'
import { ClientClosedError, type CloseReason, describeReason } from './client-closed.ts'
import { ConnectRefusedError, checkConnack, refusalOfOldServer } from './connect-refused.ts'
import { IncomingPublishes, type MessageCallback } from './incoming-publishes.ts'
import { connectAborted, openSocket } from './open-socket.ts'
import {
  checkBytes,
  checkFilters,
  checkInteger,
  checkProperties,
  checkPublish,
  checkSubscribe,
  checkText,
  checkWill,
} from './outgoing-checks.ts'
import { OutgoingPublishes, type PublishAnswer } from './outgoing-publishes.ts'
import { PacketAssembler } from './packet-assembler.ts'
import { PacketIdentifiers } from './packet-identifiers.ts'

export interface ClientOptions {
  address: Address
  /** 5 unless given. */
  level?: ProtocolLevel
  /** Empty lets an MQTT 5 or 3.1.1 server choose one. */
  clientId?: string
  /** Clean Start, or Clean Session in MQTT 3; true unless given. */
  cleanStart?: boolean
  /** 60 unless given; 0 switches keep alive off. */
  keepAliveSeconds?: number
  username?: string | null
  password?: Buffer | null
  will?: WillPacket | null
  /** Of CONNECT: Session Expiry Interval, Receive Maximum, Maximum Packet Size, Topic Alias Maximum … */
  properties?: Properties
  /** For the network connection and CONNACK together; 10 unless given. */
  connectTimeoutSeconds?: number
  /** Given here and not later, as a resumed Session sends its messages right after CONNACK. */
  onMessage?: MessageCallback
  /** Gives up connecting; has no effect later. */
  signal?: AbortSignal
  /** Sees every packet as it goes out or comes in; must not change it. */
  onPacket?: (direction: 'sent' | 'received', packet: Packet) => void
}

export interface PublishOptions {
  qos?: Qos
  retain?: boolean
  properties?: Properties
}

export interface RequestAnswer {
  /** One for each Topic Filter, 0x80 and above is a refusal; always 0 for UNSUBSCRIBE in MQTT 3. */
  readonly reasonCodes: readonly number[]
  readonly reasonString: string | null
}

interface PendingRequest {
  type: 'suback' | 'unsuback'
  count: number
  resolve(answer: RequestAnswer): void
  reject(error: Error): void
}

type Phase = 'connecting' | 'open' | 'closing' | 'closed'

const transitions: Transitions<Phase> = {
  connecting: ['open', 'closing', 'closed'],
  open: ['closing', 'closed'],
  closing: ['closed'],
  closed: [],
}

const largestPacketBytes = 268_435_460
/** A CONNACK needs some hundred bytes; nobody has to take more from a server that has not even said hello. */
const connackLimitBytes = 256 * 1024
const pendingRequestLimit = 1000
/** Leaves Packet Identifiers for SUBSCRIBE and UNSUBSCRIBE. */
const largestWindow = 60_000
/** MQTT 3 has no Receive Maximum. Mosquitto, for one, loses QoS 2 messages beyond 20 that come at once. */
const windowWithoutReceiveMaximum = 20
const lingerMs = 2000
const longestPingAnswerMs = 30_000
const keepAliveTicks = 4
const subackCodes = new Set([0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2])
const subackCodes3 = new Set([0, 1, 2, 0x80])
const unsubackCodes = new Set([0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91])

/**
 * Connects and shakes hands.
 * @throws OperatorError when the options cannot be sent, the server cannot be reached or does not answer in time
 * @throws ConnectRefusedError when the server refuses
 * @throws ClientClosedError when the server breaks the protocol or the connection
 */
export async function connectClient(options: ClientOptions): Promise<MqttClient> {
  checkClientOptions(options)
  const timeoutMs = (options.connectTimeoutSeconds ?? 10) * 1000
  const endAtMs = performance.now() + timeoutMs
  const socket = await openSocket(options.address, timeoutMs, options.signal)
  const client = new MqttClient(socket, options)
  await client.handshake(Math.max(1, endAtMs - performance.now()))
  return client
}

/** What `connectClient` checks before it connects. @throws OperatorError */
export function checkClientOptions(options: ClientOptions): void {
  const { level = 5, clientId = '', cleanStart = true, properties } = options
  checkText('the client identifier', clientId)
  if (clientId === '' && (level === 3 || (level === 4 && !cleanStart))) {
    const fix = 'give a client identifier'
    throw new OperatorError('cannot-send', 'an empty client identifier needs MQTT 5, or 3.1.1 and a clean session', {
      fix,
    })
  }
  checkInteger('the keep alive', options.keepAliveSeconds ?? 60, 0, 0xffff)
  if (options.username != null) checkText('the user name', options.username)
  if (options.password != null) {
    checkBytes('the password', options.password.length)
    if (options.username == null && level !== 5) {
      throw new OperatorError('cannot-send', 'a password without a user name needs MQTT 5', { fix: 'give a user name' })
    }
  }
  if (options.will != null) checkWill(options.will, level)
  checkProperties(properties, PacketType.connect, level)
  if (properties?.authenticationMethod !== undefined || properties?.authenticationData !== undefined) {
    throw new OperatorError('cannot-send', 'this client has no enhanced authentication', {
      fix: 'use a user name and password',
    })
  }
}

export class MqttClient {
  /** Fulfilled when the connection is over, whatever the reason; never rejected. */
  readonly closed: Promise<CloseReason>
  readonly #socket: Socket
  readonly #options: ClientOptions
  readonly #level: ProtocolLevel
  readonly #life = new LifeCycle<Phase>(transitions, 'connecting')
  readonly #assembler: PacketAssembler
  readonly #identifiers = new PacketIdentifiers()
  readonly #pending = new Map<number, PendingRequest>()
  readonly #aliases = new Map<number, string>()
  readonly #incoming: IncomingPublishes
  #outgoing: OutgoingPublishes
  #connack: ConnackPacket = { type: 'connack', sessionPresent: false, reasonCode: 0 }
  #handshake: { resolve(): void; reject(error: Error): void } | null = null
  #resolveClosed: (reason: CloseReason) => void = () => {}
  /** Why it closes; set once, on leaving `open` or `connecting`. */
  #reason: CloseReason | null = null
  #socketError: Error | null = null
  #lastSentMs = performance.now()
  #lastReceivedMs = performance.now()
  #pingSentMs: number | null = null
  #keepAliveTimer: NodeJS.Timeout | null = null
  #drain: Promise<void> | null = null
  #hasReceived = false

  /** Use `connectClient`. */
  constructor(socket: Socket, options: ClientOptions) {
    this.#socket = socket
    this.#options = options
    this.#level = options.level ?? 5
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.#assembler = new PacketAssembler(connackLimitBytes, (firstByte, buffer, start, end) =>
      this.#receive(firstByte, buffer, start, end),
    )
    const send = (packet: Packet) => this.#send(packet)
    this.#outgoing = new OutgoingPublishes(this.#identifiers, 0, send)
    this.#incoming = new IncomingPublishes({
      level: this.#level,
      receiveMaximum: options.properties?.receiveMaximum ?? 0xffff,
      onMessage: options.onMessage ?? (() => {}),
      send,
      onProgress: () => this.#pauseOrResume(),
      onFailure: (error) => {
        const text = `a message could not be taken: ${error instanceof Error ? error.message : String(error)}`
        this.#fail('message-refused', ReasonCode.implementationSpecificError, text)
      },
    })
    socket.on('data', (chunk: Buffer) => this.#received(chunk))
    socket.on('error', (error) => {
      this.#socketError = error
    })
    socket.on('close', () => this.#socketClosed())
  }

  get level(): ProtocolLevel {
    return this.#level
  }

  /** What the server said: Session Present, and its limits in the properties. */
  get connack(): ConnackPacket {
    return this.#connack
  }

  /** Ours, or the one that the server assigned. */
  get clientId(): string {
    return this.#connack.properties?.assignedClientIdentifier ?? this.#options.clientId ?? ''
  }

  /** Part of `connectClient`: sends CONNECT and waits for CONNACK. */
  async handshake(timeoutMs: number): Promise<void> {
    const { clientId = '', cleanStart = true, keepAliveSeconds = 60, will = null, properties = {} } = this.#options
    const giveUp = (error: OperatorError) => {
      // Too late: CONNACK has come, and perhaps messages behind it.
      if (this.#handshake === null) return
      this.#handshake.reject(error)
      this.#handshake = null
      this.#close({ cause: 'connection-lost', reasonCode: 0, message: error.message })
      this.#socket.destroy()
    }
    const timer = setTimeout(() => {
      const text = `${formatAddress(this.#options.address)} took the connection, but sent no CONNACK in time`
      giveUp(new OperatorError('connect-timeout', text, { fix: 'check that an MQTT broker listens there' }))
    }, timeoutMs)
    const aborted = () => giveUp(connectAborted(this.#options.address))
    this.#options.signal?.addEventListener('abort', aborted)
    try {
      await new Promise<void>((resolve, reject) => {
        this.#handshake = { resolve, reject }
        this.#send({
          type: 'connect',
          level: this.#level,
          cleanStart,
          keepAliveSeconds,
          clientId,
          will,
          username: this.#options.username ?? null,
          password: this.#options.password ?? null,
          properties,
        })
      })
    } finally {
      clearTimeout(timer)
      this.#options.signal?.removeEventListener('abort', aborted)
    }
  }

  /**
   * QoS 0 resolves when the network has taken the message, QoS 1 and 2 when the server has answered for good. Messages
   * beyond the Receive Maximum of the server wait here.
   * @throws OperatorError for what cannot be sent to this server
   * @throws ClientClosedError when the connection ends before the answer
   */
  async publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Promise<PublishAnswer> {
    this.#expectOpen()
    const { qos = 0, retain = false, properties } = options
    const bytes =
      typeof payload === 'string'
        ? Buffer.from(payload)
        : Buffer.from(payload.buffer, payload.byteOffset, payload.length)
    const packet: PublishPacket = {
      type: 'publish',
      topic,
      payload: bytes,
      qos,
      retain,
      duplicate: false,
      packetId: 0,
      properties,
    }
    checkPublish(packet, this.#level, this.#serverProperties)
    this.#checkSize({ ...packet, payload: Buffer.alloc(0) }, bytes.length)
    if (qos > 0) {
      const answer = this.#outgoing.publish(packet)
      this.#pauseOrResume()
      return answer
    }
    this.#send(packet)
    if (this.#socket.writableNeedDrain) await this.#drained()
    return { reasonCode: 0, reasonString: null }
  }

  /**
   * @throws OperatorError for what cannot be sent to this server
   * @throws ClientClosedError when the connection ends before the answer
   */
  async subscribe(requests: readonly SubscriptionRequest[], properties?: Properties): Promise<RequestAnswer> {
    this.#expectOpen()
    checkSubscribe(requests, properties, this.#level, this.#serverProperties)
    return this.#request('suback', requests.length, (packetId) => ({
      type: 'subscribe',
      packetId,
      subscriptions: [...requests],
      properties,
    }))
  }

  /** @throws as `subscribe` */
  async unsubscribe(filters: readonly string[], properties?: Properties): Promise<RequestAnswer> {
    this.#expectOpen()
    checkFilters(filters)
    checkProperties(properties, PacketType.unsubscribe, this.#level)
    return this.#request('unsuback', filters.length, (packetId) => ({
      type: 'unsubscribe',
      packetId,
      filters: [...filters],
      properties,
    }))
  }

  /** Sends DISCONNECT and resolves when the connection is closed. What is unfinished is rejected. */
  async disconnect(reasonCode: number = ReasonCode.normalDisconnection, properties?: Properties): Promise<void> {
    if (this.#life.current === 'open') {
      checkProperties(properties, PacketType.disconnect, this.#level)
      this.#send({ type: 'disconnect', reasonCode, properties })
      this.#close({ cause: 'disconnected', reasonCode, message: 'disconnected' })
    }
    await this.closed
  }

  get #serverProperties(): Properties {
    return this.#connack.properties ?? {}
  }

  #expectOpen(): void {
    if (this.#life.current !== 'open') throw new ClientClosedError(this.#reason ?? notConnected)
  }

  #request(
    type: PendingRequest['type'],
    count: number,
    packetOf: (packetId: number) => Packet,
  ): Promise<RequestAnswer> {
    const packetId = this.#pending.size < pendingRequestLimit ? this.#identifiers.take() : null
    if (packetId === null) {
      throw new OperatorError('too-many-requests', 'the server has not answered many earlier requests', {
        fix: 'await the answers before asking more',
      })
    }
    const packet = packetOf(packetId)
    try {
      this.#checkSize(packet, 0)
    } catch (error) {
      this.#identifiers.release(packetId)
      throw error
    }
    return new Promise((resolve, reject) => {
      this.#pending.set(packetId, { type, count, resolve, reject })
      this.#send(packet)
      this.#pauseOrResume()
    })
  }

  /** [MQTT-3.2.2-15]: a packet above the server's Maximum Packet Size must not be sent. */
  #checkSize(packet: Packet, payloadBytes: number): void {
    const encoded = encodePacket(packet, this.#level)
    let bodyStart = 2
    while (encoded[bodyStart - 1] >= 0x80) bodyStart++
    const lengthBytes = packetLength(encoded.length - bodyStart + payloadBytes)
    const limitBytes = this.#serverProperties.maximumPacketSize ?? largestPacketBytes
    if (lengthBytes <= limitBytes) return
    throw new OperatorError(
      'packet-too-large',
      `a packet of ${lengthBytes} bytes, and the server takes ${limitBytes}`,
      {
        fix: 'send less at once',
      },
    )
  }

  #send(packet: Packet): void {
    const { current } = this.#life
    if (current === 'closing' || current === 'closed') return
    if (this.#socket.writableCorked === 0) {
      // All packets of one turn leave together.
      this.#socket.cork()
      process.nextTick(() => this.#socket.uncork())
    }
    this.#socket.write(encodePacket(packet, this.#level))
    this.#lastSentMs = performance.now()
    this.#options.onPacket?.('sent', packet)
  }

  #drained(): Promise<void> {
    this.#drain ??= new Promise((resolve, reject) => {
      const done = () => {
        this.#drain = null
        this.#socket.off('drain', done).off('close', done)
        if (this.#life.current === 'open') resolve()
        else reject(new ClientClosedError(this.#reason ?? notConnected))
      }
      this.#socket.on('drain', done).on('close', done)
    })
    return this.#drain
  }

  #received(chunk: Buffer): void {
    if (this.#reason !== null) return
    this.#lastReceivedMs = performance.now()
    this.#pingSentMs = null
    try {
      if (!this.#hasReceived && chunk[0] >> 4 !== PacketType.connack) {
        // Said at once: something else than MQTT may never complete a "packet".
        throw malformed(`its first byte is 0x${chunk.toString('hex', 0, 1)}, which begins no CONNACK`)
      }
      this.#hasReceived = true
      this.#assembler.push(chunk)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#fail('protocol-error', error.reasonCode, `the server broke the protocol: ${error.message}`)
    }
    this.#pauseOrResume()
  }

  /**
   * Stops reading while messages pile up, but not as long as an answer is awaited: `onMessage` may wait for that very
   * answer. Should messages pile up even so, their limit ends the connection.
   */
  #pauseOrResume(): void {
    if (this.#reason !== null) return
    const isAwaiting = this.#outgoing.count > 0 || this.#pending.size > 0
    if (this.#incoming.isFull && !isAwaiting) this.#socket.pause()
    else if (this.#socket.isPaused()) this.#socket.resume()
  }

  #receive(firstByte: number, buffer: Buffer, start: number, end: number): void {
    if (this.#reason !== null) return
    const isConnecting = this.#life.current === 'connecting'
    if (isConnecting && firstByte >> 4 === PacketType.connack && this.#level === 5) {
      const refusal = refusalOfOldServer(this.#options.address, buffer, start, end)
      if (refusal !== null) {
        this.#refuse(refusal)
        return
      }
    }
    const packet = decodePacket(firstByte, buffer, start, end, this.#level)
    this.#options.onPacket?.('received', packet)
    if (isConnecting) {
      if (packet.type !== 'connack') throw unexpected(packet, 'before CONNACK')
      this.#receiveConnack(packet)
      return
    }
    switch (packet.type) {
      case 'publish':
        this.#incoming.accept(this.#resolveAlias(packet))
        break
      case 'puback':
      case 'pubrec':
      case 'pubcomp':
        this.#outgoing.acknowledge(packet)
        break
      case 'pubrel':
        this.#incoming.release(packet.packetId)
        break
      case 'suback':
      case 'unsuback':
        this.#receiveAnswer(packet)
        break
      case 'pingresp':
        break
      case 'disconnect':
        if (this.#level !== 5) throw unexpected(packet, 'from a server of MQTT 3')
        this.#close({
          cause: 'server-disconnected',
          reasonCode: packet.reasonCode,
          message: `the server disconnected: ${describeReason(packet.reasonCode, packet.properties?.reasonString)}`,
        })
        break
      default:
        throw unexpected(packet, 'from a server')
    }
  }

  #receiveConnack(packet: ConnackPacket): void {
    checkConnack(packet, this.#level, this.#options.cleanStart ?? true)
    if (packet.reasonCode !== 0) {
      this.#refuse(new ConnectRefusedError(this.#options.address, this.#level, packet))
      return
    }
    this.#connack = packet
    const { receiveMaximum = 0xffff, serverKeepAlive } = this.#serverProperties
    const window = this.#level === 5 ? Math.min(receiveMaximum, largestWindow) : windowWithoutReceiveMaximum
    this.#outgoing = new OutgoingPublishes(this.#identifiers, window, (next) => this.#send(next))
    this.#assembler.limitBytes = this.#options.properties?.maximumPacketSize ?? largestPacketBytes
    this.#startKeepAlive(serverKeepAlive ?? this.#options.keepAliveSeconds ?? 60) // [MQTT-3.1.2-21]
    this.#life.to('open')
    this.#handshake?.resolve()
    this.#handshake = null
  }

  #refuse(refusal: ConnectRefusedError): void {
    this.#handshake?.reject(refusal)
    this.#handshake = null
    this.#close({ cause: 'server-disconnected', reasonCode: refusal.reasonCode, message: refusal.message })
  }

  #resolveAlias(packet: PublishPacket): PublishPacket {
    const alias = packet.properties?.topicAlias
    if (packet.topic !== '') {
      if (hasWildcard(packet.topic)) {
        throw new ProtocolError(ReasonCode.topicNameInvalid, 'a topic name with a wildcard') // [MQTT-3.3.2-2]
      }
    } else if (alias === undefined) {
      throw new ProtocolError(ReasonCode.protocolError, 'an empty topic name without a Topic Alias')
    }
    if (alias === undefined) return packet
    if (alias === 0 || alias > (this.#options.properties?.topicAliasMaximum ?? 0)) {
      throw new ProtocolError(ReasonCode.topicAliasInvalid, `Topic Alias ${alias} is out of range`) // [MQTT-3.3.2-8]
    }
    if (packet.topic !== '') {
      this.#aliases.set(alias, packet.topic)
      return packet
    }
    const topic = this.#aliases.get(alias)
    if (topic === undefined) throw new ProtocolError(ReasonCode.protocolError, `Topic Alias ${alias} is unknown`)
    return { ...packet, topic }
  }

  #receiveAnswer(packet: Packet & { type: 'suback' | 'unsuback' }): void {
    const request = this.#pending.get(packet.packetId)
    if (request === undefined || request.type !== packet.type) throw unexpected(packet, 'that nobody asked for')
    const { level } = this
    const isBare = packet.type === 'unsuback' && level !== 5
    const reasonCodes = isBare ? new Array<number>(request.count).fill(0) : packet.reasonCodes
    if (reasonCodes.length !== request.count) {
      throw malformed(
        `${packet.type.toUpperCase()} with ${reasonCodes.length} reason codes for ${request.count} filters`,
      )
    }
    const allowed = packet.type === 'unsuback' ? unsubackCodes : level === 5 ? subackCodes : subackCodes3
    for (const code of reasonCodes) {
      if (!allowed.has(code)) throw malformed(`${packet.type.toUpperCase()} with the reason code ${code}`)
    }
    this.#pending.delete(packet.packetId)
    this.#identifiers.release(packet.packetId)
    request.resolve({ reasonCodes, reasonString: packet.properties?.reasonString ?? null })
  }

  #startKeepAlive(keepAliveSeconds: number): void {
    if (keepAliveSeconds === 0) return
    const keepAliveMs = keepAliveSeconds * 1000
    const idleMs = keepAliveMs * (1 - 1 / keepAliveTicks)
    const answerMs = Math.min(keepAliveMs, longestPingAnswerMs)
    this.#keepAliveTimer = setInterval(() => {
      const nowMs = performance.now()
      if (this.#pingSentMs !== null) {
        // While we do not read, the answer may well be there.
        if (this.#socket.isPaused()) this.#pingSentMs = nowMs
        else if (nowMs - this.#pingSentMs >= answerMs) {
          const text = `the server has not answered for ${Math.round(answerMs / 1000)} s`
          this.#fail('keep-alive-timeout', ReasonCode.keepAliveTimeout, text)
          return
        }
      }
      const isQuiet = nowMs - this.#lastSentMs >= idleMs || nowMs - this.#lastReceivedMs >= idleMs
      if (isQuiet && (this.#pingSentMs === null || nowMs - this.#lastSentMs >= idleMs)) {
        this.#send({ type: 'pingreq' }) // [MQTT-3.1.2-20]
        this.#pingSentMs ??= nowMs
      }
    }, keepAliveMs / keepAliveTicks)
  }

  /** Says why in a DISCONNECT, where the version has one for it, and closes. */
  #fail(cause: CloseReason['cause'], reasonCode: number, message: string): void {
    if (this.#reason !== null) return
    if (this.#life.current === 'open' && this.#level === 5) this.#send({ type: 'disconnect', reasonCode })
    this.#close({ cause, reasonCode, message })
  }

  /** Ends our side after what is written; whoever does not follow is cut off. */
  #close(reason: CloseReason): void {
    if (this.#reason !== null) return
    this.#reason = reason
    this.#life.to('closing')
    this.#settle(reason)
    while (this.#socket.writableCorked > 0) this.#socket.uncork()
    this.#socket.end()
    this.#socket.resume()
    const timer = setTimeout(() => this.#socket.destroy(), lingerMs)
    this.#socket.once('close', () => clearTimeout(timer))
  }

  #settle(reason: CloseReason): void {
    if (this.#keepAliveTimer !== null) clearInterval(this.#keepAliveTimer)
    this.#incoming.stop()
    const error = new ClientClosedError(reason)
    this.#handshake?.reject(error)
    this.#handshake = null
    this.#outgoing.fail(error)
    for (const request of this.#pending.values()) request.reject(error)
    this.#pending.clear()
  }

  #socketClosed(): void {
    if (this.#reason === null) {
      const where = formatAddress(this.#options.address)
      const how = this.#life.current === 'connecting' ? 'closed the connection before CONNACK' : 'closed the connection'
      const message =
        this.#socketError === null
          ? `${where} ${how}`
          : `the connection to ${where} broke: ${this.#socketError.message}`
      this.#reason = { cause: 'connection-lost', reasonCode: 0, message }
      this.#settle(this.#reason)
    }
    this.#life.to('closed')
    this.#resolveClosed(this.#reason)
  }
}

const notConnected: CloseReason = { cause: 'connection-lost', reasonCode: 0, message: 'not connected' }

function unexpected(packet: Packet, when: string): ProtocolError {
  const code = 'reasonCode' in packet && packet.reasonCode >= 0x80 ? ` (${describeReasonCode(packet.reasonCode)})` : ''
  return new ProtocolError(ReasonCode.protocolError, `${packet.type.toUpperCase()}${code} ${when}`)
}
