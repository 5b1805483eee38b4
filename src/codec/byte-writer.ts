// Writes the fields of one packet into a buffer that grows. For control packets; the way of a PUBLISH has its own writer.
import { assert } from '../base/errors.ts'

export const largestVariableByteInteger = 268_435_455

export function variableByteIntegerLength(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4
}

/** Room before the body for a fixed header. */
const headerBytes = 5

export class ByteWriter {
  #buffer = Buffer.allocUnsafe(64)
  #length = headerBytes

  #grow(extra: number): number {
    const start = this.#length
    const needed = start + extra
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2))
      this.#buffer.copy(larger, 0, 0, start)
      this.#buffer = larger
    }
    this.#length = needed
    return start
  }

  byte(value: number): this {
    const at = this.#grow(1)
    this.#buffer[at] = value
    return this
  }

  uint16(value: number): this {
    const at = this.#grow(2)
    this.#buffer.writeUInt16BE(value, at)
    return this
  }

  uint32(value: number): this {
    const at = this.#grow(4)
    this.#buffer.writeUInt32BE(value, at)
    return this
  }

  variableByteInteger(value: number): this {
    assert(value >= 0 && value <= largestVariableByteInteger, 'a variable byte integer fits into four bytes')
    let rest = value
    do {
      this.byte(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest)
      rest >>>= 7
    } while (rest > 0)
    return this
  }

  string(value: string): this {
    const length = Buffer.byteLength(value)
    assert(length <= 0xffff, 'a string has at most 65535 bytes')
    this.uint16(length)
    const at = this.#grow(length)
    this.#buffer.write(value, at, 'utf8')
    return this
  }

  binary(value: Uint8Array): this {
    assert(value.length <= 0xffff, 'binary data has at most 65535 bytes')
    return this.uint16(value.length).bytes(value)
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length)
    this.#buffer.set(value, at)
    return this
  }

  /** What was written. */
  body(): Buffer {
    return this.#buffer.subarray(headerBytes, this.#length)
  }

  /** What was written as the body of a packet, with the fixed header before it. */
  packet(firstByte: number): Buffer {
    let rest = this.#length - headerBytes
    assert(rest <= largestVariableByteInteger, 'a Remaining Length fits into four bytes')
    const start = headerBytes - 1 - variableByteIntegerLength(rest)
    let at = start
    this.#buffer[at++] = firstByte
    while (rest > 0x7f) {
      this.#buffer[at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#buffer[at] = rest
    return this.#buffer.subarray(start, this.#length)
  }
}
