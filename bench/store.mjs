// What the store on disk costs: CPU per message of 64 bytes (a message and its delivery, two records) in batches of 1, 64 and
// 1024, and the time to read 100 000 Sessions and a million retained messages. Run after `npm run build`: node bench/store.mjs
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSystemClock } from '../dist/base/clock.js'
import { openLmdbStore } from '../dist/storage/lmdb-store.js'

const clock = createSystemClock()
const packet = Buffer.alloc(64, 7)
const message = { packet, isVersion5: true, receivedAtMs: 1 }

function session(sessionNumber) {
  const names = { clientId: `client-${sessionNumber}`, username: 'user', group: null, listener: 'tcp', mountPoint: '' }
  return { sessionNumber, ...names, level: 5, expirySeconds: 3600, detachedAtMs: 1, will: null }
}

function delivery(messageNumber) {
  return { messageNumber, qos: 1, retain: false, identifiers: null, share: null, packetId: 0, isReleased: false }
}

async function withDirectory(body) {
  const directory = mkdtempSync(join(tmpdir(), 'atoll-bench-'))
  try {
    await body(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** `queue`: messages stay. `pass`: each is deleted in a later batch. `cancel`: each is deleted in its own. */
async function measureBatches(directory, durability, batchSize, kind) {
  const store = await openLmdbStore({ directory, durability, clock })
  const sessionNumber = store.nextSessionNumber
  store.putSession(session(sessionNumber))
  let number = store.nextMessageNumber
  const noteBatch = () => {
    for (let index = 0; index < batchSize; index++, number++) {
      store.putMessage(number, message)
      store.putDelivery(sessionNumber, number, delivery(number))
      const gone = kind === 'cancel' ? number : number - 2 * batchSize
      if (kind === 'queue' || gone < 1) continue
      store.deleteMessage(gone)
      store.deleteDelivery(sessionNumber, gone)
    }
    return store.flush()
  }
  for (let count = 0; count < 20; count++) await noteBatch()
  const first = number
  const startMs = performance.now()
  const cpu = process.cpuUsage()
  const loop = performance.eventLoopUtilization()
  const latencies = []
  while (performance.now() - startMs < 2000) {
    const batchMs = performance.now()
    await noteBatch()
    latencies.push(performance.now() - batchMs)
  }
  const { user, system } = process.cpuUsage(cpu)
  const messages = number - first
  const perSecond = messages / (performance.now() - startMs)
  const loopMicros = (performance.eventLoopUtilization(loop).active * 1000) / messages
  latencies.sort((a, b) => a - b)
  await store.close()
  const columns = [
    kind.padEnd(6),
    durability.padEnd(5),
    String(batchSize).padStart(4),
    `${((user + system) / messages).toFixed(2).padStart(6)} us CPU`,
    `${loopMicros.toFixed(2).padStart(6)} us of the loop`,
    `${perSecond.toFixed(0).padStart(6)}k messages/s`,
    `p50 ${latencies[latencies.length >> 1].toFixed(2)} ms`,
    `p99 ${latencies[Math.floor(latencies.length * 0.99)].toFixed(2)} ms`,
  ]
  console.log(columns.join('  '))
}

async function measureStart(directory) {
  const open = () => openLmdbStore({ directory, durability: 'os', clock })
  let store = await open()
  for (let index = 0; index < 100_000; index++) {
    const sessionNumber = store.nextSessionNumber
    store.putSession(session(sessionNumber))
    for (let part = 0; part < 3; part++) {
      const filter = `site/${index}/device/${part}/#`
      store.putSubscription(sessionNumber, { filter, shareName: null, options: 1, identifier: null })
    }
    if (index % 5000 === 0) await store.flush()
  }
  for (let index = 0; index < 1_000_000; index++) {
    store.putRetained(`building/${index >> 8}/room/${index & 255}/temperature`, message)
    if (index % 10_000 === 0) await store.flush()
  }
  await store.close()
  const path = join(directory, 'store.mdb')
  console.log(`100 000 Sessions with 3 Subscriptions, 1 000 000 retained: ${(statSync(path).size / 1e6).toFixed(0)} MB`)
  for (const how of ['closed in order', 'as after a crash']) {
    if (how !== 'closed in order') rmSync(join(directory, 'store.closed'))
    const startMs = performance.now()
    store = await open()
    const openMs = performance.now()
    for (const _ of store.sessions());
    const sessionsMs = performance.now()
    for (const _ of store.retained());
    const retainedMs = performance.now()
    const parts = [openMs - startMs, sessionsMs - openMs, retainedMs - sessionsMs].map((ms) => `${ms.toFixed(0)} ms`)
    console.log(`${how}: opened in ${parts[0]}, Sessions read in ${parts[1]}, retained in ${parts[2]}`)
    await store.close()
  }
}

for (const kind of ['queue', 'pass', 'cancel']) {
  for (const durability of ['os', 'fsync']) {
    for (const batchSize of [1, 64, 1024]) {
      await withDirectory((directory) => measureBatches(directory, durability, batchSize, kind))
    }
  }
}
await withDirectory(measureStart)
