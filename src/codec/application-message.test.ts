// A PUBLISH read in place and written for its receivers, against the plain decoder and encoder.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  ApplicationMessage,
  createMessage,
  measurePublish,
  type PublishForm,
  parsePublish,
  rewriteTopic,
  rewrittenLengthLimit,
  writePublish,
} from './application-message.ts'
import { encodePacket } from './encode.ts'
import type { Qos } from './packet-types.ts'
import type { PublishPacket } from './packets.ts'
import type { Properties } from './properties.ts'

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }).filter((value) => !/[\0+#]/.test(value))
const topic = fc.oneof({ weight: 4, arbitrary: text }, { weight: 1, arbitrary: fc.constant('long/'.repeat(30)) })
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array))
const payload = fc.oneof(
  { weight: 4, arbitrary: bytes },
  { weight: 1, arbitrary: fc.integer({ min: 100, max: 17_000 }).map((length) => Buffer.alloc(length, 'x')) },
)
const optional = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined })
const properties: fc.Arbitrary<Properties> = fc.record({
  payloadFormatIndicator: optional(fc.constantFrom(0 as const, 1 as const)),
  messageExpiryInterval: optional(fc.nat(0xffff_ffff)),
  contentType: optional(text),
  responseTopic: optional(text),
  correlationData: optional(bytes),
  topicAlias: optional(fc.integer({ min: 1, max: 0xffff })),
  userProperties: optional(fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 })),
})
const publish = fc
  .record({
    topic,
    payload,
    qos: fc.constantFrom<Qos>(0, 1, 2),
    retain: fc.boolean(),
    isDuplicate: fc.boolean(),
    properties,
  })
  .map(
    ({ isDuplicate, ...rest }): PublishPacket => ({
      type: 'publish',
      ...rest,
      duplicate: isDuplicate && rest.qos > 0,
      packetId: rest.qos === 0 ? 0 : 0x1234,
    }),
  )

/** Parses the packet where a read buffer would have it: somewhere between others. */
function parse(packet: PublishPacket, level: 4 | 5): ApplicationMessage {
  const encoded = encodePacket(packet, level)
  const around = Buffer.alloc(encoded.length + 20, 0xee)
  encoded.copy(around, 7)
  let bodyStart = 8
  while (around[bodyStart] > 0x7f) bodyStart++
  const message = new ApplicationMessage()
  parsePublish(message, around, 7, bodyStart + 1, 7 + encoded.length, level === 5)
  return message
}

const present = (given: Properties) =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))

function assertSame(message: ApplicationMessage, packet: PublishPacket, level: 4 | 5): void {
  assert.equal(message.topic, packet.topic)
  assert.ok(message.payload.equals(packet.payload))
  assert.deepEqual([message.qos, message.retain], [packet.qos, packet.retain])
  assert.equal(message.payloadLength, packet.payload.length)
  assert.deepEqual(present(message.properties), level === 5 ? present(packet.properties ?? {}) : {})
  const expiry = level === 5 ? (packet.properties?.messageExpiryInterval ?? null) : null
  assert.equal(message.remainingExpirySeconds(message.receivedAtMs), expiry)
}

const level = fc.constantFrom(4 as const, 5 as const)

test('a packet is read as the plain decoder would read it, and its copy is the same', () => {
  fc.assert(
    fc.property(publish, level, (packet, version) => {
      const message = parse(packet, version)
      assertSame(message, packet, version)
      assert.equal(message.packetId, packet.packetId)
      assert.equal(message.duplicate, packet.duplicate)
      assert.equal(message.topicAlias, version === 5 ? (packet.properties?.topicAlias ?? 0) : 0)
      const copy = message.own()
      assert.equal(copy, message.own())
      message.buffer.fill(0)
      assertSame(copy, packet, version)
      assert.equal(copy.own(), copy)
    }),
  )
})

test('what is written for a receiver is what the plain encoder writes', () => {
  const form = fc.record({
    to: level,
    qos: fc.constantFrom<Qos>(0, 1, 2),
    retain: fc.boolean(),
    duplicate: fc.boolean(),
    identifiers: fc.option(fc.array(fc.integer({ min: 1, max: 0x0fff_ffff }), { minLength: 1, maxLength: 4 })),
    alias: fc.option(fc.integer({ min: 1, max: 0xffff })),
    usesKnownAlias: fc.boolean(),
    expirySeconds: fc.option(fc.nat(0xffff_ffff)),
    isOwned: fc.boolean(),
  })
  fc.assert(
    fc.property(publish, level, form, (given, from, wanted) => {
      const packet = { ...given, properties: { ...given.properties, topicAlias: undefined } }
      const parsed = parse(packet, from)
      const message = wanted.isOwned ? parsed.own() : parsed
      const isVersion5 = wanted.to === 5
      const duplicate = wanted.duplicate && wanted.qos > 0
      const alias = isVersion5 ? wanted.alias : null
      const topicIsLeftOut = alias !== null && wanted.usesKnownAlias
      const publishForm: PublishForm = {
        isVersion5,
        firstByte: 0x30 | (duplicate ? 8 : 0) | (wanted.qos << 1) | (wanted.retain ? 1 : 0),
        packetId: wanted.qos === 0 ? 0 : 777,
        subscriptionIdentifiers: isVersion5 ? wanted.identifiers : null,
        topicAlias: alias ?? 0,
        topicSkip: topicIsLeftOut ? Buffer.byteLength(packet.topic) : 0,
        expirySeconds: isVersion5 ? wanted.expirySeconds : null,
      }
      const length = measurePublish(message, publishForm)
      const target = Buffer.alloc(length + 10, 0xee)
      assert.equal(writePublish(target, 5, message, publishForm), 5 + length)
      assert.ok(target.subarray(0, 5).equals(Buffer.alloc(5, 0xee)) && target.at(-5) === 0xee)

      const written = target.subarray(5, 5 + length)
      const expectedProperties: Properties = from === 5 ? { ...packet.properties } : {}
      if (expectedProperties.messageExpiryInterval !== undefined && wanted.expirySeconds !== null) {
        expectedProperties.messageExpiryInterval = wanted.expirySeconds
      }
      expectedProperties.topicAlias = alias ?? undefined
      expectedProperties.subscriptionIdentifiers = wanted.identifiers ?? undefined
      const expected = {
        ...packet,
        topic: topicIsLeftOut ? '' : packet.topic,
        qos: wanted.qos,
        retain: wanted.retain,
        duplicate,
        packetId: publishForm.packetId,
        properties: expectedProperties,
      }
      // The order of different properties is free, so both are read again.
      const plain = encodePacket(expected, wanted.to)
      assert.equal(written.length, plain.length)
      assert.equal(written[0], plain[0])
      assert.deepEqual(read(written, isVersion5), read(plain, isVersion5))
    }),
    { numRuns: 300 },
  )
})

/** Everything of a PUBLISH that a server sent, by hand, because a parser of inbound ones refuses identifiers. */
function read(packet: Buffer, isVersion5: boolean): unknown {
  let at = 1
  while (packet[at] > 0x7f) at++
  at++
  const topicEnd = at + 2 + packet.readUInt16BE(at)
  const topic = packet.toString('utf8', at + 2, topicEnd)
  at = topicEnd
  const packetId = (packet[0] & 6) === 0 ? null : packet.readUInt16BE(at)
  if (packetId !== null) at += 2
  if (!isVersion5) return { topic, packetId, payload: packet.subarray(at).toString('hex') }
  let length = 0
  for (let shift = 0; ; shift += 7) {
    const byte = packet[at++]
    length |= (byte & 0x7f) << shift
    if (byte < 0x80) break
  }
  const end = at + length
  const found: string[] = []
  while (at < end) {
    const start = at
    const id = packet[at++]
    if (id === 0x01) at += 1
    else if (id === 0x02) at += 4
    else if (id === 0x23) at += 2
    else if (id === 0x0b) while (packet[at++] > 0x7f);
    else {
      at += 2 + packet.readUInt16BE(at)
      if (id === 0x26) at += 2 + packet.readUInt16BE(at)
    }
    found.push(packet.toString('hex', start, at))
  }
  // Those of one kind keep their order among each other.
  const byKind = found.map((one, index) => [one.slice(0, 2), index, one] as const)
  byKind.sort((a, b) => (a[0] === b[0] ? a[1] - b[1] : a[0] < b[0] ? -1 : 1))
  return { topic, packetId, found: byKind.map(([, , one]) => one), payload: packet.subarray(end).toString('hex') }
}

test('a message laid out anew has the other topic, no alias, and all else as it was', () => {
  fc.assert(
    fc.property(
      publish,
      level,
      fc.constantFrom('', 'tenant/', 'm/'.repeat(80)),
      topic,
      (packet, version, prefix, name) => {
        const message = parse(packet, version)
        const topicBytes = Buffer.from(`..${name}..`)
        const topicEnd = topicBytes.length - 2
        const limit = rewrittenLengthLimit(message, prefix.length + topicEnd - 2)
        const target = Buffer.alloc(limit + 10, 0xee)
        const end = rewriteTopic(message, Buffer.from(prefix), topicBytes, 2, topicEnd, target, 5)
        assert.ok(end <= 5 + limit && target[end] === 0xee && target[4] === 0xee)
        assert.deepEqual([message.packetStart, message.packetEnd, message.topicAlias], [5, end, 0])
        const expected = {
          ...packet,
          topic: prefix + name,
          properties: { ...packet.properties, topicAlias: undefined },
        }
        assertSame(message, expected, version)
        assert.equal(message.packetId, packet.packetId)
        // The bytes are a whole packet again.
        const again = new ApplicationMessage()
        let bodyStart = 6
        while (target[bodyStart] > 0x7f) bodyStart++
        parsePublish(again, target, 5, bodyStart + 1, end, version === 5)
        assertSame(again, expected, version)
        assertSame(again.own(), expected, version)
      },
    ),
    { numRuns: 200 },
  )
})

test('a message made here can be delivered like one that came in', () => {
  const message = createMessage('a/b', Buffer.from('x'), {
    qos: 2,
    retain: true,
    properties: { messageExpiryInterval: 10, contentType: 'text/plain' },
    nowMs: 5000,
  })
  assert.deepEqual([message.isOwned, message.topic, message.qos, message.retain], [true, 'a/b', 2, true])
  assert.equal(message.remainingExpirySeconds(5000), 10)
  assert.equal(message.remainingExpirySeconds(14_999), 1)
  assert.equal(message.hasExpired(14_999), false)
  assert.equal(message.hasExpired(15_000), true)
  assert.equal(createMessage('a', Buffer.alloc(0), { nowMs: 0 }).hasExpired(Number.MAX_SAFE_INTEGER), false)
})
