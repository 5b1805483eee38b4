// Brings back what a store holds, before the first connection: Sessions with all that belongs to them, and retained messages.
import { Slices } from '../base/slices.ts'
import { ApplicationMessage } from '../codec/application-message.ts'
import type { ProtocolLevel, Qos } from '../codec/packet-types.ts'
import type { ClientInfo } from '../session/client-info.ts'
import type { Journal } from '../session/journal.ts'
import { departingLimitMessages, type Session, type Will } from '../session/session.ts'
import type { MessageRecord, QueueTally, SessionRecord, Store, StoredSession } from '../storage/store.ts'
import type { Broker } from './broker.ts'

const sessionsPerPage = 100
/** Deliveries read at a time. */
const pageLength = 100
const pageBytes = 1024 * 1024

/** What was brought back, for the log. */
export interface RestoreReport {
  sessions: number
  deliveries: number
  retained: number
}

/**
 * In slices: others of the same loop go on meanwhile. Nothing may reach the broker before all is there.
 * @throws (rejects) the reason of `signal`; of no use is then what came into the broker
 */
export async function restore(broker: Broker, store: Store, signal?: AbortSignal): Promise<RestoreReport> {
  const wallMs = broker.clock.wallMs()
  const report: RestoreReport = { sessions: 0, deliveries: 0, retained: 0 }
  const slices = new Slices(broker.clock, { nextTurn: () => broker.loop.turnOfOne(), signal })
  const { references, queues } = await store.tallyDeliveries(slices)
  const journal = broker.useJournal(store, references)
  await slices.each<{ topic: string; message: MessageRecord }>(
    (last) => store.retained(last?.topic),
    ({ topic, message }) => {
      broker.retained.set(topic, journal.messageOf(message))
      report.retained++
    },
  )
  const restored: { session: Session; detachedAtMs: number | null }[] = []
  for (let page = sessionsAfter(store, 0, slices); page.length > 0; ) {
    for (const stored of page) {
      restored.push({
        session: restoreSession(broker, journal, stored),
        detachedAtMs: stored.session.detachedAtMs,
      })
      report.sessions++
      if (slices.isOver) await slices.next()
    }
    page = sessionsAfter(store, page[page.length - 1].session.sessionNumber, slices)
  }
  // A message that is in flight to many Sessions is one object, as it was before.
  const messages = new Map<number, ApplicationMessage>()
  // Shared messages name groups that others may be the members of, so all have to be there.
  for (const { session, detachedAtMs } of restored) {
    const queue = queues.get(session.storeNumber)
    // A client that was connected may have been sent two windows since the last batch that was written.
    const { inflight, queueQos0 } = broker.limits
    const window = inflight + (queueQos0 ? departingLimitMessages : 0)
    const maybeSent = detachedAtMs === null ? 2 * window : 0
    report.deliveries += await restoreDeliveries(journal, store, session, messages, queue, maybeSent, slices)
    session.restored()
    if (slices.isOver) await slices.next()
  }
  // Wills that are due may reach other Sessions.
  for (const { session, detachedAtMs } of restored) {
    // A broker that died had it attached: its connection is lost now.
    if (detachedAtMs === null) broker.sessions.abandoned(session)
    // Clocks may have been set back meanwhile.
    else broker.sessions.wasAbandoned(session, Math.max(0, wallMs - detachedAtMs))
    if (slices.isOver) await slices.next()
  }
  return report
}

/** The next few; none when there are no more. */
function sessionsAfter(store: Store, after: number, slices: Slices): StoredSession[] {
  const page: StoredSession[] = []
  for (const stored of store.sessions(after)) {
    page.push(stored)
    if (page.length === sessionsPerPage || slices.isOver) break
  }
  return page
}

function restoreSession(broker: Broker, journal: Journal, stored: StoredSession): Session {
  const record = stored.session
  const session = broker.sessions.create(record.clientId)
  session.storeNumber = record.sessionNumber
  session.client = clientOf(record)
  // Rights may have been taken away since its messages came in.
  session.forgetRights()
  session.mountPoint = record.mountPoint
  session.expirySeconds = Math.min(record.expirySeconds, broker.limits.sessionExpirySeconds)
  session.isDurable = session.expirySeconds > 0
  session.maybeSentBefore = record.maybeSentBefore
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
async function restoreDeliveries(
  journal: Journal,
  store: Store,
  session: Session,
  messages: Map<number, ApplicationMessage>,
  queue: QueueTally | undefined,
  maybeSent: number,
  slices: Slices,
): Promise<number> {
  let count = 0
  let from = 0
  for (;;) {
    const pageFrom = from
    const page = store.deliveries(session.storeNumber, from, pageLength, pageBytes, (order) => {
      from = order + 1
    })
    for (const { order, delivery, message } of page) {
      from = Math.max(from, order + 1)
      const { messageNumber, packetId, isReleased } = delivery
      const isOver = packetId === 0 && queue !== undefined && order < queue.lastInflight
      if (packetId === 0 && !isOver) {
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
      if (isOver) {
        // What is in flight has left the queue after it: it was over, and a rescue has brought it back.
        journal.deliveryOver(session, order, journal.deliveryOf(delivery, order, own))
        queue.messages--
        queue.bytes -= delivery.sizeBytes
        continue
      }
      session.restoreInflight(journal.deliveryOf(delivery, order, own), packetId, isReleased)
      count++
    }
    if (from === pageFrom) return count
    if (slices.isOver) await slices.next()
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
    broker.rights.authorize(client, record.mountPoint, 'publish', topic.slice(record.mountPoint.length))
  return { message, topic, delaySeconds, mayPublish }
}
