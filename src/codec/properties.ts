// The properties of MQTT 5 (chapter 2.2.2): one table says of each its identifier, type, name and the packets it may stand in.
import { ProtocolError } from '../base/errors.ts'
import { type ByteReader, malformed } from './byte-reader.ts'
import type { ByteWriter } from './byte-writer.ts'
import { ByteWriter as Writer } from './byte-writer.ts'
import { PacketType } from './packet-types.ts'
import { ReasonCode } from './reason-codes.ts'

/** Properties by name; what is absent is not in the packet. Orders of user properties and identifiers are kept. */
export interface Properties {
  payloadFormatIndicator?: number
  messageExpiryInterval?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Buffer
  subscriptionIdentifiers?: number[]
  sessionExpiryInterval?: number
  assignedClientIdentifier?: string
  serverKeepAlive?: number
  authenticationMethod?: string
  authenticationData?: Buffer
  requestProblemInformation?: number
  willDelayInterval?: number
  requestResponseInformation?: number
  responseInformation?: string
  serverReference?: string
  reasonString?: string
  receiveMaximum?: number
  topicAliasMaximum?: number
  topicAlias?: number
  maximumQos?: number
  retainAvailable?: number
  userProperties?: [string, string][]
  maximumPacketSize?: number
  wildcardSubscriptionAvailable?: number
  subscriptionIdentifierAvailable?: number
  sharedSubscriptionAvailable?: number
}

export type PropertyType = 'boolean' | 'byte' | 'uint16' | 'uint32' | 'variable' | 'string' | 'binary' | 'pair'

export interface PropertyRow {
  id: number
  name: keyof Properties
  type: PropertyType
  /** Bit `1 << packet type` for each packet that may carry it; bit 0 stands for the Will Properties. */
  allowedIn: number
  /** Zero is a Protocol Error. */
  isNonZero: boolean
}

/** Stands where a packet type is expected, for the Will Properties inside CONNECT. */
export const willPropertiesContext = 0

const T = PacketType
const everyAnswer = [T.connack, T.puback, T.pubrec, T.pubrel, T.pubcomp, T.suback, T.unsuback, T.disconnect, T.auth]

function row(
  id: number,
  name: keyof Properties,
  type: PropertyType,
  contexts: number[],
  isNonZero = false,
): PropertyRow {
  let allowedIn = 0
  for (const context of contexts) allowedIn |= 1 << context
  return { id, name, type, allowedIn, isNonZero }
}

export const propertyRows: readonly PropertyRow[] = [
  row(0x01, 'payloadFormatIndicator', 'boolean', [T.publish, willPropertiesContext]),
  row(0x02, 'messageExpiryInterval', 'uint32', [T.publish, willPropertiesContext]),
  row(0x03, 'contentType', 'string', [T.publish, willPropertiesContext]),
  row(0x08, 'responseTopic', 'string', [T.publish, willPropertiesContext]),
  row(0x09, 'correlationData', 'binary', [T.publish, willPropertiesContext]),
  row(0x0b, 'subscriptionIdentifiers', 'variable', [T.publish, T.subscribe], true),
  row(0x11, 'sessionExpiryInterval', 'uint32', [T.connect, T.connack, T.disconnect]),
  row(0x12, 'assignedClientIdentifier', 'string', [T.connack]),
  row(0x13, 'serverKeepAlive', 'uint16', [T.connack]),
  row(0x15, 'authenticationMethod', 'string', [T.connect, T.connack, T.auth]),
  row(0x16, 'authenticationData', 'binary', [T.connect, T.connack, T.auth]),
  row(0x17, 'requestProblemInformation', 'boolean', [T.connect]),
  row(0x18, 'willDelayInterval', 'uint32', [willPropertiesContext]),
  row(0x19, 'requestResponseInformation', 'boolean', [T.connect]),
  row(0x1a, 'responseInformation', 'string', [T.connack]),
  row(0x1c, 'serverReference', 'string', [T.connack, T.disconnect]),
  row(0x1f, 'reasonString', 'string', everyAnswer),
  row(0x21, 'receiveMaximum', 'uint16', [T.connect, T.connack], true),
  row(0x22, 'topicAliasMaximum', 'uint16', [T.connect, T.connack]),
  row(0x23, 'topicAlias', 'uint16', [T.publish]),
  row(0x24, 'maximumQos', 'boolean', [T.connack]),
  row(0x25, 'retainAvailable', 'boolean', [T.connack]),
  row(0x26, 'userProperties', 'pair', [
    ...everyAnswer,
    T.connect,
    T.publish,
    T.subscribe,
    T.unsubscribe,
    willPropertiesContext,
  ]),
  row(0x27, 'maximumPacketSize', 'uint32', [T.connect, T.connack], true),
  row(0x28, 'wildcardSubscriptionAvailable', 'boolean', [T.connack]),
  row(0x29, 'subscriptionIdentifierAvailable', 'boolean', [T.connack]),
  row(0x2a, 'sharedSubscriptionAvailable', 'boolean', [T.connack]),
]

const rowsById: (PropertyRow | undefined)[] = []
for (const entry of propertyRows) rowsById[entry.id] = entry

/**
 * Reads a property length and the properties that follow.
 * @param context a packet type, or `willPropertiesContext`
 * @throws ProtocolError 0x81 for what cannot stand there, 0x82 for one that comes twice or has a forbidden value
 */
export function decodeProperties(reader: ByteReader, context: number): Properties {
  const length = reader.variableByteInteger('property length')
  const end = reader.position + length
  if (end > reader.end) throw malformed('property length goes past the end of the packet')
  const properties: Properties = {}
  const values = properties as Record<string, unknown>
  while (reader.position < end) {
    const id = reader.variableByteInteger('property identifier')
    const entry = rowsById[id]
    if (entry === undefined || (entry.allowedIn & (1 << context)) === 0) {
      throw malformed(`property 0x${id.toString(16)} is not allowed here`)
    }
    if (entry.type === 'pair') {
      const name = reader.string('user property name') // [MQTT-1.5.7-1]
      const value = reader.string('user property value')
      properties.userProperties ??= []
      properties.userProperties.push([name, value])
    } else if (entry.id === 0x0b && context === PacketType.publish) {
      properties.subscriptionIdentifiers ??= []
      properties.subscriptionIdentifiers.push(readValue(reader, entry) as number)
    } else {
      if (values[entry.name] !== undefined) {
        throw new ProtocolError(ReasonCode.protocolError, `property ${entry.name} comes twice`)
      }
      const value = readValue(reader, entry)
      values[entry.name] = entry.id === 0x0b ? [value] : value
    }
    if (reader.position > end) throw malformed('a property goes past the property length')
  }
  return properties
}

function readValue(reader: ByteReader, entry: PropertyRow): unknown {
  switch (entry.type) {
    case 'boolean': {
      const value = reader.byte(entry.name)
      if (value > 1) throw new ProtocolError(ReasonCode.protocolError, `${entry.name} is neither 0 nor 1`)
      return value
    }
    case 'byte':
      return reader.byte(entry.name)
    case 'uint16':
      return nonZero(entry, reader.uint16(entry.name))
    case 'uint32':
      return nonZero(entry, reader.uint32(entry.name))
    case 'variable':
      return nonZero(entry, reader.variableByteInteger(entry.name))
    case 'binary':
      return reader.binary(entry.name)
    default:
      return reader.string(entry.name)
  }
}

function nonZero(entry: PropertyRow, value: number): number {
  if (value === 0 && entry.isNonZero) throw new ProtocolError(ReasonCode.protocolError, `${entry.name} is 0`)
  return value
}

/** Property length and properties, in the order of the table; user properties in their own order. [MQTT-2.2.2-1] */
export function encodeProperties(writer: ByteWriter, properties: Properties | undefined): void {
  if (properties === undefined) {
    writer.byte(0)
    return
  }
  const body = encodePropertyBytes(properties)
  writer.variableByteInteger(body.length).bytes(body)
}

/** The properties alone, without their length. */
export function encodePropertyBytes(properties: Properties): Buffer {
  const body = new Writer()
  for (const entry of propertyRows) {
    const value = properties[entry.name]
    if (value === undefined) continue
    if (entry.name === 'subscriptionIdentifiers') {
      for (const identifier of value as number[]) body.byte(entry.id).variableByteInteger(identifier)
    } else if (entry.name === 'userProperties') {
      for (const [name, text] of value as [string, string][]) body.byte(entry.id).string(name).string(text)
    } else {
      body.byte(entry.id)
      writeValue(body, entry, value)
    }
  }
  return body.body()
}

function writeValue(writer: ByteWriter, entry: PropertyRow, value: unknown): void {
  switch (entry.type) {
    case 'boolean':
    case 'byte':
      writer.byte(value as number)
      break
    case 'uint16':
      writer.uint16(value as number)
      break
    case 'uint32':
      writer.uint32(value as number)
      break
    case 'variable':
      writer.variableByteInteger(value as number)
      break
    case 'binary':
      writer.binary(value as Buffer)
      break
    default:
      writer.string(value as string)
  }
}
