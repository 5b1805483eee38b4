// Two ends of a connection in memory: what is written to one is read from the other.
import { Duplex } from 'node:stream'

class MemoryEnd extends Duplex {
  other: MemoryEnd | null = null
  #continue: (() => void) | null = null

  constructor() {
    // As a socket: whoever reads the end answers with its own.
    super({ allowHalfOpen: false })
  }

  override _read(): void {
    const proceed = this.#continue
    this.#continue = null
    proceed?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.other?.deliver(chunk, done)
  }

  /** Back-pressure: the writer goes on once the reader wants more. */
  deliver(chunk: Buffer, done: () => void): void {
    if (this.destroyed) done()
    else if (this.push(chunk)) done()
    else this.#continue = done
  }

  override _final(done: () => void): void {
    if (this.other !== null && !this.other.destroyed) this.other.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const proceed = this.#continue
    this.#continue = null
    proceed?.()
    const { other } = this
    this.other = null
    // After an orderly end the other may still read what lies there.
    if (other !== null && !other.destroyed && !this.writableFinished) setImmediate(() => other.destroy())
    done(error)
  }
}

/** @returns one end for `broker.accept`, the other for a client */
export function createMemoryPair(): [Duplex, Duplex] {
  const one = new MemoryEnd()
  const other = new MemoryEnd()
  one.other = other
  other.other = one
  return [one, other]
}
