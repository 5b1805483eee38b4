// The output of one connection: packets are gathered in one slab and written once per turn. Bytes that follow each other
// in the same source are remembered as one run and copied once. Knows no MQTT.
import { type Loop, slabBytes } from './loop.ts'
import type { NetworkConnection } from './network-connection.ts'

/** Below this a byte loop beats a native copy. */
const shortCopyBytes = 24
/** A slab is written early when so much is in it. */
const earlyFlushBytes = slabBytes - 1024

export class Output {
  readonly #loop: Loop
  readonly #connection: NetworkConnection
  readonly #onBlocked: () => void
  /** Where the next packet is to be written: valid after `reserve`. */
  slab: Buffer | null = null
  length = 0
  #runSource: Buffer | null = null
  #runStart = 0
  #runEnd = 0
  #isDirty = false
  /** The kernel took less than it was given; everything waits until `drained`. */
  isBlocked = false
  /** Full slabs that wait while the connection is blocked, with the bytes in each. */
  #waiting: { slab: Buffer; length: number }[] | null = null
  /** Bytes handed over but not yet taken by the kernel, and those in waiting slabs. */
  #pendingBytes = 0
  /** What the connection holds while it is blocked, to be recycled on `drained`. */
  #inKernel: Buffer[] | null = null
  isClosed = false
  writtenBytes = 0

  /** @param onBlocked called whenever the kernel does not take all; `drained` is the opposite */
  constructor(loop: Loop, connection: NetworkConnection, onBlocked: () => void) {
    this.#loop = loop
    this.#connection = connection
    this.#onBlocked = onBlocked
  }

  /** Bytes that wait to be taken by the kernel. */
  get queuedBytes(): number {
    return this.#pendingBytes + this.length + (this.#runEnd - this.#runStart)
  }

  /** Sends bytes [start, end) of `source`, which stay as they are until the end of the turn. */
  append(source: Buffer, start: number, end: number): void {
    if (this.#runSource === source && this.#runEnd === start) {
      this.#runEnd = end
      return
    }
    if (this.#runSource !== null) this.#copyRun()
    else {
      this.#loop.addOpenRun(this)
      if (!this.#isDirty) this.#markDirty()
    }
    this.#runSource = source
    this.#runStart = start
    this.#runEnd = end
  }

  /** Makes room for `length` bytes at `slab[this.length]`; the caller writes them and adds to `length`. */
  reserve(length: number): Buffer {
    if (this.#runSource !== null) this.#copyRun()
    if (!this.#isDirty) this.#markDirty()
    if (this.slab !== null && this.slab.length - this.length < length) this.#seal()
    this.slab ??= length > slabBytes ? Buffer.allocUnsafeSlow(length) : this.#loop.takeSlab()
    return this.slab
  }

  /** Copies the run, because its source is about to be used again. */
  closeRun(): void {
    if (this.#runSource !== null) this.#copyRun()
  }

  #markDirty(): void {
    this.#isDirty = true
    this.#loop.addDirty(this)
  }

  #copyRun(): void {
    const source = this.#runSource!
    let start = this.#runStart
    const end = this.#runEnd
    this.#runSource = null
    this.#runStart = 0
    this.#runEnd = 0
    if (this.isClosed) return
    for (;;) {
      this.slab ??= this.#loop.takeSlab()
      const part = Math.min(end - start, this.slab.length - this.length)
      if (part <= shortCopyBytes) {
        const slab = this.slab
        const at = this.length - start
        for (let index = start; index < start + part; index++) slab[at + index] = source[index]
      } else source.copy(this.slab, this.length, start, start + part)
      this.length += part
      start += part
      if (start === end) break
      this.#seal()
    }
    if (this.length > earlyFlushBytes && !this.isBlocked) this.#seal()
  }

  /** Takes the slab out of use: to the kernel, or to those that wait. */
  #seal(): void {
    const slab = this.slab
    if (slab === null) return
    const length = this.length
    this.slab = null
    this.length = 0
    if (length === 0 || this.isClosed) {
      this.#loop.releaseSlab(slab)
      return
    }
    if (this.isBlocked) {
      this.#waiting ??= []
      this.#waiting.push({ slab, length })
      this.#pendingBytes += length
    } else this.#write(slab, length)
  }

  #write(slab: Buffer, length: number): void {
    this.writtenBytes += length
    if (this.#connection.write(slab, 0, length)) {
      this.#loop.releaseSlab(slab)
      return
    }
    if (this.isClosed) return
    this.isBlocked = true
    this.#onBlocked()
    this.#pendingBytes += length
    this.#inKernel ??= []
    this.#inKernel.push(slab)
  }

  flush(): void {
    this.#isDirty = false
    if (this.#runSource !== null) this.#copyRun()
    if (!this.isBlocked) this.#seal()
  }

  /** The kernel has taken all that it was given. */
  drained(): void {
    this.isBlocked = false
    this.#pendingBytes = 0
    const done = this.#inKernel
    this.#inKernel = null
    if (done !== null) for (const slab of done) this.#loop.releaseSlab(slab)
    const waiting = this.#waiting
    this.#waiting = null
    if (waiting === null) {
      if (this.length > 0) this.#seal()
      return
    }
    for (const { slab, length } of waiting) {
      if (this.isBlocked) {
        this.#waiting ??= []
        ;(this.#waiting as { slab: Buffer; length: number }[]).push({ slab, length })
        this.#pendingBytes += length
      } else this.#write(slab, length)
    }
    if (!this.isBlocked && this.length > 0) this.#seal()
  }

  /** Forgets all that is not yet handed over. */
  close(): void {
    this.isClosed = true
    this.#runSource = null
    this.#runStart = 0
    this.#runEnd = 0
    if (this.slab !== null) this.#loop.releaseSlab(this.slab)
    this.slab = null
    this.length = 0
    for (const { slab } of this.#waiting ?? []) this.#loop.releaseSlab(slab)
    this.#waiting = null
    this.#inKernel = null
    this.#pendingBytes = 0
  }
}
