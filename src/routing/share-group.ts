// The members of one Shared Subscription (chapter 4.8.2) and the choice among them.
import type { Subscriber, Subscription } from './subscription.ts'

export type ShareStrategy = 'round-robin' | 'random' | 'sticky' | 'least-inflight'

export class ShareGroup {
  readonly shareName: string
  readonly filter: string
  readonly #members: Subscription[] = []
  #cursor = 0
  #sticky: Subscription | null = null

  constructor(shareName: string, filter: string) {
    this.shareName = shareName
    this.filter = filter
  }

  get size(): number {
    return this.#members.length
  }

  get hasStoredMember(): boolean {
    return this.#members.some(({ subscriber }) => subscriber.isStored)
  }

  /** A copy: members may come and go while it is walked. */
  members(): Subscription[] {
    return [...this.#members]
  }

  add(member: Subscription): void {
    this.#members.push(member)
  }

  remove(member: Subscription): void {
    const index = this.#members.indexOf(member)
    if (index === -1) return
    this.#members.splice(index, 1)
    if (index < this.#cursor) this.#cursor--
    if (this.#sticky === member) this.#sticky = null
  }

  find(subscriber: Subscriber): Subscription | null {
    return this.#members.find((member) => member.subscriber === subscriber) ?? null
  }

  /**
   * The member that gets the next message: one that is online if any is, else one whose Session waits.
   * @param random a number in [0, 1)
   * @param admits asked of each candidate; null admits all
   */
  choose(
    strategy: ShareStrategy,
    random: () => number,
    admits: ((subscriber: Subscriber) => boolean) | null,
  ): Subscription | null {
    return this.#chooseWhere(strategy, random, admits, true) ?? this.#chooseWhere(strategy, random, admits, false)
  }

  #chooseWhere(
    strategy: ShareStrategy,
    random: () => number,
    admits: ((subscriber: Subscriber) => boolean) | null,
    isOnline: boolean,
  ): Subscription | null {
    const members = this.#members
    const count = members.length
    const isCandidate = (member: Subscription) =>
      member.subscriber.isOnline === isOnline && (admits === null || admits(member.subscriber))
    if (strategy === 'sticky' && this.#sticky !== null && isCandidate(this.#sticky)) return this.#sticky
    if (strategy === 'least-inflight') return this.#leastInflight(isCandidate)
    const start = strategy === 'random' ? Math.floor(random() * count) : this.#cursor
    for (let step = 0; step < count; step++) {
      const index = (start + step) % count
      const member = members[index]
      if (!isCandidate(member)) continue
      if (strategy === 'round-robin') this.#cursor = (index + 1) % count
      if (strategy === 'sticky') this.#sticky = member
      return member
    }
    return null
  }

  /** Equal members take turns. */
  #leastInflight(isCandidate: (member: Subscription) => boolean): Subscription | null {
    const count = this.#members.length
    let best: Subscription | null = null
    let bestIndex = 0
    for (let step = 0; step < count; step++) {
      const index = (this.#cursor + step) % count
      const member = this.#members[index]
      if (!isCandidate(member)) continue
      if (best === null || member.subscriber.inflightCount < best.subscriber.inflightCount) {
        best = member
        bestIndex = index
      }
    }
    if (best !== null) this.#cursor = (bestIndex + 1) % count
    return best
  }
}
