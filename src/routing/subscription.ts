// A Subscription and the one who holds it. This floor owns the interface that it needs of a Session.
import type { ApplicationMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import type { ShareGroup } from './share-group.ts'

/** Whoever holds Subscriptions: a Session. */
export interface Subscriber {
  /** Whether a connection is there that can take a message now. */
  readonly isOnline: boolean
  readonly inflightCount: number
  /** Whether what it is given has to survive a restart. */
  readonly isStored: boolean
  /**
   * Takes over one matching message.
   * @param qos already the smaller one of message and Subscription [MQTT-3.8.4-8]
   * @param retain the RETAIN flag as it is to be sent
   * @param share the group that chose this member, null for an ordinary Subscription
   */
  deliver(
    message: ApplicationMessage,
    qos: Qos,
    retain: boolean,
    subscriptionIdentifiers: readonly number[] | null,
    share: ShareGroup | null,
  ): void
}

/** What few Subscriptions have, kept apart because there may be a million of them. */
interface Rare {
  share: ShareGroup | null
  identifiers: readonly number[] | null
  localAlternative: Subscription | null
}

const noLocalBit = 4
const retainAsPublishedBit = 8

export class Subscription {
  readonly subscriber: Subscriber
  /** As subscribed, without `$share/name/`. */
  readonly filter: string
  /** Subscription Options as on the wire. */
  #options = 0
  #rare: Rare | null = null
  /** All Subscriptions of one subscriber form a list. */
  previousOfSubscriber: Subscription | null = null
  nextOfSubscriber: Subscription | null = null

  constructor(subscriber: Subscriber, filter: string, share: ShareGroup | null) {
    this.subscriber = subscriber
    this.filter = filter
    if (share !== null) this.#rare = { share, identifiers: null, localAlternative: null }
  }

  set(qos: Qos, noLocal: boolean, retainAsPublished: boolean, identifiers: readonly number[] | null): void {
    this.#options = qos | (noLocal ? noLocalBit : 0) | (retainAsPublished ? retainAsPublishedBit : 0)
    if (this.#rare !== null) this.#rare.identifiers = identifiers
    else if (identifiers !== null) this.#rare = { share: null, identifiers, localAlternative: null }
  }

  /** Subscription Options as on the wire, without Retain Handling. */
  get options(): number {
    return this.#options
  }

  get qos(): Qos {
    return (this.#options & 3) as Qos
  }

  get noLocal(): boolean {
    return (this.#options & noLocalBit) !== 0
  }

  get retainAsPublished(): boolean {
    return (this.#options & retainAsPublishedBit) !== 0
  }

  get share(): ShareGroup | null {
    return this.#rare === null ? null : this.#rare.share
  }

  /** null when none; several only where overlapping Subscriptions of one subscriber were merged. */
  get identifiers(): readonly number[] | null {
    return this.#rare === null ? null : this.#rare.identifiers
  }

  /** What the subscriber's own messages get instead when `noLocal` is set; null: nothing. */
  get localAlternative(): Subscription | null {
    return this.#rare === null ? null : this.#rare.localAlternative
  }

  set localAlternative(alternative: Subscription | null) {
    this.#rare ??= { share: null, identifiers: null, localAlternative: null }
    this.#rare.localAlternative = alternative
  }
}

/**
 * What one subscriber gets of a message that several of its Subscriptions match: one copy with the highest QoS and all
 * identifiers. [MQTT-3.3.4-2] [MQTT-3.3.4-4]
 */
export function mergeSubscriptions(all: readonly Subscription[]): Subscription {
  const merged = combine(all)
  if (merged.noLocal) {
    const local = all.filter((subscription) => !subscription.noLocal)
    merged.localAlternative = local.length === 0 ? null : combine(local)
  }
  return merged
}

function combine(all: readonly Subscription[]): Subscription {
  let qos: Qos = 0
  let noLocal = false
  let retainAsPublished = false
  const identifiers: number[] = []
  for (const subscription of all) {
    if (subscription.qos > qos) qos = subscription.qos
    noLocal ||= subscription.noLocal
    retainAsPublished ||= subscription.retainAsPublished
    if (subscription.identifiers !== null) identifiers.push(...subscription.identifiers)
  }
  const merged = new Subscription(all[0].subscriber, all[0].filter, null)
  merged.set(qos, noLocal, retainAsPublished, identifiers.length === 0 ? null : identifiers)
  return merged
}
