// What the tests of the fleet share: a folder, descriptions of instances in it, clients, and waiting for a condition.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSystemClock } from '../base/clock.ts'
import { connectClient, type MqttClient } from '../client/mqtt-client.ts'
import type { FleetConfig, FleetMember, Isolation } from '../config/fleet-config.ts'
import { instanceFromInput } from '../config/resolve-instance.ts'
import { addressGrammar } from '../instance/address-grammar.ts'
import { createLog } from '../observe/log.ts'
import { parseAddress } from '../transport/address.ts'
import type { FleetEvent, MemberPhase } from './fleet.ts'
import { createSupervisor, type Supervisor } from './supervisor.ts'

type Input = Parameters<typeof instanceFromInput>[0]

export interface MemberInput extends Partial<Omit<FleetMember, 'config'>> {
  config?: Input
}

const deadlineMs = 60_000

export class FleetUnderTest {
  readonly folder = mkdtempSync(join(tmpdir(), 'atoll-fleet-'))
  readonly lines: string[] = []
  readonly events: FleetEvent[] = []
  readonly #started: Supervisor[] = []
  readonly #clients: MqttClient[] = []

  /** Without `listeners`: `tcp`, on a port that the system chooses, and `local`, a socket file. */
  member(name: string, isolation: Isolation, { config, ...rest }: MemberInput = {}): FleetMember {
    const listeners = { tcp: 'tcp://127.0.0.1:0', local: `unix://${this.folder}/${name}.sock` }
    return {
      config: instanceFromInput(
        { listeners, gracePeriod: '1s', features: { sysInterval: 0 }, ...config },
        { name, workingDirectory: this.folder, grammar: addressGrammar(process.platform) },
      ),
      isolation,
      pool: 'default',
      poolSize: 100,
      start: 'always',
      stopWhenIdleSeconds: 0,
      after: [],
      restart: { backoffSeconds: 0.05, backoffLimitSeconds: 1, burst: 3, burstSeconds: 60 },
      user: null,
      group: null,
      nice: 0,
      heapBytes: 0,
      dataDir: join(this.folder, 'data', name),
      logDir: join(this.folder, 'log', name),
      template: null,
      file: null,
      ...rest,
    }
  }

  config(...members: FleetMember[]): FleetConfig {
    const runDir = join(this.folder, 'run')
    return {
      admin: { listen: `unix://${runDir}/admin.sock`, mode: 0o600 },
      log: instanceFromInput(
        {},
        { name: 'x', workingDirectory: this.folder, grammar: addressGrammar(process.platform) },
      ).log,
      runDir,
      dataDir: join(this.folder, 'data'),
      logDir: join(this.folder, 'log'),
      members,
      files: [],
      gracePeriodSeconds: 1,
    }
  }

  create(...members: FleetMember[]): Supervisor {
    const clock = createSystemClock()
    const supervisor = createSupervisor(this.config(...members), {
      clock,
      log: createLog('debug', 'text', clock, (line) => this.lines.push(line)),
      platform: process.platform,
      pid: process.pid,
      uid: process.getuid!(),
      environment: process.env,
      writeInlineLog: null,
    })
    supervisor.subscribe((event) => this.events.push(event))
    this.#started.push(supervisor)
    return supervisor
  }

  async start(...members: FleetMember[]): Promise<Supervisor> {
    const supervisor = this.create(...members)
    await supervisor.start()
    return supervisor
  }

  async connect(address: string, options: Partial<Parameters<typeof connectClient>[0]> = {}): Promise<MqttClient> {
    const client = await connectClient({
      address: parseAddress(address, { platform: process.platform, role: 'client' }),
      ...options,
    })
    this.#clients.push(client)
    return client
  }

  async end(): Promise<void> {
    for (const client of this.#clients) await client.disconnect().catch(() => {})
    for (const supervisor of this.#started) await supervisor.stop()
    // The host of a supervisor that was killed may still be ending.
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 20 })
  }
}

export async function withFleet(body: (fleet: FleetUnderTest) => Promise<void>): Promise<void> {
  const fleet = new FleetUnderTest()
  try {
    await body(fleet)
  } catch (error) {
    process.stderr.write(`${fleet.lines.join('\n')}\n`)
    throw error
  } finally {
    await fleet.end()
  }
}

/** The address of a listener as it really is. */
export function addressOf(supervisor: Supervisor, name: string, listener = 'tcp'): string {
  const found = supervisor.memberStatus(name)!.listeners.find((one) => one.name === listener)
  if (found === undefined) throw new Error(`${name} has no listener ${listener}`)
  return found.address
}

export async function until(what: string, isSo: () => unknown): Promise<void> {
  for (const endMs = performance.now() + deadlineMs; !(await isSo()); ) {
    if (performance.now() > endMs) throw new Error(`waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export function untilPhase(supervisor: Supervisor, name: string, phase: MemberPhase): Promise<void> {
  return until(`${name} is ${phase}`, () => supervisor.memberStatus(name)?.phase === phase)
}

export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** A port of which nobody has heard; somebody else may take it, but the system goes round. */
export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
