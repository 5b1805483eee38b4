// Enhanced authentication (chapter 4.12): the exchange of AUTH packets, at CONNECT and again later.
import { ProtocolError } from '../base/errors.ts'
import type { AuthPacket, ConnectPacket } from '../codec/packets.ts'
import type { Properties } from '../codec/properties.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import type { Connection } from './connection.ts'
import { authenticated } from './handle-connect.ts'
import type { EnhancedAuthenticationAnswer, EnhancedAuthenticator } from './hooks.ts'

/** An exchange that is under way, or the method of one that succeeded. */
export interface EnhancedExchange {
  authenticator: EnhancedAuthenticator
  /** The CONNECT that it decides on; null once connected. */
  connect: ConnectPacket | null
  state: unknown
  /** Whether the client is expected to send AUTH 0x18. */
  isWaiting: boolean
}

/** @throws ProtocolError 0x8C for a method that nobody offers [MQTT-4.12.0-1] */
export function startExchange(connection: Connection, packet: ConnectPacket, method: string): void {
  const authenticator = connection.broker.hooks.enhancedAuthenticators.get(method)
  if (authenticator === undefined) {
    throw new ProtocolError(ReasonCode.badAuthenticationMethod, 'this authentication method is not known')
  }
  connection.exchange = { authenticator, connect: packet, state: null, isWaiting: false }
  step(connection, connection.exchange, packet.properties.authenticationData ?? null)
}

/** @throws ProtocolError */
export function handleAuth(connection: Connection, packet: AuthPacket): void {
  const { exchange } = connection
  if (exchange === null) {
    throw new ProtocolError(ReasonCode.protocolError, 'AUTH without an authentication method in CONNECT') // [MQTT-4.12.0-7]
  }
  const properties = packet.properties ?? {}
  if (properties.authenticationMethod !== exchange.authenticator.method) {
    throw new ProtocolError(ReasonCode.protocolError, 'AUTH with another authentication method') // [MQTT-4.12.0-5] [MQTT-4.12.1-1]
  }
  if (exchange.isWaiting) {
    if (packet.reasonCode !== ReasonCode.continueAuthentication) {
      throw new ProtocolError(ReasonCode.protocolError, 'AUTH does not continue the authentication') // [MQTT-4.12.0-3]
    }
  } else if (packet.reasonCode !== ReasonCode.reauthenticate) {
    throw new ProtocolError(ReasonCode.protocolError, 'AUTH continues no authentication')
  } else exchange.state = null
  exchange.isWaiting = false
  step(connection, exchange, properties.authenticationData ?? null)
}

function step(connection: Connection, exchange: EnhancedExchange, data: Buffer | null): void {
  const { connect, authenticator } = exchange
  const answer = authenticator.step({
    clientId: connect?.clientId ?? connection.info!.clientId,
    username: connect === null ? connection.info!.username : connect.username,
    peer: connection.network.peer,
    data,
    state: exchange.state,
  })
  const failed: EnhancedAuthenticationAnswer = { status: 'failure', reasonCode: ReasonCode.serverUnavailable }
  if (answer instanceof Promise) {
    connection.whenAnswered(answer, (late) => proceed(connection, exchange, late ?? failed))
  } else proceed(connection, exchange, answer)
}

function proceed(connection: Connection, exchange: EnhancedExchange, answer: EnhancedAuthenticationAnswer): void {
  const { method } = exchange.authenticator
  // Whatever is no clear yes is a no.
  if (answer.status !== 'continue' && answer.status !== 'success') {
    connection.broker.counters.authenticationFailures++
    // [MQTT-4.12.0-4] [MQTT-4.12.1-2]
    throw new ProtocolError(answer.reasonCode ?? ReasonCode.notAuthorized, 'authentication failed')
  }
  const properties: Properties = { authenticationMethod: method } // [MQTT-4.12.0-5]
  if (answer.data !== undefined) properties.authenticationData = answer.data
  if (answer.status === 'continue') {
    exchange.state = answer.state ?? null
    exchange.isWaiting = true
    connection.writer.send({ type: 'auth', reasonCode: ReasonCode.continueAuthentication, properties }) // [MQTT-4.12.0-2]
    return
  }
  const { connect } = exchange
  if (connect === null) {
    connection.writer.send({ type: 'auth', reasonCode: ReasonCode.success, properties })
    return
  }
  exchange.connect = null
  const username = answer.username === undefined ? connect.username : answer.username
  authenticated(connection, connect, { allowed: true, username }, properties)
}
