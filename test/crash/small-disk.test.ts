// A small file system that messages for an absent client have filled: it comes back and takes them all, slowly or all at once, and
// the broker is killed on the way. What it has taken makes room for new messages, by itself.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { P, publish } from '../kit/wire.ts'
import { CrashPlace } from './place.ts'

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
}

const canMount = process.platform === 'linux' && process.getuid?.() === 0
const skip = !canMount && process.env.REQUIRE_INTEROP !== '1' ? 'only root can mount a small file system' : false

const mountSmall = (mebibytes: number) => (path: string) => {
  run('mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0700`, 'tmpfs', path)
  return () => run('umount', '-l', path)
}

/** Publishes from `next` on, some at once, until one is refused; returns the numbers of those that were taken. */
async function fill(client: RawClient, next: number, padding: string): Promise<number[]> {
  const taken: number[] = []
  let isRefused = false
  for (let number = next; !isRefused; ) {
    const numbers = new Map(Array.from({ length: 20 }, () => [client.nextPacketId(), number++]))
    const packets = [...numbers].map(([packetId, own]) =>
      publish({ level: 5, topic: 'kept', payload: `${own} ${padding}`, qos: 1, packetId }),
    )
    client.send(Buffer.concat(packets))
    for (let count = 0; count < packets.length; count++) {
      const { packetId, reasonCode } = await client.expect('PUBACK')
      if (reasonCode === 0) taken.push(numbers.get(packetId)!)
      else {
        assert.equal(reasonCode, 0x97)
        isRefused = true
      }
    }
  }
  return taken.sort((one, other) => one - other)
}

function acknowledge(client: RawClient, packetIds: readonly number[]): void {
  client.send(Buffer.concat(packetIds.map((packetId) => Buffer.from([0x40, 2, packetId >> 8, packetId & 0xff]))))
}

/** Takes messages until `most` have come or the last one has; what comes first may have come before. */
async function take(client: RawClient, receiveMaximum: number, most: number, last: number): Promise<number[]> {
  const numbers: number[] = []
  let unacknowledged: number[] = []
  while (numbers.length < most && numbers.at(-1) !== last) {
    const packet = await client.expect('PUBLISH')
    numbers.push(Number.parseInt(packet.payload.subarray(0, 12).toString(), 10))
    unacknowledged.push(packet.packetId!)
    const isEnd = numbers.at(-1) === last
    if (!isEnd && unacknowledged.length < receiveMaximum && client.unread.length > 0) continue
    acknowledge(client, unacknowledged)
    unacknowledged = []
  }
  return numbers
}

for (const [mebibytes, bytes, receiveMaximum] of [
  [24, 133_000, 65_535],
  [24, 133_000, 1],
  [24, 2000, 20],
  [24, 2000, 65_535],
  [24, 500, 65_535],
  [40, 133_000, 65_535],
  [100, 133_000, 65_535],
] as const) {
  const title = `${mebibytes} MiB full of messages of ${bytes} bytes, taken with Receive Maximum ${receiveMaximum}`
  test(`${title}: nothing is lost, and there is room again`, { skip }, async (t) => {
    const padding = 'x'.repeat(bytes)
    const limits = { queueMessages: 100_000, queueBytes: '128MiB' }
    const place = new CrashPlace(t, { limits }, mountSmall(mebibytes))
    const options = { clientId: 'absent', properties: [[P.sessionExpiryInterval, 3600] as [number, number]] }
    options.properties.push([P.receiveMaximum, receiveMaximum])
    await place.broker.start()
    const { client: absent } = await place.client(options)
    await absent.subscribe(['kept'], { qos: 1 })
    absent.destroy()
    const { client: publisher } = await place.client()
    const kept = await fill(publisher, 0, padding)
    assert.ok(kept.length * bytes > 0.25 * mebibytes * 2 ** 20, `only ${kept.length} messages fit`)

    await place.kill()
    await place.broker.start()
    const { client: first, isPresent } = await place.client(options)
    assert.equal(isPresent, true)
    const before = await take(first, receiveMaximum, Math.ceil(kept.length / 2), kept.at(-1)!)
    await place.kill()
    await place.broker.start()
    const { client: back } = await place.client(options)
    const after = await take(back, receiveMaximum, Number.POSITIVE_INFINITY, kept.at(-1)!)
    assert.deepEqual([...new Set([...before, ...after])], kept)
    back.destroy()

    const { client: again } = await place.client()
    let more: number[] = []
    const isTaken = async () => {
      more = await fill(again, kept.at(-1)! + 1, padding)
      return more.length > 0
    }
    await until(() => `it takes something new:\n${place.broker.output}`, isTaken)
    const { client: last } = await place.client(options)
    assert.deepEqual(await take(last, receiveMaximum, Number.POSITIVE_INFINITY, more.at(-1)!), more)
    assert.doesNotMatch(place.broker.output, /cannot be written/)
  })
}
