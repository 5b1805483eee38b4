// MQTT on the wire, seen from outside: builds any packet of protocol levels 3, 4 and 5 byte by byte, broken ones included,
// and decodes what a broker sends, refusing everything the specification does not allow a server to send.
// Written from the specification alone: it must never import the product, or both would share their mistakes.
//
// Building:   connect({ level: 5, clientId: 'a' })   publish({ level: 5, topic: 't', qos: 1, packetId: 7, payload: 'x' })
//             packet({ type: 3, flags: 0x06, body: Buffer, remainingLength: 3 })    for deliberately malformed ones
// Properties: an ordered list, [[P.receiveMaximum, 10], [P.userProperty, ['k', 'v']], rawBytes]; repeats are written as given.
// Decoding:   decode(level, bytes) → { type: 'PUBLISH', topic, payload, properties: [[id, value] …], … }; throws WireError.
//             property(packet, P.receiveMaximum) → the value or undefined; properties(packet, P.userProperty) → all of them.

/** 3 is MQTT 3.1 (protocol name MQIsdp), 4 is 3.1.1, 5 is 5. */
export type Level = 3 | 4 | 5
export type Qos = 0 | 1 | 2

/** Property identifiers of MQTT 5, section 2.2.2.2. */
export const P = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiryInterval: 0x11,
  assignedClientIdentifier: 0x12,
  serverKeepAlive: 0x13,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelayInterval: 0x18,
  requestResponseInformation: 0x19,
  responseInformation: 0x1a,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  maximumQos: 0x24,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
  wildcardSubscriptionAvailable: 0x28,
  subscriptionIdentifierAvailable: 0x29,
  sharedSubscriptionAvailable: 0x2a,
} as const

type PropertyKind = 'byte' | 'u16' | 'u32' | 'varint' | 'string' | 'binary' | 'pair'

const PROPERTY_KINDS = new Map<number, PropertyKind>([
  [0x01, 'byte'],
  [0x02, 'u32'],
  [0x03, 'string'],
  [0x08, 'string'],
  [0x09, 'binary'],
  [0x0b, 'varint'],
  [0x11, 'u32'],
  [0x12, 'string'],
  [0x13, 'u16'],
  [0x15, 'string'],
  [0x16, 'binary'],
  [0x17, 'byte'],
  [0x18, 'u32'],
  [0x19, 'byte'],
  [0x1a, 'string'],
  [0x1c, 'string'],
  [0x1f, 'string'],
  [0x21, 'u16'],
  [0x22, 'u16'],
  [0x23, 'u16'],
  [0x24, 'byte'],
  [0x25, 'byte'],
  [0x26, 'pair'],
  [0x27, 'u32'],
  [0x28, 'byte'],
  [0x29, 'byte'],
  [0x2a, 'byte'],
])

/** Text, or the raw bytes in its place where a test wants invalid UTF-8. */
export type Text = string | Buffer
export type PropertyValue = number | Text | [Text, Text]
/** `[id, value]`, or bytes that are put into the property list as they are. */
export type Property = [number, PropertyValue] | Buffer

export const TYPE = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const

// ---------------------------------------------------------------------------------------------------------- building

export function varint(value: number): Buffer {
  const bytes: number[] = []
  do {
    const digit = value % 128
    value = Math.floor(value / 128)
    bytes.push(value > 0 ? digit | 0x80 : digit)
  } while (value > 0)
  return Buffer.from(bytes)
}

export function u16(value: number): Buffer {
  return Buffer.from([(value >> 8) & 0xff, value & 0xff])
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** Two bytes of length, then the bytes: a UTF-8 Encoded String or Binary Data. */
export function lengthPrefixed(value: Text): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value
  return Buffer.concat([u16(bytes.length), bytes])
}

/** What goes on the wire for a fixed header and a body; `remainingLength` lies about the body's length where it is given. */
export function packet(options: {
  type: number
  flags?: number
  body?: Buffer
  remainingLength?: number | Buffer
}): Buffer {
  const body = options.body ?? Buffer.alloc(0)
  const length = options.remainingLength ?? body.length
  return Buffer.concat([
    Buffer.from([(options.type << 4) | (options.flags ?? 0)]),
    typeof length === 'number' ? varint(length) : length,
    body,
  ])
}

function encodeProperty(property: Property): Buffer {
  if (Buffer.isBuffer(property)) return property
  const [id, value] = property
  const head = varint(id)
  const kind = PROPERTY_KINDS.get(id)
  switch (kind) {
    case 'byte':
      return Buffer.concat([head, Buffer.from([value as number])])
    case 'u16':
      return Buffer.concat([head, u16(value as number)])
    case 'u32':
      return Buffer.concat([head, u32(value as number)])
    case 'varint':
      return Buffer.concat([head, varint(value as number)])
    case 'string':
    case 'binary':
      return Buffer.concat([head, lengthPrefixed(value as Text)])
    case 'pair': {
      const [name, text] = value as [Text, Text]
      return Buffer.concat([head, lengthPrefixed(name), lengthPrefixed(text)])
    }
    default:
      throw new Error(`property 0x${id.toString(16)} is not one of MQTT 5: give its raw bytes instead`)
  }
}

/** Property Length and the properties; `declaredLength` replaces the true length. */
export function propertyList(list: Property[] = [], declaredLength?: number | Buffer): Buffer {
  const body = Buffer.concat(list.map(encodeProperty))
  const length = declaredLength ?? body.length
  return Buffer.concat([typeof length === 'number' ? varint(length) : length, body])
}

export interface WillOptions {
  topic: Text
  payload?: Text
  qos?: number
  retain?: boolean
  properties?: Property[]
}

export interface ConnectOptions {
  level?: Level
  clientId?: Text
  /** Clean Start of MQTT 5, Clean Session of 3.x; default true. */
  cleanStart?: boolean
  keepAliveSeconds?: number
  username?: Text
  password?: Text
  will?: WillOptions
  properties?: Property[]
  /** Replaces the Protocol Name. */
  protocolName?: Text
  /** Replaces the Protocol Version byte. */
  protocolLevel?: number
  /** Replaces the Connect Flags byte that follows from the other options. */
  connectFlags?: number
  /** Replaces everything after the variable header. */
  rawPayload?: Buffer
  /** Put after the payload. */
  trailing?: Buffer
  propertyLength?: number | Buffer
  fixedFlags?: number
  remainingLength?: number | Buffer
}

export function connect(options: ConnectOptions = {}): Buffer {
  const level = options.level ?? 5
  const { will, username, password } = options
  let connectFlags = 0
  if (options.cleanStart ?? true) connectFlags |= 0x02
  if (will) connectFlags |= 0x04 | ((will.qos ?? 0) << 3) | (will.retain ? 0x20 : 0)
  if (password !== undefined) connectFlags |= 0x40
  if (username !== undefined) connectFlags |= 0x80
  const payload: Buffer[] = [lengthPrefixed(options.clientId ?? '')]
  if (will) {
    if (level === 5) payload.push(propertyList(will.properties))
    payload.push(lengthPrefixed(will.topic), lengthPrefixed(will.payload ?? ''))
  }
  if (username !== undefined) payload.push(lengthPrefixed(username))
  if (password !== undefined) payload.push(lengthPrefixed(password))
  const body = Buffer.concat([
    lengthPrefixed(options.protocolName ?? (level === 3 ? 'MQIsdp' : 'MQTT')),
    Buffer.from([options.protocolLevel ?? level, options.connectFlags ?? connectFlags]),
    u16(options.keepAliveSeconds ?? 0),
    level === 5 ? propertyList(options.properties, options.propertyLength) : Buffer.alloc(0),
    options.rawPayload ?? Buffer.concat(payload),
    options.trailing ?? Buffer.alloc(0),
  ])
  return packet({ type: TYPE.CONNECT, flags: options.fixedFlags, body, remainingLength: options.remainingLength })
}

export interface PublishOptions {
  level?: Level
  topic: Text
  payload?: Text
  qos?: number
  retain?: boolean
  dup?: boolean
  /** Written whenever it is given, whatever the QoS; left out otherwise. */
  packetId?: number
  properties?: Property[]
  propertyLength?: number | Buffer
  /** Replaces the flags that follow from dup, qos and retain. */
  fixedFlags?: number
  remainingLength?: number | Buffer
}

export function publish(options: PublishOptions): Buffer {
  const level = options.level ?? 5
  const flags = (options.dup ? 8 : 0) | ((options.qos ?? 0) << 1) | (options.retain ? 1 : 0)
  const payload = options.payload ?? ''
  const body = Buffer.concat([
    lengthPrefixed(options.topic),
    options.packetId === undefined ? Buffer.alloc(0) : u16(options.packetId),
    level === 5 ? propertyList(options.properties, options.propertyLength) : Buffer.alloc(0),
    typeof payload === 'string' ? Buffer.from(payload, 'utf8') : payload,
  ])
  return packet({
    type: TYPE.PUBLISH,
    flags: options.fixedFlags ?? flags,
    body,
    remainingLength: options.remainingLength,
  })
}

export interface AckOptions {
  level?: Level
  packetId: number
  /** Level 5; left out together with the properties when neither is given. */
  reasonCode?: number
  properties?: Property[]
  propertyLength?: number | Buffer
  trailing?: Buffer
  fixedFlags?: number
  remainingLength?: number | Buffer
}

function acknowledgement(type: number, flags: number, options: AckOptions): Buffer {
  const parts = [u16(options.packetId)]
  if ((options.level ?? 5) === 5) {
    const hasProperties = options.properties !== undefined || options.propertyLength !== undefined
    if (options.reasonCode !== undefined || hasProperties) parts.push(Buffer.from([options.reasonCode ?? 0]))
    if (hasProperties) parts.push(propertyList(options.properties, options.propertyLength))
  }
  if (options.trailing) parts.push(options.trailing)
  return packet({
    type,
    flags: options.fixedFlags ?? flags,
    body: Buffer.concat(parts),
    remainingLength: options.remainingLength,
  })
}

export function puback(options: AckOptions): Buffer {
  return acknowledgement(TYPE.PUBACK, 0, options)
}

export function pubrec(options: AckOptions): Buffer {
  return acknowledgement(TYPE.PUBREC, 0, options)
}

export function pubrel(options: AckOptions): Buffer {
  return acknowledgement(TYPE.PUBREL, 2, options)
}

export function pubcomp(options: AckOptions): Buffer {
  return acknowledgement(TYPE.PUBCOMP, 0, options)
}

export interface FilterOptions {
  filter: Text
  qos?: number
  noLocal?: boolean
  retainAsPublished?: boolean
  retainHandling?: number
  /** Replaces the Subscription Options byte. */
  options?: number
}

export interface SubscribeOptions {
  level?: Level
  packetId: number
  filters: FilterOptions[]
  properties?: Property[]
  propertyLength?: number | Buffer
  trailing?: Buffer
  fixedFlags?: number
  remainingLength?: number | Buffer
}

export function subscribe(options: SubscribeOptions): Buffer {
  const level = options.level ?? 5
  const parts = [u16(options.packetId)]
  if (level === 5) parts.push(propertyList(options.properties, options.propertyLength))
  for (const entry of options.filters) {
    let bits = entry.qos ?? 0
    if (entry.noLocal) bits |= 4
    if (entry.retainAsPublished) bits |= 8
    bits |= (entry.retainHandling ?? 0) << 4
    parts.push(lengthPrefixed(entry.filter), Buffer.from([entry.options ?? bits]))
  }
  if (options.trailing) parts.push(options.trailing)
  return packet({
    type: TYPE.SUBSCRIBE,
    flags: options.fixedFlags ?? 2,
    body: Buffer.concat(parts),
    remainingLength: options.remainingLength,
  })
}

export interface UnsubscribeOptions {
  level?: Level
  packetId: number
  filters: Text[]
  properties?: Property[]
  propertyLength?: number | Buffer
  trailing?: Buffer
  fixedFlags?: number
  remainingLength?: number | Buffer
}

export function unsubscribe(options: UnsubscribeOptions): Buffer {
  const parts = [u16(options.packetId)]
  if ((options.level ?? 5) === 5) parts.push(propertyList(options.properties, options.propertyLength))
  for (const filter of options.filters) parts.push(lengthPrefixed(filter))
  if (options.trailing) parts.push(options.trailing)
  return packet({
    type: TYPE.UNSUBSCRIBE,
    flags: options.fixedFlags ?? 2,
    body: Buffer.concat(parts),
    remainingLength: options.remainingLength,
  })
}

export function pingreq(): Buffer {
  return packet({ type: TYPE.PINGREQ })
}

export interface ReasonOptions {
  level?: Level
  reasonCode?: number
  properties?: Property[]
  propertyLength?: number | Buffer
  trailing?: Buffer
  fixedFlags?: number
  remainingLength?: number | Buffer
}

function reasonPacket(type: number, options: ReasonOptions): Buffer {
  const parts: Buffer[] = []
  if ((options.level ?? 5) === 5) {
    const hasProperties = options.properties !== undefined || options.propertyLength !== undefined
    if (options.reasonCode !== undefined || hasProperties) parts.push(Buffer.from([options.reasonCode ?? 0]))
    if (hasProperties) parts.push(propertyList(options.properties, options.propertyLength))
  }
  if (options.trailing) parts.push(options.trailing)
  return packet({
    type,
    flags: options.fixedFlags ?? 0,
    body: Buffer.concat(parts),
    remainingLength: options.remainingLength,
  })
}

/** Without options: the two bytes of a normal disconnection, as in 3.x. */
export function disconnect(options: ReasonOptions = {}): Buffer {
  return reasonPacket(TYPE.DISCONNECT, options)
}

export function auth(options: ReasonOptions = {}): Buffer {
  return reasonPacket(TYPE.AUTH, options)
}

// ---------------------------------------------------------------------------------------------------------- decoding

export type DecodedValue = number | string | Buffer | [string, string]
export type DecodedProperty = [number, DecodedValue]

interface PacketBase {
  flags: number
  properties: DecodedProperty[]
  /** The whole packet, fixed header included. */
  bytes: Buffer
}

export interface ConnackPacket extends PacketBase {
  type: 'CONNACK'
  sessionPresent: boolean
  /** The Return Code in 3.x. */
  reasonCode: number
}

export interface PublishPacket extends PacketBase {
  type: 'PUBLISH'
  dup: boolean
  qos: Qos
  retain: boolean
  topic: string
  /** null with QoS 0. */
  packetId: number | null
  payload: Buffer
}

export interface AckPacket<T extends 'PUBACK' | 'PUBREC' | 'PUBREL' | 'PUBCOMP'> extends PacketBase {
  type: T
  packetId: number
  reasonCode: number
}

export interface SubackPacket extends PacketBase {
  type: 'SUBACK'
  packetId: number
  reasonCodes: number[]
}

export interface UnsubackPacket extends PacketBase {
  type: 'UNSUBACK'
  packetId: number
  /** Empty in 3.x. */
  reasonCodes: number[]
}

export interface PingrespPacket extends PacketBase {
  type: 'PINGRESP'
}

export interface DisconnectPacket extends PacketBase {
  type: 'DISCONNECT'
  reasonCode: number
}

export interface AuthPacket extends PacketBase {
  type: 'AUTH'
  reasonCode: number
}

/** Everything a server may send. */
export type ServerPacket =
  | ConnackPacket
  | PublishPacket
  | AckPacket<'PUBACK'>
  | AckPacket<'PUBREC'>
  | AckPacket<'PUBREL'>
  | AckPacket<'PUBCOMP'>
  | SubackPacket
  | UnsubackPacket
  | PingrespPacket
  | DisconnectPacket
  | AuthPacket

export type ServerPacketType = ServerPacket['type']
export type PacketOf<T extends ServerPacketType> = Extract<ServerPacket, { type: T }>

/** The broker has sent something a server must not send. */
export class WireError extends Error {
  override readonly name = 'WireError'
}

const PROPERTIES_FROM_SERVER: Record<string, number[]> = {
  CONNACK: [
    P.sessionExpiryInterval,
    P.receiveMaximum,
    P.maximumQos,
    P.retainAvailable,
    P.maximumPacketSize,
    P.assignedClientIdentifier,
    P.topicAliasMaximum,
    P.reasonString,
    P.userProperty,
    P.wildcardSubscriptionAvailable,
    P.subscriptionIdentifierAvailable,
    P.sharedSubscriptionAvailable,
    P.serverKeepAlive,
    P.responseInformation,
    P.serverReference,
    P.authenticationMethod,
    P.authenticationData,
  ],
  PUBLISH: [
    P.payloadFormatIndicator,
    P.messageExpiryInterval,
    P.topicAlias,
    P.responseTopic,
    P.correlationData,
    P.userProperty,
    P.subscriptionIdentifier,
    P.contentType,
  ],
  PUBACK: [P.reasonString, P.userProperty],
  PUBREC: [P.reasonString, P.userProperty],
  PUBREL: [P.reasonString, P.userProperty],
  PUBCOMP: [P.reasonString, P.userProperty],
  SUBACK: [P.reasonString, P.userProperty],
  UNSUBACK: [P.reasonString, P.userProperty],
  // [MQTT-3.14.2-2] a server never sends Session Expiry Interval here
  DISCONNECT: [P.reasonString, P.userProperty, P.serverReference],
  AUTH: [P.authenticationMethod, P.authenticationData, P.reasonString, P.userProperty],
}

const REASONS_FROM_SERVER: Record<string, number[]> = {
  CONNACK: [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b,
    0x9c, 0x9d, 0x9f,
  ],
  PUBACK: [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  PUBREC: [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  PUBREL: [0x00, 0x92],
  PUBCOMP: [0x00, 0x92],
  SUBACK: [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
  UNSUBACK: [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91],
  // 0x04 is for clients only
  DISCONNECT: [
    0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
    0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
  ],
  // 0x19 is for clients only
  AUTH: [0x00, 0x18],
}

const hex = (value: number): string => `0x${value.toString(16).padStart(2, '0')}`

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Reads fields in order from one packet's body; every read past its end is the sender's fault. */
class FieldReader {
  readonly #bytes: Buffer
  readonly #type: string
  #at = 0

  constructor(type: string, bytes: Buffer) {
    this.#type = type
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  fail(what: string): never {
    throw new WireError(`${this.#type} from the broker: ${what}; body ${this.#bytes.toString('hex')}`)
  }

  take(count: number, what: string): Buffer {
    if (count > this.left) this.fail(`${what} goes past the end of the packet`)
    const part = this.#bytes.subarray(this.#at, this.#at + count)
    this.#at += count
    return part
  }

  byte(what: string): number {
    return this.take(1, what)[0]
  }

  u16(what: string): number {
    return this.take(2, what).readUInt16BE()
  }

  u32(what: string): number {
    return this.take(4, what).readUInt32BE()
  }

  varint(what: string): number {
    let value = 0
    for (let index = 0; index < 4; index++) {
      const byte = this.byte(what)
      value += (byte & 0x7f) * 128 ** index
      if (byte < 0x80) {
        if (index > 0 && byte === 0) this.fail(`${what} is not minimal`) // [MQTT-1.5.5-1]
        return value
      }
    }
    return this.fail(`${what} has more than four bytes`)
  }

  binary(what: string): Buffer {
    return Buffer.from(this.take(this.u16(what), what))
  }

  string(what: string): string {
    const bytes = this.binary(what)
    let text: string
    try {
      text = strictUtf8.decode(bytes)
    } catch {
      return this.fail(`${what} is not UTF-8`)
    }
    if (text.includes('\0')) this.fail(`${what} contains U+0000`)
    return text
  }

  packetId(): number {
    const id = this.u16('packet identifier')
    if (id === 0) this.fail('packet identifier is 0')
    return id
  }

  properties(): DecodedProperty[] {
    const length = this.varint('property length')
    if (length > this.left) this.fail('property length goes past the end of the packet')
    const end = this.left - length
    const allowed = PROPERTIES_FROM_SERVER[this.#type] ?? []
    const seen = new Set<number>()
    const list: DecodedProperty[] = []
    while (this.left > end) {
      const id = this.varint('property identifier')
      if (!allowed.includes(id)) this.fail(`property ${hex(id)} is not allowed`)
      const repeats = id === P.userProperty || (id === P.subscriptionIdentifier && this.#type === 'PUBLISH')
      if (seen.has(id) && !repeats) this.fail(`property ${hex(id)} is given twice`)
      seen.add(id)
      list.push([id, this.#value(id)])
      if (this.left < end) this.fail(`property ${hex(id)} goes past the property length`)
    }
    return list
  }

  #value(id: number): DecodedValue {
    const what = `property ${hex(id)}`
    switch (PROPERTY_KINDS.get(id)) {
      case 'byte': {
        const value = this.byte(what)
        if (value > 1) this.fail(`${what} is ${value}, neither 0 nor 1`)
        return value
      }
      case 'u16': {
        const value = this.u16(what)
        const isNeverZero = id === P.receiveMaximum || id === P.topicAlias
        if (isNeverZero && value === 0) this.fail(`${what} is 0`)
        return value
      }
      case 'u32': {
        const value = this.u32(what)
        if (id === P.maximumPacketSize && value === 0) this.fail(`${what} is 0`)
        return value
      }
      case 'varint': {
        const value = this.varint(what)
        if (value === 0) this.fail(`${what} is 0`)
        return value
      }
      case 'binary':
        return this.binary(what)
      case 'pair':
        return [this.string(what), this.string(what)]
      default:
        return this.string(what)
    }
  }

  end(): void {
    if (this.left > 0) this.fail(`${this.left} bytes are left over`)
  }
}

function checkReason(reader: FieldReader, type: string, reasonCode: number): number {
  if (!REASONS_FROM_SERVER[type].includes(reasonCode)) reader.fail(`reason code ${hex(reasonCode)} is not listed`)
  return reasonCode
}

/**
 * Lengths of the first packet in `bytes`; null while its fixed header is not complete.
 * Throws WireError for a remaining length that is no variable byte integer.
 */
export function packetExtent(bytes: Buffer): { headerLength: number; length: number } | null {
  let value = 0
  for (let index = 1; index <= 4; index++) {
    if (bytes.length <= index) return null
    const byte = bytes[index]
    value += (byte & 0x7f) * 128 ** (index - 1)
    if (byte < 0x80) {
      if (index > 1 && byte === 0) throw new WireError('remaining length from the broker is not minimal')
      return { headerLength: index + 1, length: index + 1 + value }
    }
  }
  throw new WireError('remaining length from the broker has more than four bytes')
}

/** Decodes exactly one whole packet that a server has sent; throws WireError for whatever a server must not send. */
export function decode(level: Level, bytes: Buffer): ServerPacket {
  const typeNumber = bytes[0] >> 4
  const flags = bytes[0] & 0x0f
  const extent = packetExtent(bytes)
  if (extent?.length !== bytes.length) throw new WireError(`not one whole packet: ${bytes.toString('hex')}`)
  const body = bytes.subarray(extent.headerLength)
  const typeName = Object.entries(TYPE).find(([, number]) => number === typeNumber)?.[0] ?? `type ${typeNumber}`
  const reader = new FieldReader(typeName, body)
  const base = { flags, bytes, properties: [] as DecodedProperty[] }
  const requireFlags = (expected: number): void => {
    if (flags !== expected) reader.fail(`flags are ${flags}, not ${expected}`) // [MQTT-2.1.3-1]
  }
  const finish = <T>(decoded: T): T => {
    reader.end()
    return decoded
  }
  switch (typeName) {
    case 'CONNACK': {
      requireFlags(0)
      const acknowledgeFlags = reader.byte('acknowledge flags')
      if (acknowledgeFlags > 1) reader.fail(`acknowledge flags are ${hex(acknowledgeFlags)}`) // [MQTT-3.2.2-1]
      const reasonCode = reader.byte('reason code')
      if (level === 5) checkReason(reader, typeName, reasonCode)
      else if (reasonCode > 5) reader.fail(`return code ${reasonCode} is not one of 3.x`)
      const sessionPresent = acknowledgeFlags === 1
      if (level === 3 && sessionPresent) reader.fail('Session Present does not exist in 3.1')
      if (sessionPresent && reasonCode !== 0) reader.fail('Session Present in a refusal') // [MQTT-3.2.2-6]
      const properties = level === 5 ? reader.properties() : []
      return finish({ ...base, type: 'CONNACK', sessionPresent, reasonCode, properties })
    }
    case 'PUBLISH': {
      const qos = (flags >> 1) & 3
      if (qos === 3) reader.fail('QoS 3') // [MQTT-3.3.1-4]
      const dup = (flags & 8) !== 0
      if (dup && qos === 0) reader.fail('DUP with QoS 0') // [MQTT-3.3.1-2]
      const topic = reader.string('topic')
      if (/[+#]/.test(topic)) reader.fail(`topic ${JSON.stringify(topic)} has a wildcard`) // [MQTT-3.3.2-2]
      const packetId = qos === 0 ? null : reader.packetId()
      const properties = level === 5 ? reader.properties() : []
      if (topic === '' && !properties.some(([id]) => id === P.topicAlias)) reader.fail('neither topic nor alias')
      const responseTopic = properties.find(([id]) => id === P.responseTopic)?.[1]
      if (typeof responseTopic === 'string' && /[+#]/.test(responseTopic)) reader.fail('wildcard in Response Topic')
      const payload = Buffer.from(reader.take(reader.left, 'payload'))
      const retain = (flags & 1) !== 0
      return { ...base, type: 'PUBLISH', dup, qos: qos as Qos, retain, topic, packetId, properties, payload }
    }
    case 'PUBACK':
    case 'PUBREC':
    case 'PUBREL':
    case 'PUBCOMP': {
      requireFlags(typeName === 'PUBREL' ? 2 : 0)
      const packetId = reader.packetId()
      let reasonCode = 0
      let properties: DecodedProperty[] = []
      if (level === 5 && reader.left > 0) reasonCode = checkReason(reader, typeName, reader.byte('reason code'))
      if (level === 5 && reader.left > 0) properties = reader.properties()
      return finish({ ...base, type: typeName, packetId, reasonCode, properties } as ServerPacket)
    }
    case 'SUBACK':
    case 'UNSUBACK': {
      requireFlags(0)
      const packetId = reader.packetId()
      const properties = level === 5 ? reader.properties() : []
      const reasonCodes = [...reader.take(reader.left, 'reason codes')]
      if (level === 5) for (const code of reasonCodes) checkReason(reader, typeName, code)
      else if (typeName === 'UNSUBACK' && reasonCodes.length > 0) reader.fail('reason codes do not exist in 3.x')
      else if (reasonCodes.some((code) => code > 2 && code !== 0x80)) reader.fail('unknown return code')
      return { ...base, type: typeName, packetId, properties, reasonCodes }
    }
    case 'PINGRESP':
      requireFlags(0)
      return finish({ ...base, type: 'PINGRESP' })
    case 'DISCONNECT':
    case 'AUTH': {
      if (level !== 5) reader.fail('a server of 3.x never sends this')
      requireFlags(0)
      let reasonCode = 0
      let properties: DecodedProperty[] = []
      if (reader.left > 0) reasonCode = checkReason(reader, typeName, reader.byte('reason code'))
      if (reader.left > 0) properties = reader.properties()
      return finish({ ...base, type: typeName, reasonCode, properties })
    }
    default:
      return reader.fail('a server never sends this type')
  }
}

/** Value of the first property with this identifier. */
export function property(decoded: { properties: DecodedProperty[] }, id: number): DecodedValue | undefined {
  return decoded.properties.find(([candidate]) => candidate === id)?.[1]
}

/** Values of all properties with this identifier, in their order on the wire. */
export function properties(decoded: { properties: DecodedProperty[] }, id: number): DecodedValue[] {
  return decoded.properties.filter(([candidate]) => candidate === id).map(([, value]) => value)
}
