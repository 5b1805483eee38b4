// SUBSCRIBE (chapter 3.8): every filter is decided on its own, then one SUBACK answers, then retained messages follow.
import { ProtocolError } from '../base/errors.ts'
import type { SubscribePacket, SubscriptionRequest } from '../codec/packets.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import type { Subscription } from '../routing/subscription.ts'
import { hasWildcard, isSharedFilter, isValidTopicFilter, parseSharedFilter } from '../topic/topic-filter.ts'
import { countLevels } from '../topic/topic-name.ts'
import type { Connection } from './connection.ts'
import type { MaybePromise } from './hooks.ts'
import { RetainedReplay } from './retained-replay.ts'

/** @throws ProtocolError */
export function handleSubscribe(connection: Connection, packet: SubscribePacket): void {
  const { broker } = connection
  if (packet.subscriptions.some((request) => request.noLocal && isSharedFilter(request.filter))) {
    throw new ProtocolError(ReasonCode.protocolError, 'No Local on a shared subscription') // [MQTT-3.8.3-4]
  }
  if (connection.session!.inboundQos2?.has(packet.packetId) === true) {
    answer(
      connection,
      packet,
      packet.subscriptions.map(() => ReasonCode.packetIdentifierInUse),
    )
    return
  }
  const identifier = packet.properties?.subscriptionIdentifiers?.[0] ?? null
  const refusals = packet.subscriptions.map((request) => refusalOf(connection, request, identifier))
  const asked: Promise<void>[] = []
  packet.subscriptions.forEach((request, index) => {
    if (refusals[index] !== 0) return
    const filter = parseSharedFilter(request.filter)?.filter ?? request.filter
    const right: MaybePromise<boolean> = broker.hasRules
      ? broker.rights.authorize(connection.info!, connection.listener.mountPoint, 'subscribe', filter)
      : true
    if (right === false) refusals[index] = ReasonCode.notAuthorized
    else if (right !== true) {
      const record = (isAllowed: boolean) => {
        if (!isAllowed) refusals[index] = ReasonCode.notAuthorized
      }
      asked.push(right.then(record))
    }
  })
  const finish = () => subscribeAll(connection, packet, refusals, identifier)
  if (asked.length === 0) finish()
  else {
    connection.whenAnswered(Promise.all(asked), (answers) => {
      if (answers === null) refusals.fill(ReasonCode.implementationSpecificError)
      finish()
    })
  }
}

/** The Reason Code that refuses this filter whoever asks, or 0. */
function refusalOf(connection: Connection, request: SubscriptionRequest, identifier: number | null): number {
  const { features, limits } = connection.broker
  const isShared = isSharedFilter(request.filter)
  const shared = isShared ? parseSharedFilter(request.filter) : null
  if (isShared ? shared === null : !isValidTopicFilter(request.filter)) return ReasonCode.topicFilterInvalid
  const filter = shared?.filter ?? request.filter
  if (countLevels(filter) > limits.topicLevels) return ReasonCode.topicFilterInvalid
  if (isShared && !features.sharedSubscriptions) return ReasonCode.sharedSubscriptionsNotSupported
  if (hasWildcard(filter) && !features.wildcardSubscriptions) return ReasonCode.wildcardSubscriptionsNotSupported
  if (identifier !== null && !features.subscriptionIdentifiers) return ReasonCode.subscriptionIdentifiersNotSupported
  if (Buffer.byteLength(connection.mount(filter)) > 0xffff) return ReasonCode.topicFilterInvalid
  return 0
}

function subscribeAll(
  connection: Connection,
  packet: SubscribePacket,
  refusals: readonly number[],
  identifier: number | null,
): void {
  const { broker } = connection
  const session = connection.session!
  const replay: Subscription[] = []
  const reasonCodes = packet.subscriptions.map((request, index) => {
    if (refusals[index] !== 0) {
      if (refusals[index] === ReasonCode.notAuthorized) broker.counters.subscribeDenied++
      return refusals[index]
    }
    const refusal = broker.hooks.runSubscribe(connection.info!, request.filter, request.qos)
    if (refusal !== 0) return refusal
    // A hook, or who heard of the filter before, may have parted with the client: its Session can be over.
    if (!connection.isOpen) return ReasonCode.unspecifiedError
    const shared = parseSharedFilter(request.filter)
    const options = {
      filter: connection.mount(shared?.filter ?? request.filter),
      shareName: shared?.shareName ?? null,
      qos: request.qos < broker.features.maximumQos ? request.qos : broker.features.maximumQos, // [MQTT-3.2.2-10]
      noLocal: request.noLocal,
      retainAsPublished: request.retainAsPublished,
      identifier,
    }
    const existing = broker.router.find(session, options.filter, options.shareName)
    let subscription: Subscription
    if (existing !== null) {
      broker.router.update(existing, options)
      subscription = existing
    } else {
      if (!broker.hasRoomForSubscription(session)) return ReasonCode.quotaExceeded
      subscription = broker.router.add(session, options)
      session.addSubscription(subscription)
    }
    if (session.isStored) broker.journal?.subscribed(session, subscription)
    broker.subscribed(connection.info!, request.filter, options.qos)
    // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]; a Shared Subscription gets no retained messages.
    const wantsRetained = request.retainHandling === 0 || (request.retainHandling === 1 && existing === null)
    if (wantsRetained && shared === null && broker.retained.count > 0) replay.push(subscription)
    return options.qos
  })
  answer(connection, packet, reasonCodes)
  if (replay.length === 0 || !connection.isOpen) return
  connection.replay ??= new RetainedReplay(broker, session, connection.writer.output)
  for (const subscription of replay) connection.replay.add(subscription)
  connection.replay.go()
}

/** [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6] */
function answer(connection: Connection, packet: SubscribePacket, reasonCodes: number[]): void {
  const codes = connection.isVersion5 ? reasonCodes : reasonCodes.map((code) => (code >= 0x80 ? 0x80 : code))
  connection.answers.when(() =>
    connection.writer.send({ type: 'suback', packetId: packet.packetId, reasonCodes: codes }),
  )
}
