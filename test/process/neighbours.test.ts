// Four instances on one host, three of them in trouble: what the clients of the fourth see of it, which is nothing, and what
// the operator is told of each.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { connect, puback, publish, subscribe } from '../kit/wire.ts'
import { FleetPlace } from './fleet-place.ts'

const batch = 50
const messageRate = 200
const burst = 3

function messages(topic: string, qos: number, payload: Buffer | string, count: number): Buffer {
  const one = (packetId: number) =>
    publish({ level: 5, topic, qos, payload, packetId: qos === 0 ? undefined : packetId })
  return Buffer.concat(Array.from({ length: count }, (_, index) => one(index + 1)))
}

/** Publishes batch after batch, each as soon as the last one is taken, until it is told to end. */
class Flood {
  readonly #done: Promise<void>
  published = 0
  #isEnding = false

  constructor(client: RawClient, topic: string, qos: number, payload: Buffer) {
    const bytes = messages(topic, qos, payload, batch)
    this.#done = this.#run(client, bytes, qos)
    // Looked at by `end`.
    this.#done.catch(() => {})
  }

  async #run(client: RawClient, bytes: Buffer, qos: number): Promise<void> {
    while (!this.#isEnding) {
      client.send(bytes)
      for (let answer = 0; qos === 1 && answer < batch; answer++) await client.expect('PUBACK')
      await client.fence()
      this.published += batch
    }
  }

  async end(): Promise<void> {
    this.#isEnding = true
    await this.#done
  }
}

/** Numbered messages of both QoS from one client to another: each must come, once and in its order. */
class Steady {
  readonly #done: Promise<void>
  rounds = 0
  #isEnding = false

  constructor(publisher: RawClient, subscriber: RawClient) {
    this.#done = this.#run(publisher, subscriber)
    // Looked at by `end`.
    this.#done.catch(() => {})
  }

  async #run(publisher: RawClient, subscriber: RawClient): Promise<void> {
    await subscriber.subscribe(['steady/+'], { qos: 1 })
    while (!this.#isEnding) {
      const number = String(this.rounds)
      for (const qos of [0, 1]) publisher.send(messages(`steady/${qos}`, qos, number, 1))
      await publisher.expect('PUBACK')
      for (const qos of [0, 1]) {
        const message = await subscriber.expect('PUBLISH')
        assert.deepEqual([message.topic, message.payload.toString()], [`steady/${qos}`, number])
        if (message.packetId !== null) subscriber.send(puback({ level: 5, packetId: message.packetId }))
      }
      this.rounds++
    }
  }

  /** Waits until it has gone on for a while. */
  async goesOn(): Promise<void> {
    const goal = this.rounds + 50
    await Promise.race([until('the steady ones go on', () => this.rounds >= goal), this.#done])
  }

  async end(): Promise<void> {
    this.#isEnding = true
    await this.#done
  }
}

/** Subscribes to `flood` and never reads again. */
async function stoppedSubscriber(t: TestContext, path: string): Promise<void> {
  const socket = connectSocket({ path })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  socket.write(connect({ level: 5, clientId: 'stopped' }))
  await once(socket, 'data')
  socket.write(subscribe({ level: 5, packetId: 1, filters: [{ filter: 'flood', qos: 1 }] }))
  await once(socket, 'data')
  socket.pause()
}

/** Kills the process of the instance as often as it comes back. */
async function killUntilFailed(place: FleetPlace, name: string): Promise<void> {
  let killed: number | null = null
  await until(`${name} is given up`, async () => {
    const { phase, pid } = (await place.members()).get(name)!
    if (phase === 'ready' && pid !== null && pid !== killed) {
      killed = pid
      process.kill(pid, 'SIGKILL')
    }
    return phase === 'failed'
  })
}

for (const isolation of ['process', 'shared']) {
  test(`beside one under load, one in a crash loop and one with a stopped subscriber (${isolation}): the clients of the other lose nothing`, async (t) => {
    const place = new FleetPlace(t)
    place.describe({
      busy: { isolation },
      limited: { isolation, limits: { messageRate } },
      stuck: { isolation, limits: { outputBytes: '64KiB', queueMessages: 100, stallTimeout: '1s' } },
      steady: { isolation },
      crashing: { isolation: 'process', restart: { backoff: 0, burst } },
    })
    await place.serve()
    const before = await place.members()
    const steady = new Steady(await place.clientOf('steady'), await place.clientOf('steady'))
    await steady.goesOn()

    await stoppedSubscriber(t, place.path('stuck.sock'))
    const sinceMs = performance.now()
    const flood = async (name: string, qos: number, bytes: number) =>
      new Flood(await place.clientOf(name), 'flood', qos, Buffer.alloc(bytes))
    const floods = await Promise.all([
      flood('busy', 0, 100),
      flood('busy', 1, 100),
      flood('limited', 1, 100),
      flood('stuck', 0, 1000),
      flood('stuck', 1, 1000),
    ])
    await killUntilFailed(place, 'crashing')
    await place.run(['status'], { code: 1 })
    const failed = (await place.members()).get('crashing')!
    assert.deepEqual([failed.pid, failed.connections], [null, 0])
    assert.match(
      failed.reason!,
      new RegExp(`^the host process was ended by SIGKILL .*\\(${burst + 1} times within 60 s\\)$`),
    )
    await steady.goesOn()

    await until('the stopped subscriber has gone', async () => (await place.totals('stuck')).connectionsClosed === 1)
    const stuck = await place.totals('stuck')
    assert.ok(stuck.droppedOutputFull > 0 && stuck.droppedQueueFull > 0, JSON.stringify(stuck))
    assert.equal(stuck.stallTimeouts, 1)
    await until('the limit bites', async () => (await place.totals('limited')).rateLimited > 1)
    const limited = await place.totals('limited')
    const elapsedSeconds = (performance.now() - sinceMs) / 1000
    assert.ok(limited.publishReceived <= messageRate * (elapsedSeconds + 1) + 1, JSON.stringify(limited))
    const busy = await place.totals('busy')
    assert.ok(busy.publishReceived > limited.publishReceived)
    const quiet = await place.totals('steady')
    for (const totals of [busy, quiet]) assert.deepEqual([totals.rateLimited, totals.dropped], [0, 0])
    await steady.goesOn()

    // All floods still flow, and status tells what each of them is.
    const published = floods.map((one) => one.published)
    await until('the floods go on', () => floods.every((one, index) => one.published > published[index]))
    await until('status has noticed', async () => (await place.members()).get('stuck')!.connections === 2)
    const connections = { busy: 2, limited: 1, stuck: 2, steady: 2 }
    const members = await place.members()
    for (const [name, count] of Object.entries(connections)) {
      const { phase, pid, restarts, reason, connections } = members.get(name)!
      assert.deepEqual(
        [phase, pid, restarts, reason, connections],
        ['ready', before.get(name)!.pid, 0, null, count],
        name,
      )
    }

    assert.match(await place.run(['instance', 'start', 'crashing']), /^crashing ready pid \d+\n$/)
    const again = (await place.members()).get('crashing')!
    assert.deepEqual([again.phase, again.reason], ['ready', null])
    await (await place.clientOf('crashing')).fence()
    await steady.goesOn()
    await Promise.all([...floods, steady].map((one) => one.end()))
    assert.deepEqual([quiet.connectionsClosed, quiet.protocolErrors], [0, 0])
  })
}
