import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { createMemoryPair } from './memory-pair.ts'

test('bytes go both ways, and an end is answered with an end', async () => {
  const [one, other] = createMemoryPair()
  one.write('a')
  one.end('b')
  other.write('c')
  assert.equal(Buffer.concat(await other.toArray()).toString(), 'ab')
  assert.equal(Buffer.concat(await one.toArray()).toString(), 'c')
  assert.ok(one.destroyed && other.destroyed)
})

test('what was written before an orderly end can still be read when the writer is gone', async () => {
  const [one, other] = createMemoryPair()
  one.resume()
  one.end('last words')
  other.end()
  await once(one, 'close')
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(Buffer.concat(await other.toArray()).toString(), 'last words')
})

test('an end that breaks takes the other with it', async () => {
  const [one, other] = createMemoryPair()
  other.resume()
  one.destroy()
  await once(other, 'close')
  assert.ok(!other.readableEnded)
})

test('the writer waits for a reader that does not read', async () => {
  const [one, other] = createMemoryPair()
  let written = 0
  const chunk = Buffer.alloc(64 * 1024)
  for (let index = 0; index < 10; index++) one.write(chunk, () => written++)
  await new Promise((resolve) => setImmediate(resolve))
  assert.ok(written < 10)
  other.resume()
  while (written < 10) await new Promise((resolve) => setImmediate(resolve))
  one.destroy()
})
