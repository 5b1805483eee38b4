// The broker as a process that is killed and started again on the same data directory. Knows nothing of what it should have kept.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Address, RawClient } from '../kit/raw-client.ts'
import type { Level } from '../kit/wire.ts'
import { type Configuration, Daemon } from '../process/daemon.ts'
import type { CrashableBroker, Transport } from './crashable-broker.ts'
import { Gate } from './gate.ts'

export class CrashingBroker implements CrashableBroker {
  life = 0
  readonly open = new Gate()
  readonly dataFolder: string
  /** The last start has found its store damaged. */
  wasDamaged = false
  readonly starts: { life: number; readyAfterMs: number }[] = []
  #daemon: Daemon | null = null
  #addresses: Record<Transport, Address> | null = null
  #isEnding = false
  readonly #configFile: string

  readonly #environment: Record<string, string>

  /** @param environment variables of the process */
  constructor(folder: string, configuration: Configuration, environment: Record<string, string> = {}) {
    this.#environment = environment
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

  get output(): string {
    return this.#daemon === null ? '' : this.#daemon.stdout + this.#daemon.stderr
  }

  /** Of the process that runs, or ran last. */
  get pid(): number {
    return this.#daemon?.child.pid ?? 0
  }

  /** Waits until what it has written matches. */
  async said(pattern: RegExp): Promise<void> {
    await this.#daemon?.said(pattern)
  }

  get isUp(): boolean {
    return this.#daemon !== null && !this.#isEnding
  }

  connect(transport: Transport, level: Level): Promise<RawClient> {
    if (this.#addresses === null) throw new Error('the broker was never ready')
    return RawClient.connect(this.#addresses[transport], { level })
  }

  async start(): Promise<boolean> {
    this.life++
    this.#isEnding = false
    const startedAtMs = performance.now()
    const daemon = new Daemon(['start', '-c', this.#configFile], { environment: this.#environment })
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
    this.wasDamaged = /THE STORE WAS DAMAGED/.test(this.output)
    return !this.#isEnding
  }

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
