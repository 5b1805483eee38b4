// Brings back what a store holds, before the first connection: Sessions with all that belongs to them, and retained messages.
import { ApplicationMessage } from '../codec/application-message.ts'
import type { ProtocolLevel, Qos } from '../codec/packet-types.ts'
import type { ClientInfo } from '../session/client-info.ts'
import type { Journal } from '../session/journal.ts'
import type { Session, Will } from '../session/session.ts'
import type { QueueTally, SessionRecord, Store, StoredSession } from '../storage/store.ts'
import type { Broker } from './broker.ts'

/** Deliveries read at a time. */
const pageLength = 100
const pageBytes = 1024 * 1024

/** What was brought back, for the log. */
export interface RestoreReport {
  sessions: number
  deliveries: number
  retained: number
}

export function restore(broker: Broker, store: Store): RestoreReport {
  const wallMs = broker.clock.wallMs()
  const report: RestoreReport = { sessions: 0, deliveries: 0, retained: 0 }
  const { references, queues } = store.tallyDeliveries()
  const journal = broker.useJournal(store, references)
  for (const { topic, message } of store.retained()) {
    broker.retained.set(topic, journal.messageOf(message))
    report.retained++
  }
  // A message that is in flight to many Sessions is one object, as it was before.
  const messages = new Map<number, ApplicationMessage>()
  const restored: { session: Session; forMs: number }[] = []
  for (const stored of store.sessions()) {
    const { detachedAtMs } = stored.session
    const session = restoreSession(broker, journal, stored)
    report.sessions++
    const queue = queues.get(session.storeNumber)
    // A client that was connected may have been sent two windows since the last batch that was written.
    const maybeSent = detachedAtMs === null ? 2 * broker.limits.inflight : 0
    report.deliveries += restoreDeliveries(journal, store, session, messages, queue, maybeSent)
    // A broker that died had it attached: its connection is lost now. Clocks may have been set back meanwhile.
    restored.push({ session, forMs: detachedAtMs === null ? 0 : Math.max(0, wallMs - detachedAtMs) })
  }
  // Wills that are due may reach other Sessions, so all have to be there.
  for (const { session, forMs } of restored) broker.sessions.abandoned(session, forMs)
  return report
}

function restoreSession(broker: Broker, journal: Journal, stored: StoredSession): Session {
  const record = stored.session
  const session = broker.sessions.create(record.clientId)
  session.storeNumber = record.sessionNumber
  session.client = clientOf(record)
  session.mountPoint = record.mountPoint
  session.expirySeconds = Math.min(record.expirySeconds, broker.limits.sessionExpirySeconds)
  session.isDurable = session.expirySeconds > 0
  session.will = willOf(broker, journal, record, session.client)
  for (const { filter, shareName, options, identifier } of stored.subscriptions) {
    const subscription = broker.router.add(session, {
      filter,
      shareName,
      qos: (options & 3) as Qos,
      noLocal: (options & 4) !== 0,
      retainAsPublished: (options & 8) !== 0,
      identifier,
    })
    session.addSubscription(subscription)
  }
  if (stored.inbound.length > 0) session.inboundQos2 = new Set(stored.inbound)
  return session
}

/** What was in flight comes into memory; what waits in the queue stays where it is. */
function restoreDeliveries(
  journal: Journal,
  store: Store,
  session: Session,
  messages: Map<number, ApplicationMessage>,
  queue: QueueTally | undefined,
  maybeSent: number,
): number {
  let count = 0
  let from = 0
  for (;;) {
    const page = store.deliveries(session.storeNumber, from, pageLength, pageBytes)
    for (const { order, delivery, message } of page) {
      from = order + 1
      const { messageNumber, packetId, isReleased } = delivery
      if (packetId === 0) {
        if (queue === undefined) return count
        session.restoreQueue(order, queue, maybeSent)
        return count + queue.messages
      }
      let own = messages.get(messageNumber)
      if (own === undefined) {
        own = message === null ? new ApplicationMessage() : journal.messageOf(message)
        own.storeNumber = messageNumber
        if (message !== null) messages.set(messageNumber, own)
      }
      session.restoreInflight(journal.deliveryOf(delivery, order, own), packetId, isReleased)
      count++
    }
    if (page.length === 0) return count
  }
}

function clientOf(record: SessionRecord): ClientInfo {
  const { clientId, username, group, listener } = record
  const address = 'before the restart'
  const peer = { transport: 'memory' as const, address, port: null, pid: null, uid: null, gid: null, label: address }
  return { clientId, username, group, listener, level: record.level as ProtocolLevel, peer }
}

function willOf(broker: Broker, journal: Journal, record: SessionRecord, client: ClientInfo): Will | null {
  if (record.will === null) return null
  const { packet, delaySeconds } = record.will
  const message = journal.messageOf({ packet, isVersion5: true, receivedAtMs: broker.clock.wallMs() })
  const { topic } = message
  const mayPublish = () =>
    broker.authorizeAs(client, record.mountPoint, 'publish', topic.slice(record.mountPoint.length))
  return { message, topic, delaySeconds, mayPublish }
}
