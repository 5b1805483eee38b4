// The shape of one instance's configuration after parsing, merging and filling in defaults: what the broker reads.
// Every value is present and in the unit its name ends in. How a file becomes this is the business of the schema.

export type ProtocolVersionName = '3.1' | '3.1.1' | '5'

export type QueuePolicy = 'drop-oldest' | 'drop-newest' | 'disconnect'

export type ShareStrategy = 'round-robin' | 'random' | 'sticky' | 'least-inflight'

/** One endpoint that accepts Network Connections. The same object whether it came from a file, a command or the API. */
export interface ListenerConfig {
  name: string
  /** Normalised: `tcp://host:port`, `unix:///path`, `unix:@abstract`, `fd:3`. */
  address: string
  enabled: boolean
  /** UNIX sockets only: permission bits of the socket file, e.g. 0o660. */
  mode: number
  /** UNIX sockets only: account name or number; null leaves the process's own. */
  owner: string | null
  group: string | null
  protocols: ProtocolVersionName[]
  /** Whether a client may connect without a user name. null: decided by the rule of safe defaults (loopback and UNIX only, and only while no password file is set). */
  anonymous: boolean | null
  maxConnections: number
  /** New connections per second, over which accepting is throttled; 0 for no limit. */
  connectRate: number
  /** From the transport connection to a complete CONNECT and its answer. */
  connectTimeoutSeconds: number
  maxPacketSizeBytes: number
  /** strict: DISCONNECT 0x93 for a client that sends more than Receive Maximum; lenient: only for one that sends twice as many. */
  receiveMaximumPolicy: 'strict' | 'lenient'
  /** Put before every topic of this listener's clients, taken off on delivery; '' for none. */
  mountPoint: string
  backlog: number
}

export interface LimitsConfig {
  /** Network Connections of the whole instance. */
  connections: number
  /** Packets waiting for one Session while it is offline or its window is closed. */
  queueMessages: number
  queueBytes: number
  /** How long a message may wait there; 0 for no limit. */
  queueAgeSeconds: number
  queuePolicy: QueuePolicy
  /** QoS 0 messages for kept Sessions wait too. */
  queueQos0: boolean
  /** Waiting messages of all Sessions together. */
  totalQueueBytes: number
  /** Bytes waiting to be written to one connection before QoS 0 is dropped and QoS 1 and 2 wait in the queue. */
  outputBytes: number
  /** A connection whose output is full and takes nothing for so long is closed. */
  stallTimeoutSeconds: number
  /** QoS 1 and 2 messages in flight towards one client; a smaller Receive Maximum of the client wins. */
  inflight: number
  /** Receive Maximum announced to clients. */
  receiveMaximum: number
  topicAliasMaximum: number
  topicLevels: number
  clientIdBytes: number
  subscriptionsPerClient: number
  subscriptions: number
  retainedMessages: number
  retainedBytes: number
  sessions: number
  /** Longest Session Expiry Interval granted; 4294967295 for no cap. */
  sessionExpirySeconds: number
  /**
   * Longest Keep Alive of MQTT 5 clients: one that asks for more, or for 0, gets this as Server Keep Alive. MQTT 3.x cannot be
   * told, so there the client's own value holds and 0 is no timeout. 0 for no cap.
   */
  keepAliveSeconds: number
  /** Per client; 0 for no limit. A token bucket that holds one second's worth. */
  messageRate: number
  byteRate: number
  /** Over a rate: stop reading until there are tokens again, or DISCONNECT 0x96. */
  ratePolicy: 'pause' | 'disconnect'
  /** Of all clients together; 0 for no limit. Over it they are read more slowly. */
  totalMessageRate: number
  totalByteRate: number
  /** Bytes held in memory for queues, output and retained messages together, near which publishers wait and new clients are refused. 0 for no limit. */
  memoryBytes: number
  /** Size of the store file from which on nothing new is stored; 0 for no limit. */
  storeBytes: number
  /** Bytes left free on its file system; of a small one at most a twentieth. */
  diskFreeBytes: number
  /** How long a write may take before the disk counts as failed. */
  diskTimeoutSeconds: number
}

export interface FeaturesConfig {
  maximumQos: 0 | 1 | 2
  retain: boolean
  wildcardSubscriptions: boolean
  sharedSubscriptions: boolean
  subscriptionIdentifiers: boolean
  shareStrategy: ShareStrategy
  /** Seconds between $SYS publications; 0 switches them off. */
  sysIntervalSeconds: number
}

export interface AuthConfig {
  /** Absolute path of the password file; null for none. */
  passwords: string | null
  /** Absolute path of the ACL file; null for none. */
  acl: string | null
  /** What a 3.x client gets for a PUBLISH that it may not send: an acknowledgement and nothing else, or a closed connection. */
  deniedPublish: 'ignore' | 'disconnect'
}

export interface LogConfig {
  level: 'error' | 'warn' | 'info' | 'debug' | 'trace'
  format: 'text' | 'json'
  /** Of a log that is a file: turned over before it grows beyond this; 0 for never. */
  rotateSizeBytes: number
  /** Turned over when it is older than this; 0 for never. */
  rotateAgeSeconds: number
  /** Older files that are kept. */
  rotateKeep: number
}

export interface InstanceConfig {
  name: string
  listeners: ListenerConfig[]
  auth: AuthConfig
  limits: LimitsConfig
  features: FeaturesConfig
  log: LogConfig
  /** How long a stop may take before what is left is cut off. */
  gracePeriodSeconds: number
  /** What an acknowledgement means: kept in memory, handed to the operating system, or on the disk. */
  durability: 'memory' | 'os' | 'fsync'
}
