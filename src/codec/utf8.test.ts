import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isValidUtf8 } from './utf8.ts'

/** What the platform makes of it. */
function model(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return !bytes.includes(0)
  } catch {
    return false
  }
}

function expectAsModel(bytes: Uint8Array): void {
  const framed = Buffer.concat([Buffer.from([0x80]), bytes, Buffer.from([0x80])])
  assert.equal(isValidUtf8(framed, 1, 1 + bytes.length), model(bytes), Buffer.from(bytes).toString('hex'))
}

test('any bytes', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 12 }), expectAsModel), { numRuns: 5000 })
})

test('bytes that look like UTF-8', () => {
  // Leads and continuations at the edges of every rule, so that most runs come close to being valid.
  const edge = fc.constantFrom(
    ...[
      0x00, 0x01, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
    ],
    ...[0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff],
  )
  fc.assert(
    fc.property(fc.array(edge, { maxLength: 6 }), (bytes) => expectAsModel(Uint8Array.from(bytes))),
    {
      numRuns: 20_000,
    },
  )
})

test('every sequence of two bytes, and text of every plane', () => {
  for (let first = 0; first < 256; first++) {
    for (let second = 0; second < 256; second++) expectAsModel(Uint8Array.of(first, second))
  }
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const isValid = text.isWellFormed() && !text.includes('\0')
      if (text.isWellFormed()) assert.equal(isValidUtf8(Buffer.from(text), 0, Buffer.byteLength(text)), isValid)
    }),
  )
})
