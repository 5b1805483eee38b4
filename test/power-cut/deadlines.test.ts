// What waits for a time when the power goes: Sessions that expire and Wills with a delay, seed by seed. Each comes at its time, by
// the wall clock, however long the broker was down, and a Will comes once.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ledger } from '../crash/ledger.ts'
import type { RawClient } from '../kit/raw-client.ts'
import { P, puback } from '../kit/wire.ts'
import { Random } from '../simulation/random.ts'
import { SimulatedBroker } from './simulated-broker.ts'
import { SimulatedTempo } from './simulated-tempo.ts'

/** What is so close to its deadline is not looked at: timers tick, and what is done at a start takes its time. */
const slackMs = 500
/** Longer than the slowest disk needs for what is under way. */
const settleMs = 400

interface Person {
  clientId: string
  expirySeconds: number
  /** null without a Will. */
  delaySeconds: number | null
  parting: 'stays' | 'drops' | 'leaves'
  /** When it went; of those who stay, when the broker was there again. */
  awayAtMs: number
}

class Deadlines {
  readonly #tempo = new SimulatedTempo()
  readonly #random: Random
  readonly #broker: SimulatedBroker
  readonly #people: Person[] = []

  constructor(seed: number) {
    this.#random = new Random(seed)
    const configuration = { durability: 'fsync', limits: { keepAlive: 0 } } as const
    this.#broker = new SimulatedBroker(this.#tempo, configuration, this.#random, new Ledger(this.#tempo.nowMs), {
      ends: 'power-cut',
    })
  }

  async #connect(clientId: string, expirySeconds: number, delaySeconds: number | null = null) {
    const client = await this.#broker.connect('unix', 5)
    const will =
      delaySeconds === null
        ? undefined
        : { topic: `will/${clientId}`, payload: clientId, qos: 1, properties: [[P.willDelayInterval, delaySeconds]] }
    const connack = await client.handshake({
      clientId,
      cleanStart: false,
      keepAliveSeconds: 0,
      properties: [[P.sessionExpiryInterval, expirySeconds]],
      // biome-ignore lint/suspicious/noExplicitAny: a pair of numbers
      will: will as any,
    })
    return { client, isPresent: connack.sessionPresent }
  }

  async run(): Promise<void> {
    const random = this.#random
    try {
      await this.#broker.start()
      const { client: heir } = await this.#connect('heir', 1_000_000)
      await heir.subscribe(['will/#'], { qos: 1 })
      heir.destroy()
      for (let index = 0; index < 12; index++) await this.#send(`person-${index}`)
      // Also longer than some Sessions last: the time of those who are connected does not run.
      await this.#tempo.pause(random.pick([settleMs, 7000]))
      await this.#cut(random.pick([0, 1500, 4000]))
      for (const person of this.#people) if (person.parting === 'stays') person.awayAtMs = this.#tempo.nowMs()
      await this.#tempo.pause(random.pick([0, 1000, 4000, 12_000]))
      const first = await this.#inherit()
      this.#checkWills(first)
      await this.#checkSessions()
      await this.#tempo.pause(settleMs)
      await this.#cut(0)
      const second = await this.#inherit()
      const twice = second.filter((name) => first.includes(name))
      assert.deepEqual(twice, [], 'a Will comes twice')
    } finally {
      this.#tempo.end()
    }
  }

  async #send(clientId: string): Promise<void> {
    const random = this.#random
    const expirySeconds = random.pick([2, 5, 20, 100])
    const delaySeconds = random.pick([null, 0, 1, 3, 30])
    const parting = random.pick(['stays', 'drops', 'leaves'] as const)
    const { client } = await this.#connect(clientId, expirySeconds, delaySeconds)
    await this.#tempo.pause(random.below(200))
    if (parting === 'drops') client.destroy()
    if (parting === 'leaves') await client.disconnect()
    this.#people.push({ clientId, expirySeconds, delaySeconds, parting, awayAtMs: this.#tempo.nowMs() })
  }

  async #cut(downMs: number): Promise<void> {
    this.#broker.end('SIGKILL')
    await this.#broker.ended()
    await this.#tempo.pause(downMs)
    await this.#broker.start()
  }

  /** Payloads of the Wills that have come. */
  async #inherit(): Promise<string[]> {
    const { client, isPresent } = await this.#connect('heir', 1_000_000)
    assert.equal(isPresent, true)
    await client.fence()
    const payloads = await this.#takeAll(client)
    await this.#tempo.pause(settleMs)
    client.destroy()
    return payloads
  }

  async #takeAll(client: RawClient): Promise<string[]> {
    const payloads: string[] = []
    while (client.unread.length > 0) {
      const packet = await client.expect('PUBLISH')
      payloads.push(packet.payload.toString())
      client.send(puback({ packetId: packet.packetId! }))
    }
    return payloads
  }

  #checkWills(came: readonly string[]): void {
    const nowMs = this.#tempo.nowMs()
    for (const { clientId, expirySeconds, delaySeconds, parting, awayAtMs } of this.#people) {
      const count = came.filter((name) => name === clientId).length
      const told = `${clientId}, which ${parting} at ${awayAtMs} with delay ${delaySeconds}, expiry ${expirySeconds}, now ${nowMs}`
      if (delaySeconds === null || parting === 'leaves') {
        assert.equal(count, 0, told)
        continue
      }
      const dueAtMs = awayAtMs + 1000 * Math.min(delaySeconds, expirySeconds)
      if (Math.abs(dueAtMs - nowMs) > slackMs) assert.equal(count, dueAtMs < nowMs ? 1 : 0, told)
    }
  }

  async #checkSessions(): Promise<void> {
    for (const { clientId, expirySeconds, parting, awayAtMs } of this.#people) {
      const leftMs = awayAtMs + 1000 * expirySeconds - this.#tempo.nowMs()
      const { isPresent } = await this.#connect(clientId, expirySeconds)
      const told = `${clientId}, which ${parting} at ${awayAtMs} with expiry ${expirySeconds}, has ${leftMs} ms left`
      if (Math.abs(leftMs) > slackMs) assert.equal(isPresent, leftMs > 0, told)
    }
  }
}

for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
  test(`Sessions expire and Wills come at their time after a power cut, seed ${seed}`, async () => {
    await new Deadlines(seed).run()
  })
}
