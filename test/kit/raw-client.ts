// A client that does nothing on its own: it sends what it is told, packet or rubbish, and reports what comes back.
// It checks on the way what holds for every server at every time: packets well-formed, CONNACK first and once, nothing
// after DISCONNECT, and the limits that its own CONNECT has set (Maximum Packet Size, Topic Alias Maximum, Receive
// Maximum, Request Problem Information). It must never import the product.
//
//   const client = await RawClient.connect({ port: 1883 })          or { path: '/tmp/x.sock' }, second argument { level }
//   await client.handshake({ clientId: 'a', properties: [...] })    CONNECT, expects CONNACK 0, returns it
//   client.send(publish({ topic: 't' }))                            any bytes; client.sendChunks for cuts
//   const message = await client.expect('PUBLISH')                  next packet must be of this type
//   await client.expectDisconnect(0x82)                             level 5: DISCONNECT 0x82, then end; 3.x: just the end
//   await client.expectRefused(0x84, 1)                             CONNACK 0x84 (3.x: 1), then end
//   await client.expectClosed()                                     nothing more but the end of the connection
//   await client.expectEnd()                                        the end, with or without DISCONNECT; its reason code
//   await client.expectNothing()                                    nothing is on its way here, proved by a ping
//   await client.fence()                                            everything sent so far has been processed
// Shorthands that send and expect the answer: subscribe, unsubscribe, publish (any QoS, whole handshake).
//
// Between two clients: `await publisher.fence()` (or its acknowledgement) and then `subscriber.expectNothing()`.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { connect as connectSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  type ConnackPacket,
  type ConnectOptions,
  connect,
  decode,
  disconnect,
  type FilterOptions,
  type Level,
  P,
  type PacketOf,
  type Property,
  type PublishOptions,
  type PublishPacket,
  packetExtent,
  pingreq,
  property,
  publish,
  pubrel,
  type ServerPacket,
  type ServerPacketType,
  subscribe,
  type Text,
  TYPE,
  unsubscribe,
} from './wire.ts'

export type Address = { port: number; host?: string } | { path: string }

/** How long an answer may take. Generous: it only costs time when a test fails. */
export const DEADLINE_MS = 30_000

/** Mosquitto often just closes where a reason could be given: enough when it stands in for the product. */
const isReasonOptional = process.env.ATOLL_TEST_PEER === 'mosquitto'

const hex = (value: number): string => `0x${value.toString(16).padStart(2, '0')}`

/** One line for a failure message. */
export function describePacket(packet: ServerPacket): string {
  switch (packet.type) {
    case 'CONNACK':
    case 'DISCONNECT':
    case 'AUTH':
      return `${packet.type} ${hex(packet.reasonCode)}`
    case 'PUBLISH': {
      const payload = packet.payload.subarray(0, 40).toString()
      return `PUBLISH qos=${packet.qos} id=${packet.packetId} topic=${JSON.stringify(packet.topic)} payload=${JSON.stringify(payload)}`
    }
    case 'SUBACK':
    case 'UNSUBACK':
      return `${packet.type} id=${packet.packetId} ${packet.reasonCodes.map(hex).join(' ')}`
    case 'PINGRESP':
      return 'PINGRESP'
    default:
      return `${packet.type} id=${packet.packetId} ${hex(packet.reasonCode)}`
  }
}

/** As `packetExtent`, for what we send ourselves: rubbish has no extent. */
function sentExtent(bytes: Buffer): { headerLength: number; length: number } | null {
  try {
    return packetExtent(bytes)
  } catch {
    return null
  }
}

function limitsOf(list: Property[]) {
  const number = (wanted: number, otherwise: number): number => {
    for (const entry of list) if (!Buffer.isBuffer(entry) && entry[0] === wanted) return entry[1] as number
    return otherwise
  }
  return {
    maximumPacketSize: number(P.maximumPacketSize, Infinity),
    topicAliasMaximum: number(P.topicAliasMaximum, 0),
    receiveMaximum: number(P.receiveMaximum, 65535),
    hasProblemInformation: number(P.requestProblemInformation, 1) === 1,
  }
}

type Outcome = { packet: ServerPacket } | { end: true }

export class RawClient {
  readonly #socket: Duplex
  /** Packets received and not yet asked for. */
  readonly #packets: ServerPacket[] = []
  #bytes: Buffer[] = []
  #bytesLength = 0
  #isEnded = false
  #error: Error | null = null
  #hasConnack = false
  #hasDisconnect = false
  #wake: (() => void) | null = null
  #lastPacketId = 0
  /** QoS 1 and 2 messages from the broker that this client has not finished, by packet identifier. */
  readonly #openPacketIds = new Set<number>()
  /** Bytes sent that are not a whole packet yet. */
  #sent: Buffer = Buffer.alloc(0)
  #limits = { maximumPacketSize: Infinity, topicAliasMaximum: 0, receiveMaximum: 65535, hasProblemInformation: true }
  level: Level
  /** Client Identifier of the last handshake: the one assigned by the broker if there was one. */
  clientId = ''

  private constructor(socket: Duplex, level: Level) {
    this.#socket = socket
    this.level = level
    socket.on('data', (chunk) => this.#received(chunk))
    socket.on('end', () => this.#ended())
    socket.on('close', () => this.#ended())
    socket.on('error', () => this.#ended())
  }

  /** One end of a connection in memory; sends nothing. */
  static over(stream: Duplex, level: Level): RawClient {
    return new RawClient(stream, level)
  }

  /** Opens the Network Connection; sends nothing. */
  static connect(address: Address, options: { level?: Level } = {}): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = connectSocket('path' in address ? address : { host: '127.0.0.1', ...address })
      socket.setNoDelay(true)
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        // A forgotten client must not keep the test process alive; whoever waits holds it with a timer.
        socket.unref()
        resolve(new RawClient(socket, options.level ?? 5))
      })
    })
  }

  get isClosed(): boolean {
    return this.#isEnded
  }

  /** What came and was not yet asked for. */
  get unread(): readonly ServerPacket[] {
    return this.#packets
  }

  /** Throws if the broker has sent something malformed, even if no test has read so far. */
  assertSound(): void {
    if (this.#error) throw this.#error
  }

  #received(chunk: Buffer): void {
    this.#bytes.push(chunk)
    this.#bytesLength += chunk.length
    try {
      this.#decodeWhole()
    } catch (error) {
      this.#error ??= error as Error
    }
    this.#wake?.()
  }

  #decodeWhole(): void {
    let bytes = this.#bytes.length === 1 ? this.#bytes[0] : Buffer.concat(this.#bytes, this.#bytesLength)
    while (bytes.length > 0) {
      const extent = packetExtent(bytes)
      if (extent === null || extent.length > bytes.length) break
      const packet = decode(this.level, bytes.subarray(0, extent.length))
      bytes = bytes.subarray(extent.length)
      this.#check(packet)
      this.#packets.push(packet)
    }
    this.#bytes = bytes.length > 0 ? [bytes] : []
    this.#bytesLength = bytes.length
  }

  #check(packet: ServerPacket): void {
    if (this.#hasDisconnect) throw new Error(`the broker sent ${describePacket(packet)} after DISCONNECT`) // [MQTT-3.14.4-1]
    if (packet.type === 'CONNACK') {
      if (this.#hasConnack) throw new Error('the broker sent a second CONNACK') // [MQTT-3.2.0-2]
      this.#hasConnack = true
    } else if (!this.#hasConnack && packet.type !== 'AUTH') {
      throw new Error(`the broker sent ${describePacket(packet)} before CONNACK`) // [MQTT-3.2.0-1]
    }
    if (packet.type === 'DISCONNECT') this.#hasDisconnect = true
    const limits = this.#limits
    if (packet.bytes.length > limits.maximumPacketSize) {
      throw new Error(`${packet.bytes.length} bytes are more than Maximum Packet Size: ${describePacket(packet)}`) // [MQTT-3.1.2-24]
    }
    if (!limits.hasProblemInformation && !['PUBLISH', 'CONNACK', 'DISCONNECT'].includes(packet.type)) {
      const isProblem = packet.properties.some(([id]) => id === P.reasonString || id === P.userProperty)
      if (isProblem) throw new Error(`problem information that was not asked for: ${describePacket(packet)}`) // [MQTT-3.1.2-29]
    }
    if (packet.type === 'PUBLISH') this.#checkPublish(packet)
  }

  #checkPublish(packet: PublishPacket): void {
    const alias = property(packet, P.topicAlias)
    if (typeof alias === 'number' && alias > this.#limits.topicAliasMaximum) {
      throw new Error(`topic alias ${alias} is above the client's maximum`) // [MQTT-3.1.2-26] [MQTT-3.1.2-27]
    }
    if (packet.packetId === null) return
    if (this.#openPacketIds.has(packet.packetId)) {
      throw new Error(`packet identifier ${packet.packetId} is still in use`) // [MQTT-2.2.1-4]
    }
    this.#openPacketIds.add(packet.packetId)
    if (this.#openPacketIds.size > this.#limits.receiveMaximum) {
      throw new Error(`${this.#openPacketIds.size} messages in flight are more than Receive Maximum`) // [MQTT-3.3.4-9]
    }
  }

  /** Notes which messages an acknowledgement of ours has finished, however its bytes are cut. */
  #noteSent(bytes: Buffer): void {
    let left = this.#sent.length > 0 ? Buffer.concat([this.#sent, bytes]) : bytes
    for (;;) {
      const extent = sentExtent(left)
      if (extent === null || extent.length > left.length) break
      const type = left[0] >> 4
      const at = extent.headerLength
      const isRefusal = type === TYPE.PUBREC && extent.length > at + 2 && left[at + 2] >= 0x80
      const isFinal = type === TYPE.PUBACK || type === TYPE.PUBCOMP || isRefusal
      if (isFinal && extent.length >= at + 2) this.#openPacketIds.delete(left.readUInt16BE(at))
      left = left.subarray(extent.length)
    }
    this.#sent = left
  }

  #ended(): void {
    this.#isEnded = true
    this.#socket.destroy()
    this.#wake?.()
  }

  /** Waits until a packet is there or the connection has ended. */
  async #next(deadlineMs: number, what: string): Promise<Outcome> {
    const endAtMs = performance.now() + deadlineMs
    for (;;) {
      this.assertSound()
      const packet = this.#packets.shift()
      if (packet) return { packet }
      if (this.#isEnded) return { end: true }
      const leftMs = endAtMs - performance.now()
      if (leftMs <= 0) assert.fail(`expected ${what}, nothing came within ${deadlineMs} ms`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs + 1)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
  }

  /** Sends packets or any other bytes, in one write. */
  send(...parts: Buffer[]): void {
    const bytes = parts.length === 1 ? parts[0] : Buffer.concat(parts)
    this.#noteSent(bytes)
    if (this.#isEnded) return // the broker may close while we still write: what it answered is what counts
    this.#socket.write(bytes)
  }

  /** Sends the parts as separate writes, a turn of the event loop apart. */
  async sendChunks(chunks: Buffer[]): Promise<void> {
    for (const chunk of chunks) {
      this.send(chunk)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Next packet, whatever it is; fails if the connection ends instead. */
  async receive(deadlineMs: number = DEADLINE_MS): Promise<ServerPacket> {
    const outcome = await this.#next(deadlineMs, 'a packet')
    if ('packet' in outcome) return outcome.packet
    return assert.fail('expected a packet, the broker closed the connection')
  }

  /** Next packet, which must be of this type. */
  async expect<T extends ServerPacketType>(type: T, deadlineMs: number = DEADLINE_MS): Promise<PacketOf<T>> {
    const outcome = await this.#next(deadlineMs, type)
    if ('end' in outcome) assert.fail(`expected ${type}, the broker closed the connection`)
    if (outcome.packet.type !== type) assert.fail(`expected ${type}, got ${describePacket(outcome.packet)}`)
    return outcome.packet as PacketOf<T>
  }

  /** The broker closes the connection without sending anything more. */
  async expectClosed(deadlineMs: number = DEADLINE_MS): Promise<void> {
    const outcome = await this.#next(deadlineMs, 'the connection to be closed')
    if ('packet' in outcome) assert.fail(`expected the connection to be closed, got ${describePacket(outcome.packet)}`)
  }

  /** The end of the connection with nothing before it, or just a DISCONNECT, whose reason code is returned. */
  async expectEnd(deadlineMs: number = DEADLINE_MS): Promise<number | null> {
    const outcome = await this.#next(deadlineMs, 'the end of the connection')
    if ('end' in outcome) return null
    if (outcome.packet.type !== 'DISCONNECT') assert.fail(`expected the end, got ${describePacket(outcome.packet)}`)
    await this.expectClosed(deadlineMs)
    return outcome.packet.reasonCode
  }

  /** Level 5: DISCONNECT with this reason code, then the end. 3.x: only the end, since its servers have no DISCONNECT. */
  async expectDisconnect(reasonCode: number, deadlineMs: number = DEADLINE_MS): Promise<void> {
    if (this.level === 5) {
      const outcome = await this.#next(deadlineMs, `DISCONNECT ${hex(reasonCode)}`)
      if ('end' in outcome && isReasonOptional) return
      if ('end' in outcome) assert.fail(`expected DISCONNECT ${hex(reasonCode)}, the broker just closed the connection`)
      assert.equal(describePacket(outcome.packet), `DISCONNECT ${hex(reasonCode)}`)
    }
    await this.expectClosed(deadlineMs)
  }

  /**
   * CONNECT is refused. Level 5: CONNACK with this reason code, then the end; null for any, or for just the end.
   * 3.x: CONNACK with `returnCode` and the end; where `returnCode` is null or left out, the end alone will do.
   */
  async expectRefused(reasonCode: number | null, returnCode: number | null = null): Promise<void> {
    if (this.level === 5 && reasonCode !== null && !isReasonOptional) {
      const connack = await this.expect('CONNACK')
      assert.equal(hex(connack.reasonCode), hex(reasonCode), 'reason code of CONNACK')
      assert.equal(connack.sessionPresent, false, 'Session Present in a refusal')
    } else if (this.level !== 5 && returnCode !== null && !isReasonOptional) {
      const connack = await this.expect('CONNACK')
      assert.equal(connack.reasonCode, returnCode, 'return code of CONNACK')
    } else {
      const outcome = await this.#next(DEADLINE_MS, 'the connection to be closed')
      if ('end' in outcome) return
      assert.equal(outcome.packet.type, 'CONNACK')
      assert.notEqual((outcome.packet as ConnackPacket).reasonCode, 0, 'the broker accepted the connection')
    }
    await this.expectClosed()
  }

  /** Waits until everything sent so far has been processed; what comes in the meantime stays to be read. */
  async fence(): Promise<void> {
    this.send(pingreq())
    const before: ServerPacket[] = []
    for (;;) {
      const outcome = await this.#next(DEADLINE_MS, 'PINGRESP')
      if ('end' in outcome) assert.fail('expected PINGRESP, the broker closed the connection')
      if (outcome.packet.type === 'PINGRESP') break
      before.push(outcome.packet)
    }
    this.#packets.unshift(...before)
  }

  /** Fails if anything has come or is about to come: the broker answers a ping, and nothing stands before the answer. */
  async expectNothing(): Promise<void> {
    await this.fence()
    assert.deepEqual(this.#packets.map(describePacket), [], 'nothing was to be received')
  }

  /** Sends CONNECT with the client's level; a Client Identifier that nobody else uses, unless one is given. */
  sendConnect(options: ConnectOptions = {}): void {
    if (options.level !== undefined) this.level = options.level
    const clientId = options.clientId ?? `t${randomBytes(6).toString('hex')}`
    if (typeof clientId === 'string') this.clientId = clientId
    if (this.level === 5) this.#limits = limitsOf(options.properties ?? [])
    this.send(connect({ ...options, level: this.level, clientId }))
  }

  /** CONNECT, and a CONNACK that accepts it. */
  async handshake(options: ConnectOptions = {}): Promise<ConnackPacket> {
    this.sendConnect(options)
    const connack = await this.expect('CONNACK')
    assert.equal(hex(connack.reasonCode), hex(0), 'reason code of CONNACK')
    const assigned = property(connack, P.assignedClientIdentifier)
    if (typeof assigned === 'string') this.clientId = assigned
    return connack
  }

  nextPacketId(): number {
    this.#lastPacketId = (this.#lastPacketId % 65535) + 1
    return this.#lastPacketId
  }

  /** SUBSCRIBE; returns the reason codes of SUBACK. */
  async subscribe(
    filters: (FilterOptions | string)[],
    options: { properties?: Property[]; qos?: number } = {},
  ): Promise<number[]> {
    const packetId = this.nextPacketId()
    const list = filters.map((entry) => (typeof entry === 'string' ? { filter: entry, qos: options.qos ?? 0 } : entry))
    this.send(subscribe({ level: this.level, packetId, filters: list, properties: options.properties }))
    const suback = await this.expect('SUBACK')
    assert.equal(suback.packetId, packetId, 'packet identifier of SUBACK')
    assert.equal(suback.reasonCodes.length, filters.length, 'one reason code per filter')
    return suback.reasonCodes
  }

  /** UNSUBSCRIBE; returns the reason codes of UNSUBACK, none in 3.x. */
  async unsubscribe(filters: Text[]): Promise<number[]> {
    const packetId = this.nextPacketId()
    this.send(unsubscribe({ level: this.level, packetId, filters }))
    const unsuback = await this.expect('UNSUBACK')
    assert.equal(unsuback.packetId, packetId, 'packet identifier of UNSUBACK')
    return unsuback.reasonCodes
  }

  /**
   * PUBLISH and the whole handshake of its QoS (a fence for QoS 0); returns the reason code of PUBACK or PUBREC.
   * A client that expects messages itself should send and expect by hand.
   */
  async publish(options: PublishOptions): Promise<number> {
    const qos = options.qos ?? 0
    const packetId = qos > 0 ? (options.packetId ?? this.nextPacketId()) : undefined
    this.send(publish({ ...options, level: this.level, packetId }))
    if (qos === 0) {
      await this.fence()
      return 0
    }
    if (qos === 1) {
      const puback = await this.expect('PUBACK')
      assert.equal(puback.packetId, packetId, 'packet identifier of PUBACK')
      return puback.reasonCode
    }
    const pubrec = await this.expect('PUBREC')
    assert.equal(pubrec.packetId, packetId, 'packet identifier of PUBREC')
    if (pubrec.reasonCode >= 0x80) return pubrec.reasonCode
    this.send(pubrel({ level: this.level, packetId: packetId! }))
    const pubcomp = await this.expect('PUBCOMP')
    assert.equal(pubcomp.packetId, packetId, 'packet identifier of PUBCOMP')
    return pubrec.reasonCode
  }

  /** DISCONNECT with reason 0x00, and waits for the broker to close. */
  async disconnect(): Promise<void> {
    this.send(disconnect({ level: this.level }))
    await this.expectClosed()
  }

  /** Breaks the Network Connection without DISCONNECT. */
  destroy(): void {
    this.#socket.destroy()
  }
}
