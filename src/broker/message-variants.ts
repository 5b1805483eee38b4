// The encodings of the message that is being given to its receivers: made once for each kind of receiver, shared by all of
// that kind, and forgotten with the next message or the end of the turn, whose scratch memory they are in.
import type { ApplicationMessage } from '../codec/application-message.ts'

const noBytes = Buffer.alloc(0)

export class MessageVariants {
  #message: ApplicationMessage | null = null
  #turn = -1
  #filled = 0
  readonly #buffers: Buffer[] = new Array(8).fill(noBytes)
  readonly starts = [0, 0, 0, 0, 0, 0, 0, 0]
  readonly ends = [0, 0, 0, 0, 0, 0, 0, 0]

  /** The next message is handled in the same object as the last. */
  forget(): void {
    this.#message = null
  }

  /**
   * The buffer of an encoding made in this turn, between `starts[key]` and `ends[key]`, or null.
   * @param key 0 to 7: 1 for MQTT 5, 2 for room for a Packet Identifier, 4 for RETAIN
   */
  get(message: ApplicationMessage, turn: number, key: number): Buffer | null {
    const isKnown = this.#message === message && this.#turn === turn && (this.#filled & (1 << key)) !== 0
    return isKnown ? this.#buffers[key] : null
  }

  set(message: ApplicationMessage, turn: number, key: number, buffer: Buffer, start: number, end: number): void {
    if (this.#message !== message || this.#turn !== turn) {
      this.#message = message
      this.#turn = turn
      this.#filled = 0
    }
    this.#filled |= 1 << key
    this.#buffers[key] = buffer
    this.starts[key] = start
    this.ends[key] = end
  }
}
