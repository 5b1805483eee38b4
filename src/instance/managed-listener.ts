// A Listener as an instance keeps it: under one name through any number of starts and stops, with the connections that
// those before have left open. Knows neither the broker nor the other listeners.
import type { ListenerConfig } from '../config/instance-config.ts'
import type { Listener, ListenerCounters, ListenerPhase } from '../transport/listener.ts'

/** Creates a Listener in memory. */
export type ListenerFactory = (config: ListenerConfig) => Listener

export class ManagedListener {
  readonly #create: ListenerFactory
  #config: ListenerConfig
  /** Whether the configuration describes it; otherwise a command has made it. */
  isStatic: boolean
  /** null while it is stopped: a Listener lives once. */
  #current: Listener | null = null
  /** Stopped, with connections that are still open. */
  #older: Listener[] = []
  /** Of Listeners that are gone for good. */
  readonly #past: ListenerCounters = { accepted: 0, refusedOverLimit: 0, throttled: 0, acceptErrors: 0 }

  constructor(config: ListenerConfig, isStatic: boolean, create: ListenerFactory) {
    this.#config = config
    this.isStatic = isStatic
    this.#create = create
  }

  get name(): string {
    return this.#config.name
  }

  get config(): ListenerConfig {
    return this.#config
  }

  get phase(): ListenerPhase {
    return this.#current?.phase ?? 'stopped'
  }

  get isStopped(): boolean {
    return this.#current === null
  }

  /** The real one while it listens: with the port that the system chose. */
  get address(): string {
    return this.#current?.address ?? this.#config.address
  }

  /** Open connections, also those from before a stop. */
  get connections(): number {
    let connections = this.#current?.connections ?? 0
    for (const listener of this.#older) connections += listener.connections
    return connections
  }

  /** Since the listener was made, over all its starts. */
  get counters(): ListenerCounters {
    const sum = { ...this.#past }
    for (const { counters } of this.#older) add(sum, counters)
    if (this.#current !== null) add(sum, this.#current.counters)
    return sum
  }

  /** Another configuration under the same name; only while it is stopped. */
  configure(config: ListenerConfig): void {
    this.#config = config
  }

  /** Only while it is stopped. @throws OperatorError; it is stopped then as before */
  async start(): Promise<void> {
    const listener = this.#create(this.#config)
    this.#current = listener
    try {
      await listener.start()
    } catch (error) {
      this.#retire(listener)
      throw error
    }
  }

  /** Accepts no more; connections that are open stay open. May be called in any phase. */
  async stop(): Promise<void> {
    const listener = this.#current
    if (listener === null) return
    await listener.stop()
    if (this.#current === listener) this.#retire(listener)
  }

  #retire(listener: Listener): void {
    this.#current = null
    const all = [...this.#older, listener]
    this.#older = all.filter(({ connections }) => connections > 0)
    for (const { connections, counters } of all) if (connections === 0) add(this.#past, counters)
  }
}

function add(sum: ListenerCounters, counters: Readonly<ListenerCounters>): void {
  sum.accepted += counters.accepted
  sum.refusedOverLimit += counters.refusedOverLimit
  sum.throttled += counters.throttled
  sum.acceptErrors += counters.acceptErrors
}
