// From a message to those who get it: Subscriptions, their index, and the cache of routes over it. A change of
// Subscriptions touches only the routes that it can concern.
import type { ApplicationMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import { filterBytes, hasWildcard } from '../topic/topic-filter.ts'
import { isReservedTopicName } from '../topic/topic-name.ts'
import { FilterEntry, FilterIndex } from './filter-index.ts'
import { Route, RouteCache } from './route-cache.ts'
import type { ShareGroup, ShareStrategy } from './share-group.ts'
import { mergeSubscriptions, type Subscriber, Subscription } from './subscription.ts'

const noBytes = Buffer.alloc(0)

/** First levels share this many counters; see `Router.#levelGenerations`. */
const levelSlots = 256

export interface SubscriptionOptions {
  filter: string
  shareName: string | null
  qos: Qos
  noLocal: boolean
  retainAsPublished: boolean
  identifier: number | null
}

export interface RouterOptions {
  shareStrategy: ShareStrategy
  /** A number in [0, 1). */
  random: () => number
  /** What each half of the route cache may hold. */
  cacheLimitBytes: number
  /** Told of the filter of every Subscription before it is added. */
  onAdd?: (filter: string) => void
}

export class Router {
  readonly #index = new FilterIndex()
  readonly #cache: RouteCache
  readonly #random: () => number
  readonly #onAdd: ((filter: string) => void) | null
  shareStrategy: ShareStrategy
  /** Grows with every Subscription whose first level is a wildcard, and with every change of rights. */
  #generation = 0
  /** Grows with Subscriptions that have wildcards below a first level that falls into this slot. */
  readonly #levelGenerations = new Int32Array(levelSlots)
  /** May this subscriber get messages of this topic? null: everybody may. */
  #admits: ((subscriber: Subscriber, topic: string) => boolean) | null = null
  subscriptionCount = 0
  /** What the filters hold, as `filterBytes` accounts for them. */
  filterBytes = 0
  sharedSubscriptionCount = 0

  constructor(options: RouterOptions) {
    this.shareStrategy = options.shareStrategy
    this.#random = options.random
    this.#onAdd = options.onAdd ?? null
    this.#cache = new RouteCache(options.cacheLimitBytes, Math.floor(options.random() * 0xffff_ffff))
  }

  /** Sets who may receive what; asked once per route, until `invalidate`. */
  admitWith(admits: ((subscriber: Subscriber, topic: string) => boolean) | null): void {
    this.#admits = admits
    this.invalidate()
  }

  /** Every route is looked up again, because rights have changed. */
  invalidate(): void {
    this.#generation++
  }

  find(subscriber: Subscriber, filter: string, shareName: string | null): Subscription | null {
    return this.#index.find(subscriber, filter, shareName)
  }

  /** All Subscriptions to exactly this filter, shared ones included, while they come and go. */
  subscriptionsTo(filter: string): Iterable<Subscription> {
    return this.#index.at(filter)
  }

  /** Adds a Subscription that is not there yet; see `find` and `update`. */
  add(subscriber: Subscriber, options: SubscriptionOptions): Subscription {
    this.#onAdd?.(options.filter)
    const shared = options.shareName === null ? null : this.#index.group(options.filter, options.shareName)
    const subscription = new Subscription(subscriber, options.filter, shared?.group ?? null)
    setOptions(subscription, options)
    this.#index.add(subscription)
    this.subscriptionCount++
    this.filterBytes += filterBytes(options.filter)
    if (shared !== null) this.sharedSubscriptionCount++
    if (shared === null || shared.isNew) this.#touch(options.filter)
    return subscription
  }

  /** Replaces the options of a Subscription. [MQTT-3.8.4-3] */
  update(subscription: Subscription, options: SubscriptionOptions): void {
    setOptions(subscription, options)
    this.#touch(subscription.filter)
  }

  remove(subscription: Subscription): void {
    this.subscriptionCount--
    this.filterBytes -= filterBytes(subscription.filter)
    if (subscription.share !== null) this.sharedSubscriptionCount--
    if (this.#index.remove(subscription)) this.#touch(subscription.filter)
  }

  /** Marks the routes that this filter may match. */
  #touch(filter: string): void {
    if (!hasWildcard(filter)) {
      const bytes = Buffer.from(filter)
      const route = this.#cache.find(this.#cache.hash(bytes, 0, bytes.length), bytes, 0, bytes.length)
      if (route !== null) route.generation = -1
      return
    }
    const first = filter.charCodeAt(0)
    if (first === 0x2b || first === 0x23) this.#generation++
    else this.#levelGenerations[levelSlot(filter)]++
  }

  /** A group that has members, or null. */
  shareGroup(filter: string, shareName: string): ShareGroup | null {
    return this.#index.findGroup(filter, shareName)
  }

  /** The route of a topic that was routed before, or null. */
  findRoute(bytes: Buffer, start: number, end: number): Route | null {
    return this.#cache.find(this.#cache.hash(bytes, start, end), bytes, start, end)
  }

  /** The route of a topic whose name has been checked; kept, unless it is one of many that come only once. */
  addRoute(bytes: Buffer, start: number, end: number): Route {
    const topic = bytes.toString('utf8', start, end)
    const hash = this.#cache.hash(bytes, start, end)
    const isKept = this.#cache.admits(hash)
    const topicBytes = isKept ? Buffer.from(bytes.subarray(start, end)) : noBytes
    const route = new Route(topicBytes, topic, hash, isReservedTopicName(topic), levelSlot(topic))
    if (isKept) this.#cache.insert(route)
    return route
  }

  routeOf(topic: string): Route {
    const bytes = Buffer.from(topic)
    return this.findRoute(bytes, 0, bytes.length) ?? this.addRoute(bytes, 0, bytes.length)
  }

  /**
   * Gives `message` to all whose Subscriptions match the route.
   * @param publisher who must not get it back through a No Local Subscription; null for the broker itself [MQTT-3.8.3-3]
   * @returns how many got it
   */
  dispatch(route: Route, message: ApplicationMessage, publisher: Subscriber | null): number {
    this.#refresh(route)
    const receivers = route.receivers
    const { qos, retain } = message
    let delivered = 0
    for (let index = 0; index < receivers.length; index++) {
      let subscription = receivers[index]
      if (subscription.noLocal && subscription.subscriber === publisher) {
        if (subscription.localAlternative === null) continue
        subscription = subscription.localAlternative
      }
      subscription.subscriber.deliver(
        message,
        subscription.qos < qos ? subscription.qos : qos,
        retain && subscription.retainAsPublished, // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
        subscription.identifiers,
        null,
      )
      delivered++
    }
    if (route.groups !== null) {
      for (const group of route.groups) if (this.dispatchShared(group, route.topic, message)) delivered++
    }
    return delivered
  }

  /** Gives `message` to one member of the group. @returns false when nobody may have it */
  dispatchShared(group: ShareGroup, topic: string, message: ApplicationMessage): boolean {
    const admits = this.#admits
    const chosen = group.choose(
      this.shareStrategy,
      this.#random,
      admits === null ? null : (subscriber) => admits(subscriber, topic),
    )
    if (chosen === null) return false
    const qos = chosen.qos < message.qos ? chosen.qos : message.qos // [MQTT-4.8.2-3]
    chosen.subscriber.deliver(message, qos, message.retain && chosen.retainAsPublished, chosen.identifiers, group)
    return true
  }

  /** How many on this route keep what they are given over a restart; a group counts as one. */
  countStoredReceivers(route: Route): number {
    this.#refresh(route)
    let count = 0
    for (const { subscriber } of route.receivers) if (subscriber.isStored) count++
    for (const group of route.groups ?? []) if (group.hasStoredMember) count++
    return count
  }

  #refresh(route: Route): void {
    const isCurrent =
      route.isCached &&
      route.generation === this.#generation &&
      route.levelGeneration === this.#levelGenerations[route.levelSlot]
    if (!isCurrent) this.#resolve(route)
  }

  #resolve(route: Route): void {
    const found: (Subscription | FilterEntry)[] = []
    this.#index.match(route.topic, found)
    route.receivers = collectReceivers(found, this.#admits, route.topic)
    const groups: ShareGroup[] = []
    for (const slot of found) {
      if (slot instanceof FilterEntry && slot.groups !== null) groups.push(...slot.groups.values())
    }
    route.groups = groups.length === 0 ? null : groups
    route.generation = this.#generation
    route.levelGeneration = this.#levelGenerations[route.levelSlot]
    if (route.isCached) this.#cache.addReceivers(route.receivers.length)
  }
}

/** One Subscription per subscriber: where several filters match, they are merged. */
function collectReceivers(
  found: readonly (Subscription | FilterEntry)[],
  admits: ((subscriber: Subscriber, topic: string) => boolean) | null,
  topic: string,
): Subscription[] {
  let receivers: Subscription[]
  if (found.length === 1) {
    const [slot] = found
    receivers = slot instanceof FilterEntry ? [...slot.bySubscriber.values()] : [slot]
  } else {
    const bySubscriber = new Map<Subscriber, Subscription[]>()
    for (const slot of found) {
      for (const subscription of slot instanceof FilterEntry ? slot.bySubscriber.values() : [slot]) {
        const list = bySubscriber.get(subscription.subscriber)
        if (list === undefined) bySubscriber.set(subscription.subscriber, [subscription])
        else list.push(subscription)
      }
    }
    receivers = []
    for (const list of bySubscriber.values()) receivers.push(list.length === 1 ? list[0] : mergeSubscriptions(list))
  }
  return admits === null ? receivers : receivers.filter(({ subscriber }) => admits(subscriber, topic))
}

function setOptions(subscription: Subscription, options: SubscriptionOptions): void {
  const identifiers = options.identifier === null ? null : [options.identifier]
  subscription.set(options.qos, options.noLocal, options.retainAsPublished, identifiers)
}

/** The counter that the first level of a topic or filter shares with others. */
function levelSlot(text: string): number {
  let hash = 0
  for (let index = 0; index < text.length; index++) {
    const character = text.charCodeAt(index)
    if (character === 0x2f) break
    hash = (Math.imul(hash, 31) + character) | 0
  }
  return hash & (levelSlots - 1)
}
