// Who is this client and what may it do: the two questions that the broker asks, and the shape of the answers.
// Implementations are files beside this one (password file, ACL file) and the hooks of an embedder.
import type { Peer } from '../base/peer.ts'

/** What a client said of itself in CONNECT. A missing password is null, an empty one has length 0: they are not the same. */
export interface Credentials {
  clientId: string
  username: string | null
  password: Buffer | null
  peer: Peer
  listenerName: string
}

export type AuthenticationAnswer =
  | {
      allowed: true
      /** Replaces the user name given in CONNECT. */
      username?: string | null
    }
  | {
      allowed: false
      /** As in CONNACK of MQTT 5: 0x86 bad user name or password, 0x87 not authorized, 0x88 server unavailable, 0x89 busy. */
      reasonCode: number
      reason: string
    }

export interface Authenticator {
  /** May answer at once or later; throwing or rejecting counts as 0x88 server unavailable. */
  authenticate(credentials: Credentials): AuthenticationAnswer | Promise<AuthenticationAnswer>
}

/** Who a connected client is, as rules see it. */
export interface Identity {
  clientId: string
  username: string | null
  /** Replaces %g in rules; null where the platform or the listener gives none. */
  group: string | null
}

export interface Authorizer {
  /** Grows with every change of the rules, so that cached answers can be dropped. */
  readonly generation: number
  mayPublish(identity: Identity, topicName: string): boolean
  /** Whether a message of this topic may be given to this client: asked for live, retained and queued messages. */
  mayReceive(identity: Identity, topicName: string): boolean
  /** Whether this filter may be subscribed to at all (no message is delivered on the strength of this alone). */
  maySubscribe(identity: Identity, topicFilter: string): boolean
}
