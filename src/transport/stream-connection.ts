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
  /** What happened on the stream while the loop was at work on something else. */
  #deferred: (() => void)[] = []

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
    this.#stream.on('data', (chunk: Buffer) => this.#inTurn(() => this.#received(chunk)))
    this.#stream.on('error', (error) => {
      this.#error = error
    })
    this.#stream.on('end', () => this.#stream.end())
    this.#stream.on('close', () => this.#inTurn(() => this.#closed()))
  }

  /**
   * A stream whose other side is in this process may answer a `write` before it returns: in the middle of the handling of
   * some other packet, with which it must not mix.
   */
  #inTurn(event: () => void): void {
    if (this.#deferred.length === 0 && !this.#loop.isEntered) {
      event()
      return
    }
    this.#deferred.push(event)
    if (this.#deferred.length === 1) setImmediate(() => this.#catchUp())
  }

  #catchUp(): void {
    const events = this.#deferred
    for (const event of events) event()
    this.#deferred = []
  }

  #received(chunk: Buffer): void {
    this.#loop.enter()
    try {
      this.#receiver?.received(chunk, 0, chunk.length)
    } finally {
      this.#loop.leaveRead()
    }
  }

  #closed(): void {
    const receiver = this.#receiver
    this.#receiver = null
    this.#loop.enter()
    try {
      receiver?.closed(this.#error)
    } finally {
      this.#loop.leave()
    }
  }

  #drained(): void {
    this.#loop.enter()
    try {
      this.#receiver?.drained()
    } finally {
      this.#loop.leave()
    }
  }

  write(buffer: Buffer, start: number, end: number): boolean {
    if (this.#stream.destroyed || this.#stream.writableEnded) return true
    // A stream may keep what it is given for as long as it likes, so it gets a copy.
    const copy = Buffer.from(buffer.subarray(start, end))
    if (this.#stream.write(copy)) return true
    this.#stream.once('drain', () => this.#inTurn(() => this.#drained()))
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
