// The bytes that leave are those that were written, in their order, whatever the other side takes and when.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Loop, slabBytes } from './loop.ts'
import type { NetworkConnection } from './network-connection.ts'
import { Output } from './output.ts'

/** Takes what it is given at once, or keeps the memory until `drain`. */
class FakeConnection implements NetworkConnection {
  readonly peer = { transport: 'memory', address: '', port: null, pid: null, uid: null, gid: null, label: '' } as const
  readonly taken: Buffer[] = []
  readonly kept: { buffer: Buffer; start: number; end: number }[] = []
  isWilling = true
  isClosed = false

  write(buffer: Buffer, start: number, end: number): boolean {
    assert.equal(this.isClosed, false, 'nothing is sent after close')
    assert.equal(this.kept.length, 0, 'nothing is sent while the connection is blocked')
    if (!this.isWilling) {
      this.kept.push({ buffer, start, end })
      return false
    }
    this.taken.push(Buffer.from(buffer.subarray(start, end)))
    return true
  }

  /** Only now are the bytes read, so nobody may have changed them. */
  take(): boolean {
    const isBlocked = this.kept.length > 0
    for (const { buffer, start, end } of this.kept.splice(0)) this.taken.push(Buffer.from(buffer.subarray(start, end)))
    return isBlocked
  }

  start(): void {}
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

const length = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: 1, max: 40 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 9000 }) },
  { weight: 1, arbitrary: fc.integer({ min: slabBytes - 1100, max: slabBytes + 1100 }) },
)
const write = fc.record({
  kind: fc.constantFrom('append' as const, 'next' as const, 'reserve' as const, 'scratch' as const),
  length,
  output: fc.nat(1),
})
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ turn: fc.array(write, { maxLength: 12 }), isRead: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ blocks: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ drains: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.constant({ wait: true }) },
)

test('the bytes that come out are exactly those that were put in', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const loop = new Loop()
      const connections = [new FakeConnection(), new FakeConnection()]
      const outputs = connections.map((connection) => new Output(loop, connection, () => {}))
      const expected: Buffer[][] = [[], []]
      let filler = 0
      const source = Buffer.alloc(200_000)
      for (const one of steps) {
        if ('turn' in one) {
          loop.enter()
          // As with the read buffer, what is in the source is only good until the end of the turn.
          for (let at = 0; at < source.length; at += 4) source.writeUInt32LE(filler++, at)
          let position = 0
          for (const { kind, length, output } of one.turn) {
            const target = outputs[output]
            if (kind === 'reserve') {
              const slab = target.reserve(length)
              const bytes = Buffer.alloc(length, filler++)
              bytes.copy(slab, target.length)
              target.length += length
              expected[output].push(bytes)
              continue
            }
            let [buffer, start]: [Buffer, number] = [source, kind === 'next' ? position : (position * 7) % 100_000]
            if (kind === 'scratch') {
              loop.reserveScratch(length)
              buffer = loop.scratchBuffer
              start = loop.scratchStart
              buffer.fill(filler++, start, start + length)
            }
            target.append(buffer, start, start + length)
            expected[output].push(Buffer.from(buffer.subarray(start, start + length)))
            if (kind === 'next') position = Math.min(position + length, 100_000)
          }
          if (one.isRead) loop.leaveRead()
          else loop.leave()
        } else if ('blocks' in one) connections[one.blocks].isWilling = false
        else if ('drains' in one) {
          const connection = connections[one.drains]
          connection.isWilling = true
          if (connection.take()) outputs[one.drains].drained()
        } else await turn()
      }
      await turn()
      await turn()
      for (const [index, connection] of connections.entries()) {
        connection.isWilling = true
        if (connection.take()) outputs[index].drained()
        outputs[index].flush()
        const all = Buffer.concat(expected[index])
        assert.ok(Buffer.concat(connection.taken).equals(all))
        assert.equal(outputs[index].writtenBytes, all.length)
        assert.deepEqual([outputs[index].queuedBytes, outputs[index].isBlocked], [0, false])
      }
    }),
    { numRuns: 80 },
  )
})

test('runs that follow each other are written in one piece', () => {
  const loop = new Loop()
  const connection = new FakeConnection()
  const output = new Output(loop, connection, () => {})
  const source = Buffer.from('abcdefghij')
  loop.enter()
  for (let at = 0; at < 10; at++) output.append(source, at, at + 1)
  loop.leaveRead()
  assert.deepEqual(connection.taken.map(String), ['abcdefghij'])
})

test('what was not handed over at close is never sent, and nothing is after it', async () => {
  const loop = new Loop()
  const connection = new FakeConnection()
  let blocked = 0
  const output = new Output(loop, connection, () => blocked++)
  const source = Buffer.alloc(slabBytes, 'x')
  connection.isWilling = false
  loop.enter()
  for (let copy = 0; copy < 5; copy++) output.append(source, 0, source.length)
  output.closeRun()
  assert.equal(blocked, 1)
  assert.equal(output.queuedBytes, 5 * slabBytes)
  output.append(source, 0, 10)
  output.close()
  connection.isClosed = true
  loop.leave()
  loop.enter()
  output.append(source, 0, 10)
  output.reserve(4)
  output.length += 4
  loop.leaveRead()
  await turn()
  output.drained()
  output.flush()
  assert.equal(output.queuedBytes, 0)
  assert.equal(connection.kept.length, 1)
})

test('memory is used again', () => {
  const loop = new Loop()
  const connection = new FakeConnection()
  const output = new Output(loop, connection, () => {})
  const slabs = new Set<Buffer>()
  for (let round = 0; round < 100; round++) {
    loop.enter()
    slabs.add(output.reserve(1000))
    output.length += 1000
    loop.leaveRead()
  }
  assert.equal(slabs.size, 1)
  const before = loop.takeSlab()
  assert.ok(slabs.has(before))
})
