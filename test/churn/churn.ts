// A month of coming and going in a few seconds: kept Sessions that begin, fill, drain, end and expire, retained messages that are
// set and cleared. Over the real store, with a clock cranked by hand. What it tells is how large the file is on the way.
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AtollBroker, createBroker } from 'atollmq'
import { createMemoryPair, ManualClock } from 'atollmq/testing'
import { RawClient } from '../kit/raw-client.ts'
import { P, pingreq, puback, type ServerPacketType, subscribe, unsubscribe } from '../kit/wire.ts'
import { Random } from '../simulation/random.ts'

export interface ChurnOptions {
  seed: number
  /** Comings and goings within the month. */
  steps: number
  /** Shares of the way at which the file is measured, ascending. */
  measuredAt: readonly number[]
}

export interface ChurnReport {
  /** Bytes of the file at each of the shares. */
  fileBytes: number[]
  /** Bytes of all payloads that were kept for somebody, over all the time. */
  writtenBytes: number
}

const monthMs = 30 * 86_400_000
const sessionSeconds = 2 * 86_400
const clientCount = 20
const retainedCount = 100
const burstLength = 20
/** Of one message. */
const mostBytes = 4000

class Churn {
  readonly #random: Random
  readonly #clock = new ManualClock()
  readonly #broker: AtollBroker
  readonly #file: string
  #writtenBytes = 0

  constructor(folder: string, seed: number) {
    this.#random = new Random(seed)
    this.#file = join(folder, 'store', 'store.mdb')
    // What passes through the file is what counts, not how long a disk takes.
    const configuration = {
      durability: 'os',
      listeners: {},
      features: { sysInterval: 0 },
      limits: { keepAlive: 0 },
      gracePeriod: 0,
    } as const
    this.#broker = createBroker(configuration, { dataDir: folder, clock: this.#clock, random: this.#random.next })
  }

  async run({ steps, measuredAt }: ChurnOptions): Promise<ChurnReport> {
    const fileBytes: number[] = []
    await this.#broker.start()
    // Under load a batch gathers for some milliseconds.
    const crank = setInterval(() => this.#clock.advance(1), 1)
    const publisher = await this.#connect('publisher', false)
    for (let step = 1; step <= steps; step++) {
      await this.#step(publisher)
      await this.#passTime(publisher, monthMs / steps)
      while (fileBytes.length < measuredAt.length && step >= steps * measuredAt[fileBytes.length]) {
        fileBytes.push(statSync(this.#file).size)
      }
    }
    publisher.destroy()
    await this.#broker.stop()
    clearInterval(crank)
    return { fileBytes, writtenBytes: this.#writtenBytes }
  }

  async #connect(clientId: string, cleanStart: boolean): Promise<RawClient> {
    const [far, near] = createMemoryPair()
    this.#broker.accept(far)
    const client = RawClient.over(near, 5)
    await client.handshake({
      clientId,
      cleanStart,
      keepAliveSeconds: 0,
      properties: [[P.sessionExpiryInterval, sessionSeconds]],
    })
    return client
  }

  async #step(publisher: RawClient): Promise<void> {
    const random = this.#random
    const number = random.below(clientCount)
    const client = await this.#connect(`client-${number}`, random.chance(0.1))
    const takes = random.chance(0.6)
    const filters = [`queue/${number}/#`, `shared/${number % 4}`]
    client.send(subscribe({ packetId: 1, filters: filters.map((filter) => ({ filter, qos: 1 })) }))
    await this.#until(client, 'SUBACK', takes)
    if (random.chance(0.1)) client.send(unsubscribe({ packetId: 2, filters: [filters[1]] }))
    do client.send(pingreq())
    while ((await this.#until(client, 'PINGRESP', takes)) > 0 && takes)
    client.destroy()
    for (let left = burstLength; left > 0; left--) {
      const topic = random.chance(0.3) ? `shared/${random.below(4)}` : `queue/${random.below(clientCount)}/x`
      await this.#publish(publisher, topic, random.below(mostBytes), false)
    }
    for (let left = 4; left > 0; left--) {
      const topic = `retained/${random.below(retainedCount)}`
      await this.#publish(publisher, topic, random.chance(0.4) ? 0 : random.between(1, mostBytes), true)
    }
  }

  /** For the disk, which knows nothing of this clock, hours pass in no time: the broker gets moments to see that it answers. */
  async #passTime(publisher: RawClient, durationMs: number): Promise<void> {
    this.#clock.advance(durationMs)
    while ((await publisher.publish({ topic: 'retained/0', payload: 'x', qos: 1, retain: true })) >= 0x80) {
      await new Promise<void>((resolve) => setImmediate(resolve))
      this.#clock.advance(1000)
    }
  }

  async #publish(publisher: RawClient, topic: string, bytes: number, retain: boolean): Promise<void> {
    this.#writtenBytes += bytes
    const reasonCode = await publisher.publish({ topic, payload: 'x'.repeat(bytes), qos: 1, retain })
    if (reasonCode >= 0x80) throw new Error(`PUBLISH is refused with ${reasonCode}`)
  }

  /** Reads on to a packet, and acknowledges what comes before it if the client takes it. @returns how many came */
  async #until(client: RawClient, type: ServerPacketType, takes: boolean): Promise<number> {
    for (let count = 0; ; count++) {
      const packet = await client.receive()
      if (packet.type === type) return count
      if (packet.type === 'PUBLISH' && takes) client.send(puback({ packetId: packet.packetId! }))
      else if (packet.type !== 'PUBLISH') count--
    }
  }
}

export async function runChurn(options: ChurnOptions): Promise<ChurnReport> {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-churn-'))
  try {
    return await new Churn(folder, options.seed).run(options)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
