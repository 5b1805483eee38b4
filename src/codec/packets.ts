// The MQTT Control Packets as plain objects, for everything but the hot path of PUBLISH, which stays bytes.
import type { ProtocolLevel, Qos } from './packet-types.ts'
import type { Properties } from './properties.ts'

export interface WillPacket {
  topic: string
  payload: Buffer
  qos: Qos
  retain: boolean
  properties: Properties
}

export interface ConnectPacket {
  type: 'connect'
  level: ProtocolLevel
  /** Clean Start of MQTT 5, Clean Session of 3.x. */
  cleanStart: boolean
  keepAliveSeconds: number
  clientId: string
  will: WillPacket | null
  /** null is absent; '' was sent empty. */
  username: string | null
  password: Buffer | null
  properties: Properties
}

export interface ConnackPacket {
  type: 'connack'
  sessionPresent: boolean
  /** A Reason Code for MQTT 5, a return code for 3.x. */
  reasonCode: number
  properties?: Properties
}

export interface PublishPacket {
  type: 'publish'
  topic: string
  payload: Buffer
  qos: Qos
  retain: boolean
  duplicate: boolean
  /** 0 for QoS 0. */
  packetId: number
  properties?: Properties
}

export interface AcknowledgementPacket {
  type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'
  packetId: number
  reasonCode: number
  properties?: Properties
}

export interface SubscriptionRequest {
  filter: string
  qos: Qos
  noLocal: boolean
  retainAsPublished: boolean
  retainHandling: 0 | 1 | 2
}

export interface SubscribePacket {
  type: 'subscribe'
  packetId: number
  subscriptions: SubscriptionRequest[]
  properties?: Properties
}

export interface SubackPacket {
  type: 'suback'
  packetId: number
  reasonCodes: number[]
  properties?: Properties
}

export interface UnsubscribePacket {
  type: 'unsubscribe'
  packetId: number
  filters: string[]
  properties?: Properties
}

export interface UnsubackPacket {
  type: 'unsuback'
  packetId: number
  /** Only sent in MQTT 5. */
  reasonCodes: number[]
  properties?: Properties
}

export interface PingPacket {
  type: 'pingreq' | 'pingresp'
}

export interface DisconnectPacket {
  type: 'disconnect'
  reasonCode: number
  properties?: Properties
}

export interface AuthPacket {
  type: 'auth'
  reasonCode: number
  properties?: Properties
}

export type Packet =
  | ConnectPacket
  | ConnackPacket
  | PublishPacket
  | AcknowledgementPacket
  | SubscribePacket
  | SubackPacket
  | UnsubscribePacket
  | UnsubackPacket
  | PingPacket
  | DisconnectPacket
  | AuthPacket
