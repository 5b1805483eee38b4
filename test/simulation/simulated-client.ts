// One client of the simulation. It speaks through the test kit's own encoder and decoder, acknowledges when it is told to,
// and checks by itself all that one client can see: Packet Identifiers, DUP, Receive Maximum, aliases, the order of what is
// sent again. Must never import the product.
import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import {
  type AckPacket,
  type ConnackPacket,
  connect,
  decode,
  disconnect,
  type Level,
  P,
  type Property,
  type PublishPacket,
  packetExtent,
  properties,
  property,
  puback,
  pubcomp,
  publish,
  pubrec,
  pubrel,
  type Qos,
  type ServerPacket,
  subscribe,
  unsubscribe,
  type WillOptions,
} from '../kit/wire.ts'
import type { Arrival } from './model.ts'
import type { Random } from './random.ts'

export interface ConnectChoice {
  level: Level
  isClean: boolean
  expirySeconds: number
  will: WillOptions | null
  receiveMaximum: number
  topicAliasMaximum: number
}

export interface FilterChoice {
  filter: string
  qos: Qos
  noLocal: boolean
  retainAsPublished: boolean
  retainHandling: number
}

export interface PublishChoice {
  topic: string
  payload: string
  qos: Qos
  retain: boolean
  expirySeconds: number | null
  usesAlias: boolean
}

/** A message from the broker whose exchange is not over. */
interface Received {
  content: string
  stage: 'publish' | 'pubrec'
  /** Number of the connection on which `stage` was reached. */
  connection: number
}

/** A message to the broker whose exchange is not over. */
interface Outgoing {
  choice: PublishChoice
  /** pubrel: PUBREC has come. released: PUBREL has been sent on this connection. */
  stage: 'publish' | 'pubrel' | 'released'
  /** Reason Code that the answer must have; null for any that is no refusal. */
  expectedReason: number | null
}

/** Writes to one connection, in order, also where chunks are cut. */
interface Writer {
  stream: Duplex
  last: Promise<void>
  waiting: number
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

export class SimulatedClient {
  readonly clientId: string
  level: Level = 5
  isConnected = false
  isPaused = false
  /** Bytes may have been lost that the broker counts as sent. */
  mayHaveMissed = false
  acknowledges: 'now' | 'later' = 'now'
  cutsChunks = false
  connack: ConnackPacket | null = null
  /** What came after the connection was taken over: a reason, and that it closed. */
  lastParting: { reasonCode: number | null; isClosed: boolean } | null = null
  readonly received = new Map<number, Received>()
  readonly outgoing = new Map<number, Outgoing>()
  readonly #random: Random
  readonly #inflightLimit: number
  readonly #onArrival: (client: SimulatedClient, arrival: Arrival) => void
  readonly #onUnsubscribed: (client: SimulatedClient, filters: string[]) => void
  #stream: Duplex | null = null
  #writer: Writer | null = null
  #connection = 0
  #nextId = 1
  /** Bytes may have waited in the pipe before they were read here. */
  isLate = false
  #waiting: { type: 'puback' | 'pubrec' | 'pubcomp'; packetId: number }[] = []
  #unacknowledged = new Set<number>()
  #window = 0
  #aliasMaximum = 0
  #aliases = new Map<number, string>()
  #ownAliases = new Map<string, number>()
  #resends: number[] | null = null
  #asked = new Map<number, { type: 'SUBACK' | 'UNSUBACK'; filters: string[]; codes: number[] }>()
  #strayPubrecs = new Set<number>()
  receivedBytes = 0
  /** The first thing that was wrong. */
  failure: Error | null = null

  constructor(
    clientId: string,
    random: Random,
    inflightLimit: number,
    onArrival: (client: SimulatedClient, arrival: Arrival) => void,
    onUnsubscribed: (client: SimulatedClient, filters: string[]) => void,
  ) {
    this.clientId = clientId
    this.#random = random
    this.#inflightLimit = inflightLimit
    this.#onArrival = onArrival
    this.#onUnsubscribed = onUnsubscribed
  }

  /** Whether all that it was told to send is on its way. */
  get isIdle(): boolean {
    return this.#writer === null || this.#writer.waiting === 0
  }

  get isReading(): boolean {
    return this.isConnected && !this.isPaused
  }

  // ---- connection

  async connect(stream: Duplex, choice: ConnectChoice): Promise<void> {
    this.abandon()
    this.level = choice.level
    this.#stream = stream
    this.#writer = { stream, last: Promise.resolve(), waiting: 0 }
    this.isConnected = true
    this.#connection++
    this.connack = null
    this.isLate = false
    this.#waiting = []
    this.#unacknowledged = new Set()
    this.#aliases = new Map()
    this.#ownAliases = new Map()
    this.#asked = new Map()
    this.#window = Math.min(choice.level === 5 ? choice.receiveMaximum : 0xffff, this.#inflightLimit)
    this.#aliasMaximum = choice.level === 5 ? choice.topicAliasMaximum : 0
    this.#listen(stream, this.#connection)
    const list: Property[] = []
    if (choice.level === 5) {
      list.push([P.sessionExpiryInterval, choice.expirySeconds], [P.receiveMaximum, choice.receiveMaximum])
      list.push([P.topicAliasMaximum, choice.topicAliasMaximum])
    }
    const { level, isClean: cleanStart, will } = choice
    const { clientId } = this
    await this.send(connect({ level, clientId, cleanStart, will: will ?? undefined, properties: list }))
  }

  #listen(stream: Duplex, connection: number): void {
    const parting = { reasonCode: null as number | null, isClosed: false }
    const level = this.level
    let rest: Buffer = Buffer.alloc(0)
    const isMine = () => connection === this.#connection && this.isConnected
    const read = (chunk: Buffer) => {
      this.receivedBytes += chunk.length
      rest = Buffer.concat([rest, chunk])
      for (;;) {
        const extent = packetExtent(rest)
        if (extent === null || rest.length < extent.length) return
        const packet = decode(level, rest.subarray(0, extent.length))
        rest = rest.subarray(extent.length)
        if (packet.type === 'DISCONNECT') parting.reasonCode = packet.reasonCode
        else if (isMine()) this.#handle(packet)
      }
    }
    stream.on('data', (chunk: Buffer) => {
      try {
        read(chunk)
      } catch (error) {
        this.failure ??= error as Error
      }
    })
    stream.on('error', () => {})
    stream.on('close', () => {
      parting.isClosed = true
      if (isMine())
        this.failure ??= new Error(`${this.clientId} was cut off by the broker, reason ${parting.reasonCode}`)
    })
    stream.on('end', () => stream.end())
    this.#parting = parting
  }

  #parting: { reasonCode: number | null; isClosed: boolean } | null = null

  /** From now on the connection is not this client's any more: taken over, or about to be cut. */
  abandon(): void {
    if (!this.isConnected) return
    this.mayHaveMissed ||= this.isPaused
    this.lastParting = this.#parting
    this.isConnected = false
    // What was left behind in the pipe is nobody's.
    this.#stream?.resume()
    this.isPaused = false
  }

  async leave(reasonCode: number, expirySeconds: number | null): Promise<void> {
    const stream = this.#stream!
    const list: Property[] | undefined = expirySeconds === null ? undefined : [[P.sessionExpiryInterval, expirySeconds]]
    const bytes = this.level === 5 ? disconnect({ reasonCode, properties: list }) : disconnect({ level: 4 })
    const sent = this.send(bytes)
    this.abandon()
    await sent
    stream.end()
  }

  cut(): void {
    const stream = this.#stream!
    this.abandon()
    stream.destroy()
  }

  pause(): void {
    this.isPaused = true
    this.isLate = true
    this.#stream!.pause()
  }

  resume(): void {
    this.isPaused = false
    this.#stream!.resume()
  }

  /** What comes from now on is read once `letGo` is called: this client still counts as one that reads. */
  hold(): void {
    this.#stream!.pause()
  }

  letGo(): void {
    this.#stream!.resume()
  }

  async send(bytes: Buffer): Promise<void> {
    const writer = this.#writer!
    if (!this.cutsChunks && writer.waiting === 0) {
      writer.stream.write(bytes)
      return
    }
    writer.waiting++
    writer.last = writer.last.then(() => this.#sendCut(writer.stream, bytes))
    await writer.last
    writer.waiting--
  }

  async #sendCut(stream: Duplex, bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length && !stream.destroyed; ) {
      const length = this.#random.between(1, this.#random.chance(0.5) ? 3 : bytes.length)
      stream.write(bytes.subarray(at, at + length))
      at += length
      if (this.#random.chance(0.3)) await turn()
    }
  }

  // ---- what it does

  #freeId(): number {
    for (;;) {
      const id = this.#nextId
      this.#nextId = id === 26 ? 1 : id + 1
      if (!this.outgoing.has(id) && !this.#asked.has(id)) return id
    }
  }

  subscribe(filters: FilterChoice[], identifier: number | null): Buffer {
    const packetId = this.#freeId()
    const codes = filters.map(({ qos }) => qos as number)
    this.#asked.set(packetId, { type: 'SUBACK', filters: [], codes })
    const { level } = this
    const plain = filters.map(({ filter, qos }) => ({ filter, qos }))
    return subscribe({
      level,
      packetId,
      filters: level === 5 ? filters : plain,
      properties: identifier === null ? [] : [[P.subscriptionIdentifier, identifier]],
    })
  }

  unsubscribe(filters: string[], codes: number[]): Buffer {
    const packetId = this.#freeId()
    this.#asked.set(packetId, { type: 'UNSUBACK', filters, codes })
    return unsubscribe({ level: this.level, packetId, filters })
  }

  /** @returns the packet and its identifier, null for QoS 0 */
  publish(choice: PublishChoice): { bytes: Buffer; packetId: number | null } {
    const packetId = choice.qos === 0 ? null : this.#freeId()
    if (packetId !== null) this.outgoing.set(packetId, { choice, stage: 'publish', expectedReason: null })
    return { bytes: this.encode(choice, packetId, false), packetId }
  }

  encode(choice: PublishChoice, packetId: number | null, dup: boolean): Buffer {
    const list: Property[] = []
    let { topic } = choice
    if (choice.expirySeconds !== null) list.push([P.messageExpiryInterval, choice.expirySeconds])
    if (choice.usesAlias && this.level === 5 && !dup) {
      const known = this.#ownAliases.get(topic)
      const alias = known ?? (this.#ownAliases.size % 3) + 1
      list.push([P.topicAlias, alias])
      if (known === undefined) {
        for (const [other, taken] of this.#ownAliases) if (taken === alias) this.#ownAliases.delete(other)
        this.#ownAliases.set(topic, alias)
      } else topic = ''
    }
    const { qos, retain, payload } = choice
    return publish({
      level: this.level,
      topic,
      payload,
      qos,
      retain,
      dup,
      packetId: packetId ?? undefined,
      properties: list,
    })
  }

  /** An acknowledgement of something that is not open; the broker must take no harm. */
  strayAcknowledgement(type: 'puback' | 'pubrec' | 'pubcomp'): Buffer | null {
    const packetId = this.#random.between(60_000, 65_000)
    if (this.received.has(packetId)) return null
    if (type === 'pubrec') this.#strayPubrecs.add(packetId)
    const build = { puback, pubrec, pubcomp }[type]
    return build({ level: this.level, packetId })
  }

  /** Sends up to `count` of the acknowledgements that wait. */
  async acknowledge(count: number, isRandomOrder: boolean): Promise<void> {
    for (let left = Math.min(count, this.#waiting.length); left > 0; left--) {
      const at = isRandomOrder ? this.#random.below(this.#waiting.length) : 0
      const [{ type, packetId }] = this.#waiting.splice(at, 1)
      await this.send(this.#acknowledgement(type, packetId))
    }
  }

  #acknowledgement(type: 'puback' | 'pubrec' | 'pubcomp', packetId: number): Buffer {
    const { level } = this
    if (type === 'pubrec') {
      if (level === 5 && this.#random.chance(0.05)) {
        this.#close(packetId) // [MQTT-4.4.0-2]: this ends the exchange
        return pubrec({ packetId, reasonCode: 0x80 })
      }
      this.received.set(packetId, { content: '', stage: 'pubrec', connection: this.#connection })
      return pubrec({ level, packetId })
    }
    this.#close(packetId)
    return type === 'puback' ? puback({ level, packetId }) : pubcomp({ level, packetId })
  }

  #close(packetId: number): void {
    this.received.delete(packetId)
    this.#unacknowledged.delete(packetId)
  }

  // ---- what comes

  #handle(packet: ServerPacket): void {
    if (this.connack === null) {
      assert.equal(packet.type, 'CONNACK')
      this.connack = packet as ConnackPacket
      this.#begin(this.connack)
      return
    }
    switch (packet.type) {
      case 'PUBLISH':
        this.#publishCame(packet)
        break
      case 'PUBREL':
        this.#pubrelCame(packet)
        break
      case 'PUBACK':
      case 'PUBREC':
      case 'PUBCOMP':
        this.#answerCame(packet)
        break
      case 'SUBACK':
      case 'UNSUBACK': {
        const asked = this.#asked.get(packet.packetId)
        assert.equal(asked?.type, packet.type)
        this.#asked.delete(packet.packetId)
        if (packet.type === 'SUBACK' || this.level === 5) assert.deepEqual(packet.reasonCodes, asked!.codes)
        if (packet.type === 'UNSUBACK') this.#onUnsubscribed(this, asked!.filters)
        break
      }
      case 'PINGRESP':
        break
      default:
        assert.fail(`${this.clientId} gets ${packet.type}`)
    }
  }

  #begin(connack: ConnackPacket): void {
    assert.equal(connack.reasonCode, 0)
    if (!connack.sessionPresent) {
      this.forgetSession()
      this.mayHaveMissed = false
    }
    this.#resends = this.mayHaveMissed ? null : [...this.received.keys()]
    for (const open of this.outgoing.values()) if (open.stage === 'released') open.stage = 'pubrel'
  }

  forgetSession(): void {
    this.received.clear()
    this.outgoing.clear()
  }

  #publishCame(packet: PublishPacket): void {
    const { packetId, qos, dup, retain } = packet
    const topic = this.#topicOf(packet)
    const content = JSON.stringify([topic, qos, retain, packet.payload.toString('latin1')])
    if (packetId !== null) {
      this.#unacknowledged.add(packetId)
      const open = this.#unacknowledged.size
      assert.ok(open <= this.#window, `${this.clientId} has ${open} in flight, over ${this.#window}`) // [MQTT-3.3.4-9]
      this.#expectResend(packetId, dup)
      const known = this.received.get(packetId)
      if (dup) {
        if (known === undefined)
          assert.ok(this.mayHaveMissed, `${this.clientId}: DUP of what was never sent, ${content}`)
        else {
          assert.equal(known.stage, 'publish', `${this.clientId}: PUBLISH again after PUBREC`) // [MQTT-4.3.3-6]
          assert.notEqual(known.connection, this.#connection, 'sent again on the same connection') // [MQTT-4.4.0-1]
          assert.equal(content, known.content)
        }
      } else assert.ok(known === undefined, `${this.clientId}: packet identifier ${packetId} is in use`) // [MQTT-2.2.1-4]
      this.received.set(packetId, { content, stage: 'publish', connection: this.#connection })
      if (known !== undefined) {
        this.#wait(qos === 1 ? 'puback' : 'pubrec', packetId)
        return
      }
    }
    const id = packet.payload.toString('latin1').split('|', 1)[0]
    const identifiers = this.level === 5 ? (properties(packet, P.subscriptionIdentifier) as number[]) : null
    const expirySeconds = (property(packet, P.messageExpiryInterval) as number | undefined) ?? null
    this.#onArrival(this, { id, topic, qos, retain, identifiers, expirySeconds, isLate: this.isLate || dup })
    // Last, because the next message may come before this returns.
    if (packetId !== null) this.#wait(qos === 1 ? 'puback' : 'pubrec', packetId)
  }

  #topicOf(packet: PublishPacket): string {
    const alias = property(packet, P.topicAlias) as number | undefined
    if (alias === undefined) return packet.topic
    assert.ok(alias <= this.#aliasMaximum, `alias ${alias} is over ${this.#aliasMaximum}`) // [MQTT-3.1.2-26]
    if (packet.topic !== '') this.#aliases.set(alias, packet.topic)
    const topic = this.#aliases.get(alias)
    assert.ok(topic !== undefined, `alias ${alias} was never set`)
    return topic
  }

  /** What was open before comes first and in its order. */
  #expectResend(packetId: number, isResend: boolean): void {
    if (this.#resends === null) return
    if (isResend) assert.equal(packetId, this.#resends.shift(), `${this.clientId}: sent again out of order`)
    else assert.equal(this.#resends.length, 0, `${this.clientId}: new messages before those that are open`)
  }

  #pubrelCame({ packetId, reasonCode }: AckPacket<'PUBREL'>): void {
    if (this.#strayPubrecs.delete(packetId)) {
      assert.equal(reasonCode, this.level === 5 ? 0x92 : 0)
      return
    }
    const known = this.received.get(packetId)
    assert.equal(known?.stage, 'pubrec', `${this.clientId}: PUBREL of ${packetId}`)
    if (known!.connection !== this.#connection) {
      this.#expectResend(packetId, true)
      known!.connection = this.#connection
    }
    this.#wait('pubcomp', packetId)
  }

  #wait(type: 'puback' | 'pubrec' | 'pubcomp', packetId: number): void {
    this.#waiting.push({ type, packetId })
    if (this.acknowledges === 'now') void this.acknowledge(1, false)
  }

  #answerCame({ type, packetId, reasonCode }: AckPacket<'PUBACK' | 'PUBREC' | 'PUBCOMP'>): void {
    const open = this.outgoing.get(packetId)
    assert.ok(open !== undefined, `${this.clientId}: ${type} of ${packetId}, which is not open`)
    if (type === 'PUBCOMP') {
      assert.equal(open.stage, 'released')
      this.outgoing.delete(packetId)
      return
    }
    assert.equal(open.choice.qos, type === 'PUBACK' ? 1 : 2)
    assert.ok(reasonCode < 0x80)
    if (open.expectedReason !== null && this.level === 5) assert.equal(reasonCode, open.expectedReason, type)
    if (type === 'PUBACK') this.outgoing.delete(packetId)
    else if (open.stage === 'publish') open.stage = 'pubrel'
  }

  /** PUBREL for all that the broker has acknowledged with PUBREC. */
  async release(): Promise<void> {
    for (const [packetId, open] of this.outgoing) {
      if (open.stage !== 'pubrel') continue
      open.stage = 'released'
      await this.send(pubrel({ level: this.level, packetId }))
    }
  }
}
