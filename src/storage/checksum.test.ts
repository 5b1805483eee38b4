// The checksum is that of node:zlib, whatever the length and wherever it begins.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { checksumOf } from './checksum.ts'

test('it is the checksum of node:zlib, in one piece and in two', () => {
  const pieces = fc.tuple(fc.uint8Array({ maxLength: 600 }), fc.nat(40), fc.nat(600))
  fc.assert(
    fc.property(pieces, ([bytes, from, length]) => {
      const start = Math.min(from, bytes.length)
      const split = Math.min(start + length, bytes.length)
      assert.equal(checksumOf(bytes, 0, bytes.length), crc32(bytes))
      const begun = checksumOf(bytes, start, split)
      assert.equal(begun, crc32(bytes.subarray(start, split)))
      assert.equal(checksumOf(bytes, split, bytes.length, begun), crc32(bytes.subarray(start)))
    }),
  )
})
