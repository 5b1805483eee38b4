// Streams whose other side is in the same process may answer in the middle of a write.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { createMemoryPair } from '../testing/memory-pair.ts'
import { Loop } from './loop.ts'
import type { NetworkReceiver } from './network-connection.ts'
import { Output } from './output.ts'
import { StreamConnection } from './stream-connection.ts'

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Answers every chunk with bytes that are only good until the end of the turn, as handlers do. */
class Echo implements NetworkReceiver {
  readonly #loop: Loop
  readonly output: Output
  isAtWork = false
  readonly seen: string[] = []
  isClosed = false

  constructor(loop: Loop, connection: StreamConnection) {
    this.#loop = loop
    this.output = new Output(loop, connection, () => {})
    connection.start(this)
  }

  received(buffer: Buffer, start: number, end: number): void {
    assert.ok(!this.isAtWork && !this.isClosed)
    this.isAtWork = true
    this.seen.push(buffer.toString('latin1', start, end))
    this.#loop.reserveScratch(50_000)
    const { scratchBuffer, scratchStart } = this.#loop
    scratchBuffer.fill(0x61 + (this.seen.length % 26), scratchStart, scratchStart + 50_000)
    // More than a slab holds, so that some of it is written before the turn is over.
    this.output.append(scratchBuffer, scratchStart, scratchStart + 50_000)
    this.output.reserve(1)
    this.output.slab![this.output.length++] = 0x2e
    this.output.append(scratchBuffer, scratchStart, scratchStart + 50_000)
    this.isAtWork = false
  }

  drained(): void {
    assert.ok(!this.isAtWork)
    this.output.drained()
  }

  closed(): void {
    assert.ok(!this.isAtWork)
    this.isClosed = true
  }
}

test('an answer that comes before a write returns is handled after the work that was under way', async () => {
  const [near, far] = createMemoryPair()
  const loop = new Loop()
  const echo = new Echo(loop, new StreamConnection(near, 'test', loop))
  let got = ''
  let asked = 0
  far.on('data', (chunk: Buffer) => {
    got += chunk.toString('latin1')
    if (asked < 20) far.write(`question ${++asked}`)
  })
  far.write('question 0')
  await turns(100)
  assert.equal(echo.seen.join(), Array.from({ length: 21 }, (_, index) => `question ${index}`).join())
  const part = (index: number) => String.fromCharCode(0x61 + ((index + 1) % 26)).repeat(50_000)
  assert.ok(got === Array.from({ length: 21 }, (_, index) => `${part(index)}.${part(index)}`).join(''))
})

test('a close while work is under way is told after what came before it', async () => {
  const [near, far] = createMemoryPair()
  const loop = new Loop()
  const echo = new Echo(loop, new StreamConnection(near, 'test', loop))
  far.resume()
  loop.enter()
  far.write('last words')
  far.end()
  await once(near, 'close')
  assert.deepEqual([echo.seen, echo.isClosed], [[], false])
  loop.leave()
  await turns(3)
  assert.deepEqual([echo.seen, echo.isClosed], [['last words'], true])
})
