import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { open as openForeign, type RootDatabase } from 'lmdb'
import { createSystemClock, ManualClock } from '../base/clock.ts'
import { openEnvironment } from './lmdb-environment.ts'
import { LmdbFile } from './lmdb-file.ts'
import { openLmdbStore } from './lmdb-store.ts'
import { formatVersion, NumberKey, RecordEncoder, recordKind } from './record-codec.ts'
import type { Store } from './store.ts'
import { deliveryRecord, messageRecord, sessionRecord, testStore } from './store-contract.test.support.ts'
import type { StoreFile } from './store-file.ts'
import { surveyStore } from './survey-store.ts'

for (const durability of ['os', 'fsync'] as const) {
  testStore(`a store on disk, ${durability}`, () => {
    const directory = mkdtempSync(join(tmpdir(), 'atoll-store-'))
    return {
      open: () => openLmdbStore({ directory: join(directory, 'data'), durability, clock: createSystemClock() }),
      remove: () => rmSync(directory, { recursive: true, force: true }),
    }
  })
}

const clock = new ManualClock(Date.UTC(2026, 10, 22, 0, 33))

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'atoll-store-'))
  try {
    await body(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function open(directory: string): Promise<Store> {
  return openLmdbStore({ directory, durability: 'os', clock })
}

const sessionCount = 20
const deliveryCount = 100

/** A store with 20 Sessions of 100 deliveries each, 500 retained messages, a few of them large. */
async function fill(directory: string): Promise<void> {
  const store = await open(directory)
  let message = store.nextMessageNumber
  for (let index = 0; index < sessionCount; index++) {
    const session = store.nextSessionNumber
    store.putSession(sessionRecord(session, { clientId: `c${index}` }))
    store.putSubscription(session, { filter: `f/${index}`, shareName: null, options: 1, identifier: null })
    for (let order = 1; order <= deliveryCount; order++) {
      const packet = Buffer.alloc(order === 50 ? 20_000 : 50 + order, order)
      store.putMessage(message, messageRecord(packet))
      store.putDelivery(session, order, deliveryRecord(message))
      message++
    }
    await store.flush()
  }
  for (let index = 0; index < 500; index++) store.putRetained(`t/${index}`, messageRecord(`payload ${index}`))
  await store.close()
}

function deliveryKey(session: number, order: number): Buffer {
  const { bytes, length } = new NumberKey().delivery(session, order)
  return Buffer.from(bytes.subarray(0, length))
}

const queueLength = 3000

/** An open store with a queue of 3000 messages of 100 bytes. */
async function openWithQueue(directory: string): Promise<{ store: Store; session: number }> {
  const store = await open(directory)
  const session = store.nextSessionNumber
  store.putSession(sessionRecord(session, { clientId: 'c0' }))
  for (let order = 1; order <= queueLength; order++) {
    const message = store.nextMessageNumber
    store.putMessage(message, messageRecord(`payload ${order} `.padEnd(100, '.')))
    store.putDelivery(session, order, deliveryRecord(message))
  }
  await store.flush()
  return { store, session }
}

function fingerprintOf(path: string): object {
  const { size, mtimeMs, ino } = statSync(path)
  return { size, mtimeMs, ino }
}

/** Changes a byte so far behind the beginning of each text that stands in the file once. @returns how many */
function flip(path: string, texts: readonly Buffer[], offset: number): number {
  const bytes = readFileSync(path)
  const file = openSync(path, 'r+')
  let count = 0
  for (const text of texts) {
    const at = bytes.indexOf(text)
    if (at === -1 || bytes.indexOf(text, at + 1) !== -1) continue
    writeSync(file, Buffer.of(bytes[at + offset] ^ 0x10), 0, 1, at + offset)
    count++
  }
  closeSync(file)
  return count
}

/** All of a queue, page by page, and how many of it were told as lost. */
function readQueue(store: Store, session: number): { orders: number[]; lost: number } {
  const orders: number[] = []
  let lost = 0
  for (let from = 0, next = 1; from !== next; ) {
    from = next
    const page = store.deliveries(session, from, 100, Number.POSITIVE_INFINITY, (order) => {
      lost++
      next = order + 1
    })
    for (const { order, message } of page) {
      assert.equal(message?.packet.toString(), `payload ${order} `.padEnd(100, '.'))
      orders.push(order)
      next = Math.max(next, order + 1)
    }
  }
  return { orders, lost }
}

/** Everything that can be read, checked against what `fill` wrote. */
function countWhole(store: Store): { sessions: number; deliveries: number; retained: number } {
  let sessions = 0
  let deliveries = 0
  let retained = 0
  for (const { session } of store.sessions()) {
    sessions++
    assert.match(session.clientId, /^c\d+$/)
    for (const { order, message } of store.deliveries(session.sessionNumber, 0, 1000)) {
      deliveries++
      const length = order === 50 ? 20_000 : 50 + order
      assert.ok(message?.packet.equals(Buffer.alloc(length, order)))
    }
  }
  for (const { topic, message } of store.retained()) {
    retained++
    assert.equal(message.packet.toString(), `payload ${topic.slice(2)}`)
  }
  return { sessions, deliveries, retained }
}

const everySeventh = Array.from({ length: queueLength / 7 }, (_, index) => 7 * index + 1)

for (const [title, textOf, offset] of [
  ['messages', (_session: number, order: number) => Buffer.from(`payload ${order} `), 40],
  ['deliveries', (session: number, order: number) => deliveryKey(session, order), 15],
] as const) {
  test(`${title} that are damaged while the store is open are told, the rest is read, and the next opening mends it`, () =>
    withDirectory(async (directory) => {
      const { store, session } = await openWithQueue(directory)
      assert.deepEqual([readQueue(store, session).orders.length, store.isDamaged], [queueLength, false])
      const texts = everySeventh.map((order) => textOf(session, order))
      const flipped = flip(join(directory, 'store.mdb'), texts, offset)
      assert.ok(flipped > 400, `${flipped}`)
      const { orders, lost } = readQueue(store, session)
      assert.deepEqual([orders.length, lost, store.isDamaged], [queueLength - flipped, flipped, true])
      await store.close()
      const next = await open(directory)
      assert.notEqual(next.recovery, null)
      assert.equal(next.isDamaged, false)
      assert.deepEqual(readQueue(next, session), { orders, lost: 0 })
      await next.close()
    }))
}

test('a file that was damaged after it was closed in order, its time of change kept: what is read says so, and the opening after it mends it', () =>
  withDirectory(async (directory) => {
    await fill(directory)
    const path = join(directory, 'store.mdb')
    const { atime, mtime } = statSync(path)
    assert.equal(flip(path, [Buffer.from('payload 77')], 9), 1)
    utimesSync(path, atime, mtime)
    writeFileSync(join(directory, 'store.closed'), JSON.stringify({ formatVersion, ...fingerprintOf(path) }))
    const store = await open(directory)
    assert.deepEqual([store.recovery, store.isDamaged], [null, false])
    assert.equal(countWhole(store).retained, 499)
    assert.equal(store.isDamaged, true)
    await store.close()
    const next = await open(directory)
    assert.equal(next.recovery?.lost.retained, 1)
    assert.equal(countWhole(next).retained, 499)
    assert.equal(next.isDamaged, false)
    await next.close()
  }))

test('keys that are damaged while the store is open bring nothing twice and nothing out of order', () =>
  withDirectory(async (directory) => {
    const { store, session } = await openWithQueue(directory)
    const keys = everySeventh.map((order) => deliveryKey(session, order))
    const flipped = flip(join(directory, 'store.mdb'), keys, keys[0].length - 2)
    assert.ok(flipped > 400, `${flipped}`)
    const { orders } = readQueue(store, session)
    assert.ok(orders.length > queueLength / 2, `${orders.length}`)
    assert.ok(orders.every((order, index) => index === 0 || order > orders[index - 1]))
    assert.equal(store.isDamaged, true)
    await store.close()
  }))

test('the directory is made for the owner alone, parents and all', () =>
  withDirectory(async (directory) => {
    const inner = join(directory, 'a', 'b')
    const store = await open(inner)
    assert.equal(statSync(inner).mode & 0o777, 0o700)
    await store.close()
  }))

test('a directory that cannot be used is an error with its path and what to do', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'file')
    writeFileSync(path, '')
    await assert.rejects(open(path), {
      name: 'OperatorError',
      code: 'store-directory',
      place: { file: join(path, 'store.mdb') },
    })
  }))

test('a store that was closed in order is opened without a look at every page, one that was not is read', () =>
  withDirectory(async (directory) => {
    await fill(directory)
    assert.ok(existsSync(join(directory, 'store.closed')))
    const store = await open(directory)
    assert.ok(!existsSync(join(directory, 'store.closed')), 'the note goes before the first change')
    assert.equal(store.recovery, null)
    const copy = join(directory, 'copy')
    mkdirSync(copy)
    copyFileSync(join(directory, 'store.mdb'), join(copy, 'store.mdb'))
    await store.close()
    const read = await open(copy)
    assert.equal(read.recovery, null)
    assert.deepEqual(countWhole(read), {
      sessions: sessionCount,
      deliveries: sessionCount * deliveryCount,
      retained: 500,
    })
    await read.close()
  }))

test('a newer format, or a file of something else, is refused and left alone', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'store.mdb')
    const refused = async (message: RegExp) => {
      const before = readFileSync(path)
      await assert.rejects(open(directory), (error: Error & { code?: string; place?: object }) => {
        assert.equal(error.code, 'store-format')
        assert.deepEqual(error.place, { file: path })
        assert.match(error.message, message)
        return true
      })
      assert.ok(readFileSync(path).equals(before))
      assert.ok(!readdirSync(directory).some((name) => name.includes('corrupt')))
      rmSync(path)
    }
    const database = openEnvironment(path, false)
    const { key, value } = new RecordEncoder().meta(formatVersion + 1, 1, 1)
    await database.put(key, value)
    await database.close()
    await refused(/newer version/)

    await fill(directory)
    const bytes = readFileSync(path)
    const pageBytes = bytes.readUInt32LE(48)
    bytes.writeUInt32LE(77, 28)
    bytes.writeUInt32LE(77, pageBytes + 28)
    writeFileSync(path, bytes)
    await refused(/newer version/)

    writeFileSync(path, 'SQLite format 3\0'.repeat(1000))
    await refused(/not a store of AtollMQ/)
    for (const text of ['a', 'shopping list\n\n', 'x'.repeat(600)]) {
      writeFileSync(path, text)
      await refused(/not a store of AtollMQ/)
    }
    // As LMDB 0.9 begins, whose pages have a shorter head.
    const older = Buffer.alloc(5 * 4096, 1)
    for (let page = 0; page < 5; page++) older.writeBigUInt64LE(BigInt(page), page * 4096)
    for (const page of [0, 1]) older.writeUInt32LE(0xbeefc0de, page * 4096 + 16)
    writeFileSync(path, older)
    await refused(/not a store of AtollMQ/)
  }))

for (const [title, fillForeign] of [
  [
    'records',
    (root: RootDatabase) => Promise.all(Array.from({ length: 3000 }, (_, index) => root.put(`k${index}`, index))),
  ],
  ['databases', (root: RootDatabase) => root.openDB({ name: 'theirs', dupSort: true }).put('key', 'value')],
  ['a large record', (root: RootDatabase) => root.put('large', 'x'.repeat(100_000))],
] as const) {
  test(`an LMDB file of another program, with ${title}, is refused and left alone, by what reads it too`, () =>
    withDirectory(async (directory) => {
      const path = join(directory, 'store.mdb')
      const root = openForeign({ path, noSubdir: true })
      await fillForeign(root)
      await root.close()
      const before = readFileSync(path)
      const refused = { code: 'store-format', message: 'this file is not a store of AtollMQ', place: { file: path } }
      await assert.rejects(open(directory), refused)
      await assert.rejects(surveyStore(path), refused)
      assert.ok(readFileSync(path).equals(before))
      assert.deepEqual(
        readdirSync(directory).filter((name) => !name.startsWith('store.mdb')),
        [],
      )
    }))
}

test('a store in which not one record is whole is one of ours all the same', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'store.mdb')
    const database = openEnvironment(path, false)
    const encoder = new RecordEncoder()
    for (const { key, value } of [
      encoder.meta(formatVersion, 1, 1),
      encoder.session(sessionRecord(1)),
      encoder.message(1, messageRecord('one')),
      encoder.delivery(1, 1, deliveryRecord(1)),
      encoder.retained('a', messageRecord('two')),
      encoder.inbound(1, 1),
      encoder.subscription(1, { filter: 'a', shareName: null, options: 1, identifier: null }),
      encoder.leftover(2),
    ]) {
      await database.put(Buffer.from(key), Buffer.alloc(value.length))
    }
    await database.close()
    const store = await open(directory)
    assert.notEqual(store.recovery, null)
    await store.close()
  }))

test('of a store that was cut short anywhere near its beginning a new one is made, and what is left is set aside', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'store.mdb')
    await fill(directory)
    const bytes = readFileSync(path)
    for (const length of [9, 19, 24, 30, 511, 512, 4096, 8192, 12_288]) {
      writeFileSync(path, bytes.subarray(0, length))
      const store = await open(directory)
      assert.equal(statSync(store.recovery!.setAside).size, length)
      await store.close()
    }
  }))

test('messages that are longer than what the package reads into are read whole, and so is what lies between them', () =>
  withDirectory(async (directory) => {
    const store = await open(directory)
    const sizes = [3, 16 * 1024 * 1024 - 14, 2, 17 * 1024 * 1024, 40 * 1024 * 1024, 1]
    const packets = sizes.map((size, index) => Buffer.alloc(size, index + 1))
    const session = store.nextSessionNumber
    const message = store.nextMessageNumber
    store.putSession(sessionRecord(session))
    for (const [index, packet] of packets.entries()) {
      store.putMessage(message + index, messageRecord(packet))
      store.putDelivery(session, index + 1, deliveryRecord(message + index))
    }
    await store.flush()
    for (let count = 0; count < 2; count++) {
      const read = store.deliveries(session, 0, 100).map((stored) => stored.message?.packet)
      assert.deepEqual(
        read.map((packet) => packet?.length),
        sizes,
      )
      for (const [index, packet] of packets.entries()) assert.ok(read[index]!.equals(packet))
    }
    await store.close()
  }))

test('format 1, whose deliveries do not tell a size, is read and becomes the present one', () =>
  withDirectory(async (directory) => {
    await fill(directory)
    let store = await open(directory)
    const numbers = [...store.sessions()].map(({ session }) => session.sessionNumber)
    const read = () =>
      numbers.map((number) => store.deliveries(number, 0, 1000).map(({ order, message }) => ({ order, message })))
    const deliveries = read()
    await store.close()

    const path = join(directory, 'store.mdb')
    let database = openEnvironment(path, false)
    const withChecksum = (key: Uint8Array, value: Buffer) => {
      value.writeUInt32BE(crc32(value.subarray(0, -4), crc32(key)), value.length - 4)
      return value
    }
    for (const { key, value } of [...database.getRange({})]) {
      if (key[0] !== recordKind.meta && key[0] !== recordKind.delivery) continue
      const older =
        key[0] === recordKind.meta ? Buffer.from(value) : Buffer.concat([value.subarray(0, 12), value.subarray(16)])
      older[0] = 1
      await database.put(Buffer.from(key), withChecksum(key, older))
    }
    await database.close()

    store = await open(directory)
    const { queues } = await store.tallyDeliveries()
    for (const [index, number] of numbers.entries()) {
      const bytes = deliveries[index].reduce((sum, { message }) => sum + message!.packet.length, 0)
      assert.deepEqual(queues.get(number), {
        messages: deliveryCount,
        bytes,
        lastOrder: deliveryCount,
        lastInflight: 0,
      })
    }
    assert.deepEqual(read(), deliveries)
    store.putInbound(numbers[0], 77)
    await store.close()
    database = openEnvironment(path, false)
    assert.equal(database.get(Buffer.of(recordKind.meta))?.[0], formatVersion)
    await database.close()
    store = await open(directory)
    assert.deepEqual(read(), deliveries)
    await store.close()
  }))

const damages: [title: string, damage: (bytes: Buffer, pageBytes: number) => void][] = [
  [
    'a bit flipped in each of many pages',
    (bytes, pageBytes) => {
      for (let page = 5; page < bytes.length / pageBytes; page += 17) bytes[page * pageBytes + (pageBytes >> 1)] ^= 0x10
    },
  ],
  ['every byte of a page', (bytes, pageBytes) => bytes.fill(0xa5, 20 * pageBytes, 21 * pageBytes)],
  ['a tail of zeros', (bytes) => bytes.fill(0, Math.floor(bytes.length * 0.9))],
  [
    'page numbers that lead anywhere',
    (bytes, pageBytes) => {
      for (let position = 2 * pageBytes; position + pageBytes <= bytes.length; position += pageBytes) {
        if (bytes.readUInt16LE(position + 18) !== 1) continue
        const node = bytes.readUInt16LE(position + 24) + 24
        bytes.writeUInt32LE(position / pageBytes, position + node)
      }
    },
  ],
  [
    'the newest of the two first pages',
    (bytes, pageBytes) => {
      const newest = bytes.readBigUInt64LE(152) > bytes.readBigUInt64LE(pageBytes + 152) ? 0 : pageBytes
      bytes.fill(0, newest, newest + pageBytes)
    },
  ],
  ['both first pages', (bytes, pageBytes) => bytes.fill(0, 0, 2 * pageBytes)],
]

for (const [title, damage] of damages) {
  test(`damaged: ${title}`, () =>
    withDirectory(async (directory) => {
      await fill(directory)
      const path = join(directory, 'store.mdb')
      const bytes = readFileSync(path)
      damage(bytes, bytes.readUInt32LE(48))
      writeFileSync(path, bytes)
      let store = await open(directory)
      const { recovery } = store
      assert.ok(recovery !== null)
      assert.equal(recovery.setAside, join(directory, 'store.corrupt-20261122T003300Z'))
      assert.ok(readFileSync(recovery.setAside).equals(bytes), 'the damaged file is kept as it was')
      assert.ok(recovery.findings.length > 0 || Object.values(recovery.lost).some((count) => count > 0))
      const counts = countWhole(store)
      const { rescued } = recovery
      assert.deepEqual(counts, {
        sessions: rescued.sessions,
        deliveries: rescued.deliveries,
        retained: rescued.retained,
      })
      assert.ok(counts.deliveries + counts.retained + counts.sessions > 100, 'most of it is rescued')
      // It works on, and is whole from now on.
      const session = store.nextSessionNumber
      for (const stored of store.sessions()) assert.ok(stored.session.sessionNumber < session)
      store.putSession(sessionRecord(session, { clientId: 'c999' }))
      await store.close()
      store = await open(directory)
      assert.equal(store.recovery, null)
      assert.equal(countWhole(store).sessions, counts.sessions + 1)
      await store.close()
    }))
}

test('damaged: Sessions that something still belongs to come back as they were before', () =>
  withDirectory(async (directory) => {
    await fill(directory)
    let store = await open(directory)
    for (let expirySeconds = 1; expirySeconds <= 5; expirySeconds++) {
      for (const { session } of [...store.sessions()]) store.putSession({ ...session, expirySeconds })
      await store.flush()
    }
    await store.close()
    const path = join(directory, 'store.mdb')
    const bytes = readFileSync(path)
    const pageBytes = bytes.readUInt32LE(48)
    let newest = 0
    for (let page = 2 * pageBytes; page < bytes.length; page += pageBytes) {
      const firstKey = page + bytes.readUInt16LE(page + 24) + 24 + 8
      const isOfSessions = bytes.readUInt16LE(page + 18) === 2 && bytes[firstKey] <= 2
      if (isOfSessions && bytes.readBigUInt64LE(page + 8) > bytes.readBigUInt64LE(newest + 8)) newest = page
    }
    assert.ok(newest > 0)
    bytes.fill(0, newest, newest + pageBytes)
    writeFileSync(path, bytes)
    store = await open(directory)
    assert.equal(store.recovery?.rescued.sessions, sessionCount)
    // Its page held the first of what comes next as well.
    assert.ok(countWhole(store).deliveries > 0.9 * sessionCount * deliveryCount)
    await store.close()
  }))

test('damaged: cut short at any place, also within the first pages', () =>
  withDirectory(async (directory) => {
    await fill(directory)
    const path = join(directory, 'store.mdb')
    const whole = readFileSync(path)
    const pageBytes = whole.readUInt32LE(48)
    for (const length of [
      0,
      100,
      pageBytes,
      pageBytes + 100,
      2 * pageBytes,
      10 * pageBytes,
      whole.length >> 1,
      whole.length - 1,
    ]) {
      writeFileSync(path, whole)
      truncateSync(path, length)
      const store = await open(directory)
      assert.ok(store.recovery !== null, `cut at ${length}`)
      assert.equal(statSync(store.recovery.setAside).size, length)
      countWhole(store)
      await store.close()
    }
    assert.equal(readdirSync(directory).filter((name) => name.startsWith('store.corrupt-')).length, 8)
  }))

test('damaged: a new file of which only the size has reached the disk', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'store.mdb')
    for (const length of [4096, 8192, 100_000]) {
      writeFileSync(path, Buffer.alloc(length))
      const store = await open(directory)
      assert.equal(statSync(store.recovery!.setAside).size, length)
      assert.deepEqual(countWhole(store), { sessions: 0, deliveries: 0, retained: 0 })
      await store.close()
    }
  }))

test('damaged: pages that are whole and of another time than those around them', () =>
  withDirectory(async (directory) => {
    await fill(directory)
    const path = join(directory, 'store.mdb')
    const before = readFileSync(path)
    const pageBytes = before.readUInt32LE(48)
    let store = await open(directory)
    for (const { session } of [...store.sessions()]) {
      for (let order = 1; order <= 30; order++) store.deleteDelivery(session.sessionNumber, order)
    }
    await store.flush()
    for (let number = 0; number < 200; number++) store.putRetained(`new/${number}`, messageRecord('x'.repeat(300)))
    await store.close()
    const after = readFileSync(path)
    const isLeaf = (bytes: Buffer, at: number) => at + pageBytes <= bytes.length && bytes.readUInt16LE(at + 18) === 2
    let count = 0
    for (let at = 2 * pageBytes; at + pageBytes <= before.length && count < 8; at += pageBytes) {
      if (!isLeaf(before, at) || !isLeaf(after, at)) continue
      if (before.readBigUInt64LE(at + 8) === after.readBigUInt64LE(at + 8)) continue
      // A page that was not written, and one that was written while the page that leads to the new data was not.
      for (const [base, other] of [
        [after, before],
        [before, after],
      ]) {
        const bytes = Buffer.from(base)
        other.copy(bytes, at, at, at + pageBytes)
        writeFileSync(path, bytes)
        store = await open(directory)
        const { recovery } = store
        await store.close()
        if (recovery === null) continue
        count++
        assert.match(
          recovery.findings.join(),
          /newer than what leads to it|wrong order|should hold|used twice|free and in use/,
        )
      }
    }
    assert.ok(count >= 4, `only ${count} were found`)
  }))

test('damaged: the list of free pages', () =>
  withDirectory(async (directory) => {
    await fill(directory)
    let store = await open(directory)
    for (const { session } of store.sessions()) {
      for (let order = 1; order <= 60; order++) store.deleteDelivery(session.sessionNumber, order)
    }
    await store.close()
    const path = join(directory, 'store.mdb')
    const descriptor = openSync(path, 'r+')
    const bytes = readFileSync(path)
    const pageBytes = bytes.readUInt32LE(48)
    const newest = bytes.readBigUInt64LE(152) > bytes.readBigUInt64LE(pageBytes + 152) ? 0 : pageBytes
    const page = Number(bytes.readBigUInt64LE(newest + 48 + 40)) * pageBytes
    const main = Number(bytes.readBigUInt64LE(newest + 96 + 40))
    assert.equal(bytes.readUInt16LE(page + 18), 2)
    const node = page + bytes.readUInt16LE(page + 24) + 24
    // The first entry behind the count: from now on the root of the data is free.
    const entry = Buffer.alloc(8)
    entry.writeBigUInt64LE(BigInt(main))
    writeSync(descriptor, entry, 0, 8, node + 8 + 8 + 8)
    store = await open(directory)
    assert.match(store.recovery?.findings.join() ?? '', /is free and in use/)
    assert.equal(countWhole(store).deliveries, sessionCount * (deliveryCount - 60))
    await store.close()
  }))

test('a rescue that was cut short is finished or begun again', () =>
  withDirectory(async (directory) => {
    await fill(directory)
    const path = join(directory, 'store.mdb')
    const rescue = join(directory, 'store.rescue.mdb')
    // Complete, and the damaged file is set aside: only the last rename is missing.
    copyFileSync(path, rescue)
    rmSync(path)
    let store = await open(directory)
    assert.equal(countWhole(store).sessions, sessionCount)
    await store.close()
    // Half written beside the file.
    writeFileSync(rescue, 'half')
    store = await open(directory)
    assert.equal(countWhole(store).sessions, sessionCount)
    assert.ok(!existsSync(rescue))
    await store.close()
  }))

test('a store whose beginning was cut short is begun again, and nothing half-made is left', () =>
  withDirectory(async (directory) => {
    for (const name of ['store.new.mdb', 'store.new.mdb-lock', 'store.rescue.mdb.part', 'store.mdb.part-lock']) {
      writeFileSync(join(directory, name), 'half')
    }
    const store = await open(directory)
    assert.equal(store.recovery, null)
    const left = () => readdirSync(directory).filter((name) => !name.startsWith('store.mdb'))
    assert.deepEqual(left(), [])
    await store.close()
  }))

test('what a crash leaves of a removed file that was being written anew is the store, and never stays beside one', () =>
  withDirectory(async (directory) => {
    await fill(directory)
    const path = join(directory, 'store.mdb')
    const part = `${path}.part`
    const openAfterCrash = async () => {
      writeFileSync(`${part}-lock`, 'left')
      const store = await open(directory)
      assert.deepEqual([existsSync(part), existsSync(`${part}-lock`)], [false, false])
      return store
    }
    // Whole: only its name was missing.
    renameSync(path, part)
    let store = await openAfterCrash()
    assert.equal(store.recovery, null)
    assert.equal(countWhole(store).deliveries, sessionCount * deliveryCount)
    await store.close()
    // Beside a store it is of no use.
    writeFileSync(part, 'half')
    store = await openAfterCrash()
    assert.equal(store.recovery, null)
    assert.equal(countWhole(store).deliveries, sessionCount * deliveryCount)
    await store.close()
    // Cut short anywhere: what is there is rescued, and it is told that something is missing.
    copyFileSync(path, join(directory, 'whole'))
    const { size } = statSync(path)
    for (const bytes of [0, 300, 5000, 20_000, size >> 1, size - 5000]) {
      copyFileSync(join(directory, 'whole'), part)
      truncateSync(part, bytes)
      rmSync(path)
      store = await openAfterCrash()
      assert.notEqual(store.recovery, null, `${bytes} bytes`)
      if (bytes === size - 5000) assert.ok(countWhole(store).sessions > 0)
      await store.close()
    }
  }))

test('the file does not grow with what passes through it', () =>
  withDirectory(async (directory) => {
    const store = await open(directory)
    const session = store.nextSessionNumber
    store.putSession(sessionRecord(session))
    const path = join(directory, 'store.mdb')
    let message = store.nextMessageNumber
    const waiting: [order: number, message: number][] = []
    let settledBytes = 0
    for (let round = 0; round < 3000; round++) {
      for (let index = 0; index < 20; index++) {
        store.putMessage(message, messageRecord(Buffer.alloc((message % 40) * 100, 1)))
        store.putDelivery(session, message, deliveryRecord(message))
        waiting.push([message, message++])
      }
      for (const [order, number] of waiting.splice(0, Math.max(0, waiting.length - 500))) {
        store.deleteDelivery(session, order)
        store.deleteMessage(number)
      }
      store.putRetained(`t/${round % 50}`, messageRecord(`r${round}`))
      await store.flush()
      if (round === 1000) settledBytes = statSync(path).size
    }
    assert.equal(store.deliveryCount(session), 500)
    assert.ok(statSync(path).size <= settledBytes * 1.2, `${settledBytes} bytes became ${statSync(path).size}`)
    const file = new LmdbFile(path)
    let records = 0
    for await (const _ of file.records()) records++
    await file.checkFreeList()
    file.close()
    assert.deepEqual(file.findings, [])
    assert.equal(records, file.entries)
    await store.close()
  }))

test('a file is checked in turns, however large its records are', () =>
  withDirectory(async (directory) => {
    for (const [count, bytes] of [
      [30_000, 40],
      [30, 1_000_000],
    ]) {
      const store = await open(directory)
      for (let index = 0; index < count; index++) {
        store.putRetained(`${bytes}/${index}`, messageRecord(Buffer.alloc(bytes, index)))
      }
      await store.close()
      const file = new LmdbFile(join(directory, 'store.mdb'))
      let turns = 0
      let recordsInTurn = 0
      let bytesInTurn = 0
      let isOver = false
      const look = () => {
        turns++
        recordsInTurn = bytesInTurn = 0
        if (!isOver) setImmediate(look)
      }
      setImmediate(look)
      let mostRecords = 0
      let mostBytes = 0
      for await (const { value } of file.records()) {
        mostRecords = Math.max(mostRecords, ++recordsInTurn)
        bytesInTurn += value.length
        mostBytes = Math.max(mostBytes, bytesInTurn)
      }
      isOver = true
      assert.ok(mostRecords < 5000, `${mostRecords} records`)
      // A record in one piece, and one that begins before it.
      assert.ok(mostBytes < 2_500_000, `${mostBytes} bytes`)
      assert.ok(turns > 20, `${turns} turns`)
      file.close()
    }
  }))

test('many Sessions and retained messages are all read, and checked after a crash', () =>
  withDirectory(async (directory) => {
    let store = await open(directory)
    for (let index = 0; index < 10_000; index++) {
      const session = store.nextSessionNumber
      store.putSession(sessionRecord(session))
      store.putSubscription(session, { filter: `f/${index}/#`, shareName: null, options: 1, identifier: null })
    }
    for (let index = 0; index < 100_000; index++)
      store.putRetained(`building/${index}/temperature`, messageRecord('21.5'))
    await store.close()
    // As after a crash: the whole file is read and checked as well.
    rmSync(join(directory, 'store.closed'))
    store = await open(directory)
    let sessions = 0
    let retained = 0
    for (const stored of store.sessions()) sessions += stored.subscriptions.length
    for (const _ of store.retained()) retained++
    assert.equal(sessions, 10_000)
    assert.equal(retained, 100_000)
    await store.close()
  }))

const writerPath = join(import.meta.dirname, 'durable-writer.test.support.js')

for (const durability of ['os', 'fsync'] as const) {
  test(`${durability}: kill -9 loses nothing that was named, and leaves no batch in part`, () =>
    withDirectory(async (directory) => {
      let expected = 0
      for (let round = 0; round < 4; round++) {
        const writer = spawn(process.execPath, [writerPath, directory, durability], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        const lines = createInterface({ input: writer.stdout })
        let count = 0
        lines.on('line', (line) => {
          expected = Number(line)
          if (++count === 150 + 37 * round) writer.kill('SIGKILL')
        })
        const [[, signal]] = await Promise.all([once(writer, 'close'), once(lines, 'close')])
        assert.equal(signal, 'SIGKILL')
        const store = await openLmdbStore({ directory, durability, clock })
        assert.equal(store.recovery, null)
        const [{ session }] = store.sessions()
        const stored = store.deliveries(session.sessionNumber, 0, 100_000)
        const last = stored[stored.length - 1].order
        assert.ok(last >= expected, `${expected} was named, ${last} is there`)
        // Each batch takes as many away as it adds beyond 200.
        assert.equal(stored.length, Math.min(last, 200))
        stored.forEach(({ order, message }, index) => {
          assert.equal(order, last - stored.length + 1 + index)
          assert.equal(message?.packet.toString(), `message ${order}`)
        })
        assert.equal([...store.retained()][0].message.packet.toString(), String(last))
        await store.close()
      }
    }))
}

test('a full disk: no batch is named, nothing named is lost, and all goes on when there is space', () =>
  withDirectory(async (directory) => {
    const fillerPath = join(import.meta.dirname, 'disk-filler.test.support.js')
    const small = join(directory, 'small')
    mkdirSync(small)
    const isMounted = mountSmall(small)
    try {
      // Without the right to mount, a limit on the size of files stands for the full disk; it stays, so it ends with the problem.
      const command = isMounted ? 'exec "$@"' : 'trap "" XFSZ; ulimit -f 4096; exec "$@"'
      const filler = spawn(
        'sh',
        ['-c', command, 'sh', process.execPath, fillerPath, small, isMounted ? 'free' : 'stay'],
        {
          stdio: ['ignore', 'pipe', 'ignore'],
        },
      )
      let output = ''
      filler.stdout.on('data', (data) => {
        output += data
      })
      const [code] = await once(filler, 'close')
      assert.equal(code, 0, output)
      const result = JSON.parse(output) as { problem: string; named: number; told: string[] }
      assert.match(result.problem, isMounted ? /no space left/ : /can(no|')t be written|cannot be written/)
      if (isMounted) assert.deepEqual(result.told, ['problem', 'well', 'named'])
      const store = await openLmdbStore({ directory: join(small, 'data'), durability: 'fsync', clock })
      assert.equal(store.recovery, null)
      assert.equal([...store.retained()].length, result.named)
      await store.close()
    } finally {
      if (isMounted) execFileSync('umount', [small])
    }
  }))

function mountSmall(path: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', path], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

test('a file at its limit takes what was noted and says that it is short, until what is in it has gone', () =>
  withDirectory(async (directory) => {
    const time = new ManualClock()
    const limits = () => ({ freeBytes: 0, fileBytes: 2 << 20, answerMs: Number.POSITIVE_INFINITY })
    const store = await openLmdbStore({ directory, durability: 'os', clock: time, limits })
    const told: (string | null)[] = []
    store.onProblem = (problem) => told.push(problem)
    let count = 0
    while (store.problem === null) {
      for (let index = 0; index < 50; index++) store.putRetained(`t/${count++}`, messageRecord(Buffer.alloc(900, 1)))
      await store.flush()
      time.advance(1000)
      assert.ok(count < 5000)
    }
    assert.match(store.problem, /limits\.storeBytes/)
    assert.equal(store.isShort, true)
    store.putRetained(`t/${count++}`, messageRecord(Buffer.alloc(900, 1)))
    await store.flush()
    assert.equal([...store.retained()].length, count)
    for (let index = 0; index < count / 2; index++) store.deleteRetained(`t/${index}`)
    await store.flush()
    while (store.problem !== null) {
      time.advance(1000)
      await store.flush()
      await nextTurn()
    }
    assert.deepEqual(
      told.map((problem) => problem !== null),
      [true, false],
    )
    assert.equal(told[1], null)
    assert.ok((store.file?.fileBytes ?? 0) < 3 << 20)
    await store.close()
  }))

test('a file that was removed under the store is written anew, with all that was in it', () =>
  withDirectory(async (directory) => {
    const time = new ManualClock()
    const path = join(directory, 'store.mdb')
    let store = await openLmdbStore({ directory, durability: 'fsync', clock: time })
    for (let index = 0; index < 100; index++) store.putRetained(`t/${index}`, messageRecord(`payload ${index}`))
    await store.flush()
    const told: (string | null)[] = []
    store.onFileLoss = (fileLoss) => told.push(fileLoss)
    rmSync(path)
    rmSync(`${path}-lock`)
    store.putRetained('t/100', messageRecord('payload 100'))
    await store.flush()
    // Nothing is written: it is found by looking.
    time.advance(6000)
    while (!existsSync(path)) await nextTurn()
    await store.flush()
    assert.deepEqual([told.length, told[1], store.fileLoss], [2, null, null])
    assert.match(told[0] ?? '', /removed by somebody while the broker runs/)
    store.putRetained('t/101', messageRecord('payload 101'))
    await store.flush()
    assert.equal(store.problem, null)
    await store.close()
    store = await open(directory)
    assert.equal(store.recovery, null)
    assert.equal(countWhole(store).retained, 102)
    await store.close()
  }))

test('a file that was removed is found by who wants to read or close the store, and written anew', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'store.mdb')
    await fill(directory)
    let store = await open(directory)
    for (const read of [
      (file: StoreFile) => file.hold(() => Promise.resolve()),
      (file: StoreFile) => file.copy(`${path}.copy`, () => Promise.resolve()),
    ]) {
      rmSync(path)
      await assert.rejects(read(store.file!), { code: 'store-gone', fix: /again in a moment/ })
      while (!existsSync(path)) await nextTurn()
      await store.flush()
      assert.equal(store.fileLoss, null)
    }
    const { retained } = countWhole(store)
    rmSync(directory, { recursive: true })
    await store.close()
    store = await open(directory)
    assert.equal(store.recovery, null)
    assert.equal(countWhole(store).retained, retained)
    await store.close()
  }))

test('queues are read on while the file is written anew', () =>
  withDirectory(async (directory) => {
    const store = await open(directory)
    const session = store.nextSessionNumber
    const count = 2000
    store.putSession(sessionRecord(session))
    for (let order = 1; order <= count; order++) {
      store.putMessage(order, messageRecord(Buffer.alloc(1000, order)))
      store.putDelivery(session, order, deliveryRecord(order))
    }
    await store.flush()
    let isOver = false
    const readOn = async () => {
      for (let from = 1; !isOver; from = (from + 10) % count) {
        assert.ok(await store.prefetch(session, from, 5, 1_000_000))
        const orders = store.deliveries(session, from, 5).map(({ order }) => order)
        const left = Math.min(5, count + 1 - from)
        assert.deepEqual(
          orders,
          Array.from({ length: left }, (_, index) => from + index),
        )
      }
    }
    const readers = Promise.all([readOn(), readOn(), readOn()])
    for (let time = 0; time < 5; time++) {
      rmSync(join(directory, 'store.mdb'))
      for (let looks = 0; !existsSync(join(directory, 'store.mdb')); looks++) {
        assert.ok(looks < 100, 'it was not written anew')
        clock.advance(1000)
        store.putRetained('t', messageRecord(`payload ${time}`))
        await Promise.race([store.flush(), readers])
      }
    }
    isOver = true
    await readers
    await store.close()
  }))

test('a file that is removed again as soon as it has its name is written anew with all that was in it', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'store.mdb')
    let store = await open(directory)
    for (let index = 0; index < 100; index++) store.putRetained(`t/${index}`, messageRecord(`payload ${index}`))
    await store.flush()
    let removals = 0
    const remove = (async () => {
      for (; removals < 10; await nextTurn()) {
        if (!existsSync(path)) continue
        rmSync(path)
        removals++
      }
    })()
    const flush = async () => {
      clock.advance(1000)
      store.putRetained('t/0', messageRecord('payload 0'))
      await store.flush()
    }
    while (removals < 10) await flush()
    await remove
    for (let looks = 0; !existsSync(path); looks++) {
      assert.ok(looks < 100, 'it was not written anew')
      await flush()
    }
    assert.equal(store.problem, null)
    await store.close()
    store = await open(directory)
    assert.equal(countWhole(store).retained, 100)
    await store.close()
  }))

test('without the folder above its own the store fails, and goes on when the folder is back', () =>
  withDirectory(async (directory) => {
    const time = new ManualClock()
    const above = join(directory, 'data')
    const folder = join(above, 'store')
    let store = await openLmdbStore({ directory: folder, durability: 'fsync', clock: time })
    store.putRetained('t/0', messageRecord('payload 0'))
    await store.flush()
    rmSync(above, { recursive: true })
    time.advance(6000)
    while (store.problem === null) await nextTurn()
    assert.match(store.problem, /its file was removed/)
    assert.match(store.fileLoss ?? '', /removed by somebody/)
    assert.equal(store.isShort, false)
    store.putRetained('t/1', messageRecord('payload 1'))
    await assert.rejects(store.flush(), { code: 'store-gone' })
    mkdirSync(above)
    await store.flush()
    assert.equal(store.problem, null)
    await store.close()
    store = await open(folder)
    assert.equal(countWhole(store).retained, 2)
    await store.close()
  }))

test('a file that was cut short or replaced under the store is not written, and read as damaged or as it is', () =>
  withDirectory(async (directory) => {
    const path = join(directory, 'store.mdb')
    await fill(directory)
    for (const change of ['cut', 'replace'] as const) {
      const time = new ManualClock()
      let store = await openLmdbStore({ directory, durability: 'os', clock: time })
      if (change === 'cut') truncateSync(path, statSync(path).size >> 1)
      else {
        copyFileSync(path, `${path}.copy`)
        renameSync(`${path}.copy`, path)
      }
      time.advance(6000)
      store.putRetained('t/1000', messageRecord('payload 1000'))
      await assert.rejects(store.flush(), { code: 'store-changed' })
      assert.match(store.problem ?? '', change === 'cut' ? /cut short/ : /another file/)
      await assert.rejects(store.close(), { code: 'store-changed' })
      assert.ok(!existsSync(join(directory, 'store.closed')))
      store = await open(directory)
      assert.equal(store.recovery !== null, change === 'cut')
      countWhole(store)
      await store.close()
    }
  }))
