// Finds the key of a large value whose record is lost: such a value has pages of its own, and its checksum covers the key. What a
// retained message belongs to stands in its packet; a message has its number from the deliveries that still wait for it. Knows no file.
import { crc32 } from 'node:zlib'
import { isIntact, RecordEncoder } from './record-codec.ts'

const fixedBytes = 10
const checksumBytes = 4
const longestTopicBytes = 65_535
/** Work that is spent on finding the numbers of messages: some seconds. */
const mostBytes = 4 * 1024 ** 3

/** The value of a message or retained message that begins here, without what follows it on its pages; null if there is none. */
export function messageValueIn(bytes: Buffer): Buffer | null {
  const packetStart = packetStartIn(bytes)
  if (packetStart === null) return null
  let length = 0
  let position = packetStart + 1
  for (let shift = 0; ; shift += 7) {
    if (shift > 21 || position >= bytes.length) return null
    const byte = bytes[position++]
    length += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) break
  }
  const end = position + length + checksumBytes
  return end > bytes.length ? null : bytes.subarray(0, end)
}

function packetStartIn(bytes: Buffer): number | null {
  if (bytes.length < fixedBytes + 8 || bytes[1] > 3) return null
  if ((bytes[1] & 2) === 0) return fixedBytes
  const topicBytes = bytes.readUInt32BE(fixedBytes)
  const start = fixedBytes + 4 + topicBytes
  return topicBytes > longestTopicBytes || start + 4 > bytes.length ? null : start
}

/** The key of the retained message with this value; null if it is none. */
export function retainedKeyOf(value: Buffer): Buffer | null {
  const start = packetStartIn(value)
  if (start === null || value[start] >> 4 !== 3) return null
  let position = start + 1
  while (position < value.length && value[position] > 0x7f) position++
  const topicStart = position + 3
  if (topicStart > value.length) return null
  const topicEnd = topicStart + value.readUInt16BE(position + 1)
  if (topicEnd > value.length) return null
  const key = new RecordEncoder().retainedKey(value.toString('utf8', topicStart, topicEnd))
  return isIntact(key, value) ? key : null
}

/** The keys of messages that are wanted, to be recognised by the checksums of their values. */
export class WantedMessages {
  readonly #keys: readonly Buffer[]
  /** By the length of a value: what the key adds to its checksum, which is linear in both. */
  readonly #byLength = new Map<number, Map<number, Buffer>>()
  #roomBytes = mostBytes

  constructor(keys: readonly Buffer[]) {
    this.#keys = keys
  }

  /** null if none of them has this value. */
  keyOf(value: Buffer): Buffer | null {
    const length = value.length - checksumBytes
    const zeros = Buffer.alloc(length)
    const shares = this.#byLength.get(length) ?? this.#sharesOf(zeros)
    const share = (value.readUInt32BE(length) ^ crc32(value.subarray(0, length)) ^ crc32(zeros)) >>> 0
    const key = shares.get(share)
    return key !== undefined && isIntact(key, value) ? key : null
  }

  #sharesOf(zeros: Buffer): Map<number, Buffer> {
    const shares = new Map<number, Buffer>()
    this.#roomBytes -= zeros.length * this.#keys.length
    if (this.#roomBytes > 0) for (const key of this.#keys) shares.set(crc32(zeros, crc32(key)), key)
    this.#byLength.set(zeros.length, shares)
    return shares
  }
}
