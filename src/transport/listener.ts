// A Listener: a named endpoint that accepts Network Connections and hands each to its owner, paused. It limits how many
// there are and how fast they come. Knows neither MQTT nor what becomes of a connection, except that it has closed.
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { getSystemErrorName } from 'node:util'
import type { Clock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import { LifeCycle, type Transitions } from '../base/life-cycle.ts'
import type { Peer } from '../base/peer.ts'
import { Throttle } from '../base/throttle.ts'
import type { ListenerConfig } from '../config/instance-config.ts'
import { findGroupId, findUserId } from './accounts.ts'
import { type Address, formatAddress, formatHostPort, parseAddress } from './address.ts'
import { ConnectionThrottle } from './connection-throttle.ts'
import { findInheritedFd, type InheritedFds } from './inherited-fds.ts'
import { describeListenError } from './listen-error.ts'
import { listenOnce } from './listen-once.ts'
import { unixPathOfDescriptor } from './socket-owner.ts'
import { interceptConnections, type StreamHandle, takeHandle } from './stream-handle.ts'
import type { TransportLog } from './transport-log.ts'
import { type BoundUnixSocket, bindUnixSocket } from './unix-socket.ts'

export type ListenerPhase = 'created' | 'starting' | 'listening' | 'stopping' | 'stopped' | 'failed'

const transitions: Transitions<ListenerPhase> = {
  created: ['starting', 'stopped'],
  starting: ['listening', 'failed'],
  listening: ['stopping'],
  stopping: ['stopped'],
  stopped: [],
  failed: [],
}

/** Of warnings that peers can cause as often as they like. */
const warningPeriodMs = 10_000

export interface ListenerEnvironment {
  platform: NodeJS.Platform
  /** Directory in which missing directories of socket files are created; null for none. */
  runDir: string | null
  inheritedFds: InheritedFds
  log: TransportLog
  clock: Clock
}

export interface ListenerCounters {
  /** Handed to the owner. */
  accepted: number
  /** Closed at once: over `maxConnections`, or no room to wait for the rate. */
  refusedOverLimit: number
  /** Had to wait for the rate. */
  throttled: number
  /** The system could not accept, as when no descriptors are left, or the peer had gone already. */
  acceptErrors: number
}

/** Lives once: to listen again, another one is created from the same configuration. */
export interface Listener {
  readonly name: string
  readonly config: ListenerConfig
  readonly phase: ListenerPhase
  /** Once listening the real one: with the port that the system chose, and what an inherited descriptor is. */
  readonly address: string
  /** Open connections, those that wait for the rate included. */
  readonly connections: number
  readonly counters: Readonly<ListenerCounters>
  /** @throws OperatorError when the address cannot be listened on; the listener has failed then */
  start(): Promise<void>
  /** Accepts no more; connections that are open stay open. May be called in any phase and more than once. */
  stop(): Promise<void>
}

/**
 * Given each connection, of which nobody reads yet.
 * @param released to be called once, when the connection has closed
 */
export type Accept = (handle: StreamHandle, peer: Peer, released: () => void) => void

/** Creates a listener in memory. */
export function createListener(config: ListenerConfig, environment: ListenerEnvironment, accept: Accept): Listener {
  return new SocketListener(config, environment, accept)
}

class SocketListener implements Listener {
  readonly config: ListenerConfig
  readonly counters: ListenerCounters = { accepted: 0, refusedOverLimit: 0, throttled: 0, acceptErrors: 0 }
  readonly #environment: ListenerEnvironment
  readonly #accept: Accept
  readonly #life = new LifeCycle(transitions, 'created')
  readonly #server: Server
  readonly #throttle: ConnectionThrottle | null
  readonly #limitWarnings: Throttle
  readonly #errorWarnings: Throttle
  readonly #onWaitingClose: (this: Socket) => void
  readonly #released = () => {
    this.#connections--
  }
  #address: string
  #connections = 0
  /** Null for tcp, where each connection has its own. */
  #sharedPeer: Peer | null = null
  #boundFile: BoundUnixSocket | null = null
  #starting: Promise<void> | null = null

  constructor(config: ListenerConfig, environment: ListenerEnvironment, accept: Accept) {
    const { clock } = environment
    this.config = config
    this.#environment = environment
    this.#accept = accept
    this.#address = config.address
    this.#limitWarnings = new Throttle(clock, warningPeriodMs)
    this.#errorWarnings = new Throttle(clock, warningPeriodMs)
    this.#throttle =
      config.connectRate > 0
        ? new ConnectionThrottle(config.connectRate, clock, (socket) => this.#admitSocket(socket))
        : null
    const listener = this
    this.#onWaitingClose = function () {
      listener.#connections--
      listener.#throttle?.forget(this)
    }
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: false })
    this.#server.on('connection', (socket) => this.#onConnection(socket))
    this.#server.on('error', (error) => {
      // What goes wrong before is the answer of `start`.
      if (this.phase === 'listening') this.#countAcceptError(error.message)
    })
  }

  get name(): string {
    return this.config.name
  }

  get phase(): ListenerPhase {
    return this.#life.current
  }

  get address(): string {
    return this.#address
  }

  get connections(): number {
    return this.#connections
  }

  start(): Promise<void> {
    this.#life.to('starting')
    this.#starting = this.#start()
    return this.#starting
  }

  async stop(): Promise<void> {
    if (this.phase === 'created') this.#life.to('stopped')
    // Whether it succeeded is the business of the one who started it.
    await this.#starting?.catch(() => {})
    if (this.phase !== 'listening') return
    this.#life.to('stopping')
    // Before the close: as long as the socket answers no other broker replaces the file.
    this.#boundFile?.remove()
    this.#server.close()
    this.#throttle?.close()
    this.#life.to('stopped')
    this.#environment.log.info('listener stopped', { listener: this.config.name, address: this.#address })
  }

  async #start(): Promise<void> {
    try {
      await this.#listen()
    } catch (error) {
      this.#life.to('failed')
      throw error
    }
    this.#life.to('listening')
    // Sockets that wait for the rate are noticed when they close; nobody else needs a Socket here.
    if (this.#throttle === null) {
      const onError = (status: number) => this.#countAcceptError(getSystemErrorName(status))
      interceptConnections(this.#server, (handle) => this.#onHandle(handle), onError)
    }
    this.#environment.log.info('listening', { listener: this.config.name, address: this.#address })
  }

  async #listen(): Promise<void> {
    const { config } = this
    const { platform, inheritedFds } = this.#environment
    const key = `listeners.${config.name}.address`
    const address = parseAddress(config.address, { platform, role: 'listener', place: { key } })
    if (address.kind === 'unix') return this.#listenOnFile(address.path, key)
    const descriptor = address.kind === 'fd' ? findInheritedFd(inheritedFds, address.descriptor, key) : null
    try {
      await listenOnce(this.#server, { ...listenOptions(address, descriptor), backlog: config.backlog })
    } catch (error) {
      throw describeListenError(error as NodeJS.ErrnoException, address, key)
    }
    const bound = this.#server.address() as AddressInfo | string | null
    if (bound !== null && typeof bound === 'object') {
      const host = address.kind === 'tcp' && address.host === '*' ? '*' : bound.address
      this.#address = formatAddress({ kind: 'tcp', host, port: bound.port })
    } else if (address.kind === 'abstract') {
      this.#address = formatAddress(address)
      this.#sharedPeer = unixPeer(`@${address.name}`)
    } else {
      const path = descriptor === null ? null : unixPathOfDescriptor(descriptor)
      this.#address = path === null ? formatAddress(address) : path.startsWith('/') ? `unix://${path}` : `unix:${path}`
      this.#sharedPeer = unixPeer(path ?? formatAddress(address))
    }
  }

  async #listenOnFile(path: string, key: string): Promise<void> {
    const { config } = this
    const { platform, runDir, clock, log } = this.#environment
    const ownKey = (name: string) => `listeners.${config.name}.${name}`
    if (!Number.isInteger(config.mode) || config.mode < 0 || config.mode > 0o777) {
      const fix = 'give three octal digits, as "0660"'
      throw new OperatorError('mode-invalid', 'the mode is not one of a socket', {
        place: { key: ownKey('mode') },
        fix,
      })
    }
    this.#boundFile = await bindUnixSocket(this.#server, {
      path,
      mode: config.mode,
      uid: config.owner === null ? null : await findUserId(config.owner, { platform, key: ownKey('owner') }),
      gid: config.group === null ? null : await findGroupId(config.group, { platform, key: ownKey('group') }),
      backlog: config.backlog,
      runDir,
      platform,
      clock,
      key,
      onNotice: (message, fields) => log.info(message, { listener: config.name, ...fields }),
    })
    this.#address = formatAddress({ kind: 'unix', path })
    this.#sharedPeer = unixPeer(path)
  }

  /** While starting only other starters can come, to see whether somebody listens. */
  #takesOneMore(): boolean {
    if (this.phase !== 'listening') return false
    const { maxConnections } = this.config
    if (maxConnections > 0 && this.#connections >= maxConnections) {
      this.#countRefused('maxConnections', maxConnections)
      return false
    }
    this.#connections++
    return true
  }

  #onHandle(handle: StreamHandle): void {
    if (this.#takesOneMore()) this.#admit(handle)
    else handle.close()
  }

  #onConnection(socket: Socket): void {
    if (!this.#takesOneMore()) {
      socket.destroy()
      return
    }
    if (this.#throttle === null) {
      this.#admitSocket(socket)
      return
    }
    socket.on('close', this.#onWaitingClose)
    const outcome = this.#throttle.offer(socket)
    if (outcome === 'waiting') this.counters.throttled++
    if (outcome === 'refused') {
      socket.destroy()
      this.#countRefused('connectRate', this.config.connectRate)
    }
  }

  #admitSocket(socket: Socket): void {
    socket.off('close', this.#onWaitingClose)
    const handle = takeHandle(socket)
    if (handle !== null) this.#admit(handle)
    else this.#connections--
  }

  #admit(handle: StreamHandle): void {
    const peer = this.#sharedPeer ?? tcpPeer(handle)
    if (peer === null) {
      this.counters.acceptErrors++
      this.#connections--
      handle.close()
      return
    }
    handle.setNoDelay?.(true)
    this.counters.accepted++
    this.#accept(handle, peer, this.#released)
  }

  #countAcceptError(error: string): void {
    this.counters.acceptErrors++
    const suppressed = this.#errorWarnings.pass()
    if (suppressed === null) return
    this.#environment.log.warn('cannot accept a connection', { listener: this.config.name, error, suppressed })
  }

  #countRefused(limit: string, value: number): void {
    this.counters.refusedOverLimit++
    const suppressed = this.#limitWarnings.pass()
    if (suppressed === null) return
    this.#environment.log.warn('connection refused: the listener is at its limit', {
      listener: this.config.name,
      limit,
      value,
      suppressed,
    })
  }
}

function listenOptions(
  address: Address,
  descriptor: number | null,
): { host?: string; port?: number; path?: string; fd?: number } {
  if (descriptor !== null) return { fd: descriptor }
  if (address.kind === 'abstract') return { path: `\0${address.name}` }
  if (address.kind !== 'tcp') throw new Error('a socket file is bound elsewhere')
  // Without a host Node listens on IPv6 and IPv4 together, or on IPv4 where there is no IPv6.
  return address.host === '*' ? { port: address.port } : { host: address.host, port: address.port }
}

/** Null when the peer has gone already. */
function tcpPeer(handle: StreamHandle): Peer | null {
  const name: { address?: string; port?: number } = {}
  if (handle.getpeername?.(name) !== 0 || name.address === undefined || name.port === undefined) return null
  // An IPv4 client of a listener for both families shows as IPv6; people and access rules know it as IPv4.
  const address =
    name.address.startsWith('::ffff:') && name.address.includes('.') ? name.address.slice(7) : name.address
  const { port } = name
  return { transport: 'tcp', address, port, pid: null, uid: null, gid: null, label: formatHostPort(address, port) }
}

function unixPeer(address: string): Peer {
  return { transport: 'unix', address, port: null, pid: null, uid: null, gid: null, label: `unix:${address}` }
}
