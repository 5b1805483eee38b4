// A client whose Session outlives its connections: comes back whenever the broker is there, and knows what Session Present
// has to say. What it does in between is said by those who extend it.
import { describePacket, type RawClient } from '../kit/raw-client.ts'
import { type ConnackPacket, disconnect, type Level, P, type Property, type ServerPacket } from '../kit/wire.ts'
import type { CrashableBroker, Transport } from './crashable-broker.ts'
import { Gate } from './gate.ts'
import type { Ledger } from './ledger.ts'

/** A client whose connections fail again and again stays away: what follows from it would hide the first reason. */
const FAILURE_LIMIT = 5

/** Longer than any round: whoever waits is woken by the end of the connection. */
const PATIENCE_MS = 120_000

export interface Place {
  broker: CrashableBroker
  ledger: Ledger
}

export interface Kind {
  clientId: string
  level: Level
  transport: Transport
  /** MQTT 5 only. */
  receiveMaximum?: number
}

export abstract class PersistentClient {
  readonly clientId: string
  readonly level: Level
  protected readonly ledger: Ledger
  protected readonly broker: CrashableBroker
  /** The connection once CONNACK has come. */
  protected connection: RawClient | null = null
  /** Names the connection in the story of a message. */
  protected connectionName = ''
  readonly #kind: Kind
  readonly #wanted = new Gate()
  readonly #properties: Property[] = []
  #socket: RawClient | null = null
  #connectionCount = 0
  #failureCount = 0
  /** What CONNACK has to say: whether the Session is there, unknown while a CONNECT was not answered. */
  #session: 'none' | 'unknown' | 'there' = 'none'
  /** The next CONNECT discards the Session. */
  #isStartingOver = false
  #isEnded = false
  #life: Promise<void> | null = null

  constructor({ broker, ledger }: Place, kind: Kind) {
    this.broker = broker
    this.ledger = ledger
    this.#kind = kind
    this.clientId = kind.clientId
    this.level = kind.level
    if (kind.level === 5) this.#properties.push([P.sessionExpiryInterval, 3600])
    if (kind.level === 5 && kind.receiveMaximum) this.#properties.push([P.receiveMaximum, kind.receiveMaximum])
  }

  get isOnline(): boolean {
    return this.connection !== null
  }

  comeOnline(): void {
    this.#wanted.open()
    this.#life ??= this.#live()
  }

  /** Ends the connection: with DISCONNECT, or by breaking it. It stays away until it is asked to come. */
  goOffline(isOrderly: boolean): void {
    this.#wanted.close()
    this.breakConnection(isOrderly)
  }

  /** As a network that fails: it comes back at once. */
  breakConnection(isOrderly = false): void {
    const socket = this.#socket
    this.#socket = null
    this.connection = null
    if (socket === null) return
    // Node writes before it closes, as long as the kernel takes it.
    if (isOrderly) socket.send(disconnect({ level: this.level }))
    socket.destroy()
  }

  /** Discards the Session and begins a new one; MQTT 5, where Clean Start and a Session that lasts go together. */
  protected startOver(): void {
    this.#isStartingOver = true
    this.breakConnection()
  }

  async leave(): Promise<void> {
    this.#isEnded = true
    this.#wanted.open()
    this.broker.open.open()
    this.breakConnection()
    await this.#life
  }

  async #live(): Promise<void> {
    for (;;) {
      await this.#wanted.passed()
      await this.broker.open.passed()
      if (this.#isEnded) return
      if (this.#wanted.isOpen) await this.#connect()
    }
  }

  async #connect(): Promise<void> {
    const { life } = this.broker
    let socket: RawClient
    try {
      socket = await this.broker.connect(this.#kind.transport, this.level)
    } catch (error) {
      if (this.broker.isUp && this.broker.life === life) {
        this.ledger.violate('unexpected', `${this.clientId} cannot connect: ${error}`)
        this.#wanted.close()
      }
      // The broker is gone: `open` closes before it is killed.
      return
    }
    this.#socket = socket
    this.connectionName = `${this.clientId} connection ${++this.#connectionCount} life ${life}`
    const cleanStart = this.#isStartingOver
    socket.sendConnect({ clientId: this.clientId, cleanStart, properties: this.level === 5 ? this.#properties : [] })
    const before = this.#session
    if (cleanStart || before === 'none') this.#session = 'unknown'
    try {
      const connack = await socket.receive(PATIENCE_MS)
      if (this.#socket !== socket) return
      if (connack.type !== 'CONNACK') throw new Error(`${describePacket(connack)} instead of CONNACK`)
      // One that stops lets nobody in any more.
      if (connack.reasonCode !== 0 && !this.broker.isUp) return
      this.#accepted(socket, connack, before, cleanStart)
      for (;;) {
        const packet = await socket.receive(PATIENCE_MS)
        if (this.#socket !== socket) return
        if (packet.type === 'DISCONNECT' && !this.broker.isUp) return
        this.handle(packet)
      }
    } catch (error) {
      const isOurDoing = this.#socket !== socket || !this.broker.isUp || this.broker.life !== life
      if (!isOurDoing || !socket.isClosed) {
        this.ledger.violate('unexpected', `${this.connectionName}: ${error instanceof Error ? error.message : error}`)
        if (++this.#failureCount === FAILURE_LIMIT) this.#wanted.close()
      }
    } finally {
      socket.destroy()
      if (this.#socket === socket) {
        this.#socket = null
        this.connection = null
      }
      this.disconnected()
    }
  }

  #accepted(socket: RawClient, connack: ConnackPacket, before: 'none' | 'unknown' | 'there', isFresh: boolean): void {
    if (connack.reasonCode !== 0) throw new Error(`CONNECT was refused: ${describePacket(connack)}`)
    this.#isStartingOver = false
    const expected = isFresh || before === 'none' ? false : before === 'there' ? true : connack.sessionPresent
    if (connack.sessionPresent !== expected) {
      const story = `${this.connectionName}: Session Present is ${connack.sessionPresent}, the Session`
      this.ledger.violate(
        'session-present',
        `${story} ${before === 'there' && !isFresh ? 'was acknowledged' : 'is new'}`,
      )
    }
    if (before !== 'there') this.ledger.figures.sessions++
    this.#session = 'there'
    this.connection = socket
    this.ledger.acknowledged('CONNACK')
    if (this.connection === socket) this.connected(connack.sessionPresent)
  }

  protected send(...parts: Buffer[]): void {
    this.connection?.send(...parts)
  }

  protected abstract connected(isSessionPresent: boolean): void
  /** The connection has ended, whoever has ended it. */
  protected disconnected(): void {}
  protected abstract handle(packet: ServerPacket): void
}
