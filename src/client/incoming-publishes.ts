// Messages from the server on their way to `onMessage`, one at a time and in order: a message is acknowledged when its
// callback is done, and what may pile up before it has a limit.
import { Deque } from '../base/deque.ts'
import { ProtocolError } from '../base/errors.ts'
import type { ProtocolLevel } from '../codec/packet-types.ts'
import type { Packet, PublishPacket } from '../codec/packets.ts'
import { ReasonCode } from '../codec/reason-codes.ts'

/** May return a promise: the message is acknowledged, and the next one given, when it is fulfilled. */
export type MessageCallback = (message: PublishPacket) => void | Promise<void>

export interface IncomingOptions {
  level: ProtocolLevel
  /** Our own Receive Maximum. */
  receiveMaximum: number
  onMessage: MessageCallback
  send(packet: Packet): void
  /** The backlog has shrunk; it may be time to read on. */
  onProgress(): void
  onFailure(error: unknown): void
}

const highWaterBytes = 1024 * 1024
const highWaterMessages = 1000
const backlogLimitBytes = 64 * 1024 * 1024
const messageOverheadBytes = 256

export class IncomingPublishes {
  readonly #options: IncomingOptions
  #backlog = new Deque<PublishPacket>()
  #backlogBytes = 0
  /** Identifiers not yet acknowledged: with `onMessage`, or a QoS 2 message that waits for its PUBREL. */
  readonly #open = new Map<number, 'delivering' | 'received'>()
  #isDelivering = false
  #isStopped = false

  constructor(options: IncomingOptions) {
    this.#options = options
  }

  /** Whether reading on would only let more pile up. */
  get isFull(): boolean {
    return this.#backlogBytes > highWaterBytes || this.#backlog.length > highWaterMessages
  }

  /** @throws ProtocolError */
  accept(packet: PublishPacket): void {
    if (this.#isStopped) return
    if (packet.qos > 0 && !this.#admit(packet)) return
    if (this.#backlogBytes > backlogLimitBytes) {
      throw new ProtocolError(ReasonCode.quotaExceeded, 'messages come faster than they are taken')
    }
    this.#backlog.push(packet)
    this.#backlogBytes += sizeOf(packet)
    if (!this.#isDelivering) void this.#deliver()
  }

  /** Answers a PUBREL. */
  release(packetId: number): void {
    const state = this.#open.get(packetId)
    if (state === 'delivering') {
      throw new ProtocolError(ReasonCode.protocolError, 'PUBREL for a message that has no PUBREC yet')
    }
    this.#open.delete(packetId)
    const reasonCode = state === undefined ? ReasonCode.packetIdentifierNotFound : 0
    this.#options.send({ type: 'pubcomp', packetId, reasonCode })
  }

  stop(): void {
    this.#isStopped = true
    this.#backlog = new Deque()
    this.#backlogBytes = 0
  }

  /** Whether the message is a new one, to be given to the callback. */
  #admit({ packetId, qos, duplicate }: PublishPacket): boolean {
    const { level, receiveMaximum, send } = this.#options
    const state = this.#open.get(packetId)
    if (state === 'received' && qos === 2) {
      send({ type: 'pubrec', packetId, reasonCode: 0 }) // [MQTT-4.3.3-10]
      return false
    }
    if (state !== undefined) {
      if (duplicate && level !== 5) return false
      throw new ProtocolError(ReasonCode.protocolError, `packet identifier ${packetId} is still in use`)
    }
    if (level === 5 && this.#open.size >= receiveMaximum) {
      throw new ProtocolError(ReasonCode.receiveMaximumExceeded, `more than ${receiveMaximum} unacknowledged messages`)
    }
    this.#open.set(packetId, 'delivering')
    return true
  }

  async #deliver(): Promise<void> {
    this.#isDelivering = true
    try {
      for (;;) {
        const packet = this.#backlog.shift()
        if (packet === undefined) break
        const pending = this.#options.onMessage(packet)
        if (pending !== undefined) await pending
        if (this.#isStopped) return
        this.#backlogBytes -= sizeOf(packet)
        this.#acknowledge(packet)
        this.#options.onProgress()
      }
    } catch (error) {
      this.#options.onFailure(error)
    } finally {
      this.#isDelivering = false
    }
  }

  #acknowledge({ qos, packetId }: PublishPacket): void {
    if (qos === 1) {
      this.#open.delete(packetId)
      this.#options.send({ type: 'puback', packetId, reasonCode: 0 })
    } else if (qos === 2) {
      this.#open.set(packetId, 'received')
      this.#options.send({ type: 'pubrec', packetId, reasonCode: 0 })
    }
  }
}

function sizeOf(packet: PublishPacket): number {
  return packet.payload.length + packet.topic.length + messageOverheadBytes
}
