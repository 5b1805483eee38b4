// Where the records of a kind, and of a Session, begin and end in the order of keys. Knows no values.
import type { RecordKind } from './record-codec.ts'

export function rangeOf(kind: RecordKind): { start: Buffer; end: Buffer } {
  return { start: Buffer.of(kind), end: Buffer.of(kind + 1) }
}

export function ofSession(kind: RecordKind, sessionNumber: number): Buffer {
  const key = Buffer.alloc(7, kind)
  key.writeUIntBE(sessionNumber, 1, 6)
  return key
}

/** @param key of another record of the same kind and Session */
export function isOfSession(key: Buffer, keys: Buffer, keyStart: number): boolean {
  for (let index = 0; index < 7; index++) if (keys[keyStart + index] !== key[index]) return false
  return true
}

export function afterSession(kind: RecordKind, sessionNumber: number): Buffer {
  return ofSession(kind, sessionNumber + 1)
}

/** A copy of a key, and beyond it as little as possible. */
export function behind(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.of(0)])
}
