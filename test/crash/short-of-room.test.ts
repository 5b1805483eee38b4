// A store that runs short of room under the real broker, without a file system of its own: what was taken on is acknowledged, what
// is new is refused, and what clients take out makes room again.
import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { createBroker } from 'atollmq'
import { createMemoryPair, FaultDisk } from 'atollmq/testing'
import { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { P, publish } from '../kit/wire.ts'
import { CrashPlace } from './place.ts'

const padding = 'x'.repeat(4000)

async function publishKept(client: RawClient, text: string): Promise<number> {
  return client.publish({ topic: 'kept', payload: `${text} ${padding}`, qos: 1 })
}

/** Takes what waits, up to the message that was published last. */
async function take(client: RawClient, last: string): Promise<string[]> {
  const texts: string[] = []
  while (texts.at(-1) !== last) {
    const packet = await client.expect('PUBLISH')
    texts.push(packet.payload.toString().split(' ')[0])
    client.send(Buffer.from([0x40, 2, packet.packetId! >> 8, packet.packetId! & 0xff]))
  }
  return texts
}

test('a store at its limit: nobody waits, what is new is refused, and taking messages out makes room', async (t) => {
  const limits = { queueMessages: 100_000, queueBytes: '64MiB', storeBytes: '2MiB' }
  const place = new CrashPlace(t, { limits })
  await place.broker.start()
  const { client: absent } = await place.client({ clientId: 'absent' })
  await absent.subscribe(['kept'], { qos: 1 })
  absent.destroy()
  const { client: publisher } = await place.client()
  const acknowledged: string[] = []
  for (;;) {
    const text = String(acknowledged.length)
    const reasonCode = await publishKept(publisher, text)
    if (reasonCode === 0x97) break
    assert.equal(reasonCode, 0)
    acknowledged.push(text)
    assert.ok(acknowledged.length < 2000, 'no end to 2 MiB')
  }
  assert.match(place.broker.output, /no space left for the store.*limits\.storeBytes/)
  await place.broker.said(
    / warn {2}messages are refused, the store cannot take them .*refused=1 refusedInAll=1 reason="no space left for the store: .*"/,
  )
  const { client: old } = await place.client({}, 4)
  old.send(publish({ level: 4, topic: 'kept', payload: 'x', qos: 1, packetId: 1 }))
  await old.expectClosed()
  const stranger = await place.connect()
  await assert.rejects(stranger.handshake({ clientId: 'new', properties: [[0x11, 3600]], cleanStart: true }))

  // Whoever has a Session may come and take what is his.
  const { client: back, isPresent } = await place.client({ clientId: 'absent' })
  assert.equal(isPresent, true)
  assert.deepEqual(await take(back, acknowledged.at(-1)!), acknowledged)
  await place.broker.said(/the store works again/)
  assert.equal(await publishKept(publisher, 'again'), 0)
  assert.deepEqual(await take(back, 'again'), ['again'])
})

test('a store file that is removed under the broker is written anew, and nothing acknowledged is lost', async (t) => {
  const place = new CrashPlace(t)
  await place.broker.start()
  const { client: absent } = await place.client({ clientId: 'absent' })
  await absent.subscribe(['kept'], { qos: 1 })
  absent.destroy()
  const { client: publisher } = await place.client()
  assert.equal(await publishKept(publisher, 'before'), 0)
  const folder = join(place.broker.dataFolder, 'default', 'store')
  const file = join(folder, 'store.mdb')
  rmSync(folder, { recursive: true })
  await until('the file comes back', () => existsSync(file))
  await place.broker.said(
    / error SOMEBODY HAS REMOVED THE STORE while the broker runs .*path=\S+\/default\/store\/store\.mdb /,
  )
  await place.broker.said(/ info {2}the store is there again, with all that was in it .*path=/)
  assert.equal(await publishKept(publisher, 'after'), 0)
  await place.kill()
  await place.broker.start()
  const { client: back } = await place.client({ clientId: 'absent' })
  assert.deepEqual(await take(back, 'after'), ['before', 'after'])
})

test('a message for more kept Sessions than there is room for at once is refused, and smaller rounds are served', async () => {
  const disk = new FaultDisk()
  const broker = createBroker({ durability: 'fsync', listeners: {} }, { disk })
  await broker.start()
  const connect = async (clientId: string): Promise<RawClient> => {
    const [far, near] = createMemoryPair()
    broker.accept(far)
    const client = RawClient.over(near, 5)
    await client.handshake({ clientId, properties: [[P.sessionExpiryInterval, 1000]] })
    return client
  }
  for (let number = 0; number < 12; number++) {
    const client = await connect(`kept-${number}`)
    await client.subscribe(number < 5 ? ['all', 'few'] : ['all'], { qos: 1 })
    client.destroy()
  }
  const publisher = await connect('publisher')
  const send = (topic: string) => publisher.publish({ topic, payload: 'x', qos: 1 })
  disk.mostReceivers = 10
  assert.equal(await send('all'), 0x97)
  assert.equal(await send('few'), 0)
  disk.mostReceivers = Number.POSITIVE_INFINITY
  assert.equal(await send('all'), 0)
  publisher.destroy()
  await broker.stop()
})
