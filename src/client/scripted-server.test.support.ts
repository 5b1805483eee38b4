// A server for tests that does exactly what the test says, over a real UNIX socket: the only way to see how a client takes
// what no decent broker sends.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodePacket } from '../codec/decode.ts'
import { encodePacket } from '../codec/encode.ts'
import type { ProtocolLevel } from '../codec/packet-types.ts'
import type { ConnackPacket, Packet } from '../codec/packets.ts'
import type { Address } from '../transport/address.ts'
import { PacketAssembler } from './packet-assembler.ts'

const patienceMs = 5000

/** One connection as the server sees it. */
export class ScriptedPeer {
  readonly socket: Socket
  readonly level: ProtocolLevel
  readonly #packets: Packet[] = []
  #wake: () => void = () => {}
  #isEnded = false

  constructor(socket: Socket, level: ProtocolLevel) {
    this.socket = socket
    this.level = level
    const assembler = new PacketAssembler(1_000_000, (firstByte, buffer, start, end) => {
      this.#packets.push(decodePacket(firstByte, buffer, start, end, level))
    })
    socket.on('data', (chunk) => {
      assembler.push(chunk)
      this.#wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#isEnded = true
      this.#wake()
    })
  }

  /** How many packets have come that nobody has asked for yet. */
  get waitingCount(): number {
    return this.#packets.length
  }

  /** The next packet of the client, whatever it is; null when it has closed. */
  async next(): Promise<Packet | null> {
    const timeout = AbortSignal.timeout(patienceMs)
    while (this.#packets.length === 0 && !this.#isEnded) {
      assert.ok(!timeout.aborted, 'the client sends nothing')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
        timeout.addEventListener('abort', () => resolve(), { once: true })
      })
    }
    return this.#packets.shift() ?? null
  }

  async expect<Type extends Packet['type']>(type: Type): Promise<Packet & { type: Type }> {
    const packet = await this.next()
    assert.equal(packet?.type, type)
    return packet as Packet & { type: Type }
  }

  send(...packets: Packet[]): void {
    this.socket.write(Buffer.concat(packets.map((packet) => encodePacket(packet, this.level))))
  }

  /** Bytes in hex; blanks do not matter. */
  sendHex(hex: string): void {
    this.socket.write(Buffer.from(hex.replaceAll(' ', ''), 'hex'))
  }

  async accept(connack: Partial<ConnackPacket> = {}): Promise<void> {
    await this.expect('connect')
    this.send({ type: 'connack', sessionPresent: false, reasonCode: 0, ...connack })
  }
}

export class ScriptedServer {
  readonly address: Address
  readonly #server: Server
  readonly #folder: string
  readonly #all = new Set<Socket>()
  /** Connections that no test has asked for yet. */
  readonly #sockets: Socket[] = []
  readonly #waiting: ((socket: Socket) => void)[] = []

  private constructor(server: Server, folder: string, address: Address) {
    this.#server = server
    this.#folder = folder
    this.address = address
    server.on('connection', (socket) => {
      this.#all.add(socket)
      const taker = this.#waiting.shift()
      if (taker === undefined) this.#sockets.push(socket)
      else taker(socket)
    })
  }

  static async start(): Promise<ScriptedServer> {
    const folder = await mkdtemp(join(tmpdir(), 'atoll-scripted-'))
    const path = join(folder, 's.sock')
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(path, resolve))
    return new ScriptedServer(server, folder, { kind: 'unix', path })
  }

  async peer(level: ProtocolLevel = 5): Promise<ScriptedPeer> {
    const socket = this.#sockets.shift() ?? (await new Promise<Socket>((resolve) => this.#waiting.push(resolve)))
    return new ScriptedPeer(socket, level)
  }

  async stop(): Promise<void> {
    for (const socket of this.#all) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
    await rm(this.#folder, { recursive: true })
  }
}
