// One round of the crash harness: a real broker on a fresh data directory under the load of publishers and subscribers that
// keep their Sessions, killed at moments that the seed chooses, started again, and asked for all that it has acknowledged.
// Knows the broker only as a process with sockets.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Level, pingreq, subscribe } from '../kit/wire.ts'
import type { Configuration } from '../process/daemon.ts'
import { Random } from '../simulation/random.ts'
import type { CrashableBroker, Transport } from './crashable-broker.ts'
import { CrashingBroker } from './crashing-broker.ts'
import { Ledger, type Message, type Violation } from './ledger.ts'
import type { PersistentClient, Place } from './persistent-client.ts'
import { Publisher } from './publisher.ts'
import { type Manner, Subscriber } from './subscriber.ts'
import { realTempo, type Tempo } from './tempo.ts'

export type Durability = 'memory' | 'os' | 'fsync'

/** Where a round takes place, and what its ends are. */
export interface World {
  tempo: Tempo
  /** How many times sooner the ends come: where an end costs nothing, many short lives find more than few long ones. */
  haste?: number
  broker(configuration: Configuration, random: Random, ledger: Ledger): CrashableBroker
}

export interface RoundOptions {
  seed: number
  durability: Durability
  /** Real processes that are killed if left out. */
  world?: (folder: string) => World
  /** Kills in this round; chosen by the seed if left out. */
  kills?: number
  /** Nothing came for so long: what is missing will not come any more. Short where a loss is expected. */
  quietMs?: number
}

export interface RoundReport {
  seed: number
  durability: Durability
  kills: number
  stops: number
  sent: number
  acknowledged: number
  acknowledgements: number
  deliveries: number
  redeliveries: number
  redeliveriesWithoutDup: number
  sessions: number
  subscriptions: number
  retainedChecks: number
  allowedLosses: number
  /** From the start of a process on what a killed one has left until it was ready. */
  recoveryMs: number[]
  durationMs: number
  violations: Violation[]
}

/** When a process ends: some time after its start, or at an event, counted from the moment it was ready. */
type Trigger =
  | { at: 'start'; afterMs: number }
  | { at: 'ready'; afterMs: number }
  | { at: 'sent' | 'acknowledged'; count: number; what: string; afterMs: number }

interface End {
  signal: 'SIGKILL' | 'SIGTERM'
  trigger: Trigger
}

const TICK_MS = 4
/** An event that does not come, as when all is refused, must not keep a process alive. */
const LIFE_LIMIT_MS = 3000
const DRAIN_LIMIT_MS = 120_000
/**
 * How long nothing comes before what is missing counts as gone: long, because a machine, and its disk more so, may stand
 * still. Where something may be lost, and waiting is the rule, less.
 */
const QUIET_MS = 20_000
const QUIET_WITH_LEAVE_MS = 1500
/** A machine that stood still takes up no more than this of any wait. */
const STEP_LIMIT_MS = 100
/** Messages of a round: the harness remembers the story of each. */
const MESSAGE_LIMIT = 6000

function chooseTrigger(random: Random, haste: number): Trigger {
  const most = (count: number): number => Math.ceil(count / haste)
  const afterMs = random.chance(0.5) ? 0 : random.below(4)
  if (random.chance(0.15)) return { at: 'start', afterMs: random.below(450) }
  if (random.chance(0.2)) return { at: 'ready', afterMs: random.below(most(40)) }
  if (random.chance(0.2)) return { at: 'ready', afterMs: random.between(most(40), most(400)) }
  if (random.chance(0.3)) return { at: 'sent', count: random.between(1, most(400)), what: '', afterMs }
  const what = random.pick(['', '', '', 'PUBACK', 'PUBREC', 'PUBCOMP', 'SUBACK', 'UNSUBACK', 'CONNACK'])
  const count = random.between(1, what === '' || what.startsWith('PUB') ? most(300) : 10)
  return { at: 'acknowledged', count, what, afterMs }
}

function chooseEnds(random: Random, kills: number, haste: number): End[] {
  return Array.from({ length: kills }, (): End => {
    const signal = random.chance(0.1) ? 'SIGTERM' : 'SIGKILL'
    return { signal, trigger: chooseTrigger(random, haste) }
  })
}

class Round {
  readonly #random: Random
  readonly #givenQuietMs: number | null
  readonly #tempo: Tempo
  readonly #haste: number
  readonly #ledger: Ledger
  readonly #broker: CrashableBroker
  readonly #place: Place
  readonly #publishers: Publisher[] = []
  readonly #subscribers: Subscriber[] = []
  /** Those that take part in the coming and going. */
  readonly #restless: PersistentClient[] = []
  readonly #absent: Subscriber[] = []
  readonly #roamers: Subscriber[] = []
  #bornCount = 0

  constructor(world: World, { seed, durability, quietMs }: RoundOptions) {
    this.#givenQuietMs = quietMs ?? null
    this.#tempo = world.tempo
    this.#haste = world.haste ?? 1
    this.#random = new Random(seed)
    this.#ledger = new Ledger(world.tempo.nowMs)
    // Nothing may be dropped for want of room: that would be no broken promise, but would look like one.
    const limits = { queueMessages: 1_000_000, queueBytes: '256MiB', totalQueueBytes: '1GiB' }
    this.#broker = world.broker({ durability, limits }, this.#random, this.#ledger)
    this.#place = { broker: this.#broker, ledger: this.#ledger }
    this.#populate()
  }

  get #quietMs(): number {
    return this.#givenQuietMs ?? (this.#ledger.hasLeave ? QUIET_WITH_LEAVE_MS : QUIET_MS)
  }

  #anywhere(): { level: Level; transport: Transport } {
    return { level: this.#random.pick([4, 5] as const), transport: this.#random.pick(['tcp', 'unix'] as const) }
  }

  #subscriber(
    clientId: string,
    manner: Manner,
    wanted: [string, number][],
    kind: { level?: Level; transport?: Transport; receiveMaximum?: number } = {},
  ): Subscriber {
    const account = this.#ledger.account(clientId)
    const subscriber = new Subscriber(this.#place, { clientId, ...this.#anywhere(), ...kind }, account, manner, wanted)
    this.#subscribers.push(subscriber)
    return subscriber
  }

  #populate(): void {
    const random = this.#random
    for (const [index, place] of [
      { level: 5, transport: 'tcp' } as const,
      { level: 4, transport: 'unix' } as const,
      { level: 5, transport: 'unix' } as const,
      { level: 4, transport: 'tcp' } as const,
    ].entries()) {
      const kind = { clientId: `pub-${index}`, ...place }
      const holdsRelease = () => random.chance(0.15)
      this.#publishers.push(new Publisher(this.#place, kind, random.between(4, 16), holdsRelease))
    }
    this.#restless.push(random.pick(this.#publishers))
    this.#subscriber('online-1', 'prompt', [['q/#', 1]], { level: 4 })
    this.#subscriber('online-2', 'prompt', [['q/#', 2]], { level: 5 })
    this.#subscriber('retained', 'prompt', [['r/#', 2]])
    this.#subscriber('late', 'late', [['q/+/a', 2]])
    this.#subscriber('withholding', 'withholding', [['q/#', 2]])
    const receiveMaximum = random.between(1, 4)
    this.#subscriber('narrow', random.pick(['prompt', 'late']), [['q/#', 2]], { level: 5, receiveMaximum })
    this.#restless.push(this.#subscriber('restless-1', 'prompt', [['q/#', 2]], { level: 4 }))
    this.#restless.push(this.#subscriber('restless-2', 'late', [['q/#', 2]], { level: 5 }))
    this.#absent.push(
      this.#subscriber('absent-1', 'prompt', [['q/#', 2]]),
      this.#subscriber('absent-2', 'late', [['q/#', 1]]),
    )
    for (const level of [4, 5] as const) {
      this.#roamers.push(this.#subscriber(`roaming-${level}`, 'prompt', [['m/0/#', 2]], { level }))
    }
    const group = this.#ledger.account('group', true)
    for (let index = 0; index < 3; index++) {
      const kind = { clientId: `member-${index}`, ...this.#anywhere(), level: 5 as const }
      const wanted: [string, number][] = [['q/+/b', 2]]
      const member = new Subscriber(this.#place, kind, group, random.pick(['prompt', 'late']), wanted, 'group')
      this.#subscribers.push(member)
      if (index === 2) this.#restless.push(member)
    }
    for (const client of [...this.#publishers, ...this.#subscribers]) client.comeOnline()
  }

  get #clients(): PersistentClient[] {
    return [...this.#publishers, ...this.#subscribers]
  }

  async run(kills: number): Promise<{ stops: number }> {
    const ends = chooseEnds(this.#random, kills, this.#haste)
    for (const end of ends) await this.#live(end)
    await this.#start()
    // The last process works for a while, and is not killed.
    const endStirring = this.#tempo.every(TICK_MS, () => this.#stir())
    await this.#tempo.pause(this.#random.between(20, 200))
    // A slow machine gets the time that it needs to show something.
    await this.#until(() => this.#ledger.figures.acknowledgements >= 200)
    endStirring()
    await this.#drain()
    return { stops: ends.filter(({ signal }) => signal === 'SIGTERM').length }
  }

  recoveryMs(): number[] {
    return this.#broker.starts.filter(({ life }) => life > 1).map(({ readyAfterMs }) => readyAfterMs)
  }

  get ledger(): Ledger {
    return this.#ledger
  }

  /** @returns whether the broker is there and clients were let in */
  async #start(): Promise<boolean> {
    this.#ledger.happened(`start of life ${this.#broker.life + 1}`)
    if (!(await this.#broker.start())) return false
    this.#ledger.happened(`life ${this.#broker.life} is ready`)
    if (this.#broker.wasDamaged) this.#ledger.violate('damaged', `the store was damaged:\n${this.#broker.output}`)
    await this.#checkRetained()
    if (!this.#broker.isUp) return false
    this.#broker.open.open()
    return true
  }

  async #live({ signal, trigger }: End): Promise<void> {
    const { afterMs } = trigger
    const callsOff: (() => void)[] = []
    const end = (): void => {
      this.#ledger.happened(`${signal} ${JSON.stringify(trigger)}`)
      this.#broker.end(signal)
    }
    const endIn = (ms: number): void => {
      if (ms === 0) end()
      else callsOff.push(this.#tempo.after(ms, end))
    }
    if (trigger.at === 'start') endIn(afterMs + 1)
    const isReady = await this.#start()
    if (trigger.at === 'ready') endIn(afterMs)
    else if (trigger.at !== 'start') {
      callsOff.push(this.#tempo.after(LIFE_LIMIT_MS, end))
      let left = trigger.count
      const count = (): void => {
        if (--left === 0) endIn(afterMs)
      }
      if (trigger.at === 'sent') this.#ledger.onSent = count
      else this.#ledger.onAcknowledgement = (what) => what.startsWith(trigger.what) && count()
    }
    callsOff.push(this.#tempo.every(TICK_MS, () => isReady && this.#stir()))
    await this.#broker.ended()
    for (const callOff of callsOff) callOff()
    this.#ledger.onSent = () => {}
    this.#ledger.onAcknowledgement = () => {}
    if (this.#broker.isUp) throw new Error(`the broker ended on its own:\n${this.#broker.output}`)
  }

  /** What happens in one tick of a life. */
  #stir(): void {
    const random = this.#random
    for (const publisher of this.#publishers) {
      if (random.chance(0.4)) publisher.releaseHeld()
      for (let count = random.below(5); count > 0 && publisher.hasRoom; count--) this.#publish(publisher)
    }
    for (const subscriber of this.#subscribers) {
      if (subscriber.manner === 'late' && random.chance(0.3)) subscriber.acknowledge(random.between(1, 20))
    }
    if (random.chance(0.04)) random.pick(this.#restless).breakConnection(random.chance(0.3))
    if (random.chance(0.03)) {
      const absent = random.pick(this.#absent)
      if (absent.isSettled) absent.goOffline(random.chance(0.5))
      else if (random.chance(0.2)) absent.comeOnline()
    }
    if (random.chance(0.1)) {
      random.pick(this.#roamers).want(`m/${random.below(4)}/#`, random.chance(0.6) ? random.between(1, 2) : null)
    }
    if (random.chance(0.01)) this.#roamers[1].beginAnew()
    if (random.chance(0.02) && this.#bornCount < 12) this.#bear()
  }

  /** A Session that is made under load; its client may go at once. */
  #bear(): void {
    const born = this.#subscriber(`born-${this.#bornCount++}`, 'prompt', [['q/+/a', this.#random.between(1, 2)]])
    born.comeOnline()
    if (this.#random.chance(0.7)) this.#absent.push(born)
  }

  #publish(publisher: Publisher): void {
    if (this.#ledger.messages.length >= MESSAGE_LIMIT) return
    const random = this.#random
    const paddingBytes = random.chance(0.02)
      ? random.below(40_000)
      : random.chance(0.2)
        ? random.below(2000)
        : random.below(40)
    const qos = random.pick([1, 2] as const)
    const kind = random.below(10)
    if (kind < 6) {
      publisher.publish({
        topic: `q/${publisher.clientId}/${random.pick(['a', 'b'])}`,
        qos,
        retain: false,
        paddingBytes,
      })
    } else if (kind < 8) {
      publisher.publish({ topic: `m/${random.below(4)}/${publisher.clientId}`, qos, retain: false, paddingBytes })
    } else {
      // One QoS per retained topic: between two the order is open.
      const key = random.below(4)
      const topic = `r/${publisher.clientId}/${key}`
      publisher.publish({ topic, qos: key < 2 ? 1 : 2, retain: true, paddingBytes, isDeletion: random.chance(0.15) })
    }
  }

  /** What a new subscriber finds retained, against what was acknowledged. */
  async #checkRetained(): Promise<void> {
    if (this.#ledger.messages.length === 0) return
    const values = new Map<string, Message>()
    let wrong = new Map<string, string>()
    try {
      const client = await this.#broker.connect('unix', 5)
      try {
        await client.handshake({ clientId: 'inspector' })
        client.send(subscribe({ packetId: 1, filters: [{ filter: 'r/#', qos: 0 }] }), pingreq())
        const endAtMs = this.#tempo.nowMs() + this.#quietMs
        for (;;) {
          const packet = await client.receive()
          if (packet.type === 'PUBLISH') {
            const message = this.#ledger.find(packet.topic, packet.payload)
            if (message === null) this.#ledger.violate('retained', `${packet.topic} holds what nobody has sent`)
            else values.set(packet.topic, message)
          } else if (packet.type === 'PINGRESP') {
            // Retained messages may come after SUBACK: only what is still missing much later is gone.
            wrong = this.#ledger.wrongRetained(values)
            if (wrong.size === 0 || this.#tempo.nowMs() > endAtMs) break
            await this.#tempo.pause(20)
            client.send(pingreq())
          }
        }
      } finally {
        client.destroy()
      }
    } catch (error) {
      if (!this.#broker.isUp) return
      throw error
    }
    this.#ledger.figures.retainedChecks++
    for (const [topic, text] of wrong) {
      this.#ledger.violate('retained', text, this.#ledger.lastPromisedRetained(topic))
    }
  }

  async #drain(): Promise<void> {
    for (const subscriber of this.#subscribers) {
      subscriber.manner = 'prompt'
      subscriber.comeOnline()
    }
    await this.#until(() => {
      for (const publisher of this.#publishers) publisher.releaseHeld()
      for (const subscriber of this.#subscribers) subscriber.acknowledge()
      return (
        this.#publishers.every((one) => one.isOnline && one.isIdle) && this.#subscribers.every((one) => one.isSettled)
      )
    })
    const [publisher] = this.#publishers
    const topics = ['q/probe/a', 'q/probe/b', 'q/probe/c', ...[0, 1, 2, 3].map((at) => `m/${at}/probe`)]
    for (const topic of topics) publisher.publish({ topic, qos: 1, retain: false, paddingBytes: 0, isProbe: true })
    await this.#until(() => publisher.isIdle && this.#ledger.isComplete())
    // What comes now is a double: all that was on its way stands before the answer to a ping.
    await Promise.all(this.#subscribers.map((subscriber) => subscriber.settleByPing()))
    this.#ledger.settle()
    await this.#checkRetained()
  }

  /** Until it is so, or nothing moves any more. */
  async #until(isSo: () => boolean): Promise<void> {
    const { figures } = this.#ledger
    let lastMs = this.#tempo.nowMs()
    let waitedMs = 0
    let quietMs = 0
    let before = -1
    while (!isSo()) {
      const nowMs = this.#tempo.nowMs()
      const stepMs = Math.min(nowMs - lastMs, STEP_LIMIT_MS)
      const count = figures.deliveries + figures.acknowledgements
      lastMs = nowMs
      waitedMs += stepMs
      quietMs = count === before ? quietMs + stepMs : 0
      before = count
      if (waitedMs > DRAIN_LIMIT_MS || quietMs > this.#quietMs) return
      await this.#tempo.pause(TICK_MS)
    }
  }

  async leave(): Promise<void> {
    this.#broker.end('SIGKILL')
    await this.#broker.ended()
    await Promise.all(this.#clients.map((client) => client.leave()))
  }
}

export async function runRound(options: RoundOptions): Promise<RoundReport> {
  const beganAtMs = performance.now()
  const folder = mkdtempSync(join(tmpdir(), 'atoll-crash-'))
  const inProcesses = (): World => ({
    tempo: realTempo,
    broker: (configuration) => new CrashingBroker(folder, configuration),
  })
  const round = new Round((options.world ?? inProcesses)(folder), options)
  const kills = options.kills ?? 1 + (options.seed % 3)
  try {
    const { stops } = await round.run(kills)
    const { messages, figures, violations } = round.ledger
    const acknowledged = messages.filter(({ isPromised }) => isPromised).length
    return {
      seed: options.seed,
      durability: options.durability,
      kills: kills - stops,
      stops,
      sent: messages.length,
      acknowledged,
      ...figures,
      recoveryMs: round.recoveryMs(),
      durationMs: performance.now() - beganAtMs,
      violations,
    }
  } finally {
    await round.leave()
    rmSync(folder, { recursive: true, force: true })
  }
}
