// What a program that embeds the broker may decide or hear of. Every hook is optional; one that is not there costs nothing.
import type { Peer } from '../base/peer.ts'
import type { Qos } from '../codec/packet-types.ts'
import type { Properties } from '../codec/properties.ts'
import type { AuthenticationAnswer, Credentials } from '../security/authority.ts'
import type { ClientInfo } from '../session/client-info.ts'

export type { ClientInfo } from '../session/client-info.ts'

/** An Application Message as hooks, events and the in-process client see it. Its bytes must not be changed. */
export interface Message {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly properties: Properties
}

export interface AuthorizationRequest {
  client: ClientInfo
  action: 'publish' | 'subscribe' | 'receive'
  /** Topic Name to publish or receive; Topic Filter to subscribe, without `$share/name/`. */
  topic: string
}

export type MaybePromise<T> = T | Promise<T>

/** One step of an enhanced authentication exchange (chapter 4.12). */
export interface EnhancedAuthenticationStep {
  clientId: string
  username: string | null
  peer: Peer
  data: Buffer | null
  /** What the step before returned as `state`; null in the first. */
  state: unknown
}

export type EnhancedAuthenticationAnswer =
  | { status: 'continue'; data?: Buffer; state?: unknown }
  | { status: 'success'; data?: Buffer; username?: string | null }
  | { status: 'failure'; reasonCode?: number }

export interface EnhancedAuthenticator {
  /** As in the Authentication Method property. */
  method: string
  step(step: EnhancedAuthenticationStep): MaybePromise<EnhancedAuthenticationAnswer>
}

export interface BrokerHooks {
  /** Replaces the password file. true and false are short for the two answers; a throw or rejection refuses with 0x88. */
  authenticate?(credentials: Credentials): MaybePromise<boolean | AuthenticationAnswer>
  enhancedAuthenticators?: EnhancedAuthenticator[]
  /**
   * Asked beside the ACL file: both must allow. `receive` is asked synchronously, once per client and topic until rights
   * change, so a promise there counts as a refusal; a slow answer to the others pauses only this client.
   */
  authorize?(request: AuthorizationRequest): MaybePromise<boolean>
  /** Before CONNACK, once the client is authenticated; a Reason Code refuses it. */
  onConnect?(client: ClientInfo): MaybePromise<undefined | number>
  onDisconnect?(client: ClientInfo, reasonCode: number): void
  /** May refuse a filter by returning a Reason Code of SUBACK. */
  onSubscribe?(client: ClientInfo, filter: string, qos: Qos): undefined | number
  onUnsubscribe?(client: ClientInfo, filter: string): void
  /** false drops the message, which is still acknowledged; a Reason Code from 0x80 refuses it. @param client null for in-process publications of the broker */
  onPublish?(client: ClientInfo | null, message: Message): MaybePromise<undefined | boolean | number>
  /** Before a message goes to a client; false leaves this client out. */
  onDeliver?(client: ClientInfo, message: Message): undefined | boolean
}
