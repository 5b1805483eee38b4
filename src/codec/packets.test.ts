import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ProtocolError } from '../base/errors.ts'
import { decodePacket } from './decode.ts'
import { encodePacket } from './encode.ts'
import { PacketType, type ProtocolLevel, type Qos } from './packet-types.ts'
import type { Packet, SubscriptionRequest } from './packets.ts'
import { type Properties, propertyRows, willPropertiesContext } from './properties.ts'

const levels: ProtocolLevel[] = [3, 4, 5]

const text = fc
  .string({ unit: 'binary', maxLength: 12 })
  .filter((value) => value.isWellFormed() && !value.includes('\0'))
const bytes = fc.uint8Array({ maxLength: 20 }).map((value) => Buffer.from(value))
const packetId = fc.integer({ min: 1, max: 0xffff })
const qos = fc.constantFrom<Qos>(0, 1, 2)

/** Any properties that may stand in `context`. */
function propertiesFor(context: number): fc.Arbitrary<Properties> {
  const fields: Record<string, fc.Arbitrary<unknown>> = {}
  for (const { name, type, allowedIn, isNonZero } of propertyRows) {
    if ((allowedIn & (1 << context)) === 0) continue
    const least = isNonZero ? 1 : 0
    if (name === 'userProperties') fields[name] = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 })
    else if (name === 'subscriptionIdentifiers') {
      const maxLength = context === PacketType.publish ? 3 : 1
      fields[name] = fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength })
    } else if (type === 'string') fields[name] = text
    else if (type === 'binary') fields[name] = bytes
    else {
      const most = type === 'boolean' ? 1 : type === 'uint16' ? 0xffff : 0xffff_ffff
      fields[name] = fc.integer({ min: least, max: most })
    }
  }
  return fc.record(fields, { requiredKeys: [] }) as fc.Arbitrary<Properties>
}

/** `properties` as a decoder gives them: only in MQTT 5, and left out where an empty list may be left out. */
function withProperties(level: ProtocolLevel, context: number, isOptional: boolean) {
  if (level !== 5) return fc.constant(undefined)
  const some = propertiesFor(context)
  return isOptional ? some.map((properties) => (Object.keys(properties).length === 0 ? undefined : properties)) : some
}

function packetsOf(level: ProtocolLevel): fc.Arbitrary<Packet> {
  const properties5 = (context: number): fc.Arbitrary<Properties> =>
    level === 5 ? propertiesFor(context) : fc.constant({})
  const connect = fc
    .record({
      type: fc.constant('connect' as const),
      level: fc.constant(level),
      cleanStart: fc.boolean(),
      keepAliveSeconds: fc.integer({ min: 0, max: 0xffff }),
      clientId: text,
      will: fc.option(
        fc.record({
          topic: text,
          payload: bytes,
          qos,
          retain: fc.boolean(),
          properties: properties5(willPropertiesContext),
        }),
      ),
      username: fc.option(text),
      password: fc.option(bytes),
      properties: properties5(PacketType.connect),
    })
    .filter(({ username, password, properties }) => {
      if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) return false
      return level === 5 || username !== null || password === null
    })
  const connack = fc.record({
    type: fc.constant('connack' as const),
    sessionPresent: fc.boolean(),
    reasonCode: fc.integer({ min: 0, max: 255 }),
    properties: withProperties(level, PacketType.connack, false),
  })
  const publish = fc
    .record({
      type: fc.constant('publish' as const),
      topic: text,
      payload: bytes,
      qos,
      retain: fc.boolean(),
      duplicate: fc.boolean(),
      packetId,
      properties: withProperties(level, PacketType.publish, false),
    })
    .map((packet) => (packet.qos === 0 ? { ...packet, packetId: 0, duplicate: false } : packet))
  const acknowledgement = fc
    .constantFrom('puback' as const, 'pubrec' as const, 'pubrel' as const, 'pubcomp' as const)
    .chain((type) =>
      fc.record({
        type: fc.constant(type),
        packetId,
        reasonCode:
          level === 5 ? fc.constantFrom(0, type === 'puback' || type === 'pubrec' ? 0x97 : 0x92) : fc.constant(0),
        properties: withProperties(level, PacketType[type], true),
      }),
    )
  const subscription: fc.Arbitrary<SubscriptionRequest> = fc.record({
    filter: text,
    qos,
    noLocal: level === 5 ? fc.boolean() : fc.constant(false),
    retainAsPublished: level === 5 ? fc.boolean() : fc.constant(false),
    retainHandling: level === 5 ? fc.constantFrom<0 | 1 | 2>(0, 1, 2) : fc.constant(0 as const),
  })
  const codes = fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 4 })
  const rest: fc.Arbitrary<Packet>[] = [
    fc.record({
      type: fc.constant('subscribe' as const),
      packetId,
      subscriptions: fc.array(subscription, { minLength: 1, maxLength: 3 }),
      properties: withProperties(level, PacketType.subscribe, false),
    }),
    fc.record({
      type: fc.constant('suback' as const),
      packetId,
      reasonCodes: codes,
      properties: withProperties(level, PacketType.suback, false),
    }),
    fc.record({
      type: fc.constant('unsubscribe' as const),
      packetId,
      filters: fc.array(text, { minLength: 1, maxLength: 3 }),
      properties: withProperties(level, PacketType.unsubscribe, false),
    }),
    fc.record({
      type: fc.constant('unsuback' as const),
      packetId,
      reasonCodes: level === 5 ? codes : fc.constant<number[]>([]),
      properties: withProperties(level, PacketType.unsuback, false),
    }),
    fc.constant({ type: 'pingreq' }),
    fc.constant({ type: 'pingresp' }),
    fc.record({
      type: fc.constant('disconnect' as const),
      reasonCode: level === 5 ? fc.integer({ min: 0, max: 255 }) : fc.constant(0),
      properties: withProperties(level, PacketType.disconnect, true),
    }),
  ]
  if (level === 5) {
    rest.push(
      fc.record({
        type: fc.constant('auth' as const),
        reasonCode: fc.constantFrom(0, 0x18, 0x19),
        properties: propertiesFor(PacketType.auth).map((properties) => ({ authenticationMethod: 'x', ...properties })),
      }),
    )
  }
  return fc.oneof(connect, connack, publish, acknowledgement, ...rest)
}

function bodyStartOf(encoded: Buffer): number {
  let at = 1
  while (encoded[at] >= 0x80) at++
  return at + 1
}

/** Absent and undefined are one to whoever reads a packet. */
function plain(value: unknown): unknown {
  if (Buffer.isBuffer(value) || typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(plain)
  const known = Object.entries(value).filter(([, field]) => field !== undefined)
  return Object.fromEntries(known.map(([name, field]) => [name, plain(field)]))
}

for (const level of levels) {
  test(`level ${level}: every packet comes back as it was written`, () => {
    fc.assert(
      fc.property(packetsOf(level), (packet) => {
        const encoded = encodePacket(packet, level)
        const start = bodyStartOf(encoded)
        assert.deepEqual(plain(decodePacket(encoded[0], encoded, start, encoded.length, level)), plain(packet))
      }),
      { numRuns: 1000 },
    )
  })

  test(`level ${level}: a packet stands anywhere in a chunk, and its fields outlive the chunk`, () => {
    fc.assert(
      fc.property(packetsOf(level), fc.integer({ min: 0, max: 9 }), (packet, before) => {
        const encoded = encodePacket(packet, level)
        const chunk = Buffer.concat([Buffer.alloc(before, 0xff), encoded, Buffer.alloc(7, 0xff)])
        const start = before + bodyStartOf(encoded)
        const decoded = decodePacket(encoded[0], chunk, start, before + encoded.length, level)
        chunk.fill(0)
        assert.deepEqual(plain(decoded), plain(packet))
      }),
    )
  })

  test(`level ${level}: a packet cut at any byte is a ProtocolError or a shorter packet, never another error`, () => {
    fc.assert(
      fc.property(packetsOf(level), (packet) => {
        const encoded = encodePacket(packet, level)
        const start = bodyStartOf(encoded)
        for (let end = start; end < encoded.length; end++) {
          expectPacketOrProtocolError(encoded[0], encoded, start, end, level)
        }
      }),
      { numRuns: 300 },
    )
  })

  test(`level ${level}: any bytes are a packet or a ProtocolError`, () => {
    const firstByte = fc.integer({ min: 0, max: 255 })
    fc.assert(
      fc.property(firstByte, fc.uint8Array({ maxLength: 64 }), (first, body) => {
        expectPacketOrProtocolError(first, Buffer.from(body), 0, body.length, level)
      }),
      { numRuns: 5000 },
    )
  })

  test(`level ${level}: a packet with changed bytes is a packet or a ProtocolError`, () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(packetsOf(level), fc.array(change, { minLength: 1, maxLength: 4 }), (packet, changes) => {
        const encoded = encodePacket(packet, level)
        const start = bodyStartOf(encoded)
        if (start === encoded.length) return
        for (const [at, value] of changes) encoded[start + (at % (encoded.length - start))] = value
        expectPacketOrProtocolError(encoded[0], encoded, start, encoded.length, level)
      }),
      { numRuns: 2000 },
    )
  })
}

function expectPacketOrProtocolError(first: number, buffer: Buffer, start: number, end: number, level: ProtocolLevel) {
  try {
    decodePacket(first, buffer, start, end, level)
  } catch (error) {
    assert.ok(error instanceof ProtocolError, String(error))
    assert.ok(error.reasonCode >= 0x80)
  }
}
