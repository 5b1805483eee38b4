// Retained messages by topic, as a trie of levels, so that a Subscription with wildcards walks only what it may match.
// A walk can stop anywhere and go on later, while the store changes. There may be millions, so a message is kept as bytes
// in pages.
import { ApplicationMessage, parsePublish } from '../codec/application-message.ts'
import { LevelNode } from '../topic/level-node.ts'
import { countLevels } from '../topic/topic-name.ts'

class RetainedNode extends LevelNode<RetainedNode> {
  /** The PUBLISH, between `start` and `end`; null for a level that has none. */
  page: Buffer | null = null
  start = 0
  end = 0
  isVersion5 = false

  get isEmpty(): boolean {
    return this.page === null
  }
}

const pageBytes = 16 * 1024
/** Steps of a walk without a match after which it pauses. */
export const stepsPerPause = 256
/** Accounted for each message beside its bytes, and for each level of the tree. */
const overheadBytes = 96
const levelBytes = 112

export class RetainedStore {
  readonly #root = new RetainedNode(null, '')
  /** When the messages came that can expire. */
  readonly #expiring = new Map<RetainedNode, number>()
  #page: Buffer = Buffer.alloc(0)
  #pageLength = 0
  count = 0
  bytes = 0

  /** Whether a message for `topic` fits into the limits; replacing an older one of the same topic always counts as one. */
  hasRoom(topic: string, sizeBytes: number, countLimit: number, bytesLimit: number): boolean {
    const added = sizeBytes + overheadBytes + levelBytes * countLevels(topic)
    if (this.count < countLimit && this.bytes + added <= bytesLimit) return true
    const old = this.#find(topic)
    if (old === null || old.page === null) return false
    return this.bytes - (old.end - old.start) + sizeBytes <= bytesLimit
  }

  get(topic: string): ApplicationMessage | null {
    const node = this.#find(topic)
    return node === null || node.page === null ? null : this.#read(node)
  }

  #find(topic: string): RetainedNode | null {
    let node: RetainedNode | null = this.#root
    for (let start = 0; ; ) {
      const end = topic.indexOf('/', start)
      node = node.child(end === -1 ? topic.slice(start) : topic.slice(start, end))
      if (node === null || end === -1) return node
      start = end + 1
    }
  }

  /** A message over the bytes in the page, which never change. */
  #read(node: RetainedNode): ApplicationMessage {
    const page = node.page!
    let bodyStart = node.start + 1
    while (page[bodyStart] > 0x7f) bodyStart++
    const message = new ApplicationMessage()
    parsePublish(message, page, node.start, bodyStart + 1, node.end, node.isVersion5)
    message.isOwned = true
    if (message.expiryAt !== -1) message.receivedAtMs = this.#expiring.get(node)!
    return message
  }

  /** Keeps a copy of the message's bytes. [MQTT-3.3.1-5] */
  set(topic: string, message: ApplicationMessage): void {
    let node = this.#root
    for (let start = 0; ; ) {
      const end = topic.indexOf('/', start)
      const level = end === -1 ? topic.slice(start) : topic.slice(start, end)
      let child = node.child(level)
      if (child === null) {
        child = node.addChild(new RetainedNode(node, level))
        this.bytes += levelBytes
      }
      node = child
      if (end === -1) break
      start = end + 1
    }
    if (node.page === null) this.count++
    else this.bytes -= node.end - node.start + overheadBytes
    this.#write(node, message)
    this.bytes += message.sizeBytes + overheadBytes
    if (message.expiryAt !== -1) this.#expiring.set(node, message.receivedAtMs)
    else if (this.#expiring.size > 0) this.#expiring.delete(node)
  }

  #write(node: RetainedNode, message: ApplicationMessage): void {
    const length = message.sizeBytes
    if (length > pageBytes / 4) {
      node.page = Buffer.allocUnsafeSlow(length)
      node.start = 0
    } else {
      if (this.#pageLength + length > this.#page.length) {
        this.#page = Buffer.allocUnsafeSlow(pageBytes)
        this.#pageLength = 0
      }
      node.page = this.#page
      node.start = this.#pageLength
      this.#pageLength += length
    }
    node.end = node.start + length
    node.isVersion5 = message.isVersion5
    message.buffer.copy(node.page, node.start, message.packetStart, message.packetEnd)
  }

  /** [MQTT-3.3.1-6] @returns whether there was one */
  delete(topic: string): boolean {
    const node = this.#find(topic)
    if (node === null || node.page === null) return false
    this.#clear(node)
    return true
  }

  #clear(node: RetainedNode): void {
    this.count--
    this.bytes -= node.end - node.start + overheadBytes
    node.page = null
    this.#expiring.delete(node)
    this.bytes -= levelBytes * node.prune()
  }

  /** Drops messages whose time is over; looks at no more than `visits` of those that can expire. */
  sweep(nowMs: number, visits: number): number {
    let dropped = 0
    let left = Math.min(visits, this.#expiring.size)
    for (const [node, receivedAtMs] of this.#expiring) {
      if (left-- === 0) break
      if (this.#read(node).hasExpired(nowMs)) {
        this.#clear(node)
        dropped++
      } else {
        // To the end of the line, so that the next sweep looks at others.
        this.#expiring.delete(node)
        this.#expiring.set(node, receivedAtMs)
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
      const level = depth < levels.length ? levels[depth] : null
      // `a/#` also matches `a`.
      const isMatch = depth >= levels.length || (level === '#' && depth > 0)
      if (isMatch && node.page !== null) yield this.#read(node)
      if (depth === levels.length) continue
      if (level === null || level === '#' || level === '+') {
        const first = nodes.length
        node.pushChildren(nodes)
        if (depth === 0) dropReserved(nodes, first)
        const next = level === '+' ? depth + 1 : subtree
        while (depths.length < nodes.length) depths.push(next)
      } else {
        const child = node.child(level)
        if (child !== null) {
          nodes.push(child)
          depths.push(depth + 1)
        }
      }
    }
  }
}

/** A wildcard in the first level does not match `$`-topics. [MQTT-4.7.2-1] */
function dropReserved(nodes: RetainedNode[], first: number): void {
  let kept = first
  for (let index = first; index < nodes.length; index++) {
    if (nodes[index].level.charCodeAt(0) !== 0x24) nodes[kept++] = nodes[index]
  }
  nodes.length = kept
}
