// Bytes of one whole packet -> packet object, strictly: what the specification forbids is a ProtocolError with the code
// that answers it. Whether a packet may come at this moment is not known here.
import { ProtocolError } from '../base/errors.ts'
import { ByteReader, malformed } from './byte-reader.ts'
import { PacketType, type ProtocolLevel, packetTypeName, type Qos, requiredFlags } from './packet-types.ts'
import type {
  AcknowledgementPacket,
  ConnackPacket,
  ConnectPacket,
  Packet,
  PublishPacket,
  SubackPacket,
  SubscribePacket,
  SubscriptionRequest,
  UnsubackPacket,
  UnsubscribePacket,
  WillPacket,
} from './packets.ts'
import { decodeProperties, type Properties, willPropertiesContext } from './properties.ts'
import { ReasonCode } from './reason-codes.ts'

/**
 * @param firstByte packet type and flags
 * @param start first byte after the Remaining Length
 * @param level of the connection; CONNECT brings its own
 * @throws ProtocolError
 */
export function decodePacket(
  firstByte: number,
  buffer: Buffer,
  start: number,
  end: number,
  level: ProtocolLevel,
): Packet {
  const type = firstByte >> 4
  if (type !== PacketType.publish && !hasRequiredFlags(type, firstByte & 0x0f, level)) {
    throw malformed(`${packetTypeName(type)} with reserved flags`) // [MQTT-2.1.3-1]
  }
  const reader = new ByteReader(buffer, start, end)
  const packet = decodeBody(type, firstByte, reader, level)
  reader.expectEnd(packetTypeName(type))
  return packet
}

function hasRequiredFlags(type: number, flags: number, level: ProtocolLevel): boolean {
  const required = requiredFlags(type)
  // MQTT 3.1 sets DUP when it sends PUBREL, SUBSCRIBE or UNSUBSCRIBE again.
  return flags === required || (level === 3 && required !== 0 && flags === (required | 0x08))
}

function decodeBody(type: number, firstByte: number, reader: ByteReader, level: ProtocolLevel): Packet {
  switch (type) {
    case PacketType.connect:
      return decodeConnect(reader)
    case PacketType.connack:
      return decodeConnack(reader, level)
    case PacketType.publish:
      return decodePublish(firstByte, reader, level)
    case PacketType.puback:
      return decodeAcknowledgement('puback', reader, level)
    case PacketType.pubrec:
      return decodeAcknowledgement('pubrec', reader, level)
    case PacketType.pubrel:
      return decodeAcknowledgement('pubrel', reader, level)
    case PacketType.pubcomp:
      return decodeAcknowledgement('pubcomp', reader, level)
    case PacketType.subscribe:
      return decodeSubscribe(reader, level)
    case PacketType.suback:
      return decodeSuback(reader, level)
    case PacketType.unsubscribe:
      return decodeUnsubscribe(reader, level)
    case PacketType.unsuback:
      return decodeUnsuback(reader, level)
    case PacketType.pingreq:
      return { type: 'pingreq' }
    case PacketType.pingresp:
      return { type: 'pingresp' }
    case PacketType.disconnect:
      return decodeDisconnect(reader, level)
    case PacketType.auth:
      return decodeAuth(reader, level)
    default:
      throw malformed('packet type 0 is reserved')
  }
}

/** The level of an MQTT that we speak, or null. */
function knownLevel(name: string, level: number): ProtocolLevel | null {
  if (name === 'MQTT' && (level === 4 || level === 5)) return level
  return name === 'MQIsdp' && level === 3 ? 3 : null
}

/**
 * In which version a CONNECT is answered, whole or not, of a version that we speak or not: a newer MQTT understands what
 * MQTT 5 says, anything else is told in the words of 3.1.1.
 */
export function levelToAnswer(buffer: Buffer, start: number, end: number): ProtocolLevel {
  const isNamedMqtt = start + 7 <= end && buffer.toString('latin1', start, start + 6) === '\0\u0004MQTT'
  return isNamedMqtt && buffer[start + 6] >= 5 ? 5 : 4
}

function decodeConnect(reader: ByteReader): ConnectPacket {
  const name = reader.string('protocol name')
  const namedLevel = reader.byte('protocol level')
  const level = knownLevel(name, namedLevel)
  if (level === null) {
    // [MQTT-3.1.2-1] [MQTT-3.1.2-2]
    throw new ProtocolError(
      ReasonCode.unsupportedProtocolVersion,
      `protocol ${JSON.stringify(name.slice(0, 20))} level ${namedLevel} is not MQTT 3.1, 3.1.1 or 5`,
    )
  }
  const flags = reader.byte('connect flags')
  if ((flags & 0x01) !== 0) throw malformed('reserved connect flag is set') // [MQTT-3.1.2-3]
  const hasWill = (flags & 0x04) !== 0
  const willQos = (flags >> 3) & 0x03
  const willRetain = (flags & 0x20) !== 0
  if (willQos === 3) throw malformed('Will QoS is 3') // [MQTT-3.1.2-12]
  if (!hasWill && (willQos !== 0 || willRetain)) throw malformed('will bits without the Will Flag') // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
  const hasUsername = (flags & 0x80) !== 0
  const hasPassword = (flags & 0x40) !== 0
  if (hasPassword && !hasUsername && level !== 5) throw malformed('a password without a user name')
  const keepAliveSeconds = reader.uint16('keep alive')
  const properties = level === 5 ? decodeProperties(reader, PacketType.connect) : {}
  if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    throw new ProtocolError(ReasonCode.protocolError, 'authentication data without a method')
  }
  const clientId = reader.string('client identifier') // [MQTT-3.1.3-3] [MQTT-3.1.3-4]
  const will = hasWill ? decodeWill(reader, level, willQos as Qos, willRetain) : null
  const username = hasUsername ? reader.string('user name') : null
  const password = hasPassword ? reader.binary('password') : null
  return {
    type: 'connect',
    level,
    cleanStart: (flags & 0x02) !== 0,
    keepAliveSeconds,
    clientId,
    will,
    username,
    password,
    properties,
  }
}

function decodeWill(reader: ByteReader, level: ProtocolLevel, qos: Qos, retain: boolean): WillPacket {
  const properties = level === 5 ? decodeProperties(reader, willPropertiesContext) : {}
  const topic = reader.string('will topic')
  const payload = reader.binary('will payload')
  return { topic, payload, qos, retain, properties }
}

function decodeConnack(reader: ByteReader, level: ProtocolLevel): ConnackPacket {
  const flags = reader.byte('connect acknowledge flags')
  if (flags > 1) throw malformed('reserved connect acknowledge flags are set') // [MQTT-3.2.2-1]
  const reasonCode = reader.byte('reason code')
  const packet: ConnackPacket = { type: 'connack', sessionPresent: flags === 1, reasonCode }
  if (level === 5) packet.properties = decodeProperties(reader, PacketType.connack)
  return packet
}

function decodePublish(firstByte: number, reader: ByteReader, level: ProtocolLevel): PublishPacket {
  const qos = (firstByte >> 1) & 0x03
  const duplicate = (firstByte & 0x08) !== 0
  if (qos === 3) throw malformed('QoS is 3') // [MQTT-3.3.1-4]
  if (qos === 0 && duplicate) throw malformed('DUP with QoS 0') // [MQTT-3.3.1-2]
  const topic = reader.string('topic name')
  const packetId = qos === 0 ? 0 : decodePacketId(reader)
  const properties = level === 5 ? decodeProperties(reader, PacketType.publish) : undefined
  const payload = reader.rest()
  return {
    type: 'publish',
    topic,
    payload,
    qos: qos as Qos,
    retain: (firstByte & 1) === 1,
    duplicate,
    packetId,
    properties,
  }
}

function decodePacketId(reader: ByteReader): number {
  const packetId = reader.uint16('packet identifier')
  if (packetId === 0) throw new ProtocolError(ReasonCode.protocolError, 'packet identifier is 0') // [MQTT-2.2.1-3]
  return packetId
}

const reasonCodesOf = {
  puback: new Set<number>([0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
  pubrec: new Set<number>([0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
  pubrel: new Set<number>([0, 0x92]),
  pubcomp: new Set<number>([0, 0x92]),
  disconnectFromClient: new Set<number>([
    0, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
  ]),
  auth: new Set<number>([0, 0x18, 0x19]),
}

function decodeAcknowledgement(
  type: AcknowledgementPacket['type'],
  reader: ByteReader,
  level: ProtocolLevel,
): AcknowledgementPacket {
  const packetId = decodePacketId(reader)
  if (level !== 5 || reader.remaining === 0) return { type, packetId, reasonCode: 0 }
  const reasonCode = reader.byte('reason code')
  if (!reasonCodesOf[type].has(reasonCode)) throw malformedReason(type, reasonCode) // [MQTT-3.4.2-1]
  if (reader.remaining === 0) return { type, packetId, reasonCode }
  return { type, packetId, reasonCode, properties: decodeProperties(reader, PacketType[type]) }
}

function malformedReason(type: string, reasonCode: number): ProtocolError {
  return new ProtocolError(
    ReasonCode.protocolError,
    `reason code 0x${reasonCode.toString(16)} is not one of ${type.toUpperCase()}`,
  )
}

function decodeSubscribe(reader: ByteReader, level: ProtocolLevel): SubscribePacket {
  const packetId = decodePacketId(reader)
  const properties = level === 5 ? decodeProperties(reader, PacketType.subscribe) : undefined
  const subscriptions: SubscriptionRequest[] = []
  while (reader.remaining > 0) {
    const filter = reader.string('topic filter') // [MQTT-3.8.3-1]
    subscriptions.push(decodeSubscriptionOptions(filter, reader.byte('subscription options'), level))
  }
  if (subscriptions.length === 0) throw new ProtocolError(ReasonCode.protocolError, 'SUBSCRIBE without a topic filter') // [MQTT-3.8.3-2]
  return { type: 'subscribe', packetId, subscriptions, properties }
}

function decodeSubscriptionOptions(filter: string, options: number, level: ProtocolLevel): SubscriptionRequest {
  const reservedBits = level === 5 ? 0xc0 : 0xfc
  if ((options & reservedBits) !== 0) throw malformed('reserved subscription options are set') // [MQTT-3.8.3-5]
  const qos = options & 0x03
  // Requested QoS 3 is a Protocol Error in MQTT 5 and malformed in 3.x; both close the connection.
  if (qos === 3) throw new ProtocolError(ReasonCode.protocolError, 'requested QoS is 3')
  const retainHandling = (options >> 4) & 0x03
  if (retainHandling === 3) throw new ProtocolError(ReasonCode.protocolError, 'Retain Handling is 3')
  return {
    filter,
    qos: qos as Qos,
    noLocal: (options & 0x04) !== 0,
    retainAsPublished: (options & 0x08) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  }
}

function decodeSuback(reader: ByteReader, level: ProtocolLevel): SubackPacket {
  const packetId = decodePacketId(reader)
  const properties = level === 5 ? decodeProperties(reader, PacketType.suback) : undefined
  if (reader.remaining === 0) throw malformed('SUBACK without a reason code')
  return { type: 'suback', packetId, reasonCodes: [...reader.rest()], properties }
}

function decodeUnsubscribe(reader: ByteReader, level: ProtocolLevel): UnsubscribePacket {
  const packetId = decodePacketId(reader)
  const properties = level === 5 ? decodeProperties(reader, PacketType.unsubscribe) : undefined
  const filters: string[] = []
  while (reader.remaining > 0) filters.push(reader.string('topic filter')) // [MQTT-3.10.3-1]
  if (filters.length === 0) throw new ProtocolError(ReasonCode.protocolError, 'UNSUBSCRIBE without a topic filter') // [MQTT-3.10.3-2]
  return { type: 'unsubscribe', packetId, filters, properties }
}

function decodeUnsuback(reader: ByteReader, level: ProtocolLevel): UnsubackPacket {
  const packetId = decodePacketId(reader)
  if (level !== 5) return { type: 'unsuback', packetId, reasonCodes: [] }
  const properties = decodeProperties(reader, PacketType.unsuback)
  if (reader.remaining === 0) throw malformed('UNSUBACK without a reason code')
  return { type: 'unsuback', packetId, reasonCodes: [...reader.rest()], properties }
}

function decodeDisconnect(reader: ByteReader, level: ProtocolLevel): Packet {
  if (level !== 5 || reader.remaining === 0) return { type: 'disconnect', reasonCode: 0 }
  const reasonCode = reader.byte('reason code')
  if (reader.remaining === 0) return { type: 'disconnect', reasonCode }
  return { type: 'disconnect', reasonCode, properties: decodeProperties(reader, PacketType.disconnect) }
}

/** [MQTT-3.14.2-1]: the Reason Codes that a client may put into DISCONNECT. */
export function isClientDisconnectReason(reasonCode: number): boolean {
  return reasonCodesOf.disconnectFromClient.has(reasonCode)
}

function decodeAuth(reader: ByteReader, level: ProtocolLevel): Packet {
  if (level !== 5) throw new ProtocolError(ReasonCode.protocolError, 'AUTH is not a packet of MQTT 3')
  if (reader.remaining === 0) return { type: 'auth', reasonCode: 0, properties: {} }
  const reasonCode = reader.byte('reason code')
  if (!reasonCodesOf.auth.has(reasonCode)) throw malformedReason('auth', reasonCode) // [MQTT-3.15.2-1]
  const properties: Properties = decodeProperties(reader, PacketType.auth)
  return { type: 'auth', reasonCode, properties }
}
