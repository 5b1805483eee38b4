// Bits of the store flip while its instance runs: queues come without what is damaged, log and status shout, and a restart
// brings what can be read into a new file.
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { test } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { P, puback, publish } from '../kit/wire.ts'
import { FleetPlace } from './fleet-place.ts'

const count = 3000
const padding = 'x'.repeat(1000)
const clientIds = ['away-1', 'away-2']

/** Changes a bit of every 50th payload that is in the file. */
function damage(file: string): void {
  const bytes = readFileSync(file)
  const descriptor = openSync(file, 'r+')
  let found = 0
  for (let at = bytes.indexOf(padding); at !== -1; at = bytes.indexOf(padding, at + padding.length)) {
    if (++found % 50 === 0) writeSync(descriptor, Buffer.from('y'), 0, 1, at + padding.length / 2)
  }
  closeSync(descriptor)
}

/** Connects and takes what waits, up to the message of that number. */
async function take(place: FleetPlace, clientId: string, last: number): Promise<number[]> {
  const client = await place.connect({ path: place.path('plant.sock') })
  await client.handshake({ clientId, cleanStart: false, properties: [[P.sessionExpiryInterval, 3600]] })
  const numbers: number[] = []
  while (numbers.at(-1) !== last) {
    const { payload, packetId } = await client.expect('PUBLISH')
    assert.ok(payload.toString().endsWith(` ${padding}`), 'a message that nobody has sent')
    numbers.push(Number.parseInt(payload.toString(), 10))
    client.send(puback({ packetId: packetId! }))
  }
  await client.fence()
  client.destroy()
  return numbers
}

/** In windows, so that the broker does not pause the client. */
async function publishAll(client: RawClient, numbers: number[]): Promise<void> {
  for (let from = 0; from < numbers.length; from += 100) {
    const window = numbers.slice(from, from + 100)
    for (const number of window) {
      const packetId = client.nextPacketId()
      client.send(publish({ topic: 'q', payload: `${number} ${padding}`, qos: 1, packetId }))
    }
    for (const _ of window) assert.equal((await client.expect('PUBACK')).reasonCode, 0)
  }
}

test('a store that is damaged in use: the rest is served, log and status say so, a restart rescues', async (t) => {
  const place = new FleetPlace(t)
  const limits = { queueMessages: 100_000, queueBytes: '64MiB' }
  place.describe({ plant: { isolation: 'process', durability: 'fsync', limits }, neighbour: {} })
  await place.serve()
  for (const clientId of clientIds) {
    const client = await place.connect({ path: place.path('plant.sock') })
    await client.handshake({ clientId, properties: [[P.sessionExpiryInterval, 3600]] })
    await client.subscribe(['q'], { qos: 1 })
    client.destroy()
  }
  const publisher = await place.clientOf('plant')
  const numbers = Array.from({ length: count }, (_, index) => index)
  await publishAll(publisher, numbers)
  assert.doesNotMatch(await place.run(['status']), /DAMAGED/)
  damage(place.path('data/plant/store/store.mdb'))
  // Marks the end, and nobody has changed it.
  await publishAll(publisher, [count])

  const taken = await take(place, 'away-1', count)
  const lost = count + 1 - taken.length
  assert.ok(lost > 20 && lost < count / 20, `${lost} of ${count} were lost`)
  assert.deepEqual(
    taken,
    [...taken].sort((a, b) => a - b),
  )
  assert.equal(new Set(taken).size, taken.length)
  assert.equal((await place.totals('plant')).droppedDamaged, lost)
  const shouted = await statusSaying(
    place,
    new RegExp(`plant: THE STORE IS DAMAGED: ${lost} messages .* cannot be read`),
  )
  assert.match(shouted, /atoll store verify -i plant .*atoll instance restart plant/)
  const member = (await place.members()).get('plant') as unknown as { isReady: boolean }
  assert.equal(member.isReady, true)
  const verified = await place.command(['store', 'verify', '-i', 'plant'])
  assert.equal(verified.code, 1)
  assert.match(verified.stdout, /records whose checksum is wrong/)
  const lines = () => place.read('log/plant/plant.log').match(/ error THE STORE IS DAMAGED: .*/g) ?? []
  assert.ok(lines().length >= 1 && lines().length <= 3, `${lines().length} lines`)
  assert.match(lines()[0] ?? '', / client=away-1 lost=\d+ lostInAll=\d+ fix=/)

  // Closed in order, and read all the same.
  await place.run(['instance', 'restart', 'plant'])
  const rescued = await statusSaying(place, /plant: THE STORE WAS DAMAGED, set aside as .*; rescued: /)
  assert.doesNotMatch(rescued, /THE STORE IS DAMAGED/)
  // The beginning of its queue was in memory only until the restart.
  const takenLater = await take(place, 'away-2', count)
  const isTaken = new Set(taken)
  assert.ok(takenLater.every((number) => isTaken.has(number)))
  assert.ok(takenLater.length > taken.length - 10, `${takenLater.length} of ${taken.length}`)
  assert.equal((await place.totals('plant')).droppedDamaged, 0)
  assert.equal((await place.command(['store', 'verify', '-i', 'plant'])).code, 0)
})

async function statusSaying(place: FleetPlace, pattern: RegExp): Promise<string> {
  let shown = ''
  await until(
    () => `${pattern} in ${shown}`,
    async () => {
      shown = await place.run(['status'])
      return pattern.test(shown)
    },
  )
  return shown
}
