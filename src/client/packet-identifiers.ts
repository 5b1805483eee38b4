// The Packet Identifiers that one client has in use, for PUBLISH, SUBSCRIBE and UNSUBSCRIBE alike. [MQTT-2.2.1-3]

const largestIdentifier = 0xffff

export class PacketIdentifiers {
  #last = 0
  readonly #used = new Set<number>()

  /** A free identifier, or null when all 65535 are in use. */
  take(): number | null {
    if (this.#used.size === largestIdentifier) return null
    do this.#last = this.#last === largestIdentifier ? 1 : this.#last + 1
    while (this.#used.has(this.#last))
    this.#used.add(this.#last)
    return this.#last
  }

  release(identifier: number): void {
    this.#used.delete(identifier)
  }
}
