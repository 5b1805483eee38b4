// Streams whose other side is in the same process may answer in the middle of a write.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { createMemoryPair } from '../testing/memory-pair.ts'
import { Loop } from './loop.ts'
import type { NetworkReceiver } from './network-connection.ts'
import { Output } from './output.ts'
import { StreamConnection } from './stream-connection.ts'

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

class Recorder implements NetworkReceiver {
  readonly output: Output
  readonly #onReceived: (text: string) => void
  readonly seen: string[] = []
  isClosed = false

  constructor(loop: Loop, stream: Duplex, onReceived: (text: string) => void = () => {}) {
    const connection = new StreamConnection(stream, 'test', loop)
    this.output = new Output(loop, connection, () => {})
    this.#onReceived = onReceived
    connection.start(this)
  }

  received(buffer: Buffer, start: number, end: number): void {
    assert.equal(this.isClosed, false)
    const text = buffer.toString('latin1', start, end)
    this.seen.push(text)
    this.#onReceived(text)
  }

  drained(): void {
    this.output.drained()
  }

  closed(): void {
    this.isClosed = true
  }
}

test('an answer that comes before a write returns is handled after the work that was under way', async () => {
  const loop = new Loop()
  const [publisherEnd, publisher] = createMemoryPair()
  const [subscriberEnd, subscriber] = createMemoryPair()
  let isAtWork = false
  const acknowledgements = new Recorder(loop, subscriberEnd, () => {
    assert.ok(!isAtWork)
    // Uses the memory of the turn, as every handler does.
    loop.reserveScratch(60_000)
    loop.scratchBuffer.fill('?', loop.scratchStart, loop.scratchStart + 60_000)
  })
  new Recorder(loop, publisherEnd, (text) => {
    isAtWork = true
    loop.reserveScratch(60_000)
    const { scratchBuffer, scratchStart } = loop
    scratchBuffer.fill(text, scratchStart, scratchStart + 60_000)
    // More than a slab holds, so that some is written while this goes on and some at the end of the turn.
    for (let copy = 0; copy < 3; copy++) {
      acknowledgements.output.append(scratchBuffer, scratchStart, scratchStart + 60_000)
      acknowledgements.output.reserve(1)
      acknowledgements.output.slab![acknowledgements.output.length++] = 0x2e
    }
    acknowledgements.output.append(scratchBuffer, scratchStart, scratchStart + 60_000)
    isAtWork = false
  })
  let got = ''
  subscriber.on('data', (chunk: Buffer) => {
    got += chunk.toString('latin1')
    subscriber.write('ok')
  })
  await turns(2)
  for (const text of ['a', 'b', 'c']) publisher.write(text)
  await turns(30)
  const expected = ['a', 'b', 'c'].map((text) => Array(4).fill(text.repeat(60_000)).join('.')).join('')
  assert.equal(got.length, expected.length)
  assert.ok(got === expected)
  assert.ok(acknowledgements.seen.length > 0)
})

test('a close while work is under way is told after what came before it', async () => {
  const [near, far] = createMemoryPair()
  const loop = new Loop()
  const recorder = new Recorder(loop, near)
  far.resume()
  loop.enter()
  far.write('last words')
  far.end()
  await once(near, 'close')
  assert.deepEqual([recorder.seen, recorder.isClosed], [[], false])
  loop.leave()
  await turns(3)
  assert.deepEqual([recorder.seen, recorder.isClosed], [['last words'], true])
})
