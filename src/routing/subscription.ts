// A Subscription and the one who holds it. This floor owns the interface that it needs of a Session.
import type { ApplicationMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'
import type { ShareGroup } from './share-group.ts'

/** Whoever holds Subscriptions: a Session. */
export interface Subscriber {
  /** Whether a connection is there that can take a message now. */
  readonly isOnline: boolean
  readonly inflightCount: number
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

export class Subscription {
  readonly subscriber: Subscriber
  /** As subscribed, without `$share/name/`. */
  readonly filter: string
  readonly share: ShareGroup | null
  qos: Qos
  noLocal: boolean
  retainAsPublished: boolean
  /** null when none; several only where overlapping Subscriptions of one subscriber were merged. */
  identifiers: readonly number[] | null
  /** What the subscriber's own messages get instead when `noLocal` is set; null: nothing. */
  localAlternative: Subscription | null = null
  /** All Subscriptions of one subscriber form a list. */
  previousOfSubscriber: Subscription | null = null
  nextOfSubscriber: Subscription | null = null

  constructor(
    subscriber: Subscriber,
    filter: string,
    share: ShareGroup | null,
    qos: Qos,
    noLocal: boolean,
    retainAsPublished: boolean,
    identifiers: readonly number[] | null,
  ) {
    this.subscriber = subscriber
    this.filter = filter
    this.share = share
    this.qos = qos
    this.noLocal = noLocal
    this.retainAsPublished = retainAsPublished
    this.identifiers = identifiers
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
  const first = all[0]
  const merged = new Subscription(first.subscriber, first.filter, null, 0, false, false, null)
  const identifiers: number[] = []
  for (const subscription of all) {
    if (subscription.qos > merged.qos) merged.qos = subscription.qos
    merged.noLocal ||= subscription.noLocal
    merged.retainAsPublished ||= subscription.retainAsPublished
    if (subscription.identifiers !== null) identifiers.push(...subscription.identifiers)
  }
  if (identifiers.length > 0) merged.identifiers = identifiers
  return merged
}
