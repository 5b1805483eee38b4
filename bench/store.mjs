// What the store on disk costs: CPU per message of 64 bytes (a message and its delivery, two records) in batches of 1, 64 and
// 1024; and how long a broker takes to be ready with 100 000 Sessions, a million retained messages and a million that wait, after an
// orderly stop and after a crash. Run after `npm run build`: node bench/store.mjs [batches|start]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSystemClock } from '../dist/base/clock.js'
import { openLmdbStore } from '../dist/storage/lmdb-store.js'
import { memoryOf } from './measure.mjs'

const clock = createSystemClock()
/** A PUBLISH of MQTT 5 with QoS 1, topic `t`, no properties. */
const packet = Buffer.concat([Buffer.of(0x32, 62, 0, 1, 0x74, 0, 1, 0), Buffer.alloc(56, 0x78)])
const message = { packet, isVersion5: true, receivedAtMs: 1 }

function session(sessionNumber) {
  const names = { clientId: `client-${sessionNumber}`, username: 'user', group: null, listener: 'tcp', mountPoint: '' }
  return { sessionNumber, ...names, level: 5, expirySeconds: 0xffff_ffff, detachedAtMs: 1, will: null }
}

function delivery(messageNumber) {
  return {
    messageNumber,
    sizeBytes: packet.length,
    qos: 1,
    retain: false,
    identifiers: null,
    share: null,
    packetId: 0,
    isReleased: false,
  }
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

async function fill(directory) {
  const store = await openLmdbStore({ directory, durability: 'os', clock })
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
    const number = store.nextMessageNumber
    store.putMessage(number, message)
    store.putDelivery(1 + (index % 1000), number, delivery(number))
    if (index % 5_000 === 0) await store.flush()
  }
  await store.close()
}

/** @returns milliseconds from the start of the process until it says that it is ready, and its memory then */
async function start(file) {
  const startMs = performance.now()
  const broker = spawn(process.execPath, ['dist/cli/main.js', 'start', '-c', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  broker.stdout.setEncoding('utf8').on('data', (text) => {
    said += text
  })
  while (!said.includes(' ready ')) await once(broker.stdout, 'data')
  const readyMs = performance.now() - startMs
  const memory = await memoryOf([broker.pid])
  return { broker, readyMs, memory, restored: said.match(/restored.*/)?.[0] ?? '' }
}

async function measureStart(directory) {
  const folders = { runDir: join(directory, 'run'), dataDir: join(directory, 'data'), logDir: join(directory, 'log') }
  const limits = {
    retainedMessages: 2_000_000,
    retainedBytes: '1GiB',
    sessions: 200_000,
    totalQueueBytes: '1GiB',
    memory: 0,
  }
  const listeners = { local: `unix://${join(directory, 'x.sock')}` }
  const file = join(directory, 'atoll.json')
  writeFileSync(file, JSON.stringify({ ...folders, limits: { ...limits, sessionExpiry: 4294967295 }, listeners }))
  const store = join(directory, 'data/default/store')
  await fill(store)
  const size = statSync(join(store, 'store.mdb')).size
  console.log(
    `100 000 Sessions with 3 Subscriptions, 1 000 000 retained, 1 000 000 waiting: ${(size / 1e6).toFixed(0)} MB`,
  )
  for (const [how, signal] of [
    ['closed in order', 'SIGKILL'],
    ['as after a crash', 'SIGTERM'],
  ]) {
    const { broker, readyMs, memory, restored } = await start(file)
    const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`
    const own = `${mebibytes(memory.anonymousBytes)} of its own, ${mebibytes(memory.rssBytes)} with mapped files`
    console.log(`${how}: ready after ${(readyMs / 1000).toFixed(1)} s, ${own}; ${restored}`)
    broker.kill(signal)
    await once(broker, 'exit')
  }
}

const part = process.argv[2]
if (part !== 'start') {
  for (const kind of ['queue', 'pass', 'cancel']) {
    for (const durability of ['os', 'fsync']) {
      for (const batchSize of [1, 64, 1024]) {
        await withDirectory((directory) => measureBatches(directory, durability, batchSize, kind))
      }
    }
  }
}
if (part !== 'batches') await withDirectory(measureStart)
