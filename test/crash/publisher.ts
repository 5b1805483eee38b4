// Publishes with QoS 1 and 2 and keeps what is not finished until it is, over all connections, as the specification asks of a
// client with a store: same Packet Identifier, DUP, PUBREL after PUBREC. Its messages are numbered in the ledger.
import { describePacket } from '../kit/raw-client.ts'
import { publish, pubrel, type ServerPacket } from '../kit/wire.ts'
import type { Message, NewMessage } from './ledger.ts'
import { type Kind, PersistentClient, type Place } from './persistent-client.ts'

interface Pending {
  message: Message
  packetId: number
  state: 'sent' | 'received'
  releases: number
}

export class Publisher extends PersistentClient {
  readonly #windowLength: number
  /** By Packet Identifier, in the order in which they were sent. */
  readonly #pending = new Map<number, Pending>()
  /** PUBRELs held back for a while, so that a kill finds their messages between PUBREC and PUBREL. */
  readonly #heldReleases = new Set<number>()
  readonly #holdsRelease: () => boolean
  #lastPacketId = 0

  constructor(place: Place, kind: Kind, windowLength: number, holdsRelease: () => boolean) {
    super(place, kind)
    this.#windowLength = windowLength
    this.#holdsRelease = holdsRelease
  }

  get isIdle(): boolean {
    return this.#pending.size === 0
  }

  get hasRoom(): boolean {
    return this.isOnline && this.#pending.size < this.#windowLength
  }

  publish(given: Omit<NewMessage, 'publisher'>): void {
    const message = this.ledger.create({ ...given, publisher: this.clientId })
    do this.#lastPacketId = (this.#lastPacketId % 65535) + 1
    while (this.#pending.has(this.#lastPacketId))
    const pending: Pending = { message, packetId: this.#lastPacketId, state: 'sent', releases: 0 }
    this.#pending.set(pending.packetId, pending)
    this.#sendPublish(pending, false)
  }

  releaseHeld(): void {
    for (const packetId of this.#heldReleases) {
      const pending = this.#pending.get(packetId)
      if (pending !== undefined) this.#sendRelease(pending)
    }
    this.#heldReleases.clear()
  }

  #sendPublish({ message, packetId }: Pending, dup: boolean): void {
    const { topic, qos, retain } = message
    const payload = this.ledger.payload(message)
    this.send(publish({ level: this.level, topic, qos, retain, dup, packetId, payload }))
    this.ledger.sent(message, `id=${packetId} dup=${dup} [${this.connectionName}]`)
  }

  #sendRelease(pending: Pending): void {
    pending.releases++
    this.ledger.note(pending.message, this.clientId, `sent PUBREL id=${pending.packetId} [${this.connectionName}]`)
    this.send(pubrel({ level: this.level, packetId: pending.packetId }))
  }

  protected override connected(isSessionPresent: boolean): void {
    this.#heldReleases.clear()
    if (!isSessionPresent) this.#pending.clear()
    // A broker that has gone back in time may take a new message for one that it knows.
    if (this.ledger.hasLeave) this.#lastPacketId = (this.#lastPacketId + 1000) % 65535
    for (const pending of this.#pending.values()) {
      if (!this.isOnline) return
      if (pending.state === 'sent') this.#sendPublish(pending, true)
      else this.#sendRelease(pending)
    }
  }

  protected override handle(packet: ServerPacket): void {
    if (packet.type !== 'PUBACK' && packet.type !== 'PUBREC' && packet.type !== 'PUBCOMP') {
      throw new Error(`unexpected ${describePacket(packet)}`)
    }
    const { packetId, type, reasonCode } = packet
    const pending = this.#pending.get(packetId)
    const isExpected =
      pending !== undefined &&
      (type === 'PUBACK' ? pending.message.qos === 1 : pending.message.qos === 2) &&
      (type === 'PUBCOMP' ? pending.releases > 0 : pending.state === 'sent')
    if (!isExpected) throw new Error(`${describePacket(packet)} answers nothing`)
    if (type !== 'PUBCOMP' && reasonCode >= 0x80) throw new Error(`refused: ${describePacket(packet)}`)
    const what = `${type} id=${packetId} [${this.connectionName}]`
    if (type === 'PUBACK') {
      this.#pending.delete(packetId)
      this.ledger.promised(pending.message, what)
    } else if (type === 'PUBREC') {
      pending.state = 'received'
      this.ledger.promised(pending.message, what)
      // PUBRELs go in the order of their PUBRECs [MQTT-4.6.0-4].
      if (this.#heldReleases.size > 0 || this.#holdsRelease()) this.#heldReleases.add(packetId)
      else this.#sendRelease(pending)
    } else {
      this.#pending.delete(packetId)
      this.ledger.note(pending.message, this.clientId, `got ${what} code=${reasonCode}`)
      // An identifier that nobody has released before cannot be unknown.
      if (reasonCode === 0x92 && pending.releases === 1) {
        this.ledger.violate('lost-release', `${this.connectionName}: PUBREC was forgotten`, pending.message)
      }
      this.ledger.acknowledged('PUBCOMP')
    }
  }
}
