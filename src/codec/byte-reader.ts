// Reads the fields of one packet in place; anything that does not fit is a ProtocolError 0x81. Knows no packet type.
import { ProtocolError } from '../base/errors.ts'
import { ReasonCode } from './reason-codes.ts'
import { isValidUtf8 } from './utf8.ts'

export function malformed(what: string): ProtocolError {
  return new ProtocolError(ReasonCode.malformedPacket, what)
}

export class ByteReader {
  readonly buffer: Buffer
  position: number
  readonly end: number

  constructor(buffer: Buffer, start: number, end: number) {
    this.buffer = buffer
    this.position = start
    this.end = end
  }

  get remaining(): number {
    return this.end - this.position
  }

  #take(length: number, what: string): number {
    const start = this.position
    if (start + length > this.end) throw malformed(`${what} is cut short`)
    this.position = start + length
    return start
  }

  byte(what: string): number {
    return this.buffer[this.#take(1, what)]
  }

  uint16(what: string): number {
    return this.buffer.readUInt16BE(this.#take(2, what))
  }

  uint32(what: string): number {
    return this.buffer.readUInt32BE(this.#take(4, what))
  }

  /** [MQTT-1.5.5-1]: the shortest form only, four bytes at most. */
  variableByteInteger(what: string): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte(what)
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) throw malformed(`${what} is not in its shortest form`)
        return value
      }
    }
    throw malformed(`${what} has more than four bytes`)
  }

  string(what: string): string {
    const length = this.uint16(what)
    const start = this.#take(length, what)
    if (!isValidUtf8(this.buffer, start, this.position)) throw malformed(`${what} is not valid UTF-8`)
    return this.buffer.toString('utf8', start, this.position)
  }

  /** A copy: the buffer that is read from is used again for other bytes. */
  binary(what: string): Buffer {
    const length = this.uint16(what)
    const start = this.#take(length, what)
    return Buffer.from(this.buffer.subarray(start, this.position))
  }

  rest(): Buffer {
    const start = this.position
    this.position = this.end
    return Buffer.from(this.buffer.subarray(start, this.end))
  }

  expectEnd(what: string): void {
    if (this.position !== this.end) throw malformed(`${what} is longer than its fields`)
  }
}
