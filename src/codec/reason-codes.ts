// Reason Codes of MQTT 5 (chapter 2.4) and the return codes of CONNACK in 3.x.

export const ReasonCode = {
  success: 0x00,
  normalDisconnection: 0x00,
  grantedQos0: 0x00,
  grantedQos1: 0x01,
  grantedQos2: 0x02,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reauthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const

const namesByCode = new Map<number, string>()
for (const [name, code] of Object.entries(ReasonCode)) {
  if (!namesByCode.has(code)) namesByCode.set(code, name.replace(/([A-Z0-9]+)/g, ' $1').toLowerCase())
}

/** `not authorized (0x87)`, for people. */
export function describeReasonCode(code: number): string {
  return `${namesByCode.get(code) ?? 'unknown reason'} (0x${code.toString(16).padStart(2, '0')})`
}

const codesOfConnack: ReadonlySet<number> = new Set([
  0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b,
  0x9c, 0x9d, 0x9f,
])
const codesOfDisconnect: ReadonlySet<number> = new Set([
  0x00, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98,
  0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
])

/** `code`, or the nearest one that a server may send in CONNACK. [MQTT-3.2.2-8] */
export function codeForConnack(code: number): number {
  if (codesOfConnack.has(code)) return code
  return code === ReasonCode.serverShuttingDown ? ReasonCode.serverUnavailable : ReasonCode.unspecifiedError
}

/** `code`, or the nearest one that a server may send in DISCONNECT. [MQTT-3.14.2-1] */
export function codeForDisconnect(code: number): number {
  if (codesOfDisconnect.has(code)) return code
  if (code === ReasonCode.badUserNameOrPassword || code === ReasonCode.banned) return ReasonCode.notAuthorized
  return code === ReasonCode.unsupportedProtocolVersion ? ReasonCode.protocolError : ReasonCode.unspecifiedError
}

/** The 3.x CONNACK return code that says the same, or null where 3.x only closes the connection. */
export function connectReturnCode(reasonCode: number): number | null {
  switch (reasonCode) {
    case ReasonCode.success:
      return 0
    case ReasonCode.unsupportedProtocolVersion:
      return 1
    case ReasonCode.clientIdentifierNotValid:
      return 2
    case ReasonCode.serverUnavailable:
    case ReasonCode.serverBusy:
    case ReasonCode.quotaExceeded:
    case ReasonCode.connectionRateExceeded:
    case ReasonCode.serverShuttingDown:
      return 3
    case ReasonCode.badUserNameOrPassword:
      return 4
    case ReasonCode.notAuthorized:
    case ReasonCode.banned:
      return 5
    default:
      return null
  }
}
