// A device that cannot read a part of the store any more. What is mapped into memory and can't be read ends the process; the next
// start reads with calls that may fail, sets the file aside and brings over what is left. As root, on a real file system.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { puback } from '../kit/wire.ts'
import { hasImageDevices, ImageDevice } from './image-device.ts'
import { CrashPlace } from './place.ts'

const messages = 200
const padding = 'x'.repeat(40_000)
const limits = { queueBytes: '64MiB', queueMessages: 10_000 }
const blockBytes = 1024

/** The middle of the longest piece of a file on its device, as a byte of the device. */
function middleOnDevice(path: string): number {
  const { stdout } = spawnSync('filefrag', ['-v', `-b${blockBytes}`, path], { encoding: 'utf8' })
  const lines = stdout.matchAll(/^\s*\d+:\s*\d+\.\.\s*\d+:\s*(\d+)\.\.\s*(\d+):/gm)
  const pieces = [...lines].map(([, first, last]) => [Number(first), Number(last)])
  const [first, last] = pieces.reduce((longest, piece) =>
    piece[1] - piece[0] > longest[1] - longest[0] ? piece : longest,
  )
  return Math.floor((first + last) / 2) * blockBytes
}

/** Numbers of the messages that wait, all taken: they are behind them all when one comes that is published now. */
async function takeAll(client: RawClient, publisher: RawClient): Promise<Set<number>> {
  assert.equal(await publisher.publish({ topic: 'kept', payload: 'now', qos: 1 }), 0)
  const numbers = new Set<number>()
  for (;;) {
    const packet = await client.expect('PUBLISH')
    client.send(puback({ packetId: packet.packetId! }))
    if (packet.payload.toString() === 'now') return numbers
    numbers.add(Number.parseInt(packet.payload.toString(), 10))
  }
}

async function losePart(t: TestContext, isolation: 'inline' | 'process'): Promise<CrashPlace> {
  let device!: ImageDevice
  const place = new CrashPlace(t, { isolation, limits }, (path) => {
    device = new ImageDevice(path, { hasJournal: false })
    return () => device.destroy()
  })
  await place.broker.start()
  const { client: absent } = await place.client({ clientId: 'absent' })
  await absent.subscribe(['kept'], { qos: 1 })
  absent.destroy()
  const { client: publisher } = await place.client()
  for (let number = 0; number < messages; number++) {
    assert.equal(await publisher.publish({ topic: 'kept', payload: `${number} ${padding}`, qos: 1 }), 0)
  }
  place.broker.end('SIGTERM')
  await place.broker.ended()
  const byte = middleOnDevice(join(place.broker.dataFolder, 'default', 'store', 'store.mdb'))
  device.unmount()
  device.mount()
  device.loseFrom(byte)
  return place
}

async function assertRescued(t: TestContext, place: CrashPlace): Promise<void> {
  const names = readdirSync(place.broker.dataFolder, { recursive: true }).map(String)
  assert.ok(
    names.some((name) => name.includes('store.corrupt-')),
    `nothing was set aside: ${names}`,
  )
  const { client: back, isPresent } = await place.client({ clientId: 'absent' })
  assert.equal(isPresent, true)
  const numbers = await takeAll(back, (await place.client()).client)
  t.diagnostic(`${numbers.size} of ${messages} messages were rescued`)
  assert.ok(numbers.size > messages / 20 && numbers.size < messages)
  const { client: publisher } = await place.client()
  assert.equal(await publisher.publish({ topic: 'kept', payload: '1000', qos: 1 }), 0)
  assert.ok((await takeAll(back, (await place.client()).client)).has(1000))
}

async function isThere(place: CrashPlace): Promise<void> {
  let refusal: unknown
  const isServed = () =>
    place.client().then(
      () => true,
      (error) => {
        refusal = error
        return false
      },
    )
  await until(() => `somebody is served: ${refusal}`, isServed)
}

if (hasImageDevices()) {
  test('a store of which a part cannot be read: the next start serves what can be', async (t) => {
    const place = await losePart(t, 'inline')
    await assert.rejects(place.broker.start())
    await place.broker.start()
    assert.match(place.broker.output, /DAMAGED.*can't be read/)
    await assertRescued(t, place)
  })

  test('an instance with a process of its own comes back by itself', async (t) => {
    const place = await losePart(t, 'process')
    // What it says of its listeners is in the log of the instance.
    void place.broker.start().catch(() => {})
    await place.broker.said(/ended by SIGBUS/)
    await isThere(place)
    await assertRescued(t, place)
  })
}
