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
  /** Whether a change of Subscriptions still reaches this route; a route that fell out of the cache is never trusted. */
  isCached = true
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

export class RouteCache {
  readonly #limit: number
  readonly #seed: number
  #young = new RouteTable(smallestTable)
  #old = new RouteTable(smallestTable)
  #weight = 0

  /**
   * @param limit routes, plus receivers in them, per half
   * @param seed random, so that nobody can choose topics that collide
   */
  constructor(limit: number, seed: number) {
    this.#limit = limit
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

  insert(route: Route): void {
    this.#young.insert(route)
    this.addWeight(1 + route.receivers.length)
  }

  /** Accounts for receivers that were looked up. */
  addWeight(weight: number): void {
    this.#weight += weight
    if (this.#weight <= this.#limit) return
    this.#weight = 0
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
