// Brings back what a store holds, before the first connection: Sessions with all that belongs to them, and retained messages.
import { ApplicationMessage, parsePublish } from '../codec/application-message.ts'
import type { ProtocolLevel, Qos } from '../codec/packet-types.ts'
import type { ClientInfo } from '../session/client-info.ts'
import type { Session, Will } from '../session/session.ts'
import type { MessageRecord, SessionRecord, Store, StoredSession } from '../storage/store.ts'
import type { Broker } from './broker.ts'

/** Deliveries read at a time. */
const pageLength = 1000

/** What was brought back, for the log. */
export interface RestoreReport {
  sessions: number
  deliveries: number
  retained: number
}

export function restore(broker: Broker, store: Store): RestoreReport {
  const wallMs = broker.clock.wallMs()
  const report: RestoreReport = { sessions: 0, deliveries: 0, retained: 0 }
  for (const { topic, message } of store.retained()) {
    broker.retained.set(topic, read(broker, message, wallMs))
    report.retained++
  }
  // A message that waits for many Sessions is one object, as it was before.
  const messages = new Map<number, ApplicationMessage>()
  const restored: { session: Session; forMs: number }[] = []
  for (const stored of store.sessions()) {
    const { detachedAtMs } = stored.session
    const session = restoreSession(broker, stored)
    report.sessions++
    report.deliveries += restoreDeliveries(broker, store, session, messages, wallMs)
    // A broker that died had it attached: its connection is lost now. Clocks may have been set back meanwhile.
    restored.push({ session, forMs: detachedAtMs === null ? 0 : Math.max(0, wallMs - detachedAtMs) })
  }
  broker.useJournal(store)
  // Wills that are due may reach other Sessions, so all have to be there.
  for (const { session, forMs } of restored) broker.sessions.abandoned(session, forMs)
  return report
}

function restoreSession(broker: Broker, stored: StoredSession): Session {
  const record = stored.session
  const session = broker.sessions.create(record.clientId)
  session.storeNumber = record.sessionNumber
  session.client = clientOf(record)
  session.mountPoint = record.mountPoint
  session.expirySeconds = Math.min(record.expirySeconds, broker.limits.sessionExpirySeconds)
  session.isDurable = session.expirySeconds > 0
  session.will = willOf(broker, record, session.client)
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

function restoreDeliveries(
  broker: Broker,
  store: Store,
  session: Session,
  messages: Map<number, ApplicationMessage>,
  wallMs: number,
): number {
  let count = 0
  let from = 0
  for (;;) {
    let inPage = 0
    for (const { order, delivery, message } of store.deliveries(session.storeNumber, from, pageLength)) {
      inPage++
      from = order + 1
      const { messageNumber, qos, retain, identifiers, packetId, isReleased } = delivery
      let own = messages.get(messageNumber)
      if (own === undefined) {
        own = message === null ? new ApplicationMessage() : read(broker, message, wallMs)
        own.storeNumber = messageNumber
        if (message !== null) messages.set(messageNumber, own)
      }
      const share =
        delivery.share === null ? null : broker.router.shareGroup(delivery.share.filter, delivery.share.shareName)
      session.restoreDelivery({ message: own, qos, retain, identifiers, share, order }, packetId, isReleased)
    }
    count += inPage
    if (inPage < pageLength) return count
  }
}

function read(broker: Broker, record: MessageRecord, wallMs: number): ApplicationMessage {
  const { packet } = record
  let bodyStart = 1
  while (packet[bodyStart] > 0x7f) bodyStart++
  const message = new ApplicationMessage()
  parsePublish(message, packet, 0, bodyStart + 1, packet.length, record.isVersion5)
  message.isOwned = true
  if (message.expiryAt !== -1) {
    message.receivedAtMs = broker.clock.monotonicMs() - Math.max(0, wallMs - record.receivedAtMs)
  }
  return message
}

function clientOf(record: SessionRecord): ClientInfo {
  const { clientId, username, group, listener } = record
  const address = 'before the restart'
  const peer = { transport: 'memory' as const, address, port: null, pid: null, uid: null, gid: null, label: address }
  return { clientId, username, group, listener, level: record.level as ProtocolLevel, peer }
}

function willOf(broker: Broker, record: SessionRecord, client: ClientInfo): Will | null {
  if (record.will === null) return null
  const { packet, delaySeconds } = record.will
  const message = read(broker, { packet, isVersion5: true, receivedAtMs: broker.clock.wallMs() }, broker.clock.wallMs())
  const { topic } = message
  const mayPublish = () =>
    broker.authorizeAs(client, record.mountPoint, 'publish', topic.slice(record.mountPoint.length))
  return { message, topic, delaySeconds, mayPublish }
}
