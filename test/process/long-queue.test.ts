// A queue far longer than what the broker keeps of it in memory: for one client and for several that share its messages, over
// kills in the middle of filling and of reading, and the end of a Session that still has one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { P, puback, publish } from '../kit/wire.ts'
import { Workplace } from './daemon.ts'

const payloadBytes = 500
/** PUBLISH packets that wait for their PUBACK at a time. */
const publisherWindow = 500
const readerWindow = 50

class QueuePlace extends Workplace {
  describe(limits: Record<string, unknown> = {}): void {
    this.configure({
      durability: 'os',
      listeners: { local: `unix://${this.socketPath}` },
      limits: { queueMessages: 1_000_000, queueBytes: '1GiB', totalQueueBytes: '2GiB', ...limits },
    })
  }

  async reader(clientId: string, cleanStart = false): Promise<{ client: RawClient; sessionPresent: boolean }> {
    const client = await this.connect({ path: this.socketPath })
    const { sessionPresent } = await client.handshake({
      clientId,
      cleanStart,
      properties: [
        [P.sessionExpiryInterval, 3600],
        [P.receiveMaximum, readerWindow],
      ],
    })
    return { client, sessionPresent }
  }

  async subscribe(...clientIds: string[]): Promise<void> {
    for (const clientId of clientIds) {
      const { client } = await this.reader(clientId)
      await client.subscribe([{ filter: 'q', qos: 1 }])
      await client.disconnect()
    }
  }

  /** Publishes the numbers from `from` to `to`; all of them are acknowledged when it is over. */
  async fill(from: number, to: number): Promise<void> {
    const client = await this.client()
    let acknowledged = from - 1
    for (let number = from; acknowledged < to; ) {
      while (number <= to && number - acknowledged <= publisherWindow) {
        const payload = Buffer.from(String(number).padEnd(payloadBytes))
        client.send(publish({ level: 5, topic: 'q', payload, qos: 1, packetId: 1 + (number % 60_000) }))
        number++
      }
      assert.equal((await client.expect('PUBACK')).reasonCode, 0)
      acknowledged++
    }
    client.destroy()
  }
}

/** Reads and acknowledges so many. @returns the numbers that came, those that came again included */
async function read(client: RawClient, count: number): Promise<number[]> {
  const numbers: number[] = []
  while (numbers.length < count) {
    const { packetId, payload } = await client.expect('PUBLISH')
    numbers.push(Number(payload.toString()))
    client.send(puback({ level: 5, packetId: packetId! }))
  }
  return numbers
}

const numbersFrom = (first: number, count: number) => Array.from({ length: count }, (_, index) => first + index)

test('a queue longer than its window in memory survives kills while it is filled and read', async (t) => {
  const place = new QueuePlace(t)
  place.describe()
  let daemon = await place.start().ready()
  await place.subscribe('one', 'other')
  await place.fill(1, 6000)
  daemon.kill('SIGKILL')
  await daemon.ended()
  daemon = await place.start().ready()
  await place.fill(6001, 12_000)
  const first = await place.reader('one')
  assert.ok(first.sessionPresent)
  assert.deepEqual(await read(first.client, 5000), numbersFrom(1, 5000))
  daemon.kill('SIGKILL')
  await daemon.ended()
  daemon = await place.start().ready()
  const again = await place.reader('one')
  assert.ok(again.sessionPresent)
  // What was acknowledged last may come once more; nothing is missing.
  const [next] = await read(again.client, 1)
  assert.ok(next <= 5001, `goes on at ${next}`)
  assert.deepEqual(await read(again.client, 12_000 - next), numbersFrom(next + 1, 12_000 - next))
  await again.client.expectNothing()
  const { client: other } = await place.reader('other')
  assert.deepEqual(await read(other, 12_000), numbersFrom(1, 12_000))
  await other.expectNothing()
})

test('a Session that ends with a long queue is gone, also when the broker is killed over it', async (t) => {
  const place = new QueuePlace(t)
  place.describe()
  let daemon = await place.start().ready()
  await place.subscribe('one')
  await place.fill(1, 12_000)
  const { client, sessionPresent } = await place.reader('one', true)
  assert.equal(sessionPresent, false)
  daemon.kill('SIGKILL')
  await daemon.ended()
  client.destroy()
  daemon = await place.start().ready()
  const again = await place.reader('one')
  assert.equal(again.sessionPresent, true, 'the new Session')
  await again.client.expectNothing()
  await again.client.disconnect()
  const publisher = await place.client()
  assert.equal(await publisher.publish({ topic: 'q', payload: 'x', qos: 1 }), 0x10, 'nobody subscribes any more')
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
})
