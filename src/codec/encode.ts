// Packet object -> bytes. The way of a PUBLISH through the broker has its own writer in application-message.ts.
import { ByteWriter, variableByteIntegerLength } from './byte-writer.ts'
import { PacketType, type ProtocolLevel, requiredFlags } from './packet-types.ts'
import type { ConnectPacket, Packet } from './packets.ts'
import { encodeProperties, type Properties } from './properties.ts'

export function encodePacket(packet: Packet, level: ProtocolLevel): Buffer {
  const body = new ByteWriter()
  let flags = requiredFlags(PacketType[packet.type])
  switch (packet.type) {
    case 'connect':
      encodeConnect(body, packet)
      break
    case 'connack':
      body.byte(packet.sessionPresent ? 1 : 0).byte(packet.reasonCode)
      if (level === 5) encodeProperties(body, packet.properties)
      break
    case 'publish':
      flags = (packet.duplicate ? 8 : 0) | (packet.qos << 1) | (packet.retain ? 1 : 0)
      body.string(packet.topic)
      if (packet.qos > 0) body.uint16(packet.packetId)
      if (level === 5) encodeProperties(body, packet.properties)
      body.bytes(packet.payload)
      break
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      body.uint16(packet.packetId)
      if (level === 5) encodeReason(body, packet.reasonCode, packet.properties)
      break
    case 'subscribe':
      body.uint16(packet.packetId)
      if (level === 5) encodeProperties(body, packet.properties)
      for (const { filter, qos, noLocal, retainAsPublished, retainHandling } of packet.subscriptions) {
        body.string(filter)
        body.byte(level === 5 ? qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4) : qos)
      }
      break
    case 'suback':
      body.uint16(packet.packetId)
      if (level === 5) encodeProperties(body, packet.properties)
      for (const code of packet.reasonCodes) body.byte(code)
      break
    case 'unsubscribe':
      body.uint16(packet.packetId)
      if (level === 5) encodeProperties(body, packet.properties)
      for (const filter of packet.filters) body.string(filter)
      break
    case 'unsuback':
      body.uint16(packet.packetId)
      if (level === 5) {
        encodeProperties(body, packet.properties)
        for (const code of packet.reasonCodes) body.byte(code)
      }
      break
    case 'disconnect':
    case 'auth':
      if (level === 5) encodeReason(body, packet.reasonCode, packet.properties)
      break
    case 'pingreq':
    case 'pingresp':
      break
  }
  return body.packet((PacketType[packet.type] << 4) | flags)
}

/** Reason Code and properties, each left out where the specification lets the default be implied. */
function encodeReason(body: ByteWriter, reasonCode: number, properties: Properties | undefined): void {
  const hasProperties = properties !== undefined && Object.values(properties).some((value) => value !== undefined)
  if (reasonCode === 0 && !hasProperties) return
  body.byte(reasonCode)
  if (hasProperties) encodeProperties(body, properties)
}

function encodeConnect(body: ByteWriter, packet: ConnectPacket): void {
  const { will } = packet
  let flags = packet.cleanStart ? 0x02 : 0
  if (will !== null) flags |= 0x04 | (will.qos << 3) | (will.retain ? 0x20 : 0)
  if (packet.password !== null) flags |= 0x40
  if (packet.username !== null) flags |= 0x80
  body
    .string(packet.level === 3 ? 'MQIsdp' : 'MQTT')
    .byte(packet.level)
    .byte(flags)
    .uint16(packet.keepAliveSeconds)
  if (packet.level === 5) encodeProperties(body, packet.properties)
  body.string(packet.clientId) // [MQTT-3.1.3-1]
  if (will !== null) {
    if (packet.level === 5) encodeProperties(body, will.properties)
    body.string(will.topic).binary(will.payload)
  }
  if (packet.username !== null) body.string(packet.username)
  if (packet.password !== null) body.binary(packet.password)
}

/** Bytes of a whole packet with a body of `bodyLength` bytes. */
export function packetLength(bodyLength: number): number {
  return 1 + variableByteIntegerLength(bodyLength) + bodyLength
}
