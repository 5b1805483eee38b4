// Lives of the real broker on a disk that fails for a while under load, each ended by a power cut: nothing that was acknowledged may
// be missing, nothing that was refused may come, and the end of a fault is found without a restart. Linux with a C compiler.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ledger } from '../crash/ledger.ts'
import { realTempo } from '../crash/tempo.ts'
import { DEADLINE_MS, type RawClient } from '../kit/raw-client.ts'
import { type Level, P, type Property, puback, pubcomp, publish, pubrec, pubrel } from '../kit/wire.ts'
import { Random } from '../simulation/random.ts'
import { RecordedBroker } from './recorded-broker.ts'

export interface FailingRound {
  seed: number
  lives: number
  /** Words of write-recorder.c; one of them is chosen for each life. */
  faults: readonly string[]
}

export interface FailingReport {
  acknowledged: number
  refused: number
  /** The library of the store may end the process when a write is refused that was not asked for: see src/storage/write-probe.ts. */
  crashes: number
  /** For people. */
  violations: string[]
}

const publisherLevels: readonly Level[] = [5, 5, 4]
const absentLevels: readonly Level[] = [5, 4]
const windowLength = 8
const storiesTold = 5

/** What one publisher has sent, by number: all its messages have one topic and one QoS. */
class Story {
  readonly topic: string
  readonly qos: 1 | 2
  sent = 0
  readonly acknowledged = new Set<number>()
  readonly refused = new Set<number>()

  constructor(index: number) {
    this.topic = `kept/${index}`
    this.qos = index % 2 === 0 ? 1 : 2
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

class Round {
  readonly #random: Random
  readonly #broker: RecordedBroker
  readonly #stories = publisherLevels.map((_, index) => new Story(index))
  readonly #violations: string[] = []
  readonly #options: FailingRound
  #crashes = 0
  /** Messages that were published to be the last of those that wait. */
  #lastCount = 0

  constructor(folder: string, options: FailingRound) {
    this.#options = options
    this.#random = new Random(options.seed)
    const limits = { queueMessages: 1_000_000, queueBytes: '256MiB', totalQueueBytes: '1GiB' }
    const surroundings = { tempo: realTempo, random: this.#random, ledger: new Ledger(realTempo.nowMs) }
    const syncUs = this.#random.pick([0, 1000])
    this.#broker = new RecordedBroker(folder, { durability: 'fsync', limits }, surroundings, { syncUs })
  }

  async run(): Promise<FailingReport> {
    const broker = this.#broker
    try {
      await broker.start()
      for (const level of absentLevels) await this.#collect(level)
      for (let life = 0; life < this.#options.lives; life++) {
        await this.#live(this.#random.pick(this.#options.faults))
        await broker.start()
        if (broker.wasDamaged) this.#violations.push(`the store was damaged:\n${broker.output}`)
      }
      for (const level of absentLevels) this.#check(level, await this.#collect(level))
    } finally {
      broker.end('SIGKILL')
      await broker.ended()
    }
    const sum = (of: (story: Story) => number) => this.#stories.reduce((total, story) => total + of(story), 0)
    return {
      acknowledged: sum(({ acknowledged }) => acknowledged.size),
      refused: sum(({ refused }) => refused.size),
      crashes: this.#crashes,
      violations: this.#violations,
    }
  }

  /** Load, a fault, its end, and a power cut at some moment. */
  async #live(words: string): Promise<void> {
    const random = this.#random
    const broker = this.#broker
    const { faultFile } = broker
    const work = this.#stories.map((story, index) => this.#publish(story, publisherLevels[index]))
    await pause(random.between(30, 200))
    writeFileSync(`${faultFile}.new`, words)
    renameSync(`${faultFile}.new`, faultFile)
    const isCutMeanwhile = random.chance(0.25)
    if (!words.includes('once')) await pause(random.between(200, 900))
    if (!isCutMeanwhile) {
      if (words.includes('once')) await this.#until(() => !existsSync(faultFile), 'nothing was written')
      rmSync(faultFile, { force: true })
      const before = this.#stories.map(({ acknowledged }) => acknowledged.size)
      const isBack = () => this.#stories.every(({ acknowledged }, index) => acknowledged.size > before[index])
      await this.#until(isBack, 'it does not recover')
      await pause(random.below(60))
    }
    broker.end('SIGKILL')
    await broker.ended()
    rmSync(faultFile, { force: true })
    await Promise.all(work)
  }

  async #until(isSo: () => boolean, otherwise: string): Promise<void> {
    const endAtMs = performance.now() + DEADLINE_MS
    while (!isSo()) {
      if (this.#hasCrashed()) {
        this.#crashes++
        return
      }
      if (performance.now() > endAtMs) {
        this.#violations.push(`${otherwise}:\n${this.#broker.output}`)
        return
      }
      await pause(2)
    }
  }

  #hasCrashed(): boolean {
    if (!this.#broker.output.includes('Write error: ')) return false
    try {
      process.kill(this.#broker.pid, 0)
      return false
    } catch {
      return true
    }
  }

  /** Until the broker ends. What is not answered when a connection ends may be there or not. */
  async #publish(story: Story, level: Level): Promise<void> {
    const { life } = this.#broker
    while (this.#broker.isUp && this.#broker.life === life) {
      let client: RawClient | null = null
      try {
        client = await this.#broker.connect('unix', level)
        await client.handshake({ cleanStart: true })
        await this.#pour(client, story, level)
      } catch {
        await pause(10)
      } finally {
        client?.destroy()
      }
    }
  }

  async #pour(client: RawClient, story: Story, level: Level): Promise<never> {
    const { topic, qos } = story
    const open = new Map<number, number>()
    for (;;) {
      while (open.size < windowLength) {
        const packetId = client.nextPacketId()
        open.set(packetId, ++story.sent)
        const payload = `${story.sent} ${'x'.repeat(this.#random.chance(0.05) ? 9000 : 20)}`
        client.send(publish({ level, topic, qos, packetId, payload }))
      }
      const packet = await client.receive()
      if (packet.type !== 'PUBACK' && packet.type !== 'PUBREC') continue
      const { packetId, reasonCode } = packet
      const number = open.get(packetId)!
      open.delete(packetId)
      if (reasonCode < 0x80) story.acknowledged.add(number)
      else if (reasonCode === 0x97) {
        story.refused.add(number)
        await pause(10)
      } else this.#violations.push(`${topic} ${number} is answered with ${reasonCode}`)
      if (packet.type === 'PUBREC' && reasonCode < 0x80) client.send(pubrel({ level, packetId }))
      await pause(1)
    }
  }

  /** What waits for a kept Session that gets everything, in its order; makes it if it is not there. */
  async #collect(level: Level): Promise<string[]> {
    const client = await this.#broker.connect('unix', level)
    const properties: Property[] = level === 5 ? [[P.sessionExpiryInterval, 3600]] : []
    const { sessionPresent } = await client.handshake({ clientId: `absent-${level}`, cleanStart: false, properties })
    if (!sessionPresent) await client.subscribe(['kept/#'], { qos: 2 })
    const probe = await this.#broker.connect('unix', 5)
    await probe.handshake()
    assert.equal(await probe.publish({ topic: 'kept/last', payload: `${++this.#lastCount}`, qos: 2 }), 0)
    probe.destroy()
    const found: string[] = []
    const last = `kept/last ${this.#lastCount}`
    let lastPacketId: number | null = null
    for (let isLast = false; !isLast; ) {
      const packet = await client.receive()
      if (packet.type === 'PUBREL') {
        client.send(pubcomp({ level, packetId: packet.packetId }))
        isLast = packet.packetId === lastPacketId
      }
      if (packet.type === 'PUBLISH') {
        found.push(`${packet.topic} ${packet.payload.toString().split(' ')[0]}`)
        if (found.at(-1) === last) lastPacketId = packet.packetId
        client.send((packet.qos === 1 ? puback : pubrec)({ level, packetId: packet.packetId! }))
      }
    }
    await client.disconnect()
    return found
  }

  #check(level: Level, found: readonly string[]): void {
    for (const { topic, acknowledged, refused } of this.#stories) {
      const numbers = found.filter((text) => text.startsWith(`${topic} `)).map((text) => Number(text.split(' ')[1]))
      const there = new Set(numbers)
      const tell = (what: string, list: readonly number[]) => {
        if (list.length === 0) return
        const some = list.slice(0, storiesTold).join(', ')
        this.#violations.push(`${list.length} of ${topic} are ${what} for MQTT ${level}: ${some}`)
      }
      tell(
        'lost',
        [...acknowledged].filter((number) => !there.has(number)),
      )
      tell(
        'there although they were refused',
        numbers.filter((number) => refused.has(number)),
      )
      tell(
        'out of order or there twice',
        numbers.filter((number, index) => index > 0 && number <= numbers[index - 1]),
      )
    }
  }
}

export async function runFailingRound(options: FailingRound): Promise<FailingReport> {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-failing-'))
  try {
    return await new Round(folder, options).run()
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
