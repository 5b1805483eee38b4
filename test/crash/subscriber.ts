// Holds Subscriptions, takes what comes and finishes its side over all connections: the QoS 2 identifiers it has received stay
// known until their PUBREL, as in a client with a store. Acknowledges at once, late, or not at all.
import { describePacket } from '../kit/raw-client.ts'
import {
  type PublishPacket,
  pingreq,
  puback,
  pubcomp,
  pubrec,
  type ServerPacket,
  subscribe,
  unsubscribe,
} from '../kit/wire.ts'
import { Gate } from './gate.ts'
import type { Account, Message } from './ledger.ts'
import { type Kind, PersistentClient, type Place } from './persistent-client.ts'

export type Manner = 'prompt' | 'late' | 'withholding'

interface Operation {
  filter: string
  /** null to unsubscribe. */
  qos: number | null
  packetId: number
}

interface Acknowledgement {
  bytes: Buffer
  message: Message | null
  text: string
}

export class Subscriber extends PersistentClient {
  readonly account: Account
  manner: Manner
  /** Filter, without `$share/…`, and QoS. */
  readonly #wanted: Map<string, number>
  /** What the broker was told: confirmed, or not yet answered. */
  readonly #standing = new Map<string, 'there' | 'unsure'>()
  readonly #sharePrefix: string
  /** QoS 2 messages by Packet Identifier, until their PUBREL; null for the deletion of a retained one. */
  readonly #receivedIds = new Map<number, Message | null>()
  readonly #pingAnswered = new Gate()
  #waiting: Acknowledgement[] = []
  #operation: Operation | null = null
  #lastPacketId = 0

  constructor(
    place: Place,
    kind: Kind,
    account: Account,
    manner: Manner,
    wanted: [string, number][],
    shareName?: string,
  ) {
    super(place, kind)
    this.account = account
    account.members.add(kind.clientId)
    this.manner = manner
    this.#wanted = new Map(wanted)
    this.#sharePrefix = shareName === undefined ? '' : `$share/${shareName}/`
  }

  /** All wanted Subscriptions were acknowledged, and all unwanted ones are gone. */
  get isSettled(): boolean {
    return this.isOnline && this.#operation === null && this.#nextOperation() === null
  }

  want(filter: string, qos: number | null): void {
    if (qos === null) this.#wanted.delete(filter)
    else if (!this.#standing.has(filter) && this.#operation?.filter !== filter) this.#wanted.set(filter, qos)
    this.#proceed()
  }

  /** A new Session in the place of the old one. */
  beginAnew(): void {
    this.account.unsubscribing(null, this.ledger.tick())
    this.#standing.clear()
    this.startOver()
  }

  /** Sends the acknowledgements that wait, oldest first, or only the first `count`. */
  acknowledge(count = Infinity): void {
    if (!this.isOnline) return
    for (const { bytes, message, text } of this.#waiting.splice(0, count)) {
      if (message !== null) this.ledger.note(message, this.clientId, text)
      this.send(bytes)
    }
  }

  /** Resolves when all that was sent to it so far has come, or its connection has ended. */
  async settleByPing(): Promise<void> {
    if (!this.isOnline) return
    this.#pingAnswered.close()
    this.send(pingreq())
    await this.#pingAnswered.passed()
  }

  protected override disconnected(): void {
    this.#pingAnswered.open()
  }

  protected override connected(isSessionPresent: boolean): void {
    this.#waiting = []
    this.#operation = null
    if (!isSessionPresent) {
      this.#standing.clear()
      this.#receivedIds.clear()
      if (this.ledger.hasLeave) this.account.unsubscribing(null, this.ledger.tick())
    }
    this.#proceed()
  }

  #nextOperation(): { filter: string; qos: number | null } | null {
    for (const [filter, qos] of this.#wanted) if (this.#standing.get(filter) !== 'there') return { filter, qos }
    for (const filter of this.#standing.keys()) if (!this.#wanted.has(filter)) return { filter, qos: null }
    return null
  }

  /** One SUBSCRIBE or UNSUBSCRIBE at a time. */
  #proceed(): void {
    if (!this.isOnline || this.#operation !== null) return
    const next = this.#nextOperation()
    if (next === null) return
    this.#lastPacketId = (this.#lastPacketId % 65535) + 1
    const packetId = this.#lastPacketId
    const { level } = this
    const { filter, qos } = next
    this.#operation = { filter, qos, packetId }
    this.#standing.set(filter, 'unsure')
    const name = this.#sharePrefix + filter
    if (qos === null) {
      this.account.unsubscribing(filter, this.ledger.tick())
      this.send(unsubscribe({ level, packetId, filters: [name] }))
    } else {
      this.send(subscribe({ level, packetId, filters: [{ filter: name, qos }] }))
    }
  }

  protected override handle(packet: ServerPacket): void {
    switch (packet.type) {
      case 'SUBACK':
      case 'UNSUBACK':
        this.#operated(packet.packetId, packet.type, packet.reasonCodes)
        break
      case 'PUBLISH':
        this.#received(packet)
        break
      case 'PUBREL':
        this.#released(packet.packetId)
        break
      case 'PINGRESP':
        this.#pingAnswered.open()
        break
      default:
        throw new Error(`unexpected ${describePacket(packet)}`)
    }
  }

  #operated(packetId: number, type: string, reasonCodes: number[]): void {
    const operation = this.#operation
    if (operation?.packetId !== packetId || (type === 'UNSUBACK') !== (operation.qos === null)) {
      throw new Error(`${type} id=${packetId} answers nothing`)
    }
    if (reasonCodes.some((code) => code >= 0x80)) throw new Error(`${type} refuses: ${reasonCodes}`)
    this.#operation = null
    const { filter, qos } = operation
    if (qos === null) {
      this.#standing.delete(filter)
    } else {
      this.#standing.set(filter, 'there')
      this.account.subscribed(filter, qos, this.ledger.tick())
      this.ledger.figures.subscriptions++
    }
    this.ledger.acknowledged(type)
    this.#proceed()
  }

  #received(packet: PublishPacket): void {
    const { topic, payload, qos, retain, dup } = packet
    // The deletion of a retained message has no number.
    const isDeletion = payload.length === 0
    const message = isDeletion ? null : this.ledger.find(topic, payload)
    if (message === null && !isDeletion) throw new Error(`never sent: ${describePacket(packet)}`)
    if (message !== null) {
      const how = `id=${packet.packetId} qos=${qos} dup=${dup} retain=${retain}`
      this.ledger.note(message, this.clientId, `received ${how} [${this.connectionName}]`)
      // Sent twice by its publisher, a QoS 1 message may be two; to another member of a group it is sent for the first time.
      const isOne = message.sentCount === 1 && !this.account.isShared
      const isRedelivery = !retain && isOne && this.account.has(message)
      if (isRedelivery && !dup) this.ledger.figures.redeliveriesWithoutDup++
    }
    if (qos === 2) this.#receivedTwo(packet, message)
    else {
      // What a new Subscription finds retained is no delivery of the message.
      if (message !== null && !retain) this.ledger.received(this.account, message, qos, this.connectionName)
      if (qos === 1) this.#answer(puback({ level: this.level, packetId: packet.packetId! }), message, 'sent PUBACK')
    }
  }

  #receivedTwo({ packetId, retain }: PublishPacket, message: Message | null): void {
    const known = this.#receivedIds.get(packetId!)
    if (known !== undefined && known !== message) {
      // A client takes it for the message that it already has.
      const other = known === null ? 'a deletion' : `message ${known.number}`
      const text = `${this.connectionName}: id=${packetId} is still that of ${other}`
      this.ledger.violate('identifier-reused', text, message, this.account)
    }
    if (known !== message) {
      this.#receivedIds.set(packetId!, message)
      if (message !== null && !retain) this.ledger.received(this.account, message, 2, this.connectionName)
    }
    this.#answer(pubrec({ level: this.level, packetId: packetId! }), message, `sent PUBREC id=${packetId}`)
  }

  #released(packetId: number): void {
    const message = this.#receivedIds.get(packetId) ?? null
    this.#receivedIds.delete(packetId)
    if (message !== null) {
      this.ledger.note(message, this.clientId, `received PUBREL id=${packetId} [${this.connectionName}]`)
    }
    this.#answer(pubcomp({ level: this.level, packetId }), message, `sent PUBCOMP id=${packetId}`)
  }

  #answer(bytes: Buffer, message: Message | null, text: string): void {
    const line = `${text} [${this.connectionName}]`
    if (this.manner === 'prompt' && this.#waiting.length === 0) {
      if (message !== null) this.ledger.note(message, this.clientId, line)
      this.send(bytes)
    } else {
      this.#waiting.push({ bytes, message, text: line })
    }
  }
}
