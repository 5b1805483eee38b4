// One run: a whole broker with a clock cranked by hand, several clients, random doings from a seed, and the model that says
// what has to come of them. Whatever goes wrong throws.
import assert from 'node:assert/strict'
import { type AtollBroker, createBroker } from 'atollmq'
import { createMemoryPair, ManualClock } from 'atollmq/testing'
import { pingreq, type Qos, type WillOptions } from '../kit/wire.ts'
import { Model, type ModelMessage, type ModelSubscription, type ModelWill } from './model.ts'
import { Random } from './random.ts'
import { type ConnectChoice, type FilterChoice, type PublishChoice, SimulatedClient } from './simulated-client.ts'

const topics = ['a', 'a/b', 'a/b/c', 'b', 'b/b', '/a', 'a/', '$x/a', 'ünï/ç']
const filters = [
  'a',
  'a/b',
  'a/b/c',
  '+',
  '+/b',
  'a/+',
  '#',
  'a/#',
  '+/+',
  'b/#',
  '/+',
  '+/',
  '$x/#',
  '$x/a',
  '+/+/#',
  'ünï/+',
]
const shareNames = ['g', 'h']
/** Nothing of the broker is later than two ticks of its wheel. */
const lateMs = 250
const sessionExpiryLimitSeconds = 100

type Options = Parameters<typeof createBroker>[0]

export class Simulation {
  readonly #random: Random
  readonly #clock = new ManualClock()
  readonly #broker: AtollBroker
  readonly #clients: SimulatedClient[] = []
  readonly #model: Model
  readonly #published = new Map<string, number>()
  readonly #inflightLimit: number
  /** Told when a run has failed. */
  readonly journal: string[] = []

  constructor(seed: number) {
    const random = new Random(seed)
    this.#random = random
    this.#inflightLimit = random.pick([1, 2, 5, 50])
    const options: Options = {
      listeners: {},
      limits: {
        inflight: this.#inflightLimit,
        outputBytes: random.pick([4096, 65_536]),
        queueMessages: 100_000,
        topicAliasMaximum: 3,
        sessionExpiry: sessionExpiryLimitSeconds,
        stallTimeout: 86_400,
        keepAlive: 0,
      },
      features: {
        sysInterval: 0,
        shareStrategy: random.pick(['round-robin', 'random', 'sticky', 'least-inflight'] as const),
      },
    }
    this.#broker = createBroker(options, { clock: this.#clock, random: random.next })
    const find = (clientId: string) => this.#clients.find((client) => client.clientId === clientId)
    this.#model = new Model(
      () => this.#clock.monotonicMs(),
      (clientId) => find(clientId)?.isReading === true,
    )
    const count = random.between(2, 6)
    for (let index = 0; index < count; index++) {
      const client = new SimulatedClient(
        `client-${index}`,
        random,
        this.#inflightLimit,
        (who, arrival) => this.#model.arrived(who.clientId, arrival),
        (who, keys) => {
          for (const key of keys) this.#model.unsubscribed(who.clientId, key)
        },
      )
      client.cutsChunks = random.chance(0.2)
      this.#clients.push(client)
    }
  }

  async run(steps: number): Promise<void> {
    await this.#broker.start()
    try {
      for (let step = 0; step < steps; step++) {
        const { droppedOutputFull } = this.#broker.counters
        await this.#step()
        await this.#settle()
        // A burst may fill the way out for a moment also of a client that reads.
        this.#model.checkQos0(this.#broker.counters.droppedOutputFull === droppedOutputFull)
      }
      await this.#drain()
      await this.#checkRetained()
      await this.#leaveNothing()
    } finally {
      for (const client of this.#clients) if (client.isConnected) client.cut()
      await this.#turns(3)
      await this.#broker.stop()
    }
  }

  // ---- time and quiet

  async #turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
  }

  /** Goes on until nobody has anything to say any more. */
  async #settle(): Promise<void> {
    const activity = () => {
      const { bytesReceived, bytesSent } = this.#broker.counters
      return this.#clients.reduce((sum, { receivedBytes }) => sum + receivedBytes, bytesReceived + bytesSent)
    }
    let last = activity()
    for (let quiet = 0; quiet < 3; ) {
      await this.#turns(1)
      const now = activity()
      quiet = now === last && this.#clients.every(({ isIdle }) => isIdle) ? quiet + 1 : 0
      last = now
      for (const { failure } of this.#clients) if (failure !== null) throw failure
    }
  }

  #advance(durationMs: number): void {
    // A pipe in memory may hand over in the middle of a tick what a network never does: the model is to know the time first.
    const readers = this.#clients.filter(({ isReading }) => isReading)
    for (const client of readers) client.hold()
    this.#clock.advance(durationMs)
    // Never look while something is due and may or may not have happened yet.
    while (
      this.#model.deadlines().some((atMs) => Math.abs(this.#clock.monotonicMs() - atMs - lateMs / 2) <= lateMs / 2)
    ) {
      this.#clock.advance(lateMs)
    }
    this.#model.timePassed()
    for (const client of readers) client.letGo()
  }

  // ---- steps

  #say(text: string): void {
    this.journal.push(`${this.#clock.monotonicMs()} ms: ${text}`)
  }

  async #step(): Promise<void> {
    const random = this.#random
    const client = random.pick(this.#clients)
    if (random.chance(0.08)) return this.#passTime()
    if (!client.isConnected || random.chance(0.04)) return this.#connect(client, this.#chooseConnect(client))
    if (client.isPaused) return this.#stepOfPaused(client)
    const steps: [number, () => Promise<void>][] = [
      [25, () => this.#publish(client)],
      [14, () => this.#subscribe(client)],
      [5, () => this.#unsubscribe(client)],
      [12, () => this.#acknowledge(client)],
      [5, () => this.#release(client)],
      [4, () => this.#storm()],
      [5, () => this.#leave(client)],
      [4, () => this.#cut(client)],
      [3, () => this.#cutInPublish(client)],
      [4, async () => this.#pause(client)],
      [3, () => this.#repeatQos2(client)],
      [2, () => this.#stray(client)],
      [2, () => this.#takeoverStorm(client)],
      [1, () => client.send(pingreq())],
    ]
    let left = random.below(steps.reduce((sum, [weight]) => sum + weight, 0))
    for (const [weight, step] of steps) {
      left -= weight
      if (left < 0) return step()
    }
  }

  async #passTime(): Promise<void> {
    const random = this.#random
    const next = this.#model.deadlines().find((atMs) => atMs > this.#clock.monotonicMs() + 1)
    let durationMs = random.between(1, 30) * 1000
    // The last millisecond before something is due.
    if (next !== undefined && random.chance(0.4)) durationMs = next - this.#clock.monotonicMs() - 1
    if (random.chance(0.03)) durationMs = 3 * 3_600_000
    this.#say(`${durationMs} ms pass`)
    this.#advance(durationMs)
  }

  #chooseConnect(client: SimulatedClient): ConnectChoice {
    const random = this.#random
    const level = random.chance(0.6) ? 5 : 4
    const isClean = random.chance(0.35)
    const longest = sessionExpiryLimitSeconds
    const expirySeconds = level === 5 ? random.pick([0, 3, 20, longest, 0xffff_ffff]) : isClean ? 0 : 0xffff_ffff
    const will = random.chance(0.35) ? this.#chooseWill(client) : null
    const receiveMaximum = random.pick([1, 2, 3, 10, 65_535])
    return { level, isClean, expirySeconds, will, receiveMaximum, topicAliasMaximum: random.pick([0, 0, 1, 3]) }
  }

  #chooseWill(client: SimulatedClient): WillOptions {
    const random = this.#random
    const payload = this.#nextPayload(client.clientId)
    const topic = random.chance(0.5) ? `a/${client.clientId}` : random.pick(topics)
    // Several clients may go in the same tick, so only a topic of its own can be retained.
    const retain = topic.endsWith(client.clientId) && random.chance(0.4)
    return { topic, payload, qos: random.below(3), retain }
  }

  async #connect(client: SimulatedClient, choice: ConnectChoice, streams = 1): Promise<void> {
    const random = this.#random
    const hasTakenOver = client.isConnected
    const wasPaused = client.isPaused
    const { clientId } = client
    let modelWill: ModelWill | null = null
    const { will, level } = choice
    if (will !== null) {
      const delaySeconds = level === 5 ? random.pick([0, 2, 10, 200]) : 0
      if (delaySeconds > 0) will.properties = [[0x18, delaySeconds]]
      modelWill = {
        id: String(will.payload).split('|', 1)[0],
        topic: String(will.topic),
        qos: (will.qos ?? 0) as Qos,
        retain: will.retain ?? false,
        expirySeconds: null,
        publisher: clientId,
        delaySeconds,
      }
    }
    this.#say(`${clientId} connects ${streams} times: ${JSON.stringify(choice).replace(/\|x*/, '')}`)
    const expirySeconds = Math.min(choice.expirySeconds, sessionExpiryLimitSeconds)
    let isPresent = false
    if (streams > 1) {
      // The last one to come wins, and what the others get is not looked at.
      client.cutsChunks = false
      client.mayHaveMissed = true
    }
    for (let index = 0; index < streams; index++) {
      const [far, near] = createMemoryPair()
      this.#broker.accept(far)
      isPresent = this.#model.connect(clientId, { isClean: choice.isClean, expirySeconds, will: modelWill })
      const connecting = client.connect(near, choice)
      if (!isPresent) client.forgetSession()
      if (index === streams - 1) await connecting
    }
    await this.#settle()
    assert.ok(client.connack !== null, `${clientId} is not answered`)
    assert.equal(client.connack.sessionPresent, isPresent, `Session Present of ${clientId}`) // [MQTT-3.2.2-3]
    if (hasTakenOver || streams > 1) {
      const { lastParting } = client
      assert.equal(lastParting?.isClosed, true, `the connection of ${clientId} that was taken over is closed`)
    }
    if (!wasPaused && streams > 1 && level === 5) assert.equal(client.lastParting?.reasonCode, 0x8e) // [MQTT-3.1.4-3]
    if (isPresent) await this.#sendAgain(client)
    if (random.chance(0.7)) client.acknowledges = random.pick(['now', 'later'])
    if (client.acknowledges === 'now') await client.acknowledge(1000, false)
  }

  async #takeoverStorm(client: SimulatedClient): Promise<void> {
    await this.#connect(client, { ...this.#chooseConnect(client), will: null }, this.#random.between(2, 20))
  }

  /** What a client must send again on a resumed Session. [MQTT-4.4.0-1] */
  async #sendAgain(client: SimulatedClient): Promise<void> {
    const session = this.#model.sessions.get(client.clientId)!
    for (const [packetId, open] of [...client.outgoing]) {
      if (open.stage !== 'publish') continue
      if (!session.inboundQos2.has(packetId)) this.#modelPublish(client, open.choice, packetId)
      else open.expectedReason = null
      await client.send(client.encode(open.choice, packetId, true))
    }
    for (const [packetId, { stage }] of client.outgoing) if (stage === 'pubrel') session.inboundQos2.delete(packetId)
    await client.release()
  }

  #nextPayload(clientId: string): string {
    const count = (this.#published.get(clientId) ?? 0) + 1
    this.#published.set(clientId, count)
    const padding = this.#random.chance(0.15) ? this.#random.between(3000, 20_000) : this.#random.below(20)
    return `${clientId}.${count}|${'x'.repeat(padding)}`
  }

  #choosePublish(client: SimulatedClient): PublishChoice {
    const random = this.#random
    const isClearing = random.chance(0.05)
    return {
      topic: random.pick(topics),
      payload: isClearing ? '' : this.#nextPayload(client.clientId),
      qos: random.below(3) as Qos,
      retain: isClearing || random.chance(0.25),
      expirySeconds: client.level === 5 && !isClearing && random.chance(0.2) ? random.pick([1, 5, 60]) : null,
      usesAlias: random.chance(0.3),
    }
  }

  /** The broker takes this message. */
  #modelPublish(client: SimulatedClient, choice: PublishChoice, packetId: number | null): void {
    const { topic, qos, retain, expirySeconds } = choice
    const id = choice.payload.split('|', 1)[0]
    const message: ModelMessage = { id, topic, qos, retain, expirySeconds, publisher: client.clientId }
    const receivers = this.#model.publish(message)
    if (packetId === null) return
    if (qos === 2) this.#model.sessions.get(client.clientId)!.inboundQos2.add(packetId)
    client.outgoing.get(packetId)!.expectedReason = receivers === 0 ? 0x10 : 0
  }

  async #publish(client: SimulatedClient): Promise<void> {
    if (client.outgoing.size > 15) return
    const choice = this.#choosePublish(client)
    this.#say(`${client.clientId} publishes ${describe(choice)}`)
    const { bytes, packetId } = client.publish(choice)
    this.#modelPublish(client, choice, packetId)
    await client.send(bytes)
  }

  /** Everybody publishes at once. */
  async #storm(): Promise<void> {
    const sending: Promise<void>[] = []
    for (const client of this.#clients) {
      if (!client.isReading || client.outgoing.size > 15) continue
      const all: Buffer[] = []
      for (let left = this.#random.between(1, 6); left > 0; left--) {
        const choice = { ...this.#choosePublish(client), retain: false }
        if (choice.payload === '') choice.payload = this.#nextPayload(client.clientId)
        this.#say(`${client.clientId} publishes in a storm ${describe(choice)}`)
        const { bytes, packetId } = client.publish(choice)
        this.#modelPublish(client, choice, packetId)
        all.push(bytes)
      }
      sending.push(client.send(Buffer.concat(all)))
    }
    await Promise.all(sending)
  }

  /** The connection breaks while a PUBLISH is on its way, or after it and before its answer is read. */
  async #cutInPublish(client: SimulatedClient): Promise<void> {
    if (client.outgoing.size > 15) return
    // It will be sent again, perhaps by a client of 3.1.1, which cannot say when it expires.
    const choice = { ...this.#choosePublish(client), expirySeconds: null }
    const { bytes, packetId } = client.publish(choice)
    const sentBytes = this.#random.chance(0.5) ? bytes.length : this.#random.below(bytes.length)
    this.#say(`${client.clientId} is cut after ${sentBytes} bytes of ${describe(choice)}`)
    client.pause()
    if (sentBytes === bytes.length) this.#modelPublish(client, choice, packetId)
    await client.send(bytes.subarray(0, sentBytes))
    await this.#settle()
    await this.#cut(client)
  }

  async #subscribe(client: SimulatedClient): Promise<void> {
    const random = this.#random
    const isVersion5 = client.level === 5
    const identifier = isVersion5 && random.chance(0.4) ? random.between(1, 300) : null
    const chosen: FilterChoice[] = []
    for (let left = random.between(1, 3); left > 0; left--) {
      const isShared = random.chance(0.2)
      const filter = random.pick(filters)
      const subscription: ModelSubscription = {
        filter,
        shareName: isShared ? random.pick(shareNames) : null,
        qos: random.below(3) as Qos,
        noLocal: isVersion5 && !isShared && random.chance(0.2),
        retainAsPublished: isVersion5 && random.chance(0.4),
        retainHandling: isVersion5 ? random.below(3) : 0,
        identifier,
      }
      this.#model.subscribe(client.clientId, subscription)
      chosen.push({ ...subscription, filter: isShared ? `$share/${subscription.shareName}/${filter}` : filter })
    }
    this.#say(`${client.clientId} subscribes, identifier ${identifier}: ${JSON.stringify(chosen)}`)
    await client.send(client.subscribe(chosen, identifier))
  }

  async #unsubscribe(client: SimulatedClient): Promise<void> {
    const session = this.#model.sessions.get(client.clientId)!
    const keys = [...session.subscriptions.keys()].filter(() => this.#random.chance(0.4))
    keys.push(this.#random.pick(filters))
    this.#say(`${client.clientId} unsubscribes ${keys.join(' ')}`)
    const codes = keys.map((key) => (this.#model.unsubscribe(client.clientId, key) ? 0 : 0x11))
    await client.send(client.unsubscribe(keys, codes))
  }

  async #acknowledge(client: SimulatedClient): Promise<void> {
    if (this.#random.chance(0.3)) client.acknowledges = this.#random.pick(['now', 'later'])
    this.#say(`${client.clientId} acknowledges, from now on ${client.acknowledges}`)
    await client.acknowledge(
      client.acknowledges === 'now' ? 1000 : this.#random.between(1, 5),
      this.#random.chance(0.2),
    )
  }

  async #release(client: SimulatedClient): Promise<void> {
    const session = this.#model.sessions.get(client.clientId)!
    for (const [packetId, { stage }] of client.outgoing) if (stage === 'pubrel') session.inboundQos2.delete(packetId)
    await client.release()
  }

  /** [MQTT-4.3.3-10] */
  async #repeatQos2(client: SimulatedClient): Promise<void> {
    for (const [packetId, open] of client.outgoing) {
      if (open.choice.qos !== 2 || open.stage !== 'pubrel') continue
      this.#say(`${client.clientId} sends QoS 2 message ${packetId} again before PUBREL`)
      open.expectedReason = null
      await client.send(client.encode({ ...open.choice, usesAlias: false }, packetId, true))
    }
  }

  async #stray(client: SimulatedClient): Promise<void> {
    const bytes = client.strayAcknowledgement(this.#random.pick(['puback', 'pubrec', 'pubcomp'] as const))
    if (bytes !== null) await client.send(bytes)
  }

  async #leave(client: SimulatedClient): Promise<void> {
    const { clientId, level } = client
    const session = this.#model.sessions.get(clientId)!
    const reasonCode = level === 5 && this.#random.chance(0.4) ? 4 : 0
    let expirySeconds: number | null = null
    if (level === 5 && session.expirySeconds > 0 && this.#random.chance(0.4)) {
      expirySeconds = this.#random.pick([0, 5, 50, 1000])
      session.expirySeconds = Math.min(expirySeconds, sessionExpiryLimitSeconds)
    }
    this.#say(`${clientId} leaves with reason ${reasonCode}, expiry ${expirySeconds}`)
    this.#model.connectionLost(clientId, reasonCode === 0)
    await client.leave(reasonCode, expirySeconds)
  }

  async #cut(client: SimulatedClient): Promise<void> {
    this.#say(`${client.clientId} is cut off`)
    this.#model.connectionLost(client.clientId, false)
    client.cut()
    await this.#settle()
  }

  #pause(client: SimulatedClient): void {
    this.#say(`${client.clientId} stops reading`)
    client.pause()
  }

  /** Who does not read is not read from once too much waits for it, so it says nothing. */
  async #stepOfPaused(client: SimulatedClient): Promise<void> {
    if (this.#random.chance(0.1)) return this.#cut(client)
    if (this.#random.chance(0.1)) return this.#leave(client)
    if (this.#random.chance(0.1)) return this.#takeoverStorm(client)
    if (this.#random.chance(0.5)) return
    this.#say(`${client.clientId} reads again`)
    client.resume()
  }

  // ---- the end

  /** Everybody comes back, reads and acknowledges all. */
  async #drain(): Promise<void> {
    this.#say('the end: everybody reads and acknowledges')
    for (const client of this.#clients) {
      if (client.isPaused) client.resume()
      await this.#settle()
      if (!client.isConnected && this.#model.sessions.has(client.clientId)) {
        await this.#connect(client, { ...this.#chooseConnect(client), isClean: false, will: null })
      }
      client.acknowledges = 'now'
    }
    for (let round = 0; round < 3; round++) {
      for (const client of this.#clients) {
        if (!client.isConnected) continue
        await client.acknowledge(1000, false)
        await this.#settle()
        await this.#release(client)
        await this.#settle()
      }
    }
    this.#model.checkComplete()
    for (const client of this.#clients) {
      if (!client.isConnected) continue
      assert.equal(client.received.size, 0, `exchanges with ${client.clientId} are not completed`)
      assert.equal(client.outgoing.size, 0, `exchanges of ${client.clientId} are not completed`)
    }
    const { queuedMessages, queuedBytes, outputBytes } = this.#broker.counters
    assert.deepEqual(
      { queuedMessages, queuedBytes, outputBytes },
      { queuedMessages: 0, queuedBytes: 0, outputBytes: 0 },
    )
  }

  /** A newcomer sees exactly the retained messages of the model. */
  async #checkRetained(): Promise<void> {
    const seen = new Map<string, string>()
    const onlooker = new SimulatedClient(
      'onlooker',
      this.#random,
      this.#inflightLimit,
      (_, { topic, id, retain }) => {
        assert.ok(retain && !seen.has(topic))
        seen.set(topic, id)
      },
      () => {},
    )
    this.#clients.push(onlooker)
    const none = { isClean: true, expirySeconds: 0, will: null, receiveMaximum: 10, topicAliasMaximum: 0 }
    await this.#connect(onlooker, { level: 5, ...none })
    onlooker.acknowledges = 'now'
    const plain = { qos: 2 as Qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }
    await onlooker.send(
      onlooker.subscribe(
        ['#', '$x/#'].map((filter) => ({ filter, ...plain })),
        null,
      ),
    )
    await this.#settle()
    assert.deepEqual(seen, this.#model.retainedNow())
  }

  /** All are gone and all time has passed: nothing is left. */
  async #leaveNothing(): Promise<void> {
    for (const client of this.#clients) {
      if (!client.isConnected) continue
      this.#model.connectionLost(client.clientId, false)
      client.cut()
    }
    await this.#settle()
    this.#advance((sessionExpiryLimitSeconds + 5) * 1000)
    await this.#settle()
    const { counters } = this.#broker
    for (const [name, value] of Object.entries(counters)) assert.ok(value >= 0, `${name} is ${value}`)
    const { sessions, subscriptions, queuedMessages, queuedBytes, outputBytes } = counters
    const left = { sessions, subscriptions, queuedMessages, queuedBytes, outputBytes }
    assert.deepEqual(left, { sessions: 0, subscriptions: 0, queuedMessages: 0, queuedBytes: 0, outputBytes: 0 })
    assert.equal(this.#broker.connectedClients, 0)
    assert.equal(counters.connectionsAccepted, counters.connectionsClosed)
  }
}

const describe = ({ payload, ...rest }: PublishChoice) => JSON.stringify({ id: payload.split('|', 1)[0], ...rest })
