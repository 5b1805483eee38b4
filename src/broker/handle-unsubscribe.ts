// UNSUBSCRIBE (chapter 3.10).
import type { UnsubscribePacket } from '../codec/packets.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import { isSharedFilter, isValidTopicFilter, parseSharedFilter } from '../topic/topic-filter.ts'
import type { Connection } from './connection.ts'

export function handleUnsubscribe(connection: Connection, packet: UnsubscribePacket): void {
  const reasonCodes = packet.filters.map((filter) => unsubscribe(connection, filter)) // [MQTT-3.10.4-6] [MQTT-3.11.3-1]
  // [MQTT-3.10.4-4] [MQTT-3.10.4-5]
  connection.answers.when(() => connection.writer.send({ type: 'unsuback', packetId: packet.packetId, reasonCodes }))
}

function unsubscribe(connection: Connection, text: string): number {
  const { broker } = connection
  const session = connection.session!
  const shared = isSharedFilter(text) ? parseSharedFilter(text) : null
  if (isSharedFilter(text) ? shared === null : !isValidTopicFilter(text)) return ReasonCode.topicFilterInvalid
  const filter = connection.mount(shared?.filter ?? text)
  const subscription = broker.router.find(session, filter, shared?.shareName ?? null)
  if (subscription === null) return ReasonCode.noSubscriptionExisted
  broker.unsubscribe(session, subscription) // [MQTT-3.10.4-1] [MQTT-3.10.4-2]
  broker.unsubscribed(connection.info!, text)
  return ReasonCode.success
}
