// THE table of configuration keys. Validation, defaults, the JSON Schema, environment variables and the reference page
// all come from it: a new key is one row here and one field in instance-config.ts (the compiler asks for the other).
import {
  account,
  choice,
  count,
  duration,
  flag,
  type Key,
  key,
  level,
  listOf,
  namesOf,
  nullable,
  permissions,
  size,
  sizeOrZero,
  text,
} from './key-kinds.ts'
import { ValueError } from './quantities.ts'

// biome-ignore lint/suspicious/noExplicitAny: a table of keys of any kind; each row keeps its own types
export type KeyTable = Record<string, Key<string, any, any>>

/** What a file may say in a section. */
export type SectionInput<Table extends KeyTable> = {
  [Name in keyof Table]?: Table[Name] extends Key<string, infer Input, infer _Output> ? Input : never
}

/** What the broker reads of a section. */
export type SectionOutput<Table extends KeyTable> = {
  [Name in keyof Table as Table[Name]['field']]: Table[Name] extends Key<string, infer _Input, infer Output>
    ? Output
    : never
}

const restart = 'restart'
const maximumCount = 4_294_967_295
const gibibyte = 1024 ** 3
const maximumBytes = 1024 * gibibyte
/** A Remaining Length of 268435455 with its fixed header. [MQTT-2.1.4] */
const maximumPacketBytes = 268_435_460

const mountPoint = text(
  'text',
  (value) => {
    if (/[+#]/.test(value)) throw new ValueError('wrong-value', 'a mount point holds no + and no #')
    if (Buffer.byteLength(value) > 1024) throw new ValueError('out-of-range', 'a mount point has at most 1024 bytes')
  },
  true,
)

export const listenerKeys = {
  address: key(
    'address',
    text('address'),
    undefined,
    'Where clients connect: `tcp://host:port`, `unix:///path`, `unix:@name` (abstract, Linux), `fd:3` (socket activation) or `local:/path`.',
  ),
  port: key(
    'port',
    nullable(count(0, 65_535)),
    null,
    'Port beside an address without one, as in `address: 127.0.0.1`; 0 beside `local:/path`.',
  ),
  enabled: key('enabled', flag(), true, 'Whether the listener is opened at start.'),
  mode: key(
    'mode',
    permissions(),
    '0660',
    'UNIX sockets: permission bits of the socket file; whoever may write to it may connect.',
  ),
  owner: key(
    'owner',
    nullable(account()),
    null,
    'UNIX sockets: owner of the socket file; without it the account that runs the broker.',
  ),
  group: key(
    'group',
    nullable(account()),
    null,
    'UNIX sockets: group of the socket file; without it the group that runs the broker.',
  ),
  protocols: key(
    'protocols',
    listOf(['3.1', '3.1.1', '5']),
    ['3.1', '3.1.1', '5'],
    'Versions of MQTT that clients may speak here.',
  ),
  anonymous: key(
    'anonymous',
    nullable(flag()),
    null,
    'Whether clients may connect without a user name. By default yes on loopback and UNIX sockets while `auth.passwords` is not set, otherwise no.',
  ),
  maxConnections: key(
    'maxConnections',
    count(1, 1_000_000),
    10_000,
    'Connections of this listener at one time; more are refused.',
  ),
  connectRate: key(
    'connectRate',
    count(0, 1_000_000),
    0,
    "New connections per second. Over it one second's worth waits, unread; what comes on top is closed and counted. 0 for no limit.",
  ),
  connectTimeout: key(
    'connectTimeoutSeconds',
    duration(1, 3600),
    '10s',
    'How long a new connection may take to send its CONNECT and be answered.',
  ),
  maxPacketSize: key(
    'maxPacketSizeBytes',
    size(128, maximumPacketBytes),
    '1MiB',
    'Largest MQTT packet accepted; announced to MQTT 5 clients as Maximum Packet Size.',
  ),
  receiveMaximum: key(
    'receiveMaximumPolicy',
    choice(['strict', 'lenient']),
    'strict',
    'A client that sends more unacknowledged messages than `limits.receiveMaximum`: `strict` disconnects it with 0x93, `lenient` does so only at twice as many.',
  ),
  mountPoint: key(
    'mountPoint',
    mountPoint,
    '',
    "Put before every topic of this listener's clients and taken off again on delivery, such as `plant-a/`.",
  ),
  backlog: key(
    'backlog',
    count(1, 65_535),
    4096,
    'Connections that the operating system queues before they are accepted.',
  ),
} as const satisfies KeyTable

export const authKeys = {
  passwords: key(
    'passwords',
    nullable(text('path')),
    null,
    'Password file, made with `atoll passwd`. With it, clients need a user name and password.',
  ),
  acl: key(
    'acl',
    nullable(text('path')),
    null,
    'Access control file: who may publish and subscribe to which topics. Without it, every admitted client may use every topic.',
  ),
  deniedPublish: key(
    'deniedPublish',
    choice(['ignore', 'disconnect']),
    'ignore',
    'What an MQTT 3.x client gets for a message that it may not publish: `ignore` acknowledges and drops it, `disconnect` closes the connection. MQTT 5 clients are told.',
  ),
} as const satisfies KeyTable

export const limitKeys = {
  connections: key('connections', count(1, 1_000_000), 10_000, 'Connections of the whole instance at one time.'),
  queueMessages: key(
    'queueMessages',
    count(0, 10_000_000),
    100_000,
    'Messages that wait for one client while it is offline or slow. What comes beyond is dropped, acknowledged or not, as `queuePolicy` says; the log and `session list` tell.',
  ),
  queueBytes: key(
    'queueBytes',
    size(0, maximumBytes),
    '16MiB',
    'Bytes that wait for one client. With a store, only the first of them are in memory.',
  ),
  queueAge: key(
    'queueAgeSeconds',
    duration(0, maximumCount),
    0,
    'A message that has waited longer for one client is dropped; 0 for no limit. The Message Expiry Interval of a message holds besides.',
  ),
  queuePolicy: key(
    'queuePolicy',
    choice(['drop-oldest', 'drop-newest', 'disconnect']),
    'drop-oldest',
    "What happens when a client's queue is full.",
  ),
  queueQos0: key(
    'queueQos0',
    flag(),
    false,
    'QoS 0 messages wait for kept sessions as well, and are stored, instead of being dropped while the client is offline or slow. They make no room for themselves at the cost of QoS 1 and 2, and come at most once.',
  ),
  totalQueueBytes: key('totalQueueBytes', size(0, maximumBytes), '256MiB', 'Bytes that wait for all clients together.'),
  outputBytes: key(
    'outputBytes',
    size(4096, gibibyte),
    '1MiB',
    'Bytes on their way to one connection; over it QoS 0 messages are dropped and QoS 1 and 2 wait in the queue.',
  ),
  stallTimeout: key(
    'stallTimeoutSeconds',
    duration(1, 86_400),
    '60s',
    'A connection whose output is full and takes nothing for so long is closed.',
  ),
  inflight: key(
    'inflight',
    count(1, 65_535),
    1000,
    'QoS 1 and 2 messages sent to one client and not yet acknowledged; a smaller Receive Maximum of the client wins.',
  ),
  receiveMaximum: key(
    'receiveMaximum',
    count(1, 65_535),
    1000,
    'QoS 1 and 2 messages that one client may send before they are acknowledged; announced as Receive Maximum.',
  ),
  topicAliasMaximum: key(
    'topicAliasMaximum',
    count(0, 65_535),
    64,
    'Topic aliases that one client may use; 0 switches them off.',
  ),
  topicLevels: key('topicLevels', count(1, 32_768), 128, 'Levels of a topic name or filter.'),
  clientIdBytes: key('clientIdBytes', size(23, 65_535), 256, 'Length of a Client Identifier.'),
  subscriptionsPerClient: key(
    'subscriptionsPerClient',
    count(0, maximumCount),
    100_000,
    'Subscriptions of one client.',
  ),
  subscriptions: key('subscriptions', count(0, maximumCount), 2_000_000, 'Subscriptions of all clients together.'),
  retainedMessages: key('retainedMessages', count(0, maximumCount), 1_000_000, 'Retained messages.'),
  retainedBytes: key('retainedBytes', size(0, maximumBytes), '256MiB', 'Bytes of all retained messages together.'),
  sessions: key('sessions', count(1, maximumCount), 100_000, 'Sessions, connected or not.'),
  sessionExpiry: key(
    'sessionExpirySeconds',
    duration(0, maximumCount),
    '7d',
    'Longest time for which the session of an absent client is kept, whatever the client asks for; 4294967295 for no end.',
  ),
  keepAlive: key(
    'keepAliveSeconds',
    duration(0, 65_535),
    '1h',
    "Longest Keep Alive of MQTT 5 clients: one that asks for more, or for none, is given this. MQTT 3.x knows no such answer, so the client's own value holds and 0 means that it is never timed out. 0 for no cap.",
  ),
  messageRate: key(
    'messageRate',
    count(0, maximumCount),
    0,
    'Messages per second that one client may publish; 0 for no limit.',
  ),
  byteRate: key('byteRate', size(0, maximumBytes), 0, 'Bytes per second that one client may publish; 0 for no limit.'),
  ratePolicy: key(
    'ratePolicy',
    choice(['pause', 'disconnect']),
    'pause',
    'A client over its rate: `pause` reads from it more slowly, `disconnect` sends it away.',
  ),
  totalMessageRate: key(
    'totalMessageRate',
    count(0, maximumCount),
    0,
    'Messages per second that all clients together may publish; over it they are read more slowly. 0 for no limit.',
  ),
  totalByteRate: key(
    'totalByteRate',
    size(0, maximumBytes),
    0,
    'Bytes per second that all clients together may send; over it they are read more slowly. 0 for no limit.',
  ),
  memory: key(
    'memoryBytes',
    size(0, maximumBytes),
    '512MiB',
    'Queues as far as they are in memory, output, retained messages and what waits for the disk together; near it publishers are made to wait and clients are refused unless messages wait for them. 0 for no limit.',
  ),
  storeBytes: key(
    'storeBytes',
    size(0, maximumBytes),
    0,
    'Size of the store file, roughly: from there on only what becomes free in it is filled again, and messages that would have to be stored are refused. 0 for no limit.',
  ),
  diskFree: key(
    'diskFreeBytes',
    size(0, maximumBytes),
    '64MiB',
    'Bytes left free on the file system of the store, at most a twentieth of it: below, messages that would have to be stored are refused.',
  ),
  diskTimeout: key(
    'diskTimeoutSeconds',
    duration(1, 3600),
    '10s',
    'A disk that takes longer for a write counts as failed until it answers: messages that would have to be stored are refused meanwhile.',
  ),
} as const satisfies KeyTable

export const featureKeys = {
  maximumQos: key('maximumQos', level([0, 1, 2]), 2, 'Highest quality of service.'),
  retain: key('retain', flag(), true, 'Retained messages.'),
  wildcardSubscriptions: key('wildcardSubscriptions', flag(), true, 'Topic filters with `+` and `#`.'),
  sharedSubscriptions: key('sharedSubscriptions', flag(), true, 'Shared subscriptions, `$share/group/filter`.'),
  subscriptionIdentifiers: key('subscriptionIdentifiers', flag(), true, 'Subscription identifiers (MQTT 5).'),
  shareStrategy: key(
    'shareStrategy',
    choice(['round-robin', 'random', 'sticky', 'least-inflight']),
    'round-robin',
    'Which member of a shared subscription gets the next message.',
  ),
  sysInterval: key(
    'sysIntervalSeconds',
    duration(0, 86_400),
    '10s',
    "Time between the broker's own messages on `$SYS/#`; 0 switches them off.",
  ),
} as const satisfies KeyTable

export const logKeys = {
  level: key('level', choice(['error', 'warn', 'info', 'debug', 'trace']), 'info', 'How much is logged.'),
  format: key(
    'format',
    choice(['text', 'json']),
    'text',
    '`text` for people, `json` for machines; one line per entry either way.',
    restart,
  ),
  rotateSize: key(
    'rotateSizeBytes',
    sizeOrZero(64 * 1024, 64 * gibibyte),
    '16MiB',
    'A log file is turned over before it grows beyond this; 0 for never.',
  ),
  rotateAge: key(
    'rotateAgeSeconds',
    duration(0, 3650 * 86_400),
    0,
    'A log file is turned over when it is older than this; 0 for never.',
  ),
  rotateKeep: key(
    'rotateKeep',
    count(0, 1000),
    5,
    'Older log files that are kept, as `name.log.1` (the youngest) and so on.',
  ),
} as const satisfies KeyTable

/** Keys of an instance that stand in no section. */
export const instanceKeys = {
  durability: key(
    'durability',
    choice(['memory', 'os', 'fsync']),
    'fsync',
    'What an acknowledgement means. `fsync`: on the disk, so that nothing acknowledged is lost when the power goes. `os`: with the operating system, which a crash of the broker does not harm. `memory`: a restart forgets sessions, queued and retained messages. An embedded broker without a data directory has `memory`.',
    restart,
  ),
  gracePeriod: key(
    'gracePeriodSeconds',
    duration(0, 3600),
    '10s',
    'How long a stop may take before what is left is cut off.',
  ),
} as const satisfies KeyTable

/** Names of listeners and instances: they become parts of paths, of environment variables and of key paths. */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/

/** Keys by which a fleet runs an instance. A program that embeds a broker runs it itself and has none of them. */
export const memberKeys = {
  isolation: key(
    'isolation',
    nullable(choice(['process', 'shared', 'inline'])),
    null,
    'Where the instance runs: `process`, a process of its own; `shared`, a process together with others of its pool; `inline`, the daemon itself. By default `inline` when there is one instance and `process` when there are several.',
    restart,
  ),
  pool: key(
    'pool',
    text('name', (value) => {
      if (!namePattern.test(value)) throw new ValueError('wrong-name', 'a pool is named like an instance')
    }),
    'default',
    'With `isolation: shared`: instances of the same pool share processes.',
    restart,
  ),
  poolSize: key(
    'poolSize',
    count(1, 10_000),
    250,
    'With `isolation: shared`: the most instances in one process of the pool.',
    restart,
  ),
  start: key(
    'start',
    choice(['always', 'on-demand', 'manual']),
    'always',
    '`always`: together with the fleet; `on-demand`: at the first connection to one of its listeners; `manual`: only when told to. From `always` to `manual` and back no restart is needed.',
    restart,
  ),
  stopWhenIdle: key(
    'stopWhenIdleSeconds',
    duration(0, 30 * 86_400),
    0,
    'With `start: on-demand`: stops the instance after so long without a connection; 0 for never.',
  ),
  after: key(
    'after',
    namesOf('an instance', namePattern, 100),
    [],
    'Instances that are started before this one. All others start at the same time.',
  ),
  user: key(
    'user',
    nullable(account()),
    null,
    'With `isolation: process`, and only as root: account under which the instance runs.',
    restart,
  ),
  group: key(
    'group',
    nullable(account()),
    null,
    'With `isolation: process`, and only as root: group under which the instance runs.',
    restart,
  ),
  nice: key(
    'nice',
    count(-20, 19),
    0,
    'With `isolation: process`: priority of the process, from -20 (first) to 19 (last). Less than 0 needs root.',
    restart,
  ),
} as const satisfies KeyTable

/** What a crash leads to. */
export const restartKeys = {
  backoff: key(
    'backoffSeconds',
    duration(0, 3600),
    '1s',
    'Wait before the first restart; doubled before each further one.',
  ),
  backoffLimit: key('backoffLimitSeconds', duration(0, 86_400), '1m', 'Longest wait before a restart.'),
  burst: key(
    'burst',
    count(0, 1000),
    5,
    'Crashes within `restart.within`, after which the instance is left as failed.',
  ),
  within: key('burstSeconds', duration(1, 86_400), '1m', 'See `restart.burst`.'),
} as const satisfies KeyTable

/** Limits of the process in which an instance runs. They stand in `limits` too. */
export const processLimitKeys = {
  heap: key(
    'heapBytes',
    sizeOrZero(32 * 1024 ** 2, 64 * gibibyte),
    0,
    "With `isolation: process`: limit of the JavaScript heap; 0 for Node's own.",
    restart,
  ),
} as const satisfies KeyTable

/** Folders of one instance. At the top level the same keys name the folders that these are made in. */
export const memberDirectoryKeys = {
  dataDir: key(
    'dataDir',
    nullable(text('path')),
    null,
    'Folder of the data of this instance; by default one of its name in the `dataDir` of the top level.',
    restart,
  ),
  logDir: key(
    'logDir',
    nullable(text('path')),
    null,
    'Folder of the log of this instance; by default one of its name in the `logDir` of the top level.',
    restart,
  ),
} as const satisfies KeyTable

/** Keys of an entry below `instances` that say which instances it stands for. */
export const entryKeys = {
  template: key(
    'template',
    nullable(text('name')),
    null,
    'Template that the instance is made from; what the instance says itself wins.',
    restart,
  ),
  count: key(
    'count',
    nullable(count(1, 10_000)),
    null,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is what people write
    'Makes so many instances of this entry, whose name holds `${index}`, as `plant-${index}`.',
    restart,
  ),
  index: key(
    'index',
    nullable(count(0, 1_000_000)),
    null,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is what people write
    'Value of `${index}`, with `count` that of the first instance. By default the first entry of a template gets 0, and each other one goes on where the one before it ended.',
    restart,
  ),
} as const satisfies KeyTable

const daemon = 'restart of the daemon'

/** Where the fleet is managed. */
export const adminKeys = {
  listen: key(
    'listen',
    nullable(text('address')),
    null,
    'UNIX socket of the admin API, `unix:///path`; by default `admin.sock` in `runDir`.',
    daemon,
  ),
  mode: key(
    'mode',
    permissions(),
    '0600',
    'Permission bits of that socket; whoever may write to it manages the fleet.',
    daemon,
  ),
} as const satisfies KeyTable

/** Keys of the whole file. The defaults depend on the account; see default-paths.ts. */
export const directoryKeys = {
  runDir: key(
    'runDir',
    nullable(text('path')),
    null,
    'Folder of UNIX sockets and other files that live as long as the process.',
    daemon,
  ),
  dataDir: key(
    'dataDir',
    nullable(text('path')),
    null,
    'Folder in which each instance has a folder of its name for its data.',
    restart,
  ),
  logDir: key(
    'logDir',
    nullable(text('path')),
    null,
    'Folder in which each instance has a folder of its name for its log.',
    restart,
  ),
} as const satisfies KeyTable

export const sectionKeys = {
  auth: authKeys,
  limits: limitKeys,
  features: featureKeys,
  log: logKeys,
} as const satisfies Record<string, KeyTable>

/** The sections of an instance in a file: all that a broker has, and how a fleet runs it. */
export const fileSectionKeys = {
  ...sectionKeys,
  limits: { ...limitKeys, ...processLimitKeys },
  restart: restartKeys,
} as const satisfies Record<string, KeyTable>

/** The keys of an instance in a file that stand in no section. */
export const fileInstanceKeys = { ...instanceKeys, ...memberKeys, ...memberDirectoryKeys } as const satisfies KeyTable

/** One instance as a program describes it. */
export type InstanceInput = {
  listeners?: Record<string, string | SectionInput<typeof listenerKeys>>
  auth?: SectionInput<typeof authKeys>
  limits?: SectionInput<typeof limitKeys>
  features?: SectionInput<typeof featureKeys>
  log?: SectionInput<typeof logKeys>
} & SectionInput<typeof instanceKeys>
