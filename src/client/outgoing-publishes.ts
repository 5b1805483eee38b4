// QoS 1 and 2 messages on their way to the server: the window that the server allows, and who waits for which answer.
import { OperatorError, ProtocolError } from '../base/errors.ts'
import type { AcknowledgementPacket, Packet, PublishPacket } from '../codec/packets.ts'
import type { Properties } from '../codec/properties.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import type { PacketIdentifiers } from './packet-identifiers.ts'

export interface PublishAnswer {
  /** Of PUBACK or PUBREC, 0x80 and above is a refusal; 0 for QoS 0 and in MQTT 3. */
  readonly reasonCode: number
  readonly reasonString: string | null
}

interface Entry {
  readonly packet: PublishPacket
  /** The packet that has to come next. */
  awaits: 'puback' | 'pubrec' | 'pubcomp'
  answer: PublishAnswer
  resolve(answer: PublishAnswer): void
  reject(error: Error): void
}

const waitingLimit = 100_000

export class OutgoingPublishes {
  readonly #identifiers: PacketIdentifiers
  readonly #window: number
  readonly #send: (packet: Packet) => void
  readonly #inflight = new Map<number, Entry>()
  /** In the order of their coming. */
  readonly #waiting = new Set<Entry>()

  /** @param window messages that may be unacknowledged at a time: the server's Receive Maximum [MQTT-3.3.4-7] */
  constructor(identifiers: PacketIdentifiers, window: number, send: (packet: Packet) => void) {
    this.#identifiers = identifiers
    this.#window = window
    this.#send = send
  }

  get count(): number {
    return this.#inflight.size + this.#waiting.size
  }

  publish(packet: PublishPacket): Promise<PublishAnswer> {
    if (this.#waiting.size >= waitingLimit) {
      throw new OperatorError('too-many-messages', `${waitingLimit} messages wait for the server already`, {
        fix: 'await the answers before publishing more',
      })
    }
    return new Promise((resolve, reject) => {
      const awaits = packet.qos === 1 ? 'puback' : 'pubrec'
      this.#waiting.add({ packet, awaits, answer: { reasonCode: 0, reasonString: null }, resolve, reject })
      this.#fillWindow()
    })
  }

  /** @throws ProtocolError when the answer belongs to another QoS or step */
  acknowledge(packet: AcknowledgementPacket): void {
    const { type, packetId, reasonCode } = packet
    const entry = this.#inflight.get(packetId)
    if (entry === undefined) {
      if (type === 'pubrec') this.#send({ type: 'pubrel', packetId, reasonCode: ReasonCode.packetIdentifierNotFound })
      return
    }
    if (type === 'pubrec' && entry.awaits === 'pubcomp') {
      this.#send({ type: 'pubrel', packetId, reasonCode: 0 })
      return
    }
    if (type !== entry.awaits) {
      const text = `${type.toUpperCase()} for a message that awaits ${entry.awaits.toUpperCase()}`
      throw new ProtocolError(ReasonCode.protocolError, text)
    }
    if (type !== 'pubcomp') entry.answer = answerOf(reasonCode, packet.properties)
    if (type === 'pubrec' && reasonCode < 0x80) {
      entry.awaits = 'pubcomp'
      this.#send({ type: 'pubrel', packetId, reasonCode: 0 }) // [MQTT-4.3.3-4]
      return
    }
    this.#inflight.delete(packetId)
    this.#identifiers.release(packetId)
    entry.resolve(entry.answer)
    this.#fillWindow()
  }

  fail(error: Error): void {
    for (const entry of [...this.#inflight.values(), ...this.#waiting]) entry.reject(error)
    this.#inflight.clear()
    this.#waiting.clear()
  }

  #fillWindow(): void {
    for (const entry of this.#waiting) {
      if (this.#inflight.size >= this.#window) return
      const packetId = this.#identifiers.take()
      if (packetId === null) return
      this.#waiting.delete(entry)
      entry.packet.packetId = packetId
      this.#inflight.set(packetId, entry)
      this.#send(entry.packet)
    }
  }
}

function answerOf(reasonCode: number, properties: Properties | undefined): PublishAnswer {
  return { reasonCode, reasonString: properties?.reasonString ?? null }
}
