// What is physically there is rescued, however little leads to it: compared with a search for it in the bytes of the damaged file.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { openLmdbStore } from './lmdb-store.ts'
import type { RecoveryReport, Store } from './store.ts'
import { deliveryRecord, messageRecord, sessionRecord } from './store-contract.test.support.ts'

const count = 100

/** A PUBLISH of QoS 0 in the layout of MQTT 5, as the broker stores it. */
function publish(topic: string, payload: Buffer): Buffer {
  const name = Buffer.from(topic)
  const remaining = 2 + name.length + 1 + payload.length
  const length: number[] = []
  for (let rest = remaining; ; rest >>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest)
    if (rest <= 127) break
  }
  return Buffer.concat([Buffer.from([0x31, ...length, 0, name.length]), name, Buffer.of(0), payload])
}

const topicOf = (index: number) => `retained/${String(index).padStart(3, '0')}.`
const payloadOf = (index: number, bytes: number) => Buffer.alloc(bytes, index)

class Place {
  readonly directory = mkdtempSync(join(tmpdir(), 'atoll-rescue-'))
  readonly path = join(this.directory, 'store.mdb')
  readonly bytes: number

  constructor(context: TestContext, bytes: number) {
    this.bytes = bytes
    context.after(() => rmSync(this.directory, { recursive: true }))
  }

  open(): Promise<Store> {
    return openLmdbStore({ directory: this.directory, durability: 'os', clock: new ManualClock() })
  }

  /** 100 retained messages, and as many that wait for a Session, each written by itself. */
  async fill(): Promise<void> {
    const store = await this.open()
    const session = store.nextSessionNumber
    store.putSession(sessionRecord(session))
    for (let index = 0; index < count; index++) {
      const number = store.nextMessageNumber
      store.putRetained(topicOf(index), messageRecord(publish(topicOf(index), payloadOf(index, this.bytes))))
      store.putMessage(number, messageRecord(publish('queue', payloadOf(index, this.bytes))))
      store.putDelivery(session, index + 1, deliveryRecord(number))
      await store.flush()
    }
    await store.close()
  }

  /** Opens what the damage leaves. @returns how many are there, all of them held against what was stored, and the report */
  async rescue(damage: (file: Buffer, pageBytes: number) => Buffer | undefined) {
    await this.fill()
    const whole = readFileSync(this.path)
    const damaged = damage(whole, whole.readUInt32LE(48)) ?? whole
    writeFileSync(this.path, damaged)
    const store = await this.open()
    const topics = new Set<string>()
    for (const { topic, message } of store.retained()) {
      const index = Number(topic.slice(9, 12))
      assert.ok(message.packet.equals(publish(topicOf(index), payloadOf(index, this.bytes))), topic)
      topics.add(topic)
    }
    let queued = 0
    for (const { session } of store.sessions()) {
      for (const { order, message } of store.deliveries(session.sessionNumber, 0, 1000)) {
        assert.ok(message?.packet.equals(publish('queue', payloadOf(order - 1, this.bytes))), `queued ${order}`)
        queued++
      }
    }
    const report = store.recovery as RecoveryReport
    await store.close()
    assert.equal(report.rescued.retained, topics.size)
    assert.equal(report.rescued.deliveries, queued)
    return { topics, queued, report, damaged }
  }
}

/** Topics of whole messages that are somewhere in the file. */
function topicsIn(file: Buffer, bytes: number): Set<string> {
  const found = new Set<string>()
  for (let index = 0; index < count; index++) {
    const packet = publish(topicOf(index), payloadOf(index, bytes))
    // What comes before it in the record has ten bytes, what comes behind it four.
    const at = file.indexOf(packet)
    if (at >= 10 && at + packet.length + 4 <= file.length) found.add(topicOf(index))
  }
  return found
}

const isLeaf = (file: Buffer, page: number) => file.readUInt16LE(page + 18) === 2
const isBranch = (file: Buffer, page: number) => file.readUInt16LE(page + 18) === 1

test('what a publisher has not released is not brought over: what came with it may be lost', async (t) => {
  const place = new Place(t, 100)
  await place.fill()
  const before = await place.open()
  const [{ session }] = before.sessions()
  for (let packetId = 1; packetId <= 2500; packetId++) before.putInbound(session.sessionNumber, packetId)
  await before.close()
  const file = readFileSync(place.path)
  const packet = publish(topicOf(7), payloadOf(7, 100))
  for (let at = file.indexOf(packet); at !== -1; at = file.indexOf(packet)) file[at + 50] ^= 1
  writeFileSync(place.path, file)
  const store = await place.open()
  const report = store.recovery as RecoveryReport
  assert.deepEqual([report.rescued.inbound, report.lost.inbound, report.missing], [0, 2500, 1])
  assert.deepEqual([report.rescued.retained, report.rescued.deliveries], [count - 1, count])
  assert.deepEqual([...store.sessions()][0].inbound, [])
  await store.close()
})

for (const bytes of [4000, 10_000]) {
  test(`cut in half, messages of ${bytes} bytes: what is in the first half comes back`, async (t) => {
    const { topics, report, damaged } = await new Place(t, bytes).rescue((file) => file.subarray(0, file.length >> 1))
    const there = topicsIn(damaged, bytes)
    assert.ok(there.size > 30, `only ${there.size} are there`)
    assert.deepEqual(topics, there)
    assert.equal(report.lost.retained, 0)
    assert.ok((report.missing ?? 0) >= count - topics.size)
  })
}

test('the records of large messages lost on every leaf but those of deliveries: their values are found by checksum', async (t) => {
  const { queued, topics } = await new Place(t, 4000).rescue((file, pageBytes) => {
    for (let page = 2 * pageBytes; page < file.length; page += pageBytes) {
      if (!isLeaf(file, page)) continue
      const firstKey = page + file.readUInt16LE(page + 24) + 24 + 8
      // Messages and retained messages: kinds 5 and 7 in the table of record-codec.ts.
      if (file[firstKey] === 5 || file[firstKey] === 7) file.fill(0, page, page + pageBytes)
    }
    return undefined
  })
  assert.equal(topics.size, count)
  assert.ok(queued > 0.8 * count, `${queued} came back`)
})

test('garbage in the head of every leaf: the records behind it come back', async (t) => {
  const { topics, queued } = await new Place(t, 100).rescue((file, pageBytes) => {
    for (let page = 2 * pageBytes; page < file.length; page += pageBytes) {
      if (isLeaf(file, page)) file.fill(0xa5, page, page + 24)
    }
    return undefined
  })
  assert.equal(topics.size, count)
  assert.equal(queued, count)
})

test('zeros and garbage in place of every branch, and in the first pages: nothing else is missing', async (t) => {
  const { topics, queued, report } = await new Place(t, 1000).rescue((file, pageBytes) => {
    file.fill(0, 0, 2 * pageBytes)
    for (let page = 2 * pageBytes; page < file.length; page += pageBytes) {
      if (isBranch(file, page)) file.fill(page % (2 * pageBytes) === 0 ? 0 : 0x5a, page, page + pageBytes)
    }
    return undefined
  })
  assert.equal(topics.size, count)
  assert.equal(queued, count)
  assert.equal(report.missing, null)
})

test('every third page zeroed: what is left anywhere comes back', async (t) => {
  const bytes = 4000
  const { topics, damaged } = await new Place(t, bytes).rescue((file, pageBytes) => {
    for (let page = 2; (page + 1) * pageBytes <= file.length; page += 3) {
      file.fill(0, page * pageBytes, (page + 1) * pageBytes)
    }
    return undefined
  })
  assert.deepEqual(topics, topicsIn(damaged, bytes))
})
