// `$SYS/broker/…`: the figures that users of Mosquitto look for, under the names that they know. Published retained, from
// the moment that somebody looks for them, and only when they have changed.
import { createMessage } from '../codec/application-message.ts'
import type { Broker } from './broker.ts'

/** Counters whose rates are shown as `load`, and their names there. */
const loads = [
  ['messages/received', 'packetsReceived'],
  ['messages/sent', 'packetsSent'],
  ['bytes/received', 'bytesReceived'],
  ['bytes/sent', 'bytesSent'],
  ['publish/received', 'publishReceived'],
  ['publish/sent', 'publishSent'],
  ['publish/dropped', 'dropped'],
  ['sockets', 'connectionsAccepted'],
] as const

const averagedMinutes = [1, 5, 15]

/** An exponential average per minute, as `uptime` and Mosquitto compute it. */
class Load {
  #last = 0
  readonly averages = averagedMinutes.map(() => 0)

  update(total: number, elapsedSeconds: number): void {
    const perMinute = ((total - this.#last) * 60) / elapsedSeconds
    this.#last = total
    for (const [index, minutes] of averagedMinutes.entries()) {
      const weight = Math.exp(-elapsedSeconds / (minutes * 60))
      this.averages[index] = perMinute + weight * (this.averages[index] - perMinute)
    }
  }
}

export class SysTopics {
  readonly #broker: Broker
  readonly #version: string
  readonly #published = new Map<string, string>()
  readonly #loads = loads.map(() => new Load())
  #startedAtMs: number
  #updatedAtMs: number
  #intervalSeconds = 0
  /** Most instances of a large fleet are never asked, and spend nothing on it. */
  #isWanted = false
  #stop: (() => void) | null = null

  constructor(broker: Broker, version: string) {
    this.#broker = broker
    this.#version = version
    this.#startedAtMs = broker.clock.monotonicMs()
    this.#updatedAtMs = this.#startedAtMs
    broker.onLook = (filter) => {
      if (!filter.startsWith('$SYS/')) return
      broker.onLook = null
      this.#isWanted = true
      this.start(this.#intervalSeconds)
    }
  }

  /** @param intervalSeconds between publications; 0 for none */
  start(intervalSeconds: number): void {
    this.stop()
    this.#intervalSeconds = intervalSeconds
    if (!this.#isWanted || intervalSeconds === 0) return
    const { clock, loop } = this.#broker
    const publish = () => loop.run(() => this.#publish())
    publish()
    this.#stop = clock.every(intervalSeconds * 1000, publish)
  }

  stop(): void {
    this.#intervalSeconds = 0
    this.#stop?.()
    this.#stop = null
  }

  #publish(): void {
    const broker = this.#broker
    const nowMs = broker.clock.monotonicMs()
    const elapsedSeconds = (nowMs - this.#updatedAtMs) / 1000
    this.#updatedAtMs = nowMs
    for (const [name, value] of this.#figures(nowMs)) this.#put(name, String(value))
    if (elapsedSeconds > 0) {
      const totals = this.#totals()
      for (const [index, [name]] of loads.entries()) {
        const load = this.#loads[index]
        load.update(totals[index], elapsedSeconds)
        for (const [at, minutes] of averagedMinutes.entries()) {
          this.#put(`load/${name}/${minutes}min`, load.averages[at].toFixed(2))
        }
      }
    }
  }

  #totals(): number[] {
    const { counters } = this.#broker
    return loads.map(([, field]) => (field === 'bytesSent' ? this.#broker.bytesSent : counters[field]))
  }

  #figures(nowMs: number): [string, string | number][] {
    const { counters, sessions, router, retained } = this.#broker
    const connected = sessions.attachedCount
    const total = sessions.size
    let inflight = 0
    for (const session of sessions.values()) inflight += session.inflightCount
    return [
      ['version', `atollmq ${this.#version}`],
      ['uptime', `${Math.floor((nowMs - this.#startedAtMs) / 1000)} seconds`],
      ['clients/total', total],
      ['clients/connected', connected],
      ['clients/active', connected],
      ['clients/disconnected', total - connected],
      ['clients/inactive', total - connected],
      ['clients/maximum', this.#broker.connectedMaximum],
      ['clients/expired', counters.sessionsExpired],
      ['messages/received', counters.packetsReceived],
      ['messages/sent', counters.packetsSent + counters.publishSent],
      ['messages/inflight', inflight],
      ['messages/stored', this.#broker.queuedMessages + retained.count],
      ['store/messages/count', this.#broker.queuedMessages + retained.count],
      ['store/messages/bytes', this.#broker.queuedBytes + retained.bytes],
      ['publish/messages/received', counters.publishReceived],
      ['publish/messages/sent', counters.publishSent],
      ['publish/messages/dropped', counters.dropped],
      ['publish/bytes/received', counters.publishBytesReceived],
      ['publish/bytes/sent', counters.publishBytesSent],
      ['bytes/received', counters.bytesReceived],
      ['bytes/sent', this.#broker.bytesSent],
      ['subscriptions/count', router.subscriptionCount],
      ['shared_subscriptions/count', router.sharedSubscriptionCount],
      ['retained messages/count', retained.count],
      ...this.#storeFigures(),
    ]
  }

  /** Nothing where nothing is kept. */
  #storeFigures(): [string, string | number][] {
    const { store, storeProblem, counters } = this.#broker
    if (store === null) return []
    return [
      ['store/state', storeProblem ?? store.fileLoss ?? (store.isDamaged ? 'damaged' : 'ok')],
      ['store/pending/bytes', store.pendingBytes],
      ['store/file/bytes', store.file?.fileBytes ?? 0],
      ['store/refused', counters.refusedByStore],
    ]
  }

  #put(name: string, value: string): void {
    if (this.#published.get(name) === value) return
    this.#published.set(name, value)
    const nowMs = this.#broker.clock.monotonicMs()
    this.#broker.publish(createMessage(`$SYS/broker/${name}`, Buffer.from(value), { retain: true, nowMs }), null)
  }
}
