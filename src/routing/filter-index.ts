// Which Subscriptions match a Topic Name. Filters without wildcard stand in one map; a trie holds only those with one.
// No recursion: the depth of filters and topics is the peer's choice.
import { LevelNode } from '../topic/level-node.ts'
import { hasWildcard } from '../topic/topic-filter.ts'
import { ShareGroup } from './share-group.ts'
import type { Subscriber, Subscription } from './subscription.ts'

/** The Subscriptions to one filter, once there is more than a single ordinary one. */
export class FilterEntry {
  readonly bySubscriber = new Map<Subscriber, Subscription>()
  groups: Map<string, ShareGroup> | null = null

  get isEmpty(): boolean {
    return this.bySubscriber.size === 0 && (this.groups === null || this.groups.size === 0)
  }
}

/** A single ordinary Subscription stands inline, which is what makes a million of them cheap. */
export type FilterSlot = Subscription | FilterEntry | null

class FilterNode extends LevelNode<FilterNode> {
  slot: FilterSlot = null

  get isEmpty(): boolean {
    return this.slot === null
  }
}

export class FilterIndex {
  readonly #exact = new Map<string, Subscription | FilterEntry>()
  readonly #root = new FilterNode(null, '')
  /** Used again for every match. */
  #frontier: FilterNode[] = []
  #next: FilterNode[] = []

  find(subscriber: Subscriber, filter: string, shareName: string | null): Subscription | null {
    const slot = this.#slot(filter)
    if (slot === null) return null
    if (shareName !== null) {
      return slot instanceof FilterEntry ? (slot.groups?.get(shareName)?.find(subscriber) ?? null) : null
    }
    if (slot instanceof FilterEntry) return slot.bySubscriber.get(subscriber) ?? null
    return slot.subscriber === subscriber ? slot : null
  }

  findGroup(filter: string, shareName: string): ShareGroup | null {
    const slot = this.#slot(filter)
    return slot instanceof FilterEntry ? (slot.groups?.get(shareName) ?? null) : null
  }

  /** The group of a Shared Subscription, made when it is not there. @returns also whether it is new */
  group(filter: string, shareName: string): { group: ShareGroup; isNew: boolean } {
    const entry = this.#entry(filter)
    entry.groups ??= new Map()
    let group = entry.groups.get(shareName)
    const isNew = group === undefined
    if (group === undefined) {
      group = new ShareGroup(shareName, filter)
      entry.groups.set(shareName, group)
    }
    return { group, isNew }
  }

  /** The subscriber must not have a Subscription to the same filter and share. */
  add(subscription: Subscription): void {
    if (subscription.share !== null) {
      subscription.share.add(subscription)
      return
    }
    const slot = this.#slot(subscription.filter)
    if (slot === null) this.#setSlot(subscription.filter, subscription)
    else this.#entry(subscription.filter).bySubscriber.set(subscription.subscriber, subscription)
  }

  /** @returns whether a route that matched before may look different now */
  remove(subscription: Subscription): boolean {
    const slot = this.#slot(subscription.filter)
    if (slot === subscription) {
      this.#setSlot(subscription.filter, null)
      return true
    }
    if (!(slot instanceof FilterEntry)) return false
    let isChanged = true
    if (subscription.share === null) slot.bySubscriber.delete(subscription.subscriber)
    else {
      subscription.share.remove(subscription)
      isChanged = subscription.share.size === 0
      if (isChanged) slot.groups?.delete(subscription.share.shareName)
    }
    if (slot.isEmpty) this.#setSlot(subscription.filter, null)
    return isChanged
  }

  /** All Subscriptions to exactly this filter, shared ones included. A walk can stop and go on while they change. */
  *at(filter: string): Generator<Subscription, void, void> {
    const slot = this.#slot(filter)
    if (slot === null) return
    if (!(slot instanceof FilterEntry)) {
      yield slot
      return
    }
    yield* slot.bySubscriber.values()
    if (slot.groups !== null) for (const group of slot.groups.values()) yield* group.members()
  }

  #slot(filter: string): FilterSlot {
    if (!hasWildcard(filter)) return this.#exact.get(filter) ?? null
    let node: FilterNode | null = this.#root
    for (const level of filter.split('/')) {
      node = node.child(level)
      if (node === null) return null
    }
    return node.slot
  }

  #entry(filter: string): FilterEntry {
    const slot = this.#slot(filter)
    if (slot instanceof FilterEntry) return slot
    const entry = new FilterEntry()
    if (slot !== null) entry.bySubscriber.set(slot.subscriber, slot)
    this.#setSlot(filter, entry)
    return entry
  }

  #setSlot(filter: string, slot: FilterSlot): void {
    if (!hasWildcard(filter)) {
      if (slot === null) this.#exact.delete(filter)
      else this.#exact.set(filter, slot)
      return
    }
    let node = this.#root
    for (const level of filter.split('/')) node = node.child(level) ?? node.addChild(new FilterNode(node, level))
    node.slot = slot
    if (slot === null) node.prune()
  }

  /** Adds the slot of every filter that matches `topic` to `found`. [MQTT-4.7.2-1] */
  match(topic: string, found: (Subscription | FilterEntry)[]): void {
    const exact = this.#exact.get(topic)
    if (exact !== undefined) found.push(exact)
    if (!this.#root.hasChildren) return
    const levels = topic.split('/')
    let frontier = this.#frontier
    let next = this.#next
    frontier.push(this.#root)
    for (let depth = 0; depth < levels.length && frontier.length > 0; depth++) {
      const allowsWildcard = depth > 0 || levels[0].charCodeAt(0) !== 0x24
      for (const node of frontier) {
        if (!node.hasChildren) continue
        if (allowsWildcard) {
          const rest = node.child('#')
          if (rest !== null && rest.slot !== null) found.push(rest.slot)
          const any = node.child('+')
          if (any !== null) next.push(any)
        }
        const literal = node.child(levels[depth])
        if (literal !== null) next.push(literal)
      }
      frontier.length = 0
      const swap = frontier
      frontier = next
      next = swap
    }
    for (const node of frontier) {
      if (node.slot !== null) found.push(node.slot)
      // `a/#` also matches `a`.
      const rest = node.child('#')
      if (rest !== null && rest.slot !== null) found.push(rest.slot)
    }
    frontier.length = 0
    next.length = 0
  }
}
