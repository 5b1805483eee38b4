// A disk that is full or read-only, and a damaged store, met by the real broker: what it has acknowledged stays, what it cannot
// keep it does not acknowledge, and the rest of its work goes on.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { publish, pubrel } from '../kit/wire.ts'
import { CrashPlace } from './place.ts'

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
}

const canMount = process.platform === 'linux' && process.getuid?.() === 0
const isRequired = process.env.REQUIRE_INTEROP === '1'
const skip = !canMount && !isRequired ? 'only root can mount a small file system' : false

const mountSmall = (megabytes: number) => (path: string) => {
  run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700`, 'tmpfs', path)
  return () => run('umount', '-l', path)
}

const noSpace = /store.*no space|no space.*store/i
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const padding = 'x'.repeat(4000)
const payloadOf = (number: number): string => `${number} ${padding}`

/** All that waits for the Session, acknowledged, up to the message that was published last. */
async function collect(place: CrashPlace, clientId: string, last: string): Promise<string[]> {
  const { client, isPresent } = await place.client({ clientId })
  assert.equal(isPresent, true, `the Session of ${clientId} is gone`)
  const payloads: string[] = []
  while (payloads.at(-1) !== last) {
    const packet = await client.expect('PUBLISH')
    payloads.push(packet.payload.toString())
    client.send(Buffer.from([0x40, 2, packet.packetId! >> 8, packet.packetId! & 0xff]))
  }
  await client.disconnect()
  return payloads
}

/**
 * Publishes until a message is refused or its acknowledgement is held back, as that of one which the store had taken on when
 * the disk became full. Adds the numbers of those acknowledged. @returns the number held back, or null
 */
async function fill(place: CrashPlace, client: RawClient, acknowledged: number[]): Promise<number | null> {
  for (let number = 0; number < 5000; number++) {
    const packetId = client.nextPacketId()
    client.send(publish({ topic: 'kept', payload: payloadOf(number), qos: 1, packetId }))
    while (client.unread.length === 0 && !noSpace.test(place.broker.output)) await pause(1)
    if (client.unread.length === 0) await client.fence()
    if (client.unread.length === 0) return number
    if ((await client.expect('PUBACK')).reasonCode >= 0x80) return null
    acknowledged.push(number)
  }
  return assert.fail('a full disk takes 20 MB')
}

test('a full disk: durable data is refused, the rest goes on, and it recovers without a restart', {
  skip,
}, async (t) => {
  const limits = { queueMessages: 100_000, queueBytes: '64MiB' }
  const place = new CrashPlace(t, { limits }, mountSmall(8))
  const ballast = join(place.broker.dataFolder, 'ballast')
  writeFileSync(ballast, Buffer.alloc(5 << 20))
  await place.broker.start()
  const { client: absent } = await place.client({ clientId: 'absent' })
  await absent.subscribe(['kept/#'], { qos: 2 })
  absent.destroy()
  const { client: present } = await place.client()
  await present.subscribe(['fleeting'], { qos: 1 })

  const { client: filler } = await place.client()
  const acknowledged: number[] = []
  const held = await fill(place, filler, acknowledged)
  const { client: publisher } = await place.client()
  assert.ok(acknowledged.length > 10, `only ${acknowledged.length} messages fit`)
  assert.match(place.broker.output, noSpace)
  assert.equal(await publisher.publish({ topic: 'kept', payload: payloadOf(-1), qos: 1 }), 0x97)
  assert.equal(await publisher.publish({ topic: 'kept', payload: payloadOf(-1), qos: 2 }), 0x97)
  assert.equal(await publisher.publish({ topic: 'kept', payload: payloadOf(-1), qos: 1, retain: true }), 0x97)

  const { client: old } = await place.client({}, 4)
  old.send(publish({ level: 4, topic: 'kept', payload: payloadOf(-1), qos: 1, packetId: 1 }))
  await old.expectClosed()

  await publisher.publish({ topic: 'fleeting', payload: 'zero', qos: 0 })
  assert.equal((await present.expect('PUBLISH')).payload.toString(), 'zero')
  assert.equal(await publisher.publish({ topic: 'fleeting', payload: 'one', qos: 1 }), 0)
  assert.equal((await present.expect('PUBLISH')).payload.toString(), 'one')

  rmSync(ballast)
  const isTaken = async () => (await publisher.publish({ topic: 'kept', payload: 'again', qos: 1 })) === 0
  await until(() => `it recovers:\n${place.broker.output}`, isTaken)
  if (held !== null && (await filler.expect('PUBACK')).reasonCode === 0) acknowledged.push(held)
  await place.kill()
  await place.broker.start()
  const got = await collect(place, 'absent', 'again')
  const numbers = got.map((payload) => Number.parseInt(payload, 10)).filter((number) => number >= 0)
  assert.deepEqual(numbers.slice(0, acknowledged.length), acknowledged)
})

test('a data directory that cannot be written: the start is refused, and says why', { skip }, async (t) => {
  const place = new CrashPlace(t, {}, mountSmall(8))
  await place.broker.start()
  await place.client({ clientId: 'absent' })
  await place.kill()
  run('mount', '-o', 'remount,ro', place.broker.dataFolder)
  await assert.rejects(place.broker.start(), (error: Error) => {
    assert.match(error.message, /may not write in/)
    assert.ok(error.message.includes(place.broker.dataFolder), error.message)
    return true
  })
  run('mount', '-o', 'remount,rw', place.broker.dataFolder)
  await place.broker.start()
  assert.equal((await place.client({ clientId: 'absent' })).isPresent, true)
})

/** The file that holds the store: the largest one. */
function storeFile(folder: string): string {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  return files.reduce((largest, file) => (statSync(file).size > statSync(largest).size ? file : largest))
}

function overwrite(file: string, at: number, bytes: Buffer): void {
  const descriptor = openSync(file, 'r+')
  try {
    writeSync(descriptor, bytes, 0, bytes.length, at)
  } finally {
    closeSync(descriptor)
  }
}

const damages: [string, (file: string, bytes: number) => void][] = [
  [
    'bits flipped all over',
    (file, bytes) => {
      for (let at = 20_000; at < bytes; at += 50_000) overwrite(file, at, Buffer.from('\xff\x00\xaa', 'latin1'))
    },
  ],
  ['cut in the middle', (file, bytes) => truncateSync(file, Math.floor(bytes / 2))],
  [
    'zeros in its last third',
    (file, bytes) => {
      const from = Math.floor((bytes * 2) / 3)
      overwrite(file, from, Buffer.alloc(bytes - from))
    },
  ],
  ['zeros in its first pages', (file) => overwrite(file, 0, Buffer.alloc(16_384))],
]

for (const [title, damage] of damages) {
  test(`a damaged store, ${title}: set aside, said loudly, served from what is left`, async (t) => {
    const place = new CrashPlace(t)
    const { dataFolder } = place.broker
    await place.broker.start()
    const { client: absent } = await place.client({ clientId: 'absent' })
    await absent.subscribe(['kept/#'], { qos: 1 })
    absent.destroy()
    const { client: publisher } = await place.client()
    const sent = new Set<string>()
    for (let number = 0; number < 200; number++) {
      const payload = payloadOf(number)
      sent.add(payload)
      const isRetained = number % 2 === 0
      const topic = isRetained ? `retained/${number}` : 'kept'
      assert.ok((await publisher.publish({ topic, payload, qos: 1, retain: isRetained })) < 0x80)
    }
    await place.kill()
    const file = storeFile(dataFolder)
    damage(file, statSync(file).size)

    await place.broker.start()
    const asides = readdirSync(dataFolder, { recursive: true }).filter((name) => String(name).includes('.corrupt-'))
    assert.equal(asides.length > 0, true, `nothing was set aside:\n${place.broker.output}`)
    assert.match(place.broker.output, / (error|warn) .*\.corrupt-/)
    // What is served is what was sent, never rubbish.
    const { client: reader } = await place.client()
    await reader.subscribe(['retained/#'])
    await reader.fence()
    const found = reader.unread.flatMap((packet) => (packet.type === 'PUBLISH' ? [packet.payload.toString()] : []))
    for (const payload of found) assert.ok(sent.has(payload), `retained rubbish: ${payload.slice(0, 60)}`)
    const { client: back, isPresent } = await place.client({ clientId: 'absent' })
    if (!isPresent) await back.subscribe(['kept/#'], { qos: 1 })
    await back.fence()
    for (const packet of back.unread) {
      if (packet.type === 'PUBLISH') assert.ok(sent.has(packet.payload.toString()), 'a message that nobody has sent')
    }
    back.destroy()
    t.diagnostic(`${found.length} of 100 retained messages, Session ${isPresent ? 'there' : 'gone'}`)
    assert.ok(found.length > 20, 'hardly anything was rescued')

    // And it keeps again.
    const { client: again } = await place.client()
    assert.equal(await again.publish({ topic: 'kept', payload: 'anew', qos: 1 }), 0)
    await place.kill()
    await place.broker.start()
    await collect(place, 'absent', 'anew')
  })
}

test('a QoS 2 message that was damaged before it was released is there once it was sent again', async (t) => {
  const place = new CrashPlace(t)
  await place.broker.start()
  const message = { topic: 'retained', payload: `precious ${padding}`, qos: 2, retain: true, packetId: 7 } as const
  const { client: first } = await place.client({ clientId: 'publisher' })
  first.send(publish(message))
  await first.expect('PUBREC')
  await place.kill()
  const file = storeFile(place.broker.dataFolder)
  const bytes = readFileSync(file)
  let found = 0
  for (let at = bytes.indexOf(message.payload); at !== -1; at = bytes.indexOf(message.payload, at + 1)) {
    overwrite(file, at, Buffer.from('changed'))
    found++
  }
  assert.ok(found > 0)

  await place.broker.start()
  assert.equal(place.broker.wasDamaged, true)
  const { client: second, isPresent } = await place.client({ clientId: 'publisher' })
  assert.equal(isPresent, true)
  second.send(publish({ ...message, dup: true }))
  assert.ok((await second.expect('PUBREC')).reasonCode < 0x80)
  second.send(pubrel({ packetId: 7 }))
  assert.equal((await second.expect('PUBCOMP')).reasonCode, 0)
  const { client: reader } = await place.client()
  await reader.subscribe(['retained'])
  assert.equal((await reader.expect('PUBLISH')).payload.toString(), message.payload)
})

test('a file that is no store: the start is refused, and the file stays as it is', async (t) => {
  const place = new CrashPlace(t)
  await place.broker.start()
  await place.client({ clientId: 'absent' })
  await place.kill()
  const file = storeFile(place.broker.dataFolder)
  const text = 'this is no store\n'.repeat(1000)
  writeFileSync(file, text)
  await assert.rejects(place.broker.start(), (error: Error) => {
    assert.ok(error.message.includes(file), error.message)
    return true
  })
  assert.equal(readFileSync(file, 'utf8'), text)
})
