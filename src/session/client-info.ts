// A connected client as hooks, events and logs see it.
import type { Peer } from '../base/peer.ts'
import type { ProtocolLevel } from '../codec/packet-types.ts'

export interface ClientInfo {
  readonly clientId: string
  /** Only once somebody has vouched for it; else null. */
  readonly username: string | null
  /** Replaces %g in rules; null where nobody knows it. */
  readonly group: string | null
  readonly peer: Peer
  readonly listener: string
  readonly level: ProtocolLevel
}
