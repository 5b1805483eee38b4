// What a CONNACK may say, and a refusal in words: also that of an old server, which answers in a version of its own.
import { OperatorError } from '../base/errors.ts'
import { malformed } from '../codec/byte-reader.ts'
import { type ProtocolLevel, protocolVersionNames } from '../codec/packet-types.ts'
import type { ConnackPacket } from '../codec/packets.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import { type Address, formatAddress } from '../transport/address.ts'
import { describeReason } from './client-closed.ts'

const connackCodes = new Set([
  0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b,
  0x9c, 0x9d, 0x9f,
])

const reasonOfReturnCode = [
  ReasonCode.success,
  ReasonCode.unsupportedProtocolVersion,
  ReasonCode.clientIdentifierNotValid,
  ReasonCode.serverUnavailable,
  ReasonCode.badUserNameOrPassword,
  ReasonCode.notAuthorized,
]

/** The server has answered CONNECT with a refusal. */
export class ConnectRefusedError extends OperatorError {
  /** As it came: a Reason Code in MQTT 5, a return code from 1 to 5 in MQTT 3. */
  readonly connackCode: number
  /** The Reason Code of MQTT 5 that says the same. */
  readonly reasonCode: number

  constructor(address: Address, level: ProtocolLevel, connack: ConnackPacket) {
    const reasonCode = level === 5 ? connack.reasonCode : reasonOfReturnCode[connack.reasonCode]
    const why = describeReason(reasonCode, connack.properties?.reasonString)
    super('connect-refused', `${formatAddress(address)} refused the client: ${why}`, { fix: fixOf(reasonCode, level) })
    this.connackCode = connack.reasonCode
    this.reasonCode = reasonCode
  }
}

function fixOf(reasonCode: number, level: ProtocolLevel): string | undefined {
  switch (reasonCode) {
    case ReasonCode.unsupportedProtocolVersion:
      return `connect with another version than MQTT ${protocolVersionNames[level]}`
    case ReasonCode.clientIdentifierNotValid:
      return 'give another client identifier'
    case ReasonCode.badUserNameOrPassword:
    case ReasonCode.notAuthorized:
      return 'check the user name and password, and what they allow'
    case ReasonCode.serverUnavailable:
    case ReasonCode.serverBusy:
    case ReasonCode.quotaExceeded:
    case ReasonCode.connectionRateExceeded:
      return 'try again later'
    default:
      return undefined
  }
}

/** @throws ProtocolError */
export function checkConnack(packet: ConnackPacket, level: ProtocolLevel, isCleanStart: boolean): void {
  const { reasonCode, sessionPresent } = packet
  const isKnown = level === 5 ? connackCodes.has(reasonCode) : reasonCode < reasonOfReturnCode.length
  if (!isKnown) throw malformed(`CONNACK with the code ${reasonCode}`)
  if (!sessionPresent || level === 3) return // MQTT 3.1 has no Session Present; its byte is unused
  if (reasonCode !== 0) throw malformed('CONNACK with a refusal and Session Present') // [MQTT-3.2.2-6]
  if (isCleanStart) throw malformed('CONNACK with a Session after Clean Start') // [MQTT-3.2.2-2]
}

/**
 * A server that does not know MQTT 5 refuses it with a CONNACK of MQTT 3.1.1: two bytes, without properties.
 * @returns null when it is not that
 */
export function refusalOfOldServer(
  address: Address,
  buffer: Buffer,
  start: number,
  end: number,
): ConnectRefusedError | null {
  const code = buffer[start + 1]
  if (end - start !== 2 || buffer[start] !== 0 || code === 0 || code >= reasonOfReturnCode.length) return null
  const refusal = new ConnectRefusedError(address, 5, {
    type: 'connack',
    sessionPresent: false,
    reasonCode: reasonOfReturnCode[code],
  })
  return refusal
}
