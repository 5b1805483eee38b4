// Retained messages by topic, as a trie of levels, so that a Subscription with wildcards walks only what it may match.
// A walk can stop anywhere and go on later, while the store changes. There may be millions, so a message is kept as bytes
// in pages.
import { ApplicationMessage, parsePublish } from '../codec/application-message.ts'
import { LevelNode } from '../topic/level-node.ts'
import { countLevels } from '../topic/topic-name.ts'

/** Memory for messages one after the other; each is written once. */
class Page {
  readonly bytes: Buffer
  used = 0
  /** Bytes of messages that are still retained. */
  live = 0

  constructor(length: number) {
    this.bytes = Buffer.allocUnsafeSlow(length)
  }
}

class RetainedNode extends LevelNode<RetainedNode> {
  /** Where the PUBLISH is, between `start` and `end`; null for a level that has none. */
  page: Page | null = null
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
  #page = new Page(0)
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
    const page = node.page!.bytes
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
    const { page: oldPage } = node
    if (oldPage === null) this.count++
    else {
      this.bytes -= node.end - node.start + overheadBytes
      oldPage.live -= node.end - node.start
      node.page = null
    }
    this.#write(node, message.buffer, message.packetStart, message.packetEnd)
    node.isVersion5 = message.isVersion5
    this.bytes += message.sizeBytes + overheadBytes
    if (oldPage !== null) this.#compact(oldPage)
    if (message.expiryAt !== -1) this.#expiring.set(node, message.receivedAtMs)
    else if (this.#expiring.size > 0) this.#expiring.delete(node)
  }

  #write(node: RetainedNode, source: Buffer, start: number, end: number): void {
    const length = end - start
    let page = this.#page
    if (length > pageBytes / 4) page = new Page(length)
    else if (page.used + length > page.bytes.length) {
      page = new Page(pageBytes)
      const full = this.#page
      this.#page = page
      this.#compact(full)
      page = this.#page
    }
    node.page = page
    node.start = page.used
    node.end = page.used + length
    source.copy(page.bytes, page.used, start, end)
    page.used += length
    page.live += length
  }

  /** A page of which little is still needed is given up: what lives in it moves. One message must not hold the memory of many. */
  #compact(page: Page): void {
    if (page === this.#page || page.live * 4 >= page.used || page.live === 0) return
    const { bytes, used } = page
    for (let start = 0; start < used; ) {
      let bodyStart = start + 1
      let length = 0
      for (let shift = 0; ; shift += 7) {
        const byte = bytes[bodyStart++]
        length |= (byte & 0x7f) << shift
        if (byte < 0x80) break
      }
      const end = bodyStart + length
      const topicEnd = bodyStart + 2 + bytes.readUInt16BE(bodyStart)
      const node = this.#find(bytes.toString('utf8', bodyStart + 2, topicEnd))
      if (node !== null && node.page === page && node.start === start) this.#write(node, bytes, start, end)
      start = end
    }
  }

  /** [MQTT-3.3.1-6] @returns whether there was one */
  delete(topic: string): boolean {
    const node = this.#find(topic)
    if (node === null || node.page === null) return false
    this.#clear(node)
    return true
  }

  #clear(node: RetainedNode): void {
    const page = node.page!
    this.count--
    this.bytes -= node.end - node.start + overheadBytes
    page.live -= node.end - node.start
    node.page = null
    this.#expiring.delete(node)
    this.bytes -= levelBytes * node.prune()
    this.#compact(page)
  }

  /** Whether there are messages whose time will be over. */
  get isExpiring(): boolean {
    return this.#expiring.size > 0
  }

  /**
   * Drops messages whose time is over; looks at no more than `visits` of those that can expire.
   * @param onDropped told the topic of each
   */
  sweep(nowMs: number, visits: number, onDropped: (topic: string) => void = () => {}): number {
    let dropped = 0
    let left = Math.min(visits, this.#expiring.size)
    for (const [node, receivedAtMs] of this.#expiring) {
      if (left-- === 0) break
      if (this.#read(node).hasExpired(nowMs)) {
        onDropped(node.path)
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
    const isWildFirst = levels[0] === '+' || levels[0] === '#'
    // Siblings still to be visited, and how many levels of the filter they stand for; beyond '#' every node below matches.
    const siblings: Iterator<RetainedNode>[] = [[this.#root].values()]
    const depths: number[] = [0]
    const subtree = levels.length + 1
    let steps = 0
    while (siblings.length > 0) {
      if (++steps % stepsPerPause === 0) yield null
      const { done, value: node } = siblings[siblings.length - 1].next()
      if (done === true) {
        siblings.pop()
        depths.pop()
        continue
      }
      if (isWildFirst && node.parent === this.#root && node.level.charCodeAt(0) === 0x24) continue // [MQTT-4.7.2-1]
      const depth = depths[depths.length - 1]
      const level = depth < levels.length ? levels[depth] : null
      // `a/#` also matches `a`.
      const isMatch = depth >= levels.length || (level === '#' && depth > 0)
      if (isMatch && node.page !== null) yield this.#read(node)
      if (depth === levels.length) continue
      if (level === null || level === '#' || level === '+') {
        siblings.push(node.children())
        depths.push(level === '+' ? depth + 1 : subtree)
      } else {
        const child = node.child(level)
        if (child !== null) {
          siblings.push([child].values())
          depths.push(depth + 1)
        }
      }
    }
  }
}
