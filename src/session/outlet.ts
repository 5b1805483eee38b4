// What a Session writes to: the writing half of a connection, or the in-process client.
import type { ApplicationMessage } from '../codec/application-message.ts'
import type { Qos } from '../codec/packet-types.ts'

/** Where a Session sends to while a connection is attached. */
export interface Outlet {
  /** false while the output is over its limit: what can wait has to. */
  readonly isWritable: boolean
  /**
   * @param hasWaited the message stood in the queue: it is no longer dropped because the output is over its limit
   * @returns false when the message was dropped
   */
  sendQos0(
    message: ApplicationMessage,
    retain: boolean,
    identifiers: readonly number[] | null,
    hasWaited: boolean,
  ): boolean
  /** @returns false when it is too large for the client and counts as sent [MQTT-3.1.2-25] */
  sendPublish(
    message: ApplicationMessage,
    qos: Qos,
    retain: boolean,
    identifiers: readonly number[] | null,
    packetId: number,
    isDuplicate: boolean,
  ): boolean
  sendPubrel(packetId: number, reasonCode: number): void
  /** The server parts with the client. */
  disconnect(reasonCode: number, reason: string): void
}
