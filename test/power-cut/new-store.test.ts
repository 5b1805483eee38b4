// The power goes right after the first acknowledgement of a new store: the folders and the file that the broker has just made must be
// on the disk under their names. And it goes at any moment of a start that sets a damaged store aside. Linux with a C compiler.
import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Ledger } from '../crash/ledger.ts'
import { realTempo } from '../crash/tempo.ts'
import { P } from '../kit/wire.ts'
import { Random } from '../simulation/random.ts'
import { RecordedBroker, whyNotRecorded } from './recorded-broker.ts'

const skip = process.env.REQUIRE_INTEROP === '1' ? false : (whyNotRecorded() ?? false)

async function withBroker(
  seed: number,
  body: (broker: RecordedBroker, random: Random) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-new-'))
  const random = new Random(seed)
  const surroundings = { tempo: realTempo, random, ledger: new Ledger(realTempo.nowMs) }
  const broker = new RecordedBroker(folder, { durability: 'fsync' }, surroundings, { syncUs: 0 })
  try {
    await body(broker, random)
  } finally {
    broker.end('SIGKILL')
    await broker.ended()
    rmSync(folder, { recursive: true })
  }
}

async function cut(broker: RecordedBroker): Promise<void> {
  broker.end('SIGKILL')
  await broker.ended()
}

/** @returns Session Present */
async function connectKept(broker: RecordedBroker): Promise<boolean> {
  const client = await broker.connect('unix', 5)
  const properties: [number, number][] = [[P.sessionExpiryInterval, 3600]]
  const { sessionPresent } = await client.handshake({ clientId: 'kept', cleanStart: false, properties })
  client.destroy()
  return sessionPresent
}

test('a new store is there after a power cut', { skip }, async () => {
  for (const seed of [1, 2, 3]) {
    await withBroker(seed, async (broker) => {
      await broker.start()
      await connectKept(broker)
      await cut(broker)
      await broker.start()
      assert.equal(await connectKept(broker), true, `seed ${seed}`)
    })
  }
})

test('a new store is whole, however soon the power goes', { skip }, async () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    await withBroker(seed, async (broker) => {
      await broker.start()
      await cut(broker)
      await broker.start()
      assert.equal(broker.wasDamaged, false, `seed ${seed}: ${broker.output}`)
    })
  }
})

test('a store that is being set aside is never lost to a power cut', { skip }, async () => {
  for (const seed of [1, 2, 3, 4]) {
    await withBroker(seed, async (broker, random) => {
      await broker.start()
      await connectKept(broker)
      await cut(broker)
      const file = join(broker.dataFolder, 'default', 'store', 'store.mdb')
      const descriptor = openSync(file, 'r+')
      writeSync(descriptor, Buffer.alloc(4096), 0, 4096, 0)
      closeSync(descriptor)
      const started = broker.start()
      await realTempo.pause(random.between(100, 220))
      await cut(broker)
      await started
      await broker.start()
      assert.equal(await connectKept(broker), true, `seed ${seed}`)
    })
  }
})
