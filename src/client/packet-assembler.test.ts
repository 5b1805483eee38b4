import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ProtocolError } from '../base/errors.ts'
import { PacketAssembler } from './packet-assembler.ts'

function packet(firstByte: number, body: Uint8Array): Buffer {
  const length: number[] = []
  let rest = body.length
  do {
    length.push(rest > 127 ? (rest & 127) | 128 : rest)
    rest >>= 7
  } while (rest > 0)
  return Buffer.concat([Buffer.from([firstByte, ...length]), body])
}

/** `first byte:body in hex` of every packet that came out. */
function assemble(chunks: readonly Buffer[], limitBytes = 1_000_000): string[] {
  const seen: string[] = []
  const assembler = new PacketAssembler(limitBytes, (firstByte, buffer, start, end) => {
    seen.push(`${firstByte}:${buffer.toString('hex', start, end)}`)
  })
  for (const chunk of chunks) assembler.push(chunk)
  return seen
}

function reasonOf(chunks: readonly Buffer[], limitBytes?: number): number | null {
  try {
    assemble(chunks, limitBytes)
    return null
  } catch (error) {
    assert.ok(error instanceof ProtocolError, String(error))
    return error.reasonCode
  }
}

test('packets come out whole, however they are cut and joined', () => {
  const body = fc.oneof(fc.uint8Array({ maxLength: 10 }), fc.uint8Array({ minLength: 120, maxLength: 300 }))
  const packets = fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), body), { maxLength: 8 })
  fc.assert(
    fc.property(packets, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (list, sizes) => {
      const whole = Buffer.concat(list.map(([firstByte, bytes]) => packet(firstByte, bytes)))
      const chunks: Buffer[] = []
      for (let at = 0, turn = 0; at < whole.length; turn++) {
        const size = sizes[turn % sizes.length]
        chunks.push(whole.subarray(at, at + size))
        at += size
      }
      assert.deepEqual(
        assemble(chunks),
        list.map(([firstByte, bytes]) => `${firstByte}:${Buffer.from(bytes).toString('hex')}`),
      )
    }),
  )
})

test('a long packet byte by byte', () => {
  const whole = packet(0x30, new Uint8Array(20_000).fill(7))
  const chunks = Array.from(whole, (byte) => Buffer.from([byte]))
  assert.deepEqual(assemble(chunks), [`48:${'07'.repeat(20_000)}`])
})

test('a bad length is malformed', () => {
  assert.equal(reasonOf([Buffer.from('30ffffffff', 'hex')]), 0x81)
  assert.equal(reasonOf([Buffer.from('30ffff', 'hex'), Buffer.from('ff8001', 'hex')]), 0x81)
  assert.equal(reasonOf([Buffer.from('308000', 'hex')]), 0x81)
  assert.equal(reasonOf([Buffer.from('30ffffff', 'hex')]), null)
})

test('a packet above the limit is refused from its header alone', () => {
  assert.equal(reasonOf([Buffer.from('30ffffff7f', 'hex')], 1000), 0x95)
  assert.equal(reasonOf([packet(0x30, new Uint8Array(98))], 100), null)
  assert.equal(reasonOf([packet(0x30, new Uint8Array(99))], 100), 0x95)
})
