// A Network Connection over a socket of Node: tcp and unix alike. Reads into the buffer that the whole loop shares.
import type { Socket } from 'node:net'
import type { Peer } from '../base/peer.ts'
import type { Loop } from './loop.ts'
import type { NetworkConnection, NetworkReceiver } from './network-connection.ts'
import { type StreamHandle, socketOver } from './stream-handle.ts'

const nothing = Buffer.alloc(0)
/** libuv reads up to 32 times before it looks at the next socket. After so many full buffers the others get their turn. */
const fullReadsLimit = 2

export class SocketConnection implements NetworkConnection {
  readonly peer: Peer
  readonly #socket: Socket
  readonly #loop: Loop
  #receiver: NetworkReceiver | null = null
  #error: Error | null = null
  #isPaused = false
  /** In a row. */
  #fullReads = 0

  readonly #released: () => void

  /**
   * Reading begins with the next turn of the loop, so `start` has to be called in this one.
   * @param released called once, when the connection has closed
   */
  constructor(handle: StreamHandle, peer: Peer, loop: Loop, released: () => void) {
    this.peer = peer
    this.#loop = loop
    this.#released = released
    this.#socket = socketOver(handle, loop.readBuffer, (length) => this.#received(length))
    this.#socket.on('error', (error) => {
      this.#error = error
    })
    this.#socket.on('close', () => this.#closed())
  }

  start(receiver: NetworkReceiver): void {
    this.#receiver = receiver
  }

  #received(length: number): boolean {
    const receiver = this.#receiver
    if (receiver === null) return false
    const loop = this.#loop
    loop.enter()
    try {
      receiver.received(loop.readBuffer, 0, length)
    } finally {
      loop.leaveRead()
    }
    if (length < loop.readBuffer.length) this.#fullReads = 0
    else if (++this.#fullReads === fullReadsLimit) return this.#letOthersRead()
    return !this.#isPaused
  }

  /** @returns that the reading stops */
  #letOthersRead(): false {
    this.#fullReads = 0
    setImmediate(this.#readOn)
    return false
  }

  readonly #readOn = () => {
    if (!this.#isPaused && this.#receiver !== null) this.#socket.resume()
  }

  #closed(): void {
    const receiver = this.#receiver
    this.#receiver = null
    this.#released()
    if (receiver === null) return
    this.#loop.enter()
    try {
      receiver.closed(this.#error)
    } finally {
      this.#loop.leave()
    }
  }

  write(buffer: Buffer, start: number, end: number): boolean {
    const socket = this.#socket
    if (socket.destroyed || socket.writableEnded) return true
    socket.write(start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end))
    if (socket.writableLength === 0) return true
    // Below the high-water mark there is no 'drain' event, so an empty write's callback tells instead.
    if (socket.writableNeedDrain) socket.once('drain', this.#drained)
    else socket.write(nothing, this.#drainedAfterWrite)
    return false
  }

  readonly #drained = () => {
    if (this.#receiver === null) return
    this.#loop.enter()
    try {
      this.#receiver.drained()
    } finally {
      this.#loop.leave()
    }
  }

  readonly #drainedAfterWrite = (error?: Error | null) => {
    if (error === undefined || error === null) this.#drained()
  }

  pause(): void {
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#socket.resume()
  }

  end(): void {
    this.#socket.end()
    this.#socket.resume()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
