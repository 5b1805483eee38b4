// Starts the broker under test in this process, on a TCP port and a UNIX socket of its own, and takes it down after the
// test. The only file of the test kit that imports the product, and it does so as every embedder: from 'atollmq'.
//
//   test('…', () => withBroker({ limits: { receiveMaximum: 10 } }, async (broker) => {
//     const client = await broker.connect()                       // raw connection: level 5, tcp
//     const other = await broker.client({ clientId: 'a' }, { level: 4, transport: 'unix' })   // with handshake
//   }))
//
// Options have the keys of the configuration file; `listener` is merged into both listeners, `hooks` go to `broker.use`.
// Every client opened through the broker is closed at the end, and must not have received anything malformed.
//
// For developers of the tests: ATOLL_TEST_PEER=mosquitto runs them against Mosquitto instead (see mosquitto.ts).
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AtollBroker, type BrokerHooks, type BrokerInput, createBroker } from 'atollmq'
import { startMosquitto } from './mosquitto.ts'
import { type Address, RawClient } from './raw-client.ts'
import type { ConnectOptions, Level } from './wire.ts'

export type TransportName = 'tcp' | 'unix'

export interface BrokerOptions {
  limits?: BrokerInput['limits']
  features?: BrokerInput['features']
  auth?: BrokerInput['auth']
  /** Merged into both listeners, as `{ maxPacketSize: 1000 }`. */
  listener?: Exclude<NonNullable<BrokerInput['listeners']>[string], string>
  /** Given to `broker.use`; not checked by the compiler, since some tests answer rubbish on purpose. */
  hooks?: object
  /** Receives the log line by line; nothing is logged without it. */
  writeLog?: (line: string) => void
}

export interface ClientPlace {
  level?: Level
  transport?: TransportName
}

export interface BrokerUnderTest {
  /** null when the peer is not the product. */
  readonly library: AtollBroker | null
  address(transport: TransportName): Address
  /** A Network Connection on which nothing was sent yet. */
  connect(place?: ClientPlace): Promise<RawClient>
  /** A connected client; options as in CONNECT. */
  client(options?: ConnectOptions, place?: ClientPlace): Promise<RawClient>
  stop(): Promise<void>
}

function parseAddress(address: string): Address {
  if (address.startsWith('unix://')) return { path: address.slice('unix://'.length) }
  const url = new URL(address)
  return { host: url.hostname, port: Number(url.port) }
}

async function startLibrary(options: BrokerOptions, socketPath: string): Promise<AtollBroker> {
  const { listener = {}, hooks, writeLog, ...config } = options
  const listeners = {
    tcp: { address: 'tcp://127.0.0.1:0', ...listener },
    local: { address: `unix://${socketPath}`, ...listener },
  }
  const features = { sysInterval: 0, ...config.features }
  const library = createBroker({ ...config, features, listeners }, { writeLog })
  if (hooks) library.use(hooks as BrokerHooks)
  await library.start()
  return library
}

interface Peer {
  library: AtollBroker | null
  addresses: Record<TransportName, Address>
  stop(): Promise<void>
}

async function startPeer(options: BrokerOptions, folder: string): Promise<Peer> {
  if (process.env.ATOLL_TEST_PEER === 'mosquitto') return { library: null, ...(await startMosquitto(options, folder)) }
  const library = await startLibrary(options, join(folder, 'x.sock'))
  const find = (scheme: string): Address => {
    const listener = library.listeners.find(({ address }) => address.startsWith(scheme))
    if (!listener) throw new Error(`the broker has no listener with ${scheme}`)
    return parseAddress(listener.address)
  }
  return { library, addresses: { tcp: find('tcp:'), unix: find('unix:') }, stop: () => library.stop() }
}

/** Runs `body` with a fresh broker; $SYS is off unless `features.sysInterval` says otherwise. */
export async function withBroker<T>(
  options: BrokerOptions,
  body: (broker: BrokerUnderTest) => Promise<T> | T,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'atoll-'))
  try {
    return await withPeer(await startPeer(options, folder), body)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function withPeer<T>(peer: Peer, body: (broker: BrokerUnderTest) => Promise<T> | T): Promise<T> {
  const clients: RawClient[] = []
  const broker: BrokerUnderTest = {
    library: peer.library,
    address: (transport) => peer.addresses[transport],
    async connect(place = {}) {
      const client = await RawClient.connect(broker.address(place.transport ?? 'tcp'), { level: place.level })
      clients.push(client)
      return client
    },
    async client(connectOptions = {}, place = {}) {
      const client = await broker.connect(place)
      await client.handshake(connectOptions)
      return client
    },
    stop: () => peer.stop(),
  }
  try {
    const result = await body(broker)
    for (const client of clients) client.assertSound()
    return result
  } finally {
    for (const client of clients) client.destroy()
    await peer.stop()
  }
}
