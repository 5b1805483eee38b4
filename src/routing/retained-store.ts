// Retained messages by topic, as a trie of levels, so that a Subscription with wildcards walks only what it may match.
// A walk can stop anywhere and go on later, while the store changes.
import type { ApplicationMessage } from '../codec/application-message.ts'

class RetainedNode {
  readonly parent: RetainedNode | null
  readonly level: string
  children: Map<string, RetainedNode> | null = null
  message: ApplicationMessage | null = null

  constructor(parent: RetainedNode | null, level: string) {
    this.parent = parent
    this.level = level
  }
}

const pageBytes = 16 * 1024
/** Steps of a walk without a match after which it pauses. */
const stepsPerPause = 256
/** Accounted for each message beside its bytes. */
const overheadBytes = 200

export class RetainedStore {
  readonly #root = new RetainedNode(null, '')
  readonly #expiring = new Set<RetainedNode>()
  #page: Buffer = Buffer.alloc(0)
  #pageLength = 0
  count = 0
  bytes = 0

  /** Whether a message for `topic` fits into the limits; replacing an older one of the same topic always counts as one. */
  hasRoom(topic: string, sizeBytes: number, countLimit: number, bytesLimit: number): boolean {
    if (this.count < countLimit && this.bytes + sizeBytes + overheadBytes <= bytesLimit) return true
    const old = this.get(topic)
    if (old === null) return false
    return this.bytes - old.sizeBytes + sizeBytes <= bytesLimit
  }

  get(topic: string): ApplicationMessage | null {
    return this.#find(topic)?.message ?? null
  }

  #find(topic: string): RetainedNode | null {
    let node: RetainedNode | undefined = this.#root
    for (let start = 0; ; ) {
      const end = topic.indexOf('/', start)
      node = node.children?.get(end === -1 ? topic.slice(start) : topic.slice(start, end))
      if (node === undefined) return null
      if (end === -1) return node
      start = end + 1
    }
  }

  /** Keeps a copy in memory of the store's own: a small message must not hold a page of short-lived ones. [MQTT-3.3.1-5] */
  set(topic: string, message: ApplicationMessage): void {
    const own = message.own((length) => this.#allocate(length))
    let node = this.#root
    for (let start = 0; ; ) {
      const end = topic.indexOf('/', start)
      const level = end === -1 ? topic.slice(start) : topic.slice(start, end)
      node.children ??= new Map()
      let child = node.children.get(level)
      if (child === undefined) {
        child = new RetainedNode(node, level)
        node.children.set(level, child)
      }
      node = child
      if (end === -1) break
      start = end + 1
    }
    if (node.message === null) this.count++
    else this.bytes -= node.message.sizeBytes + overheadBytes
    node.message = own
    this.bytes += own.sizeBytes + overheadBytes
    if (own.expiryAt !== -1) this.#expiring.add(node)
    else this.#expiring.delete(node)
  }

  /** [MQTT-3.3.1-6] @returns whether there was one */
  delete(topic: string): boolean {
    const node = this.#find(topic)
    if (node === null || node.message === null) return false
    this.#clear(node)
    return true
  }

  #clear(start: RetainedNode): void {
    this.count--
    this.bytes -= start.message!.sizeBytes + overheadBytes
    start.message = null
    this.#expiring.delete(start)
    let node = start
    while (node.message === null && node.children === null && node.parent !== null) {
      const parent = node.parent
      parent.children!.delete(node.level)
      if (parent.children!.size === 0) parent.children = null
      node = parent
    }
  }

  #allocate(length: number): Buffer {
    if (length > pageBytes / 4) return Buffer.allocUnsafeSlow(length)
    if (this.#pageLength + length > this.#page.length) {
      this.#page = Buffer.allocUnsafeSlow(pageBytes)
      this.#pageLength = 0
    }
    const start = this.#pageLength
    this.#pageLength += length
    return this.#page.subarray(start, start + length)
  }

  /** Drops messages whose time is over; looks at no more than `visits` of those that can expire. */
  sweep(nowMs: number, visits: number): number {
    let dropped = 0
    let left = visits
    for (const node of this.#expiring) {
      if (left-- === 0) break
      if (node.message!.hasExpired(nowMs)) {
        this.#clear(node)
        dropped++
      } else {
        // To the end of the line, so that the next sweep looks at others.
        this.#expiring.delete(node)
        this.#expiring.add(node)
      }
    }
    return dropped
  }

  /**
   * Walks all messages that match `filter`, one by one; yields null where a long walk may pause.
   * Messages that come or go during the walk may or may not be seen.
   */
  *matching(filter: string): Generator<ApplicationMessage | null, void, void> {
    const levels = filter.split('/')
    // Pairs of a node and how many levels of the filter it stands for; beyond '#' every node below matches.
    const nodes: RetainedNode[] = [this.#root]
    const depths: number[] = [0]
    const subtree = levels.length + 1
    let steps = 0
    while (nodes.length > 0) {
      if (++steps % stepsPerPause === 0) yield null
      const node = nodes.pop()!
      const depth = depths.pop()!
      if (depth === subtree) {
        if (node.message !== null) yield node.message
        for (const child of node.children?.values() ?? []) {
          nodes.push(child)
          depths.push(subtree)
        }
        continue
      }
      if (depth === levels.length) {
        if (node.message !== null) yield node.message
        continue
      }
      const level = levels[depth]
      if (level === '#') {
        if (depth > 0 && node.message !== null) yield node.message
        for (const child of node.children?.values() ?? []) {
          if (depth === 0 && child.level.charCodeAt(0) === 0x24) continue // [MQTT-4.7.2-1]
          nodes.push(child)
          depths.push(subtree)
        }
      } else if (level === '+') {
        for (const child of node.children?.values() ?? []) {
          if (depth === 0 && child.level.charCodeAt(0) === 0x24) continue
          nodes.push(child)
          depths.push(depth + 1)
        }
      } else {
        const child = node.children?.get(level)
        if (child !== undefined) {
          nodes.push(child)
          depths.push(depth + 1)
        }
      }
    }
  }
}
