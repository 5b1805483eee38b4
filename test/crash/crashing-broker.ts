// The broker as a process that is killed and started again on the same data directory. Knows nothing of what it should have kept.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Address } from '../kit/raw-client.ts'
import { type Configuration, Daemon } from '../process/daemon.ts'
import { Gate } from './gate.ts'

export type Transport = 'tcp' | 'unix'

export class CrashingBroker {
  /** Number of the running process, from 1. */
  life = 0
  /** Clients may come. */
  readonly open = new Gate()
  readonly dataFolder: string
  /** Those that became ready, and how long that took. */
  readonly starts: { life: number; readyAfterMs: number }[] = []
  #daemon: Daemon | null = null
  #addresses: Record<Transport, Address> | null = null
  #isEnding = false
  readonly #configFile: string

  constructor(folder: string, configuration: Configuration) {
    this.dataFolder = join(folder, 'data')
    this.#configFile = join(folder, 'atoll.json')
    mkdirSync(this.dataFolder, { mode: 0o700 })
    const common = {
      runDir: join(folder, 'run'),
      dataDir: this.dataFolder,
      features: { sysInterval: 0 },
      listeners: { tcp: 'tcp://127.0.0.1:0', local: `unix://${join(folder, 'x.sock')}` },
    }
    writeFileSync(this.#configFile, JSON.stringify({ ...common, ...configuration }, null, 2))
  }

  /** What the process that runs, or ran last, has written. */
  get output(): string {
    return this.#daemon === null ? '' : this.#daemon.stdout + this.#daemon.stderr
  }

  /** It was not told to end. */
  get isUp(): boolean {
    return this.#daemon !== null && !this.#isEnding
  }

  address(transport: Transport): Address {
    if (this.#addresses === null) throw new Error('the broker was never ready')
    return this.#addresses[transport]
  }

  /** @returns whether it became ready: false when it was killed before. `open` stays closed. */
  async start(): Promise<boolean> {
    this.life++
    this.#isEnding = false
    const startedAtMs = performance.now()
    const daemon = new Daemon(['start', '-c', this.#configFile], {})
    this.#daemon = daemon
    try {
      await daemon.ready()
      const tcp = await daemon.said(/listener=tcp address=tcp:\/\/127\.0\.0\.1:(\d+)/)
      const unix = await daemon.said(/listener=local address=unix:\/\/(\S+)/)
      this.#addresses = { tcp: { port: Number(tcp[1]) }, unix: { path: unix[1] } }
    } catch (error) {
      if (this.#isEnding) return false
      throw error
    }
    this.starts.push({ life: this.life, readyAfterMs: performance.now() - startedAtMs })
    return !this.#isEnding
  }

  /** `kill -9`, or a stop as a service manager asks for it. */
  end(signal: 'SIGKILL' | 'SIGTERM'): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.open.close()
    this.#daemon?.kill(signal)
  }

  async ended(): Promise<void> {
    await this.#daemon?.ended()
  }
}
