// How many records at a time pass between the package `lmdb` and who reads and writes them, without an object for each: a key
// made of numbers goes straight to where the package takes keys from, and what is read stays where the package puts it. For
// everybody else keys and values are buffers of their own. Knows no record.
import type { RootDatabase } from 'lmdb'

export type Database = RootDatabase<Buffer, Buffer>

/** A key that is made anew in the same bytes each time; the package has read it when its call returns. */
export interface ReusedKey {
  readonly bytes: Buffer
  readonly length: number
}

const nothing = Buffer.alloc(0)

export class RecordAccess {
  /** What was read last in place, until something else is read: the key is a part of `keys`, the value the beginning of `value`. */
  keys: Buffer = nothing
  keyStart = 0
  keyEnd = 0
  value: Buffer = nothing
  valueLength = 0
  #isInPlace = false

  /** For the package, which calls them without their object. */
  readonly keyEncoder = {
    writeKey: (key: Buffer | ReusedKey, target: Buffer, start: number): number => {
      if ('bytes' in key) for (let index = 0; index < key.length; index++) target[start + index] = key.bytes[index]
      else target.set(key, start)
      return start + key.length
    },
    readKey: (source: Buffer, start: number, end: number): Buffer => {
      if (!this.#isInPlace) return asBuffer(Uint8Array.prototype.slice.call(source, start, end))
      this.keys = source
      this.keyStart = start
      this.keyEnd = end
      return nothing
    },
  }

  readonly encoder = {
    encode: (value: Buffer): Buffer => value,
    // It is given the same large buffer each time, with the length of the value as its own; what is longer than that, mapped.
    decode: (bytes: Uint8Array): Buffer => {
      if (!this.#isInPlace) return asBuffer(Uint8Array.prototype.slice.call(bytes, 0, bytes.length))
      this.value = asBuffer(bytes)
      this.valueLength = bytes.length
      return nothing
    },
  }

  /** Has a thread touch the pages of so many records. Never rejects. */
  prefetch(database: Database, count: number, keyAt: (index: number) => ReusedKey): Promise<void> {
    const keys = {
      length: count,
      *[Symbol.iterator]() {
        for (let index = 0; index < count; index++) yield keyAt(index)
      },
    }
    return database.prefetch(keys as unknown as Buffer[])
  }

  /** Reads a record in place. @returns whether it is there */
  get(database: Database, key: ReusedKey): boolean {
    this.#isInPlace = true
    try {
      return database.get(asKey(key)) !== undefined
    } finally {
      this.#isInPlace = false
    }
  }

  /** Reads the next record of a range in place. @returns false when there is none */
  next(entries: Iterator<unknown>): boolean {
    this.#isInPlace = true
    try {
      return entries.next().done !== true
    } finally {
      this.#isInPlace = false
    }
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The package takes for a key what the encoder of keys takes. */
export function asKey(key: ReusedKey): Buffer {
  return key as unknown as Buffer
}
