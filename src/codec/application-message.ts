// An Application Message: the bytes of one well-formed PUBLISH and where its parts are. On the hot path the bytes are
// still in the read buffer and the object is used again for the next packet; `own` makes the immutable copy that queues,
// retained messages and in-flight windows share. Knows no session and no connection.
import { ProtocolError } from '../base/errors.ts'
import { ByteReader, malformed } from './byte-reader.ts'
import { variableByteIntegerLength } from './byte-writer.ts'
import { encodePacket } from './encode.ts'
import { PacketType, type Qos } from './packet-types.ts'
import { decodeProperties, type Properties } from './properties.ts'
import { ReasonCode } from './reason-codes.ts'
import { isValidUtf8 } from './utf8.ts'

const noBytes = Buffer.alloc(0)

export class ApplicationMessage {
  buffer: Buffer = noBytes
  /** The whole packet, fixed header included. */
  packetStart = 0
  packetEnd = 0
  topicStart = 0
  /** A Packet Identifier follows here when `qos` > 0. */
  topicEnd = 0
  /** The properties without their length; empty in a 3.x layout. */
  propertiesStart = 0
  propertiesEnd = 0
  payloadStart = 0
  qos: Qos = 0
  retain = false
  duplicate = false
  packetId = 0
  /** Whether the bytes are laid out as MQTT 5 (with a property length). */
  isVersion5 = false
  /** As it came; 0 for none. Never part of a message that is routed: see `rewrite`. */
  topicAlias = 0
  /** Where the Topic Alias property begins, or -1. */
  topicAliasAt = -1
  /** Where the four bytes of the Message Expiry Interval are, or -1. */
  expiryAt = -1
  /** Monotonic time of arrival; 0 for a retained message that can't expire. */
  receivedAtMs = 0
  isOwned = false
  /** Of an owned message: its number in the store; 0 while it is not there. */
  storeNumber = 0
  #owned: ApplicationMessage | null = null

  /** Forgets what belonged to the packet before; for the object that is used again and again. */
  reset(): void {
    this.#owned = null
  }

  get payloadLength(): number {
    return this.packetEnd - this.payloadStart
  }

  /** What one stored copy is accounted as. */
  get sizeBytes(): number {
    return this.packetEnd - this.packetStart
  }

  get topic(): string {
    return this.buffer.toString('utf8', this.topicStart, this.topicEnd)
  }

  get payload(): Buffer {
    return this.buffer.subarray(this.payloadStart, this.packetEnd)
  }

  get properties(): Properties {
    const length = this.propertiesEnd - this.propertiesStart
    if (length === 0) return {}
    const lengthBytes = variableByteIntegerLength(length)
    const reader = new ByteReader(this.buffer, this.propertiesStart - lengthBytes, this.propertiesEnd)
    return decodeProperties(reader, PacketType.publish)
  }

  /** Seconds left of the Message Expiry Interval, 0 when it is over, null when there is none. [MQTT-3.3.2-6] */
  remainingExpirySeconds(nowMs: number): number | null {
    if (this.expiryAt === -1) return null
    const waitedSeconds = Math.floor((nowMs - this.receivedAtMs) / 1000)
    return Math.max(0, this.buffer.readUInt32BE(this.expiryAt) - waitedSeconds)
  }

  hasExpired(nowMs: number): boolean {
    return this.expiryAt !== -1 && this.remainingExpirySeconds(nowMs) === 0
  }

  /** This message if its bytes are its own already, else the one copy of it. @param allocate where the copy lives */
  own(allocate: (length: number) => Buffer = Buffer.allocUnsafe): ApplicationMessage {
    if (this.isOwned) return this
    if (this.#owned !== null) return this.#owned
    const length = this.packetEnd - this.packetStart
    const copy = new ApplicationMessage()
    copy.buffer = allocate(length)
    this.buffer.copy(copy.buffer, 0, this.packetStart, this.packetEnd)
    const shift = this.packetStart
    copy.packetEnd = length
    copy.topicStart = this.topicStart - shift
    copy.topicEnd = this.topicEnd - shift
    copy.propertiesStart = this.propertiesStart - shift
    copy.propertiesEnd = this.propertiesEnd - shift
    copy.payloadStart = this.payloadStart - shift
    copy.qos = this.qos
    copy.retain = this.retain
    copy.isVersion5 = this.isVersion5
    copy.expiryAt = this.expiryAt === -1 ? -1 : this.expiryAt - shift
    copy.receivedAtMs = this.receivedAtMs
    copy.isOwned = true
    this.#owned = copy
    return copy
  }
}

/**
 * Reads a PUBLISH in place into `message`.
 * The topic is not checked here: whoever routes it knows most topics already. See `checkTopic`.
 * @param packetStart where the fixed header begins
 * @param bodyStart first byte after the Remaining Length
 * @throws ProtocolError
 */
export function parsePublish(
  message: ApplicationMessage,
  buffer: Buffer,
  packetStart: number,
  bodyStart: number,
  end: number,
  isVersion5: boolean,
): void {
  const firstByte = buffer[packetStart]
  const qos = (firstByte >> 1) & 3
  if (qos === 3) throw malformed('QoS is 3') // [MQTT-3.3.1-4]
  const duplicate = (firstByte & 8) !== 0
  if (duplicate && qos === 0) throw malformed('DUP with QoS 0') // [MQTT-3.3.1-2]
  if (bodyStart + 2 > end) throw malformed('PUBLISH without a topic')
  message.reset()
  message.buffer = buffer
  message.packetStart = packetStart
  message.packetEnd = end
  message.qos = qos as Qos
  message.retain = (firstByte & 1) !== 0
  message.duplicate = duplicate
  message.isVersion5 = isVersion5
  message.topicStart = bodyStart + 2
  let position = bodyStart + 2 + ((buffer[bodyStart] << 8) | buffer[bodyStart + 1])
  message.topicEnd = position
  message.packetId = 0
  if (qos > 0) {
    if (position + 2 > end) throw malformed('PUBLISH is cut short')
    message.packetId = (buffer[position] << 8) | buffer[position + 1]
    if (message.packetId === 0) throw new ProtocolError(ReasonCode.protocolError, 'packet identifier is 0') // [MQTT-2.2.1-3]
    position += 2
  }
  message.topicAlias = 0
  message.topicAliasAt = -1
  message.expiryAt = -1
  if (isVersion5 && position < end && buffer[position] === 0) {
    position++
    message.propertiesStart = position
    message.propertiesEnd = position
  } else if (isVersion5) {
    position = parsePublishProperties(message, buffer, position, end)
  } else {
    message.propertiesStart = position
    message.propertiesEnd = position
  }
  if (position > end) throw malformed('PUBLISH is cut short')
  message.payloadStart = position
}

/** Checks the properties of an inbound PUBLISH in place and notes where the ones are that the broker acts on. */
function parsePublishProperties(message: ApplicationMessage, buffer: Buffer, start: number, end: number): number {
  const header = new ByteReader(buffer, start, end)
  const length = header.variableByteInteger('property length')
  let position = header.position
  const propertiesEnd = position + length
  if (propertiesEnd > end) throw malformed('property length goes past the end of the packet')
  message.propertiesStart = position
  message.propertiesEnd = propertiesEnd
  let seen = 0
  while (position < propertiesEnd) {
    const at = position
    const id = buffer[position++]
    if (id !== 0x26 && id < 0x24) {
      const bit = id < 31 ? 1 << id : 1 << 31
      if ((seen & bit) !== 0)
        throw new ProtocolError(ReasonCode.protocolError, `property 0x${id.toString(16)} comes twice`)
      seen |= bit
    }
    switch (id) {
      case 0x01:
        if (buffer[position] > 1 && position < propertiesEnd) {
          throw new ProtocolError(ReasonCode.protocolError, 'payload format indicator is neither 0 nor 1')
        }
        position += 1
        break
      case 0x02:
        message.expiryAt = position
        position += 4
        break
      case 0x03:
        position = skipString(buffer, position, propertiesEnd) // [MQTT-3.3.2-19]
        break
      case 0x08: {
        const next = skipString(buffer, position, propertiesEnd) // [MQTT-3.3.2-13]
        for (let index = position + 2; index < next; index++) {
          if (buffer[index] === 0x2b || buffer[index] === 0x23) {
            throw new ProtocolError(ReasonCode.protocolError, 'response topic has a wildcard') // [MQTT-3.3.2-14]
          }
        }
        position = next
        break
      }
      case 0x09:
        position = skipBinary(buffer, position, propertiesEnd)
        break
      case 0x0b:
        throw new ProtocolError(ReasonCode.protocolError, 'subscription identifier from a client') // [MQTT-3.3.4-6]
      case 0x23:
        if (position + 2 > propertiesEnd) throw malformed('topic alias is cut short')
        message.topicAliasAt = at
        message.topicAlias = (buffer[position] << 8) | buffer[position + 1]
        if (message.topicAlias === 0) throw new ProtocolError(ReasonCode.topicAliasInvalid, 'topic alias is 0') // [MQTT-3.3.2-8]
        position += 2
        break
      case 0x26:
        position = skipString(buffer, skipString(buffer, position, propertiesEnd), propertiesEnd)
        break
      default:
        throw malformed(`property 0x${id.toString(16)} is not allowed here`)
    }
    if (position > propertiesEnd) throw malformed('a property goes past the property length')
  }
  return propertiesEnd
}

function skipBinary(buffer: Buffer, position: number, end: number): number {
  if (position + 2 > end) throw malformed('a property is cut short')
  const next = position + 2 + ((buffer[position] << 8) | buffer[position + 1])
  if (next > end) throw malformed('a property is cut short')
  return next
}

function skipString(buffer: Buffer, position: number, end: number): number {
  const next = skipBinary(buffer, position, end)
  if (!isValidUtf8(buffer, position + 2, next)) throw malformed('a property is not valid UTF-8')
  return next
}

/** An owned message that no client sent: a Will, a message of the broker or of the program that embeds it. */
export function createMessage(
  topic: string,
  payload: Buffer,
  options: { qos?: Qos; retain?: boolean; properties?: Properties; nowMs: number },
): ApplicationMessage {
  const qos = options.qos ?? 0
  const packet = encodePacket(
    {
      type: 'publish',
      topic,
      payload,
      qos,
      retain: options.retain ?? false,
      duplicate: false,
      packetId: qos === 0 ? 0 : 1,
      properties: options.properties,
    },
    5,
  )
  let bodyStart = 1
  while (packet[bodyStart] > 0x7f) bodyStart++
  const message = new ApplicationMessage()
  parsePublish(message, packet, 0, bodyStart + 1, packet.length, true)
  message.isOwned = true
  message.receivedAtMs = options.nowMs
  return message
}

/** How a message is to be written for one receiver. */
export interface PublishForm {
  isVersion5: boolean
  /** First byte of the packet. */
  firstByte: number
  /** 0 for QoS 0. */
  packetId: number
  subscriptionIdentifiers: readonly number[] | null
  /** 0 for none. */
  topicAlias: number
  /** Bytes of the topic that are left out at its beginning: all of them when the alias stands for it. */
  topicSkip: number
  /** Replaces the Message Expiry Interval; null leaves it as it is. */
  expirySeconds: number | null
}

/** Bytes that `writePublish` will write. */
export function measurePublish(message: ApplicationMessage, form: PublishForm): number {
  const body = measureBody(message, form)
  return 1 + variableByteIntegerLength(body) + body
}

function measureBody(message: ApplicationMessage, form: PublishForm): number {
  let body = 2 + message.topicEnd - message.topicStart - form.topicSkip + message.packetEnd - message.payloadStart
  if (form.packetId !== 0) body += 2
  if (form.isVersion5) {
    const properties = measureProperties(message, form)
    body += variableByteIntegerLength(properties) + properties
  }
  return body
}

function measureProperties(message: ApplicationMessage, form: PublishForm): number {
  let length = message.propertiesEnd - message.propertiesStart
  if (form.topicAlias !== 0) length += 3
  if (form.subscriptionIdentifiers !== null) {
    for (const identifier of form.subscriptionIdentifiers) length += 1 + variableByteIntegerLength(identifier)
  }
  return length
}

/** Writes the PUBLISH for one receiver and returns where it ends; `target` must have `measurePublish` bytes left. */
export function writePublish(target: Buffer, at: number, message: ApplicationMessage, form: PublishForm): number {
  const source = message.buffer
  target[at] = form.firstByte
  let position = writeVariableByteInteger(target, at + 1, measureBody(message, form))
  const topicStart = message.topicStart + form.topicSkip
  const topicLength = message.topicEnd - topicStart
  target[position++] = topicLength >> 8
  target[position++] = topicLength & 0xff
  position += source.copy(target, position, topicStart, message.topicEnd)
  if (form.packetId !== 0) {
    target[position++] = form.packetId >> 8
    target[position++] = form.packetId & 0xff
  }
  if (form.isVersion5) {
    position = writeVariableByteInteger(target, position, measureProperties(message, form))
    const propertiesAt = position
    position += source.copy(target, position, message.propertiesStart, message.propertiesEnd)
    if (form.expirySeconds !== null && message.expiryAt !== -1) {
      target.writeUInt32BE(form.expirySeconds, propertiesAt + message.expiryAt - message.propertiesStart)
    }
    if (form.topicAlias !== 0) {
      target[position++] = 0x23
      target[position++] = form.topicAlias >> 8
      target[position++] = form.topicAlias & 0xff
    }
    if (form.subscriptionIdentifiers !== null) {
      for (const identifier of form.subscriptionIdentifiers) {
        target[position++] = 0x0b
        position = writeVariableByteInteger(target, position, identifier)
      }
    }
  }
  return position + source.copy(target, position, message.payloadStart, message.packetEnd)
}

function writeVariableByteInteger(target: Buffer, at: number, value: number): number {
  let position = at
  let rest = value
  while (rest > 0x7f) {
    target[position++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[position++] = rest
  return position
}

/** Most bytes that `rewriteTopic` can need for this message and topic. */
export function rewrittenLengthLimit(message: ApplicationMessage, topicLength: number): number {
  return 16 + topicLength + (message.packetEnd - message.packetStart)
}

/**
 * Lays an inbound message out anew with another topic and without its Topic Alias, and points `message` at the result.
 * @param prefix put before the topic (mount point); may be empty
 * @param topic bytes of the whole topic after the prefix
 */
export function rewriteTopic(
  message: ApplicationMessage,
  prefix: Buffer,
  topic: Buffer,
  topicStart: number,
  topicEnd: number,
  target: Buffer,
  at: number,
): number {
  const source = message.buffer
  const aliasLength = message.topicAliasAt === -1 ? 0 : 3
  const topicLength = prefix.length + topicEnd - topicStart
  const properties = message.propertiesEnd - message.propertiesStart - aliasLength
  const idLength = message.qos > 0 ? 2 : 0
  const payloadLength = message.packetEnd - message.payloadStart
  let body = 2 + topicLength + idLength + payloadLength
  if (message.isVersion5) body += variableByteIntegerLength(properties) + properties
  target[at] = (source[message.packetStart] & 0xf7) | (message.duplicate ? 8 : 0)
  let position = writeVariableByteInteger(target, at + 1, body)
  target[position++] = topicLength >> 8
  target[position++] = topicLength & 0xff
  const newTopicStart = position
  position += prefix.copy(target, position)
  position += topic.copy(target, position, topicStart, topicEnd)
  const newTopicEnd = position
  if (idLength > 0) {
    target[position++] = message.packetId >> 8
    target[position++] = message.packetId & 0xff
  }
  if (message.isVersion5) position = writeVariableByteInteger(target, position, properties)
  const newPropertiesStart = position
  if (message.isVersion5) {
    const aliasAt = aliasLength === 0 ? message.propertiesEnd : message.topicAliasAt
    position += source.copy(target, position, message.propertiesStart, aliasAt)
    position += source.copy(target, position, aliasAt + aliasLength, message.propertiesEnd)
    if (message.expiryAt !== -1) {
      const removedBefore = aliasLength > 0 && message.expiryAt > aliasAt ? aliasLength : 0
      message.expiryAt = newPropertiesStart + message.expiryAt - message.propertiesStart - removedBefore
    }
  }
  const newPropertiesEnd = position
  position += source.copy(target, position, message.payloadStart, message.packetEnd)
  message.buffer = target
  message.packetStart = at
  message.packetEnd = position
  message.topicStart = newTopicStart
  message.topicEnd = newTopicEnd
  message.propertiesStart = newPropertiesStart
  message.propertiesEnd = newPropertiesEnd
  message.payloadStart = position - payloadLength
  message.topicAlias = 0
  message.topicAliasAt = -1
  return position
}
