// A disk that hangs, and one that refuses writes, under the broker. Every fault has a form that needs no right of root; as root
// a real file system is frozen as well.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createBroker } from 'atollmq'
import { FaultDisk } from 'atollmq/testing'
import { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { type ConnectOptions, type Level, P, puback, publish } from '../kit/wire.ts'
import { hasImageDevices, ImageDevice, runTool } from './image-device.ts'
import { CrashPlace } from './place.ts'

const isLinux = process.platform === 'linux'

interface Fault {
  begin(): void
  end(): void
}

type Connect = (options?: ConnectOptions, level?: Level) => Promise<RawClient>
const kept: ConnectOptions = { clientId: 'absent', cleanStart: true, properties: [[P.sessionExpiryInterval, 3600]] }

/**
 * What all faults have in common: one message is under way when it begins, and its acknowledgement waits; the next are
 * refused; what is not stored flows; the end of the fault is found without a restart.
 */
async function meet(connect: Connect, fault: Fault): Promise<void> {
  const absent = await connect(kept)
  await absent.subscribe(['kept'], { qos: 1 })
  absent.destroy()
  const publisher = await connect()
  assert.equal(await publisher.publish({ topic: 'kept', payload: 'before', qos: 1 }), 0)
  const reader = await connect()
  await reader.subscribe(['fleeting'], { qos: 1 })
  const held = await connect()
  fault.begin()
  try {
    const packetId = held.nextPacketId()
    held.send(publish({ topic: 'kept', payload: 'under way', qos: 1, packetId }))
    // A message of which nothing is stored is acknowledged at once; the fence says that the one before was read.
    await held.fence()
    const probe = await connect()
    await untilRefused(connect)
    assert.equal(await probe.publish({ topic: 'kept', payload: 'x', qos: 2 }), 0x97)
    assert.equal(await probe.publish({ topic: 'kept', payload: 'x', qos: 1, retain: true }), 0x97)
    const old = await connect({}, 4)
    old.send(publish({ level: 4, topic: 'kept', payload: 'x', qos: 1, packetId: 1 }))
    await old.expectClosed()
    assert.equal(await probe.publish({ topic: 'fleeting', payload: 'one', qos: 1 }), 0)
    assert.equal((await reader.expect('PUBLISH')).payload.toString(), 'one')
    await probe.publish({ topic: 'fleeting', payload: 'zero', qos: 0 })
    assert.equal((await reader.expect('PUBLISH')).payload.toString(), 'zero')
    assert.equal(held.unread.length, 0, 'it was acknowledged without being stored')
  } finally {
    fault.end()
  }
  assert.equal((await held.expect('PUBACK')).reasonCode, 0)
  assert.equal(await publisher.publish({ topic: 'kept', payload: 'after', qos: 1 }), 0)
}

async function untilRefused(connect: Connect): Promise<void> {
  await until('a refusal', async () => {
    const stranger = await connect().catch(() => null)
    if (stranger === null) return false
    const refused = await refusalOf(stranger)
    stranger.destroy()
    return refused === 0x97
  })
}

/** The Reason Code for a kept message, if it is answered soon; otherwise null. */
async function refusalOf(client: RawClient): Promise<number | null> {
  client.send(publish({ topic: 'kept', payload: 'x', qos: 1, packetId: client.nextPacketId() }))
  await client.fence()
  return client.unread.length === 0 ? null : (await client.expect('PUBACK')).reasonCode
}

/** Everything acknowledged is there after a kill; those that were never answered may be. */
async function assertKept(client: RawClient): Promise<void> {
  const payloads: string[] = []
  while (payloads.at(-1) !== 'after') payloads.push((await client.expect('PUBLISH')).payload.toString())
  const own = payloads.filter((payload) => payload !== 'x')
  assert.deepEqual(own, ['before', 'under way', 'after'])
}

test('a disk that hangs: after diskTimeout what must be stored is refused, and it recovers by itself', async (t) => {
  const disk = new FaultDisk()
  const folder = mkdtempSync(join(tmpdir(), 'atoll-hang-'))
  const path = join(folder, 'x.sock')
  const listeners = { local: `unix://${path}` }
  const broker = createBroker({ durability: 'fsync', listeners, limits: { diskTimeout: '1s' } }, { disk })
  const clients: RawClient[] = []
  t.after(async () => {
    for (const client of clients) client.destroy()
    await broker.stop()
    rmSync(folder, { recursive: true })
  })
  await broker.start()
  const connect: Connect = async (options, level = 5) => {
    const client = await RawClient.connect({ path }, { level })
    clients.push(client)
    await client.handshake(options)
    return client
  }
  await meet(connect, { begin: () => disk.hold(), end: () => disk.release() })
  await assertKept(await connect({ ...kept, cleanStart: false }))
})

function connectTo(place: CrashPlace): Connect {
  return async (options, level = 5) => {
    const client = await place.connect(level)
    await client.handshake(options)
    return client
  }
}

/** @param away what becomes of the disk between two lives of the broker */
async function meetInProcess(place: CrashPlace, fault: Fault, away = () => {}): Promise<void> {
  await place.broker.start()
  await meet(connectTo(place), fault)
  await place.kill()
  away()
  await place.broker.start()
  assert.doesNotMatch(place.broker.output, /DAMAGED/)
  await assertKept(await connectTo(place)({ ...kept, cleanStart: false }))
}

if (isLinux) {
  test('a disk that refuses every write: nothing is acknowledged that is not stored, and it recovers by itself', async (t) => {
    const place = new CrashPlace(t)
    // No file of the process may be written any more: as an I/O error, but without a disk that has one.
    const limit = (bytes: string) => runTool('prlimit', `--pid=${place.broker.pid}`, `--fsize=${bytes}:`)
    await meetInProcess(place, { begin: () => limit('1'), end: () => limit('unlimited') })
  })
}

if (hasImageDevices()) {
  const onDevice = (t: TestContext, hasJournal: boolean) => {
    let device!: ImageDevice
    const place = new CrashPlace(t, { limits: { diskTimeout: '1s' } }, (path) => {
      device = new ImageDevice(path, { hasJournal })
      return () => device.destroy()
    })
    return { place, device }
  }

  test('a file system that is frozen: the same with a real disk', async (t) => {
    const { place, device } = onDevice(t, true)
    await meetInProcess(place, { begin: () => device.freeze(), end: () => device.thaw() })
  })

  test('a client that takes a long queue while the file system freezes waits for it alone', async (t) => {
    const { place, device } = onDevice(t, true)
    await place.broker.start()
    const connect = connectTo(place)
    const own: ConnectOptions = { ...kept, cleanStart: false }
    const absent = await connect({ ...own, properties: [...own.properties!, [P.receiveMaximum, 10]] })
    await absent.subscribe(['kept'], { qos: 1 })
    absent.destroy()
    const publisher = await connect()
    const padding = 'x'.repeat(8000)
    for (let number = 0; number < 200; number++) {
      assert.equal(await publisher.publish({ topic: 'kept', payload: `${number} ${padding}`, qos: 1 }), 0)
    }
    const reader = await connect()
    await reader.subscribe(['fleeting'])
    const back = await connect({ ...own, properties: [...own.properties!, [P.receiveMaximum, 10]] })
    const numbers: number[] = []
    const take = async () => {
      const packet = await back.expect('PUBLISH')
      numbers.push(Number.parseInt(packet.payload.toString(), 10))
      back.send(puback({ packetId: packet.packetId! }))
    }
    for (let count = 0; count < 20; count++) await take()
    device.freeze()
    try {
      // Others are served while it takes what is in memory, and when there is no more of that.
      for (let round = 0; round < 100; round++) {
        while (back.unread.length > 0) await take()
        await publisher.publish({ topic: 'fleeting', payload: `${round}`, qos: 0 })
        assert.equal((await reader.expect('PUBLISH')).payload.toString(), `${round}`)
      }
      assert.ok(numbers.length < 190, 'all of it was in memory')
    } finally {
      device.thaw()
    }
    while (numbers.length < 200) await take()
    assert.deepEqual(numbers, [...numbers.keys()])
  })

  test('a device that answers writes with errors: the same with a real disk', async (t) => {
    const { place, device } = onDevice(t, false)
    await meetInProcess(place, { begin: () => device.failWrites(), end: () => device.endFailing() }, () => {
      device.cutPower()
      device.unmount()
      device.mount()
    })
  })

  test('a file system that an error has made read-only: refused until it is mounted anew, and nothing is lost', async (t) => {
    const { place, device } = onDevice(t, true)
    await place.broker.start()
    const connect = connectTo(place)
    const absent = await connect(kept)
    await absent.subscribe(['kept'], { qos: 1 })
    absent.destroy()
    const publisher = await connect()
    assert.equal(await publisher.publish({ topic: 'kept', payload: 'before', qos: 1 }), 0)
    device.becomeReadOnly()
    const held = await connect()
    held.send(publish({ topic: 'kept', payload: 'under way', qos: 1, packetId: 1 }))
    await held.fence()
    await untilRefused(connect)
    await place.broker.said(/takes nothing new.*read-only file system/i)
    assert.equal(await publisher.publish({ topic: 'kept', payload: 'x', qos: 1 }), 0x97)
    assert.equal(await publisher.publish({ topic: 'fleeting', payload: 'one', qos: 1 }), 0x10)
    assert.equal(held.unread.length, 0, 'it was acknowledged without being stored')

    await place.kill()
    device.unmount()
    device.mount()
    await place.broker.start()
    assert.doesNotMatch(place.broker.output, /DAMAGED/)
    const back = await connect({ ...kept, cleanStart: false })
    await back.fence()
    const first = await back.expect('PUBLISH')
    assert.equal(first.payload.toString(), 'before')
    assert.equal(await (await connect()).publish({ topic: 'kept', payload: 'after', qos: 1 }), 0)
  })
}
