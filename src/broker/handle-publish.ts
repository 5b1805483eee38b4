// A PUBLISH from a client: this is the hot path. No string, promise or object is made for a message of a known topic.
import { ProtocolError } from '../base/errors.ts'
import {
  type ApplicationMessage,
  parsePublish,
  rewriteTopic,
  rewrittenLengthLimit,
} from '../codec/application-message.ts'
import { PacketType } from '../codec/packet-types.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import { isValidUtf8 } from '../codec/utf8.ts'
import { type Route, sameBytes } from '../routing/route-cache.ts'
import { countLevelBytes, hasWildcardByte } from '../topic/topic-name.ts'
import type { Connection } from './connection.ts'
import { droppedByHook } from './hook-registry.ts'
import type { MaybePromise } from './hooks.ts'

const noPrefix = Buffer.alloc(0)

/** @throws ProtocolError */
export function handlePublish(
  connection: Connection,
  buffer: Buffer,
  packetStart: number,
  bodyStart: number,
  end: number,
): void {
  const { broker } = connection
  const message = broker.inbound
  broker.variants.forget()
  parsePublish(message, buffer, packetStart, bodyStart, end, connection.isVersion5)
  broker.counters.publishReceived++
  broker.counters.publishBytesReceived += message.payloadLength
  if (message.topicAlias !== 0) resolveAlias(connection, message)
  else if (message.topicStart === message.topicEnd) {
    throw new ProtocolError(ReasonCode.protocolError, 'PUBLISH without a topic') // [MQTT-4.7.3-1]
  } else if (connection.mountPrefix !== null) {
    rewrite(connection, message, connection.mountPrefix, message.buffer, message.topicStart, message.topicEnd)
  }
  const route = findRoute(connection, message)
  const { features } = broker
  if (message.qos > features.maximumQos) {
    throw new ProtocolError(ReasonCode.qosNotSupported, `QoS ${message.qos} is not supported`) // [MQTT-3.2.2-11]
  }
  if (message.retain && !features.retain) {
    throw new ProtocolError(ReasonCode.retainNotSupported, 'retained messages are not supported') // [MQTT-3.2.2-14]
  }
  message.receivedAtMs = connection.receivedAtMs
  if (message.qos > 0 && !isNewPacketId(connection, message)) return
  if (broker.isMemoryCritical) connection.holdFor(100)
  const isAllowed = mayPublish(connection, route)
  if (isAllowed === true && broker.hooks.onPublish === null) {
    publish(connection, message, route)
    return
  }
  if (isAllowed === false) {
    refuse(connection, message.qos, message.packetId, ReasonCode.notAuthorized, 'not allowed to publish to this topic')
    return
  }
  publishAfterHooks(connection, message, route, isAllowed)
}

/** [MQTT-3.3.2-12] */
function resolveAlias(connection: Connection, message: ApplicationMessage): void {
  const alias = message.topicAlias
  if (alias > connection.inboundAliasMaximum) {
    throw new ProtocolError(ReasonCode.topicAliasInvalid, `topic alias ${alias} is over the maximum`) // [MQTT-3.3.2-9]
  }
  const prefix = connection.mountPrefix ?? noPrefix
  if (message.topicStart === message.topicEnd) {
    const known = connection.aliasedTopic(alias)
    if (known === undefined) throw new ProtocolError(ReasonCode.protocolError, `topic alias ${alias} is not known`)
    rewrite(connection, message, prefix, known, 0, known.length)
    return
  }
  const known = connection.aliasedTopic(alias)
  if (known === undefined || !sameBytes(known, message.buffer, message.topicStart, message.topicEnd)) {
    if (message.topicEnd > message.packetEnd) throw new ProtocolError(ReasonCode.malformedPacket, 'topic is cut short')
    const topic = Buffer.from(message.buffer.subarray(message.topicStart, message.topicEnd))
    connection.setAlias(alias, topic)
  }
  rewrite(connection, message, prefix, message.buffer, message.topicStart, message.topicEnd)
}

function rewrite(
  connection: Connection,
  message: ApplicationMessage,
  prefix: Buffer,
  topic: Buffer,
  topicStart: number,
  topicEnd: number,
): void {
  const { loop } = connection.broker
  if (prefix.length + topicEnd - topicStart > 0xffff) {
    throw new ProtocolError(ReasonCode.topicNameInvalid, 'the topic is too long with the mount point before it')
  }
  loop.reserveScratch(rewrittenLengthLimit(message, prefix.length + topicEnd - topicStart))
  const packetEnd = rewriteTopic(message, prefix, topic, topicStart, topicEnd, loop.scratchBuffer, loop.scratchStart)
  loop.trimScratch(packetEnd)
}

/** The route of the message's topic; the name is checked when it is new. */
function findRoute(connection: Connection, message: ApplicationMessage): Route {
  const { buffer, topicStart, topicEnd } = message
  const last = connection.lastRoute
  if (last?.isCached && sameBytes(last.topicBytes, buffer, topicStart, topicEnd)) return last
  const { broker } = connection
  let route = broker.router.findRoute(buffer, topicStart, topicEnd)
  if (route === null) {
    if (!isValidUtf8(buffer, topicStart, topicEnd)) {
      throw new ProtocolError(ReasonCode.malformedPacket, 'topic name is not valid UTF-8') // [MQTT-3.3.2-1]
    }
    if (hasWildcardByte(buffer, topicStart, topicEnd)) {
      throw new ProtocolError(ReasonCode.topicNameInvalid, 'topic name has a wildcard') // [MQTT-3.3.2-2]
    }
    if (countLevelBytes(buffer, topicStart, topicEnd) > broker.limits.topicLevels) {
      throw new ProtocolError(ReasonCode.topicNameInvalid, 'topic name has too many levels')
    }
    route = broker.router.addRoute(buffer, topicStart, topicEnd)
  }
  connection.lastRoute = route
  return route
}

/** Whether this QoS 1 or 2 message is to be processed; answers it if not. */
function isNewPacketId(connection: Connection, message: ApplicationMessage): boolean {
  const session = connection.session!
  const open = session.inboundQos2
  const { packetId } = message
  if (open?.has(packetId)) {
    if (message.qos === 2) {
      connection.broker.counters.duplicatesSuppressed++
      connection.answers.acknowledge(PacketType.pubrec, packetId, 0) // [MQTT-4.3.3-10]
    } else {
      connection.writer.acknowledge(
        PacketType.puback,
        packetId,
        ReasonCode.packetIdentifierInUse,
        'open in a QoS 2 exchange',
      )
    }
    return false
  }
  const openCount = (open === null ? 0 : open.size) + connection.answers.waitingPubacks
  if (openCount >= connection.receiveMaximum) exceedReceiveMaximum(connection)
  return true
}

/** [MQTT-3.3.4-7] */
function exceedReceiveMaximum(connection: Connection): void {
  if (connection.isVersion5 && connection.listener.receiveMaximumPolicy === 'strict') {
    throw new ProtocolError(ReasonCode.receiveMaximumExceeded, 'more messages in flight than Receive Maximum')
  }
  // What has come cannot be unread; a bound of twice the maximum keeps even a lenient listener's memory fixed.
  const open = connection.session!.inboundQos2?.size ?? 0
  if (open >= 2 * connection.receiveMaximum) {
    throw new ProtocolError(ReasonCode.receiveMaximumExceeded, 'far more messages in flight than Receive Maximum')
  }
}

function mayPublish(connection: Connection, route: Route): MaybePromise<boolean> {
  const { broker } = connection
  if (route.isReserved) return false
  // Wildcards of others behind the same mount point would match it. [MQTT-4.7.2-1]
  const { mountPrefix } = connection
  if (mountPrefix !== null && route.topic.charCodeAt(connection.listener.mountPoint.length) === 0x24) return false
  if (!broker.hasRules) return true
  if (connection.rightsGeneration !== broker.rightsGeneration) {
    connection.rightsGeneration = broker.rightsGeneration
    connection.allowedRoutes = new Set()
  }
  const allowed = connection.allowedRoutes!
  if (allowed.has(route)) return true
  const answer = broker.rights.authorize(
    connection.info!,
    connection.listener.mountPoint,
    'publish',
    connection.unmount(route.topic),
  )
  if (answer === true && route.isCached) {
    if (allowed.size >= allowedRoutesLimit) allowed.clear()
    allowed.add(route)
  }
  return answer
}

/** Topics that a client's right to publish is remembered for. */
const allowedRoutesLimit = 256

/** The rare ways: a hook looks at the message, or somebody takes time to answer. */
function publishAfterHooks(
  connection: Connection,
  message: ApplicationMessage,
  route: Route,
  isAllowed: true | Promise<boolean>,
): void {
  const { broker } = connection
  const { packetId, qos } = message
  const own = message.own()
  const decide = (allowed: boolean | null): MaybePromise<number> =>
    allowed === true
      ? broker.hooks.runPublish(connection.info, own, connection.listener.mountPoint)
      : ReasonCode.notAuthorized
  const answer = isAllowed === true ? decide(true) : isAllowed.then(decide)
  const finish = (verdict: number | null): void => {
    if (verdict === null) refuse(connection, qos, packetId, ReasonCode.implementationSpecificError, 'a hook failed')
    else if (verdict >= 0x80) refuse(connection, qos, packetId, verdict, 'refused')
    else if (verdict === droppedByHook) {
      broker.counters.droppedByHook++
      acknowledgeAllTheSame(connection, qos, packetId)
    } else {
      // The scratch message may hold another packet by now.
      const copy = own
      copy.packetId = packetId
      publish(connection, copy, route)
    }
  }
  if (typeof answer === 'number') finish(answer)
  else connection.whenAnswered(answer, finish)
}

/** The message goes nowhere, and its client is told that it was taken. */
function acknowledgeAllTheSame(connection: Connection, qos: number, packetId: number): void {
  if (qos === 1) connection.writer.acknowledge(PacketType.puback, packetId, 0)
  else if (qos === 2) {
    connection.session!.openInbound(packetId)
    connection.answers.acknowledge(PacketType.pubrec, packetId, 0)
  }
}

function publish(connection: Connection, message: ApplicationMessage, route: Route): void {
  const { broker } = connection
  const { qos, packetId } = message
  const problem = broker.refusalOfStore(route, message, connection.session!)
  if (problem !== null) {
    broker.storeRefusals.note(problem)
    refuse(connection, qos, packetId, ReasonCode.quotaExceeded, problem)
    return
  }
  if (message.retain && !broker.retain(route.topic, message)) {
    broker.counters.retainedRefused++
    refuse(connection, qos, packetId, ReasonCode.quotaExceeded, 'no room for more retained messages')
    return
  }
  const receivers = broker.router.dispatch(route, message, connection.session)
  if (qos === 0) return
  const reasonCode = receivers === 0 ? ReasonCode.noMatchingSubscribers : ReasonCode.success
  if (qos === 1) connection.answers.acknowledge(PacketType.puback, packetId, reasonCode)
  else {
    connection.session!.openInbound(packetId)
    connection.answers.acknowledge(PacketType.pubrec, packetId, reasonCode)
  }
}

function refuse(connection: Connection, qos: number, packetId: number, reasonCode: number, reason: string): void {
  const { broker } = connection
  if (reasonCode === ReasonCode.notAuthorized) broker.counters.publishDenied++
  // What was not taken must not be acknowledged; MQTT 3 has no other word for it.
  const isLost = reasonCode === ReasonCode.quotaExceeded && qos > 0
  if (!connection.isVersion5 && (isLost || broker.auth.deniedPublish === 'disconnect')) {
    throw new ProtocolError(reasonCode, reason)
  }
  if (qos === 0) return
  if (connection.isVersion5) {
    connection.writer.acknowledge(qos === 1 ? PacketType.puback : PacketType.pubrec, packetId, reasonCode, reason)
    return
  }
  // MQTT 3 has no words for a refusal.
  acknowledgeAllTheSame(connection, qos, packetId)
}
