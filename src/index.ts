// What `import … from 'atollmq'` gives: the only barrel.

export type { Clock } from './base/clock.ts'
export { describeOperatorError, OperatorError, ProtocolError } from './base/errors.ts'
export type { Peer } from './base/peer.ts'
export type { BrokerEvents } from './broker/broker.ts'
export type {
  AuthorizationRequest,
  BrokerHooks,
  ClientInfo,
  EnhancedAuthenticationAnswer,
  EnhancedAuthenticationStep,
  EnhancedAuthenticator,
  Message,
} from './broker/hooks.ts'
export type { LocalClient, LocalPublishOptions, LocalSubscribeOptions, MessageHandler } from './broker/local-client.ts'
export type { Properties } from './codec/properties.ts'
export { ReasonCode } from './codec/reason-codes.ts'
export { ConfigError } from './config/config-error.ts'
export {
  type AtollBroker,
  type BrokerCounters,
  type BrokerInput,
  type BrokerSurroundings,
  createBroker,
  type ListenerInfo,
  type StreamOptions,
} from './instance/create-broker.ts'
export { version } from './instance/version.ts'
export type { AuthenticationAnswer, Credentials } from './security/authority.ts'
