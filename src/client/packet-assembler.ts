// Cuts the bytes of a server into whole packets, however the network split or joined them. Knows nothing inside a packet.
import { ProtocolError } from '../base/errors.ts'
import { malformed } from '../codec/byte-reader.ts'
import { ReasonCode } from '../codec/reason-codes.ts'

/** Gets one whole packet: its first byte, and the body at [start, end) of `buffer`, valid during the call only. */
export type PacketTaker = (firstByte: number, buffer: Buffer, start: number, end: number) => void

const emptyBuffer = Buffer.alloc(0)
const firstStoreBytes = 256

export class PacketAssembler {
  /** A packet longer than this is refused as soon as its length is known. */
  limitBytes: number
  readonly #take: PacketTaker
  #store = emptyBuffer
  #heldBytes = 0
  /** Held bytes below which there is nothing new to look at. */
  #neededBytes = 0

  constructor(limitBytes: number, take: PacketTaker) {
    this.limitBytes = limitBytes
    this.#take = take
  }

  /** @throws ProtocolError for a bad or too long packet, and whatever the taker throws */
  push(chunk: Buffer): void {
    let bytes = chunk
    if (this.#heldBytes > 0) {
      this.#hold(chunk)
      if (this.#heldBytes < this.#neededBytes) return
      bytes = this.#store.subarray(0, this.#heldBytes)
      this.#store = emptyBuffer
      this.#heldBytes = 0
    }
    const usedBytes = this.#split(bytes)
    if (usedBytes < bytes.length) this.#hold(bytes.subarray(usedBytes))
  }

  /** Grows with what has come, never by what a header announces. */
  #hold(bytes: Buffer): void {
    const heldBytes = this.#heldBytes + bytes.length
    if (heldBytes > this.#store.length) {
      const larger = Buffer.allocUnsafe(Math.max(heldBytes, this.#store.length * 2, firstStoreBytes))
      this.#store.copy(larger, 0, 0, this.#heldBytes)
      this.#store = larger
    }
    bytes.copy(this.#store, this.#heldBytes)
    this.#heldBytes = heldBytes
  }

  /** Takes every whole packet out of `bytes`; returns how many bytes they had. */
  #split(bytes: Buffer): number {
    let packetStart = 0
    for (;;) {
      let bodyLength = 0
      let at = packetStart + 1
      for (let shift = 0; ; shift += 7) {
        if (at >= bytes.length) {
          this.#neededBytes = bytes.length - packetStart + 1
          return packetStart
        }
        const byte = bytes[at++]
        bodyLength |= (byte & 0x7f) << shift
        if (byte < 0x80) {
          if (byte === 0 && shift > 0) throw malformed('the packet length is not in its shortest form')
          break
        }
        if (shift === 21) throw malformed('the packet length has more than four bytes') // [MQTT-1.5.5-1]
      }
      const end = at + bodyLength
      if (end - packetStart > this.limitBytes) {
        throw new ProtocolError(
          ReasonCode.packetTooLarge,
          `a packet of ${end - packetStart} bytes, and ${this.limitBytes} is the limit`,
        )
      }
      if (end > bytes.length) {
        this.#neededBytes = end - packetStart
        return packetStart
      }
      this.#take(bytes[packetStart], bytes, at, end)
      packetStart = end
    }
  }
}
