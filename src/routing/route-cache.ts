// The topics in use, found by the bytes of their names without making a string. Bounded in number and in what the routes
// hold: when the young table is full it becomes the old one, and what is not used again goes with that.
import type { ShareGroup } from './share-group.ts'
import type { Subscription } from './subscription.ts'

/** Everything known of one Topic Name: that it is valid, and who gets its messages. */
export class Route {
  readonly topicBytes: Buffer
  readonly topic: string
  readonly hash: number
  /** Only the broker itself may publish here. */
  readonly isReserved: boolean
  receivers: readonly Subscription[] = []
  groups: readonly ShareGroup[] | null = null
  /** Compared with the router's: differs when receivers must be looked up again. */
  generation = -1
  levelGeneration = -1
  /** Whether a change of Subscriptions still reaches this route; one that is not in the cache is never trusted. */
  isCached = false
  readonly levelSlot: number

  constructor(topicBytes: Buffer, topic: string, hash: number, isReserved: boolean, levelSlot: number) {
    this.topicBytes = topicBytes
    this.topic = topic
    this.hash = hash
    this.isReserved = isReserved
    this.levelSlot = levelSlot
  }
}

export function sameBytes(topic: Buffer, bytes: Buffer, start: number, end: number): boolean {
  const length = topic.length
  if (length !== end - start) return false
  // Topics in use differ in their last bytes first.
  for (let index = length - 1; index >= 0; index--) if (topic[index] !== bytes[start + index]) return false
  return true
}

class RouteTable {
  slots: (Route | null)[]
  mask: number
  count = 0

  constructor(capacity: number) {
    this.slots = new Array<Route | null>(capacity).fill(null)
    this.mask = capacity - 1
  }

  find(hash: number, bytes: Buffer, start: number, end: number): Route | null {
    const { slots, mask } = this
    for (let index = (hash ^ (hash >>> 15)) & mask; ; index = (index + 1) & mask) {
      const route = slots[index]
      if (route === null) return null
      if (route.hash === hash && sameBytes(route.topicBytes, bytes, start, end)) return route
    }
  }

  insert(route: Route): void {
    if (this.count * 2 >= this.slots.length) this.#grow()
    this.count++
    this.#place(route)
  }

  #place(route: Route): void {
    const { slots, mask } = this
    let index = (route.hash ^ (route.hash >>> 15)) & mask
    while (slots[index] !== null) index = (index + 1) & mask
    slots[index] = route
  }

  #grow(): void {
    const old = this.slots
    this.slots = new Array<Route | null>(old.length * 2).fill(null)
    this.mask = this.slots.length - 1
    for (const route of old) if (route !== null) this.#place(route)
  }
}

const smallestTable = 64
/** A route with its name twice, and each receiver, as they are accounted for. */
const routeBytes = 256
const receiverBytes = 8
/** As long as the cache is small every topic may stay; beyond, only one that comes a second time. */
const routesForAll = 4096
/** Topics of which it is remembered that they have come once. */
const rememberedTopics = 131_072

export class RouteCache {
  readonly #limitBytes: number
  readonly #seed: number
  /** Hashes of topics that were new when they came last. */
  #newcomers: Int32Array | null = null
  #young = new RouteTable(smallestTable)
  #old = new RouteTable(smallestTable)
  #youngBytes = 0

  /**
   * @param limitBytes what each half of the cache may hold
   * @param seed random, so that nobody can choose topics that collide
   */
  constructor(limitBytes: number, seed: number) {
    this.#limitBytes = limitBytes
    this.#seed = seed | 0
  }

  hash(bytes: Buffer, start: number, end: number): number {
    let hash = this.#seed
    for (let index = start; index < end; index++) hash = Math.imul(hash ^ bytes[index], 16_777_619)
    return hash
  }

  find(hash: number, bytes: Buffer, start: number, end: number): Route | null {
    const route = this.#young.find(hash, bytes, start, end)
    if (route !== null) return route
    const older = this.#old.find(hash, bytes, start, end)
    if (older !== null) this.insert(older)
    return older
  }

  /** Whether a topic that is not here should be: somebody who publishes to ever new topics must not push out the rest. */
  admits(hash: number): boolean {
    if (this.#young.count < routesForAll) return true
    this.#newcomers ??= new Int32Array(rememberedTopics)
    const slot = (hash ^ (hash >>> 15)) & (rememberedTopics - 1)
    if (this.#newcomers[slot] === hash) return true
    this.#newcomers[slot] = hash
    return false
  }

  insert(route: Route): void {
    route.isCached = true
    this.#young.insert(route)
    this.#account(routeBytes + 2 * route.topicBytes.length + receiverBytes * route.receivers.length)
  }

  /** Accounts for receivers that were looked up. */
  addReceivers(count: number): void {
    this.#account(receiverBytes * count)
  }

  #account(bytes: number): void {
    this.#youngBytes += bytes
    if (this.#youngBytes <= this.#limitBytes) return
    this.#youngBytes = 0
    const dropped = this.#old
    this.#old = this.#young
    for (const route of dropped.slots) {
      if (route === null) continue
      const { topicBytes } = route
      route.isCached = this.#old.find(route.hash, topicBytes, 0, topicBytes.length) === route
    }
    this.#young = new RouteTable(smallestTable)
  }
}
