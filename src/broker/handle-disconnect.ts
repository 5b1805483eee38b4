// DISCONNECT from a client (chapter 3.14).
import { ProtocolError } from '../base/errors.ts'
import { isClientDisconnectReason } from '../codec/decode.ts'
import type { DisconnectPacket } from '../codec/packets.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import type { Connection } from './connection.ts'

/** @throws ProtocolError */
export function handleDisconnect(connection: Connection, packet: DisconnectPacket): void {
  if (!isClientDisconnectReason(packet.reasonCode)) {
    throw new ProtocolError(ReasonCode.protocolError, 'reason code is not one of a client') // [MQTT-3.14.2-1]
  }
  const expiry = packet.properties?.sessionExpiryInterval
  if (packet.properties?.serverReference !== undefined) {
    throw new ProtocolError(ReasonCode.protocolError, 'server reference from a client')
  }
  if (expiry !== undefined) {
    if (connection.hasZeroExpiry && expiry !== 0) {
      throw new ProtocolError(ReasonCode.protocolError, 'session expiry interval was 0 in CONNECT')
    }
    const session = connection.session!
    // Limits may have been 0 at CONNECT: what has not been noted since then would be lost with a crash.
    session.expirySeconds = session.isDurable ? connection.broker.grantedExpiry(expiry) : 0
  }
  // [MQTT-3.14.4-3] [MQTT-3.1.2-10]
  connection.isWillDiscarded = packet.reasonCode === ReasonCode.normalDisconnection
  connection.close(packet.reasonCode)
}
