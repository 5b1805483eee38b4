// Records as keys and values in bytes. A key begins with the kind of record, then numbers in big-endian, so that bytes sort as
// numbers do; names stand at the end, and a name too long for a key is replaced by its SHA-256. A value begins with the version
// of its layout and ends with a checksum over key and value. Knows no engine.
import { createHash } from 'node:crypto'
import { checksumOf } from './checksum.ts'
import type { DeliveryRecord, MessageRecord, SessionRecord, SubscriptionRecord } from './store.ts'

/** First byte of a key. What others point to comes before what points to it. */
export const recordKind = {
  meta: 1,
  session: 2,
  subscription: 3,
  inbound: 4,
  message: 5,
  delivery: 6,
  retained: 7,
  /** A deleted Session of which parts are left. */
  leftover: 8,
} as const

export type RecordKind = (typeof recordKind)[keyof typeof recordKind]

/** Version of the layouts below; grows with every change of one of them. What changed: 2, deliveries tell the size of their packet. */
export const formatVersion = 3

/** Longest name that stands in a key as it is; LMDB takes keys of 1978 bytes. */
const longestPlainName = 512
const plainName = 0
const hashedName = 1
const checksumBytes = 4
/** Where the packet begins in the value of a message: behind version, flags and time. */
const messagePacketAt = 10
/** Up to here a loop copies sooner than a call. */
const shortBytes = 192
/** In the flags of a delivery. */
const releasedFlag = 8

/** A record as it is stored; both parts are views of a buffer of the encoder. */
export interface EncodedRecord {
  readonly key: Buffer
  readonly value: Buffer
}

/**
 * Encodes records one behind the other into large buffers. They stay valid until `reset`, which uses the first buffer again.
 */
export class RecordEncoder {
  readonly #first = Buffer.allocUnsafeSlow(65536)
  #bytes = this.#first
  #position = 0

  reset(): void {
    this.#bytes = this.#first
    this.#position = 0
  }

  meta(version: number, nextSessionNumber: number, nextMessageNumber: number): EncodedRecord {
    const start = this.#room(64)
    this.#byte(recordKind.meta)
    const split = this.#position
    this.#byte(version)
    this.#double(nextSessionNumber)
    this.#double(nextMessageNumber)
    return this.#end(start, split)
  }

  session(record: SessionRecord): EncodedRecord {
    const { clientId, username, group, listener, mountPoint, will, maybeSentBefore } = record
    const names = clientId.length + (username?.length ?? 0) + (group?.length ?? 0) + listener.length + mountPoint.length
    const start = this.#room(128 + 3 * names + (will?.packet.length ?? 0))
    this.#sessionKey(recordKind.session, record.sessionNumber)
    const split = this.#position
    this.#byte(formatVersion)
    const present = (username === null ? 0 : 1) | (group === null ? 0 : 8)
    const hasMaybeSent = maybeSentBefore === 0 ? 0 : 16
    this.#byte(present | hasMaybeSent | (record.detachedAtMs === null ? 0 : 2) | (will === null ? 0 : 4))
    this.#byte(record.level)
    this.#double(record.expirySeconds)
    if (record.detachedAtMs !== null) this.#double(record.detachedAtMs)
    this.#string(clientId)
    if (username !== null) this.#string(username)
    if (group !== null) this.#string(group)
    this.#string(listener)
    this.#string(mountPoint)
    if (maybeSentBefore !== 0) this.#double(maybeSentBefore)
    if (will !== null) {
      this.#double(will.delaySeconds)
      this.#raw(will.packet)
    }
    return this.#end(start, split)
  }

  subscription(sessionNumber: number, record: SubscriptionRecord): EncodedRecord {
    const { filter, shareName, identifier } = record
    const start = this.#room(128 + longestPlainName + 3 * (filter.length + (shareName?.length ?? 0)))
    this.#subscriptionKey(sessionNumber, filter, shareName)
    const split = this.#position
    this.#byte(formatVersion)
    this.#byte((shareName === null ? 0 : 1) | (identifier === null ? 0 : 2))
    this.#byte(record.options)
    if (identifier !== null) this.#uint32(identifier)
    if (shareName !== null) this.#string(shareName)
    this.#string(filter)
    return this.#end(start, split)
  }

  inbound(sessionNumber: number, packetId: number): EncodedRecord {
    const start = this.#room(64)
    this.#inboundKey(sessionNumber, packetId)
    const split = this.#position
    this.#byte(formatVersion)
    return this.#end(start, split)
  }

  message(messageNumber: number, record: MessageRecord): EncodedRecord {
    const start = this.#room(64 + record.packet.length)
    this.#byte(recordKind.message)
    this.#uint64(messageNumber)
    return this.#message(start, record, null)
  }

  retained(topic: string, record: MessageRecord): EncodedRecord {
    const start = this.#room(64 + longestPlainName + 3 * topic.length + record.packet.length)
    this.#byte(recordKind.retained)
    return this.#message(start, record, this.#nameKey(topic) ? null : topic)
  }

  delivery(sessionNumber: number, order: number, record: DeliveryRecord): EncodedRecord {
    const { identifiers, share } = record
    const shareLength = share === null ? 0 : 3 * (share.shareName.length + share.filter.length)
    const start = this.#room(64 + 4 * (identifiers?.length ?? 0) + shareLength)
    this.#deliveryKey(sessionNumber, order)
    const split = this.#position
    this.#byte(formatVersion)
    // What has a fixed place comes first: it is read alone when deliveries are tallied.
    this.#double(record.messageNumber)
    const flags = (record.retain ? 4 : 0) | (record.isReleased ? releasedFlag : 0)
    this.#byte(record.qos | flags | (identifiers === null ? 0 : 16) | (share === null ? 0 : 32))
    this.#uint16(record.packetId)
    this.#uint32(record.sizeBytes)
    if (identifiers !== null) {
      this.#uint32(identifiers.length)
      for (const identifier of identifiers) this.#uint32(identifier)
    }
    if (share !== null) {
      this.#string(share.shareName)
      this.#string(share.filter)
    }
    return this.#end(start, split)
  }

  leftover(sessionNumber: number): EncodedRecord {
    const start = this.#room(64)
    this.#sessionKey(recordKind.leftover, sessionNumber)
    const split = this.#position
    this.#byte(formatVersion)
    return this.#end(start, split)
  }

  sessionKey(kind: RecordKind, sessionNumber: number): Buffer {
    const start = this.#room(64)
    this.#sessionKey(kind, sessionNumber)
    return this.#bytes.subarray(start, this.#position)
  }

  subscriptionKey(sessionNumber: number, filter: string, shareName: string | null): Buffer {
    const start = this.#room(64 + longestPlainName)
    this.#subscriptionKey(sessionNumber, filter, shareName)
    return this.#bytes.subarray(start, this.#position)
  }

  inboundKey(sessionNumber: number, packetId: number): Buffer {
    const start = this.#room(64)
    this.#inboundKey(sessionNumber, packetId)
    return this.#bytes.subarray(start, this.#position)
  }

  messageKey(messageNumber: number): Buffer {
    const start = this.#room(64)
    this.#byte(recordKind.message)
    this.#uint64(messageNumber)
    return this.#bytes.subarray(start, this.#position)
  }

  retainedKey(topic: string): Buffer {
    const start = this.#room(64 + longestPlainName)
    this.#byte(recordKind.retained)
    this.#nameKey(topic)
    return this.#bytes.subarray(start, this.#position)
  }

  /** `name`: null if the key holds it. */
  #message(start: number, record: MessageRecord, name: string | null): EncodedRecord {
    const split = this.#position
    this.#byte(formatVersion)
    this.#byte((record.isVersion5 ? 1 : 0) | (name === null ? 0 : 2))
    this.#double(record.receivedAtMs)
    if (name !== null) this.#string(name)
    this.#raw(record.packet)
    return this.#end(start, split)
  }

  #sessionKey(kind: RecordKind, sessionNumber: number): void {
    this.#byte(kind)
    this.#uint48(sessionNumber)
  }

  #subscriptionKey(sessionNumber: number, filter: string, shareName: string | null): void {
    this.#sessionKey(recordKind.subscription, sessionNumber)
    // The length of the share name keeps `a` + `b/c` and `a/b` + `c` apart.
    this.#uint32(shareName === null ? 0xffffffff : shareName.length)
    this.#nameKey(shareName === null ? filter : shareName + filter)
  }

  #inboundKey(sessionNumber: number, packetId: number): void {
    this.#sessionKey(recordKind.inbound, sessionNumber)
    this.#uint16(packetId)
  }

  #deliveryKey(sessionNumber: number, order: number): void {
    this.#sessionKey(recordKind.delivery, sessionNumber)
    this.#uint64(order)
  }

  /** Whether the name stands in the key as it is. */
  #nameKey(name: string): boolean {
    if (name.length <= longestPlainName && Buffer.byteLength(name) <= longestPlainName) {
      this.#byte(plainName)
      this.#position += this.#bytes.write(name, this.#position)
      return true
    }
    this.#byte(hashedName)
    this.#position += createHash('sha256').update(name).digest().copy(this.#bytes, this.#position)
    return false
  }

  #end(start: number, split: number): EncodedRecord {
    const bytes = this.#bytes
    this.#uint32(checksumOf(bytes, start, this.#position))
    return { key: bytes.subarray(start, split), value: bytes.subarray(split, this.#position) }
  }

  /** Makes room for a record; views that were given out before keep their own buffer. */
  #room(length: number): number {
    if (this.#position + length > this.#bytes.length) {
      this.#bytes = Buffer.allocUnsafeSlow(Math.max(this.#first.length, length))
      this.#position = 0
    }
    return this.#position
  }

  #byte(value: number): void {
    this.#bytes[this.#position++] = value
  }

  #uint16(value: number): void {
    this.#position = this.#bytes.writeUInt16BE(value, this.#position)
  }

  #uint32(value: number): void {
    this.#position = this.#bytes.writeUInt32BE(value, this.#position)
  }

  #uint48(value: number): void {
    this.#position = this.#bytes.writeUIntBE(value, this.#position, 6)
  }

  #uint64(value: number): void {
    this.#position = writeUint64(this.#bytes, value, this.#position)
  }

  #double(value: number): void {
    this.#position = this.#bytes.writeDoubleBE(value, this.#position)
  }

  #string(value: string): void {
    const length = this.#bytes.write(value, this.#position + 4)
    this.#bytes.writeUInt32BE(length, this.#position)
    this.#position += 4 + length
  }

  #raw(value: Buffer): void {
    this.#position += value.copy(this.#bytes, this.#position)
  }
}

/** The key of a message or a delivery, in the same bytes each time. */
export class NumberKey {
  readonly bytes = Buffer.alloc(15)
  length = 0

  message(messageNumber: number): this {
    this.bytes[0] = recordKind.message
    writeUint64(this.bytes, messageNumber, 1)
    this.length = 9
    return this
  }

  delivery(sessionNumber: number, order: number): this {
    this.bytes[0] = recordKind.delivery
    this.bytes.writeUIntBE(sessionNumber, 1, 6)
    writeUint64(this.bytes, order, 7)
    this.length = 15
    return this
  }
}

/** Whether key and value are what was written, and of a layout that is known. */
export function isIntact(key: Buffer, value: Buffer): boolean {
  return isIntactAt(key, 0, key.length, value, value.length)
}

/** The same where the key is a part of a buffer, and the value the beginning of one. */
export function isIntactAt(
  keys: Buffer,
  keyStart: number,
  keyEnd: number,
  value: Buffer,
  valueLength: number,
): boolean {
  const end = valueLength - checksumBytes
  if (end < 1) return false
  return checksumOf(value, 0, end, checksumOf(keys, keyStart, keyEnd)) === value.readUInt32BE(end)
}

const keyBytes: Readonly<Record<RecordKind, readonly [least: number, most: number]>> = {
  [recordKind.meta]: [1, 1],
  [recordKind.session]: [7, 7],
  [recordKind.subscription]: [12, 12 + longestPlainName],
  [recordKind.inbound]: [9, 9],
  [recordKind.message]: [9, 9],
  [recordKind.delivery]: [15, 15],
  [recordKind.retained]: [2, 2 + longestPlainName],
  [recordKind.leftover]: [7, 7],
}

/** Whether a damaged record may have been one of these: its key looks so, or was never written. */
export function mayBeRecord(key: Buffer): boolean {
  const kind = key.length === 0 ? 0 : key[0]
  if (kind === 0) return true
  const [least, most] = keyBytes[kind as RecordKind] ?? [1, 0]
  return key.length >= least && key.length <= most
}

export function decodeMeta(value: Buffer): { version: number; nextSessionNumber: number; nextMessageNumber: number } {
  return { version: value[0], nextSessionNumber: value.readDoubleBE(1), nextMessageNumber: value.readDoubleBE(9) }
}

/** Of a session, subscription, inbound, delivery or leftover key. */
export function sessionNumberOf(key: Buffer): number {
  return key.readUIntBE(1, 6)
}

/** @param start where the key begins in `key` */
export function messageNumberOf(key: Buffer, start = 0): number {
  return readUint64(key, start + 1)
}

export function packetIdOf(key: Buffer): number {
  return key.readUInt16BE(7)
}

/** @param start where the key begins in `key` */
export function orderOf(key: Buffer, start = 0): number {
  return readUint64(key, start + 7)
}

/** The message that the value of a delivery points to; null for one that is released. */
export function referenceOf(value: Buffer): number | null {
  return value[9] & releasedFlag ? null : value.readDoubleBE(1)
}

/** Of the value of a delivery: the size of its packet, -1 if it is in flight; null where the layout does not tell. */
export function queuedBytesOf(value: Buffer): number | null {
  if (value.readUInt16BE(10) !== 0) return -1
  return value[0] === 1 ? null : value.readUInt32BE(12)
}

export function decodeSession(key: Buffer, value: Buffer): SessionRecord {
  const reader = new ValueReader(value)
  const flags = reader.byte()
  // In the order in which they are written.
  return {
    sessionNumber: sessionNumberOf(key),
    level: reader.byte(),
    expirySeconds: reader.double(),
    detachedAtMs: flags & 2 ? reader.double() : null,
    clientId: reader.string(),
    username: flags & 1 ? reader.string() : null,
    group: flags & 8 ? reader.string() : null,
    listener: reader.string(),
    mountPoint: reader.string(),
    maybeSentBefore: flags & 16 ? reader.double() : 0,
    will: flags & 4 ? { delaySeconds: reader.double(), packet: reader.rest() } : null,
  }
}

export function decodeSubscription(value: Buffer): SubscriptionRecord {
  const reader = new ValueReader(value)
  const flags = reader.byte()
  const options = reader.byte()
  const identifier = flags & 2 ? reader.uint32() : null
  const shareName = flags & 1 ? reader.string() : null
  return { filter: reader.string(), shareName, options, identifier }
}

export function decodeMessage(value: Buffer): MessageRecord {
  const reader = new ValueReader(value)
  const flags = reader.byte()
  const receivedAtMs = reader.double()
  return { isVersion5: (flags & 1) !== 0, receivedAtMs, packet: reader.rest() }
}

/** The same of a value that is the beginning of `bytes`: the packet is a copy. */
export function decodeMessageAt(bytes: Buffer, valueLength: number): MessageRecord {
  const packet = copyOf(bytes, messagePacketAt, valueLength - checksumBytes)
  return { isVersion5: (bytes[1] & 1) !== 0, receivedAtMs: bytes.readDoubleBE(2), packet }
}

/** Short ones lie together in memory, as those of messages that were never stored do. */
function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start)
  if (copy.length > shortBytes) bytes.copy(copy, 0, start, end)
  else for (let index = 0; index < copy.length; index++) copy[index] = bytes[start + index]
  return copy
}

export function decodeRetained(key: Buffer, value: Buffer): { topic: string; message: MessageRecord } {
  const reader = new ValueReader(value)
  const flags = reader.byte()
  const receivedAtMs = reader.double()
  const topic = flags & 2 ? reader.string() : key.toString('utf8', 2)
  return { topic, message: { isVersion5: (flags & 1) !== 0, receivedAtMs, packet: reader.rest() } }
}

export function decodeDelivery(value: Buffer): DeliveryRecord {
  const reader = new ValueReader(value)
  const messageNumber = reader.double()
  const flags = reader.byte()
  const packetId = reader.uint16()
  const sizeBytes = value[0] === 1 ? 0 : reader.uint32()
  const identifiers = flags & 16 ? Array.from({ length: reader.uint32() }, () => reader.uint32()) : null
  const share = flags & 32 ? { shareName: reader.string(), filter: reader.string() } : null
  const qos = (flags & 3) as DeliveryRecord['qos']
  const isReleased = (flags & releasedFlag) !== 0
  return { messageNumber, sizeBytes, qos, retain: (flags & 4) !== 0, identifiers, share, packetId, isReleased }
}

/** By hand: every message has its keys written a few times. */
function writeUint64(bytes: Buffer, value: number, position: number): number {
  const high = Math.floor(value / 0x1_0000_0000)
  const low = value >>> 0
  bytes[position] = high >>> 24
  bytes[position + 1] = high >>> 16
  bytes[position + 2] = high >>> 8
  bytes[position + 3] = high
  bytes[position + 4] = low >>> 24
  bytes[position + 5] = low >>> 16
  bytes[position + 6] = low >>> 8
  bytes[position + 7] = low
  return position + 8
}

function readUint64(bytes: Buffer, position: number): number {
  return bytes.readUInt32BE(position) * 0x1_0000_0000 + bytes.readUInt32BE(position + 4)
}

/** Reads a value behind its version; the checksum has been looked at before. */
class ValueReader {
  readonly #value: Buffer
  #position = 1

  constructor(value: Buffer) {
    this.#value = value
  }

  byte(): number {
    return this.#value[this.#position++]
  }

  uint16(): number {
    this.#position += 2
    return this.#value.readUInt16BE(this.#position - 2)
  }

  uint32(): number {
    this.#position += 4
    return this.#value.readUInt32BE(this.#position - 4)
  }

  double(): number {
    this.#position += 8
    return this.#value.readDoubleBE(this.#position - 8)
  }

  string(): string {
    const length = this.uint32()
    this.#position += length
    return this.#value.toString('utf8', this.#position - length, this.#position)
  }

  /** The bytes up to the checksum, as a view. */
  rest(): Buffer {
    return this.#value.subarray(this.#position, this.#value.length - checksumBytes)
  }
}
