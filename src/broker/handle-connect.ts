// CONNECT (chapter 3.1): limits, who it is, what it may, then the Session and CONNACK.
import { randomBytes } from 'node:crypto'
import { ProtocolError } from '../base/errors.ts'
import { createMessage } from '../codec/application-message.ts'
import { protocolVersionNames } from '../codec/packet-types.ts'
import type { ConnectPacket, WillPacket } from '../codec/packets.ts'
import type { Properties } from '../codec/properties.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import type { AuthenticationAnswer } from '../security/authority.ts'
import type { Journal } from '../session/journal.ts'
import { neverExpires, type Session, type Will } from '../session/session.ts'
import { countLevels, isReservedTopicName, isValidTopicName } from '../topic/topic-name.ts'
import type { Connection } from './connection.ts'
import { startExchange } from './handle-auth.ts'
import type { ClientInfo } from './hooks.ts'

/** The 1 to 23 characters that every server must accept [MQTT-3.1.3-5] are far below any limit that can be set. */
const assignedIdBytes = 12

/** @throws ProtocolError */
export function handleConnect(connection: Connection, packet: ConnectPacket): void {
  const { broker, listener, network } = connection
  connection.speak(packet.level)
  if (!listener.protocols.includes(protocolVersionNames[packet.level])) {
    throw new ProtocolError(
      ReasonCode.unsupportedProtocolVersion,
      `MQTT ${protocolVersionNames[packet.level]} is not allowed on this listener`,
    )
  }
  const { properties } = packet
  connection.writer.maximumPacketSize = properties.maximumPacketSize ?? 0xffff_ffff
  connection.writer.wantsProblemInformation = properties.requestProblemInformation !== 0
  connection.writer.topicAliasMaximum = properties.topicAliasMaximum ?? 0
  checkClientId(connection, packet)
  if (packet.will !== null) checkWill(connection, packet.will)
  const refusal = broker.refusalOfNewClient(connection, packet.clientId)
  if (refusal !== null) throw refusal
  if (properties.authenticationMethod !== undefined) {
    startExchange(connection, packet, properties.authenticationMethod)
    return
  }
  const { clientId, username, password } = packet
  const credentials = { clientId, username, password, peer: network.peer, listenerName: listener.name }
  const answer = broker.rights.authenticate(credentials, listener.anonymous)
  if (answer instanceof Promise) {
    connection.whenAnswered(answer, (late) => authenticated(connection, packet, late ?? unavailable))
  } else authenticated(connection, packet, answer)
}

const unavailable: AuthenticationAnswer = {
  allowed: false,
  reasonCode: ReasonCode.serverUnavailable,
  reason: 'authentication is not possible now',
}

function checkClientId(connection: Connection, packet: ConnectPacket): void {
  if (packet.clientId === '') {
    // [MQTT-3.1.3-6]; MQTT 3.1.1 gives an identifier only to a clean session, 3.1 never.
    if (packet.level === 3 || (packet.level === 4 && !packet.cleanStart)) {
      throw new ProtocolError(ReasonCode.clientIdentifierNotValid, 'the client identifier is empty')
    }
    return
  }
  if (Buffer.byteLength(packet.clientId) > connection.broker.limits.clientIdBytes) {
    throw new ProtocolError(ReasonCode.clientIdentifierNotValid, 'the client identifier is too long') // [MQTT-3.1.3-8]
  }
}

function checkWill(connection: Connection, will: WillPacket): void {
  const { features, limits } = connection.broker
  const isTooLong = Buffer.byteLength(connection.mount(will.topic)) > 0xffff
  if (!isValidTopicName(will.topic) || isTooLong || countLevels(will.topic) > limits.topicLevels) {
    throw new ProtocolError(ReasonCode.topicNameInvalid, 'the will topic is not a valid topic name')
  }
  const { responseTopic } = will.properties
  if (responseTopic !== undefined && (responseTopic.includes('+') || responseTopic.includes('#'))) {
    throw new ProtocolError(ReasonCode.protocolError, 'the response topic of the will has a wildcard')
  }
  if (will.qos > features.maximumQos) {
    throw new ProtocolError(ReasonCode.qosNotSupported, `Will QoS ${will.qos} is not supported`) // [MQTT-3.2.2-12]
  }
  if (will.retain && !features.retain) {
    throw new ProtocolError(ReasonCode.retainNotSupported, 'a retained will is not supported') // [MQTT-3.2.2-13]
  }
}

/** The client has said who it is, and somebody has decided. */
export function authenticated(
  connection: Connection,
  packet: ConnectPacket,
  answer: AuthenticationAnswer,
  exchanged: Properties = {},
): void {
  const { broker, listener, network } = connection
  if (!answer.allowed) {
    broker.counters.authenticationFailures++
    throw new ProtocolError(answer.reasonCode, answer.reason) // [MQTT-3.1.4-2]
  }
  const clientId = packet.clientId === '' ? assignClientId(connection) : packet.clientId
  const username = answer.username ?? null
  connection.info = {
    clientId,
    username,
    group: null,
    peer: network.peer,
    listener: listener.name,
    level: packet.level,
  }
  const right = packet.will === null || mayPublishWill(connection, packet.will)
  const proceed = (isAllowed: boolean | null) => {
    if (isAllowed !== true)
      throw new ProtocolError(ReasonCode.notAuthorized, 'not allowed to publish to the will topic')
    const verdict = broker.hooks.runConnect(connection.info!)
    const finish = (reasonCode: number | null) => {
      if (reasonCode === null) throw new ProtocolError(ReasonCode.serverUnavailable, 'a hook failed')
      if (reasonCode !== 0) throw new ProtocolError(reasonCode, 'refused by a hook')
      accept(connection, packet, clientId, exchanged)
    }
    if (typeof verdict === 'number') finish(verdict)
    else connection.whenAnswered(verdict, finish)
  }
  if (typeof right === 'boolean') proceed(right)
  else connection.whenAnswered(right, proceed)
}

function mayPublishWill(connection: Connection, will: WillPacket): boolean | Promise<boolean> {
  if (isReservedTopicName(will.topic)) return false
  return connection.broker.rights.authorize(connection.info!, connection.listener.mountPoint, 'publish', will.topic)
}

/** [MQTT-3.1.3-6] [MQTT-3.2.2-16] */
function assignClientId(connection: Connection): string {
  for (;;) {
    const clientId = `auto-${randomBytes(assignedIdBytes).toString('hex')}`
    if (connection.broker.sessions.get(clientId) === null) return clientId
  }
}

function accept(connection: Connection, packet: ConnectPacket, clientId: string, exchanged: Properties): void {
  const { broker } = connection
  const { limits } = broker
  const isVersion5 = packet.level === 5
  const requestedExpiry = isVersion5
    ? (packet.properties.sessionExpiryInterval ?? 0)
    : packet.cleanStart
      ? 0
      : neverExpires
  const expirySeconds = broker.grantedExpiry(requestedExpiry)
  // Others may have come in while somebody decided on this one.
  const refusal = broker.refusalOfNewClient(connection, clientId)
  if (refusal !== null) throw refusal
  const problem = expirySeconds > 0 ? broker.storeRefusal(clientId) : null
  if (problem !== null) {
    broker.counters.refusedByStore++
    throw new ProtocolError(ReasonCode.quotaExceeded, problem)
  }
  const changesBefore = broker.journal?.changes ?? 0
  const will = packet.will === null ? null : createWill(connection, packet.will)
  const { session, isPresent } = openSession(connection, clientId, packet.cleanStart)
  const isOfAnother = isPresent && !isSameUser(session.client, connection.info!)
  session.client = connection.info
  if (isOfAnother) broker.userChanged(session)
  session.mountPoint = connection.listener.mountPoint
  session.expirySeconds = expirySeconds
  // One that is in the store already is noted there until it ends, even if that is the end of this connection.
  session.isDurable = expirySeconds > 0 || session.isStored
  session.will = will
  // Noted as connected already: the time of a Session that a crash finds in this state runs from the restart on.
  if (session.isDurable) broker.journal?.session(session, null)
  connection.hasZeroExpiry = requestedExpiry === 0
  connection.receiveMaximum = limits.receiveMaximum
  connection.inboundAliasMaximum = limits.topicAliasMaximum

  const properties: Properties = { ...exchanged }
  // MQTT 3 cannot be told another Keep Alive, so there the client's own rules. [MQTT-3.2.2-22]
  let keepAliveSeconds = packet.keepAliveSeconds
  const cap = limits.keepAliveSeconds
  if (isVersion5 && cap > 0 && (keepAliveSeconds === 0 || keepAliveSeconds > cap)) {
    keepAliveSeconds = cap
    properties.serverKeepAlive = cap // [MQTT-3.2.2-21]
  }
  if (isVersion5) describeServer(connection, packet, properties, clientId, expirySeconds, requestedExpiry)

  const receiveMaximum = packet.properties.receiveMaximum ?? 0xffff
  const attach = () => {
    connection.connected(session, keepAliveSeconds)
    session.attach(connection.writer, Math.min(receiveMaximum, limits.inflight)) // [MQTT-3.3.4-9]
    broker.sessions.attached()
    // [MQTT-3.1.4-5] [MQTT-3.2.0-1]; MQTT 3.1 has no Session Present.
    connection.writer.send({
      type: 'connack',
      sessionPresent: isPresent && packet.level !== 3,
      reasonCode: 0,
      properties,
    })
    if (!connection.isOpen) return
    broker.clientConnected(connection)
    session.pump() // [MQTT-4.4.0-1]
  }
  const { journal } = broker
  // A client that was told of a new Session must never find one that ended before.
  const batch = journal === null ? 0 : journal.changes === changesBefore ? journal.endOf(clientId) : journal.batch
  if (journal === null || batch === 0) attach()
  else attachWhenDurable(connection, session, journal, batch, attach)
}

/** CONNACK tells the truth about the store: what it says is durable by then. */
function attachWhenDurable(
  connection: Connection,
  session: Session,
  journal: Journal,
  batch: number,
  attach: () => void,
): void {
  connection.hold()
  const claim = ++session.claims
  journal.whenDurable(() => {
    try {
      const isTaken = session.isEnded || session.claims !== claim
      if (connection.isOpen && isTaken) {
        throw new ProtocolError(ReasonCode.serverBusy, 'another connection has the session')
      }
      if (connection.isOpen) attach()
      else if (!isTaken) connection.broker.sessions.abandoned(session)
    } catch (error) {
      connection.fail(error)
    } finally {
      connection.release()
    }
  }, batch)
}

/** Whether rules that were asked about the one answer for the other. */
function isSameUser(one: ClientInfo | null, other: ClientInfo): boolean {
  return one !== null && one.username === other.username && one.group === other.group && one.listener === other.listener
}

/** What MQTT 5 tells the client of the server, where it differs from what a client may assume. */
function describeServer(
  connection: Connection,
  packet: ConnectPacket,
  properties: Properties,
  clientId: string,
  expirySeconds: number,
  requestedExpiry: number,
): void {
  const { limits, features } = connection.broker
  if (packet.clientId === '') properties.assignedClientIdentifier = clientId // [MQTT-3.1.3-7]
  if (expirySeconds !== requestedExpiry) properties.sessionExpiryInterval = expirySeconds
  if (limits.receiveMaximum < 0xffff) properties.receiveMaximum = limits.receiveMaximum
  if (limits.topicAliasMaximum > 0) properties.topicAliasMaximum = limits.topicAliasMaximum
  properties.maximumPacketSize = connection.listener.maxPacketSizeBytes
  if (features.maximumQos < 2) properties.maximumQos = features.maximumQos // [MQTT-3.2.2-9]
  if (!features.retain) properties.retainAvailable = 0
  if (!features.wildcardSubscriptions) properties.wildcardSubscriptionAvailable = 0
  if (!features.sharedSubscriptions) properties.sharedSubscriptionAvailable = 0
  if (!features.subscriptionIdentifiers) properties.subscriptionIdentifierAvailable = 0
}

/** The Session of this client: taken over from another connection, resumed, or new. [MQTT-3.1.4-3] [MQTT-3.1.4-4] */
function openSession(
  connection: Connection,
  clientId: string,
  isClean: boolean,
): { session: Session; isPresent: boolean } {
  const { broker } = connection
  const { sessions } = broker
  let existing = sessions.get(clientId)
  if (existing !== null && existing.outlet !== null) {
    broker.counters.sessionsTakenOver++
    existing.outlet.disconnect(ReasonCode.sessionTakenOver, 'another connection took the session over')
    // A Session without expiry has ended with its connection.
    existing = sessions.get(clientId)
    // Who heard of it may have parted with this client too, or put another in its place.
    if (!connection.isOpen || existing?.isAttached === true) {
      throw new ProtocolError(ReasonCode.serverBusy, 'another connection has the session')
    }
  }
  // Behind another mount point the same name is somebody else, whose topics are none of this client's business.
  if (existing !== null && !isClean && existing.mountPoint === connection.listener.mountPoint) {
    sessions.resume(existing) // [MQTT-3.1.2-5]
    return { session: existing, isPresent: true }
  }
  if (existing !== null) sessions.end(existing) // [MQTT-3.1.2-4]
  if (sessions.size >= broker.limits.sessions) {
    throw new ProtocolError(ReasonCode.quotaExceeded, 'no room for more sessions')
  }
  return { session: sessions.create(clientId), isPresent: false } // [MQTT-3.1.2-6]
}

/** [MQTT-3.1.2-7]; the user properties keep their order [MQTT-3.1.3-10]. */
function createWill(connection: Connection, packet: WillPacket): Will {
  const { willDelayInterval, ...properties } = packet.properties
  const topic = connection.mount(packet.topic)
  const { qos, retain, payload } = packet
  const nowMs = connection.broker.clock.monotonicMs()
  const message = createMessage(topic, payload, { qos, retain, properties, nowMs })
  const mayPublish = () => mayPublishWill(connection, packet)
  return { message, topic, delaySeconds: willDelayInterval ?? 0, mayPublish }
}
