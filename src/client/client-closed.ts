// Why the connection of a client is over, and the error that everything unfinished then ends with.
import { describeReasonCode } from '../codec/reason-codes.ts'

export interface CloseReason {
  /**
   * - `disconnected`: we asked for it
   * - `server-disconnected`: the server sent DISCONNECT
   * - `connection-lost`: the connection broke, or the server closed it without a word
   * - `keep-alive-timeout`: the server no longer answered PINGREQ
   * - `protocol-error`: the server sent what the specification forbids
   * - `message-refused`: `onMessage` threw
   */
  readonly cause:
    | 'disconnected'
    | 'server-disconnected'
    | 'connection-lost'
    | 'keep-alive-timeout'
    | 'protocol-error'
    | 'message-refused'
  /** The Reason Code of DISCONNECT, sent or received; 0 where none was. */
  readonly reasonCode: number
  /** For people, without a final full stop; may quote the server. */
  readonly message: string
}

/** Rejects what was under way when the connection ended. */
export class ClientClosedError extends Error {
  readonly reason: CloseReason

  constructor(reason: CloseReason) {
    super(reason.message)
    this.name = 'ClientClosedError'
    this.reason = reason
  }
}

/** `session taken over (0x8e): another client has come`; the last part is the Reason String, if there is one. */
export function describeReason(reasonCode: number, reasonString: string | undefined): string {
  return describeReasonCode(reasonCode) + (reasonString === undefined ? '' : `: ${reasonString}`)
}
