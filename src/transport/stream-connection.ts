// A Network Connection over any duplex stream: what an embedding program brings, or an in-memory pair in a test.
import type { Duplex } from 'node:stream'
import type { Peer } from '../base/peer.ts'
import type { Loop } from './loop.ts'
import type { NetworkConnection, NetworkReceiver } from './network-connection.ts'

export class StreamConnection implements NetworkConnection {
  readonly peer: Peer
  readonly #stream: Duplex
  readonly #loop: Loop
  #receiver: NetworkReceiver | null = null
  #error: Error | null = null

  constructor(stream: Duplex, name: string, loop: Loop) {
    this.#stream = stream
    this.#loop = loop
    this.peer = {
      transport: 'memory',
      address: name,
      port: null,
      pid: null,
      uid: null,
      gid: null,
      label: `memory:${name}`,
    }
  }

  start(receiver: NetworkReceiver): void {
    this.#receiver = receiver
    this.#stream.on('data', (chunk: Buffer) => {
      this.#loop.enter()
      try {
        this.#receiver?.received(chunk, 0, chunk.length)
      } finally {
        this.#loop.leaveRead()
      }
    })
    this.#stream.on('error', (error) => {
      this.#error = error
    })
    this.#stream.on('end', () => this.#stream.end())
    this.#stream.on('close', () => {
      const { loop, gone } = { loop: this.#loop, gone: this.#receiver }
      this.#receiver = null
      loop.enter()
      gone?.closed(this.#error)
      loop.leave()
    })
  }

  write(buffer: Buffer, start: number, end: number): boolean {
    if (this.#stream.destroyed || this.#stream.writableEnded) return true
    // A stream may keep what it is given for as long as it likes, so it gets a copy.
    const copy = Buffer.from(buffer.subarray(start, end))
    if (this.#stream.write(copy)) return true
    this.#stream.once('drain', () => {
      this.#loop.enter()
      this.#receiver?.drained()
      this.#loop.leave()
    })
    return false
  }

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  end(): void {
    this.#stream.end()
    this.#stream.resume()
  }

  destroy(): void {
    this.#stream.destroy()
  }
}
