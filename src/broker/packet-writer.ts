// The writing half of a Connection: packets in the form that this client takes, into its Output. Knows the client's version,
// limits and aliases; what is sent, and when, is decided by the handlers and the Session.
import {
  type ApplicationMessage,
  measurePublish,
  type PublishForm,
  writePublish,
} from '../codec/application-message.ts'
import { encodePacket } from '../codec/encode.ts'
import { PacketType, type ProtocolLevel, packetTypeName, type Qos } from '../codec/packet-types.ts'
import type { Packet } from '../codec/packets.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import type { Outlet } from '../session/outlet.ts'
import { Output } from '../transport/output.ts'
import type { Broker } from './broker.ts'
import type { Connection } from './connection.ts'

export class PacketWriter implements Outlet {
  readonly output: Output
  readonly #broker: Broker
  readonly #connection: Connection
  level: ProtocolLevel = 4
  isVersion5 = false
  /** The client's limits, from CONNECT. */
  maximumPacketSize = 0xffff_ffff
  topicAliasMaximum = 0
  wantsProblemInformation = true
  #outboundAliases: Map<string, number> | null = null
  /** Bytes of the mount point, taken off every topic; null for none. */
  #mountPrefix: Buffer | null = null
  /** No mount point, no aliases: packets go out as they came in. */
  #isPlain = true

  /** @param onBlocked called when the client does not take what it is sent */
  constructor(broker: Broker, connection: Connection, onBlocked: () => void) {
    this.#broker = broker
    this.#connection = connection
    this.output = new Output(broker.loop, connection.network, onBlocked)
  }

  /** Whose writing half this is: a Session knows no more than its Outlet. */
  get connection(): Connection {
    return this.#connection
  }

  /** The client's limits are known: messages may go out. */
  start(mountPrefix: Buffer | null): void {
    this.#mountPrefix = mountPrefix
    this.#isPlain = mountPrefix === null && this.topicAliasMaximum === 0
  }

  get isWritable(): boolean {
    const { output } = this
    return !output.isBlocked || output.queuedBytes < this.#broker.limits.outputBytes
  }

  disconnect(reasonCode: number, reason: string): void {
    this.#connection.disconnect(reasonCode, reason)
  }

  /** Sends a control packet; what would exceed the client's Maximum Packet Size loses its Reason String and User Properties. */
  send(packet: Packet): void {
    if (!this.#connection.isOpen) return
    let bytes = encodePacket(withoutProblemInformation(packet, this.wantsProblemInformation), this.level)
    if (bytes.length > this.maximumPacketSize) {
      bytes = encodePacket(withoutExtras(packet), this.level)
      if (bytes.length > this.maximumPacketSize) {
        this.#leaveUnanswered(packet) // [MQTT-3.1.2-24]
        return
      }
    }
    this.#broker.counters.packetsSent++
    const slab = this.output.reserve(bytes.length)
    bytes.copy(slab, this.output.length)
    this.output.length += bytes.length
  }

  /** A client that waits for an answer larger than it takes would wait for ever. */
  #leaveUnanswered({ type }: Packet): void {
    if (type === 'connack') this.#connection.destroy()
    if (type === 'suback' || type === 'unsuback') {
      this.#connection.disconnect(
        ReasonCode.packetTooLarge,
        'the answer is larger than the Maximum Packet Size of the client',
      )
    }
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP. */
  acknowledge(type: number, packetId: number, reasonCode: number, reasonString?: string): void {
    if (reasonString !== undefined && this.isVersion5 && this.wantsProblemInformation) {
      const name = packetTypeName(type).toLowerCase() as 'puback' | 'pubrec'
      this.send({ type: name, packetId, reasonCode, properties: { reasonString } })
      return
    }
    this.#broker.counters.packetsSent++
    const length = reasonCode === 0 || !this.isVersion5 ? 4 : 5
    const slab = this.output.reserve(length)
    const at = this.output.length
    slab[at] = (type << 4) | (type === PacketType.pubrel ? 2 : 0)
    slab[at + 1] = length - 2
    slab[at + 2] = packetId >> 8
    slab[at + 3] = packetId & 0xff
    if (length === 5) slab[at + 4] = reasonCode
    this.output.length = at + length
  }

  sendPubrel(packetId: number, reasonCode: number): void {
    this.acknowledge(PacketType.pubrel, packetId, reasonCode)
  }

  sendQos0(
    message: ApplicationMessage,
    retain: boolean,
    identifiers: readonly number[] | null,
    hasWaited: boolean,
  ): boolean {
    const { output } = this
    const broker = this.#broker
    if (!hasWaited && output.isBlocked && (output.queuedBytes >= broker.limits.outputBytes || broker.isMemoryHigh)) {
      broker.counters.droppedOutputFull++
      return false
    }
    if (broker.hooks.onDeliver !== null && !this.#mayDeliver(message)) return false
    const firstByte = retain ? 0x31 : 0x30
    if (this.#isPlain && identifiers === null && (message.expiryAt === -1 || !message.isOwned)) {
      let source = message.buffer
      let start = message.packetStart
      let end = message.packetEnd
      if (message.isVersion5 !== this.isVersion5 || source[start] !== firstByte) {
        const key = (this.isVersion5 ? 1 : 0) | (retain ? 4 : 0)
        source = this.#variant(message, key, firstByte, 0)
        start = broker.variants.starts[key]
        end = broker.variants.ends[key]
      }
      if (end - start > this.maximumPacketSize) return this.#tooLarge()
      output.append(source, start, end)
    } else if (!this.#sendGeneral(message, firstByte, 0, identifiers)) return false
    broker.counters.publishSent++
    broker.counters.publishBytesSent += message.payloadLength
    return true
  }

  sendPublish(
    message: ApplicationMessage,
    qos: Qos,
    retain: boolean,
    identifiers: readonly number[] | null,
    packetId: number,
    isDuplicate: boolean,
  ): boolean {
    const { output } = this
    const broker = this.#broker
    if (broker.hooks.onDeliver !== null && !this.#mayDeliver(message)) return false
    const firstByte = 0x30 | (isDuplicate ? 8 : 0) | (qos << 1) | (retain ? 1 : 0)
    if (this.#isPlain && identifiers === null && (message.expiryAt === -1 || !message.isOwned)) {
      let source = message.buffer
      let start = message.packetStart
      let end = message.packetEnd
      let idAt = message.topicEnd - start
      if (message.isVersion5 !== this.isVersion5 || message.qos === 0) {
        const key = (this.isVersion5 ? 1 : 0) | 2
        source = this.#variant(message, key, firstByte, 1)
        start = broker.variants.starts[key]
        end = broker.variants.ends[key]
        let bodyAt = 1
        while (source[start + bodyAt] > 0x7f) bodyAt++
        idAt = bodyAt + 3 + message.topicEnd - message.topicStart
      }
      const length = end - start
      if (length > this.maximumPacketSize) return this.#tooLarge()
      const slab = output.reserve(length)
      const at = output.length
      source.copy(slab, at, start, end)
      slab[at] = firstByte
      slab[at + idAt] = packetId >> 8
      slab[at + idAt + 1] = packetId & 0xff
      output.length = at + length
    } else if (!this.#sendGeneral(message, firstByte, packetId, identifiers)) return false
    broker.counters.publishSent++
    broker.counters.publishBytesSent += message.payloadLength
    return true
  }

  /** [MQTT-3.1.2-25] */
  #tooLarge(): false {
    this.#broker.counters.droppedTooLarge++
    return false
  }

  /** The encoding that this client shares with others of its kind in this turn. @param packetId any but 0 leaves room for one */
  #variant(message: ApplicationMessage, key: number, firstByte: number, packetId: number): Buffer {
    const { loop, form, variants } = this.#broker
    const made = variants.get(message, loop.turn, key)
    if (made !== null) return made
    prepareForm(form, this.isVersion5, firstByte, packetId)
    const length = measurePublish(message, form)
    loop.reserveScratch(length)
    const buffer = loop.scratchBuffer
    const start = loop.scratchStart
    writePublish(buffer, start, message, form)
    variants.set(message, loop.turn, key, buffer, start, start + length)
    return buffer
  }

  /** The encoding for this client alone: identifiers, aliases, mount points, an expiry that has been waited on. */
  #sendGeneral(
    message: ApplicationMessage,
    firstByte: number,
    packetId: number,
    identifiers: readonly number[] | null,
  ): boolean {
    const { output } = this
    const broker = this.#broker
    const { form } = broker
    prepareForm(form, this.isVersion5, firstByte, packetId)
    if (this.isVersion5) {
      form.subscriptionIdentifiers = identifiers
      if (message.expiryAt !== -1) {
        form.expirySeconds = message.remainingExpirySeconds(broker.clock.monotonicMs())
        // What was sent before has to be completed. [MQTT-4.3.3-7]
        if (form.expirySeconds === 0 && (firstByte & 8) === 0) {
          broker.counters.droppedExpired++
          return false
        }
      }
    }
    form.topicSkip = this.#mountPrefix === null ? 0 : this.#mountPrefix.length
    const newAlias = this.topicAliasMaximum > 0 ? this.#chooseAlias(message, form) : null
    const length = measurePublish(message, form)
    if (length > this.maximumPacketSize) return this.#tooLarge()
    if (newAlias !== null) this.#outboundAliases!.set(newAlias, form.topicAlias)
    const slab = output.reserve(length)
    output.length = writePublish(slab, output.length, message, form)
    return true
  }

  /** As far as hooks decide; what they hold back is counted. */
  #mayDeliver(message: ApplicationMessage): boolean {
    const { info, listener } = this.#connection
    if (this.#broker.hooks.mayDeliver(info!, message, listener.mountPoint)) return true
    this.#broker.counters.droppedByHook++
    return false
  }

  /** Aliases go to the first topics that the client gets. [MQTT-3.1.2-26] @returns the topic whose alias is new */
  #chooseAlias(message: ApplicationMessage, form: PublishForm): string | null {
    this.#outboundAliases ??= new Map()
    const aliases = this.#outboundAliases
    const { topic } = message
    const known = aliases.get(topic)
    if (known !== undefined) {
      form.topicAlias = known
      form.topicSkip = message.topicEnd - message.topicStart
      return null
    }
    if (aliases.size >= Math.min(this.topicAliasMaximum, this.#broker.limits.topicAliasMaximum)) return null
    form.topicAlias = aliases.size + 1
    return topic
  }
}

function prepareForm(form: PublishForm, isVersion5: boolean, firstByte: number, packetId: number): void {
  form.isVersion5 = isVersion5
  form.firstByte = firstByte
  form.packetId = packetId
  form.subscriptionIdentifiers = null
  form.topicAlias = 0
  form.topicSkip = 0
  form.expirySeconds = null
}

/** [MQTT-3.1.2-29] */
function withoutProblemInformation(packet: Packet, isWanted: boolean): Packet {
  const isAlwaysAllowed = packet.type === 'connack' || packet.type === 'disconnect' || packet.type === 'publish'
  return isWanted || isAlwaysAllowed ? packet : withoutExtras(packet)
}

function withoutExtras(packet: Packet): Packet {
  if (!('properties' in packet) || packet.properties === undefined) return packet
  return {
    ...packet,
    properties: { ...packet.properties, reasonString: undefined, userProperties: undefined },
  } as Packet
}
