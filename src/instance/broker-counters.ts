// All numbers of one broker at one moment: what the library, the admin API and the metrics show.
import type { Broker } from '../broker/broker.ts'
import type { Counters } from '../observe/counters.ts'

/** What there is at this moment, as against what only grows. */
export type BrokerGauges = Readonly<
  Record<
    | 'sessions'
    | 'subscriptions'
    | 'retainedMessages'
    | 'retainedBytes'
    | 'queuedMessages'
    | 'queuedBytes'
    | 'outputBytes',
    number
  >
>

/** What grew since the start, and what there is at this moment. */
export type BrokerCounters = Readonly<Record<keyof Counters, number>> & BrokerGauges

export function readCounters(broker: Broker): BrokerCounters {
  return { ...readTotals(broker), ...readGauges(broker) }
}

/** What only grows. */
export function readTotals(broker: Broker): Readonly<Record<keyof Counters, number>> {
  return { ...broker.counters, bytesSent: broker.bytesSent, dropped: broker.counters.dropped }
}

export function readGauges(broker: Broker): BrokerGauges {
  return {
    sessions: broker.sessions.size,
    subscriptions: broker.router.subscriptionCount,
    retainedMessages: broker.retained.count,
    retainedBytes: broker.retained.bytes,
    queuedMessages: broker.queuedMessages,
    queuedBytes: broker.queuedBytes,
    outputBytes: broker.outputBytes,
  }
}
