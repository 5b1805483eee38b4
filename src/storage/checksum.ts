// CRC-32 of a part of a buffer, as `crc32` of node:zlib counts it. A call of that costs more than the counting where records are
// short, as most are, and it takes views only: eight tables do the same here without either. Knows no record.
import { crc32 } from 'node:zlib'

/** From here on the call is worth it. */
const longBytes = 192

/** How the checksum changes with a byte that up to seven others follow: 256 for none, then 256 for one, and so on. */
const tables = createTables()

function createTables(): Int32Array {
  const all = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let rest = byte
    for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1
    all[byte] = rest
  }
  for (let index = 256; index < all.length; index++) {
    const before = all[index - 256]
    all[index] = (before >>> 8) ^ all[before & 0xff]
  }
  return all
}

/** @param begun the checksum of what comes before */
export function checksumOf(bytes: Uint8Array, start: number, end: number, begun = 0): number {
  if (end - start >= longBytes) return crc32(bytes.subarray(start, end), begun)
  let rest = ~begun
  let at = start
  for (const last = end - 7; at < last; at += 8) {
    rest ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
    rest =
      tables[1792 + (rest & 0xff)] ^
      tables[1536 + ((rest >>> 8) & 0xff)] ^
      tables[1280 + ((rest >>> 16) & 0xff)] ^
      tables[1024 + (rest >>> 24)] ^
      tables[768 + bytes[at + 4]] ^
      tables[512 + bytes[at + 5]] ^
      tables[256 + bytes[at + 6]] ^
      tables[bytes[at + 7]]
  }
  while (at < end) rest = (rest >>> 8) ^ tables[(rest ^ bytes[at++]) & 0xff]
  return ~rest >>> 0
}
