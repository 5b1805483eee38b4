// A folder with a fleet of real processes: its configuration, what status and the admin API say of it, and clients that go
// on beside whatever happens to the others.
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { join } from 'node:path'
import type { RawClient } from '../kit/raw-client.ts'
import { publish } from '../kit/wire.ts'
import { type Daemon, Workplace } from './daemon.ts'
import { type ProgramResult, projectFolder, runProgram } from './run-program.ts'

const command = join(projectFolder, 'dist/cli/main.js')
// biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the configuration
export const ownSocket = '${name}.sock'

export interface Member {
  name: string
  phase: string
  pid: number | null
  restarts: number
  connections: number
  reason: string | null
}

export class FleetPlace extends Workplace {
  /** An instance of the name listens on the socket of its name. */
  describe(instances: Record<string, object>, more: object = {}): void {
    const defaults = { listeners: { local: `unix://${this.path(ownSocket)}` }, gracePeriod: '2s' }
    this.configure({ defaults, instances, ...more })
  }

  async serve(): Promise<Daemon> {
    const daemon = this.start()
    await daemon.said(/ ready instances=/)
    return daemon
  }

  /** Runs a command against the daemon. @returns what it prints; it ends with this exit code and without complaint */
  async run(words: string[], { runDir = 'run', code = 0 as number | null } = {}): Promise<string> {
    const result = await this.command(words, runDir)
    assert.deepEqual([result.code, result.stderr], [code ?? result.code, ''], words.join(' '))
    return result.stdout
  }

  /** The same, whatever becomes of it. */
  command(words: string[], runDir = 'run'): Promise<ProgramResult> {
    const environment = { ATOLL_ADMIN: `unix://${this.path(runDir)}/admin.sock`, HOME: this.folder }
    return runProgram(process.execPath, [command, ...words], { environment })
  }

  async members(runDir = 'run'): Promise<Map<string, Member>> {
    // Its code says whether all are as they should be.
    const members: Member[] = JSON.parse(await this.run(['status', '--json'], { runDir, code: null })).members
    return new Map(members.map((member) => [member.name, member]))
  }

  /** What an instance has counted since its start. */
  totals(instance: string): Promise<Record<string, number>> {
    const socketPath = this.path('run/admin.sock')
    return new Promise((resolve, reject) => {
      const asked = request({ socketPath, path: `/api/v1/instances/${instance}/metrics` }, async (response) => {
        let text = ''
        for await (const chunk of response.setEncoding('utf8')) text += chunk
        if (response.statusCode === 200) resolve(JSON.parse(text).totals)
        else reject(new Error(`metrics of ${instance}: ${response.statusCode} ${text}`))
      })
      asked.on('error', reject)
      asked.end()
    })
  }

  clientOf(instance: string): Promise<RawClient> {
    return this.client({ path: this.path(`${instance}.sock`) })
  }
}

/** Sends messages to itself, one after the other, until it is told to end; fails when one does not come. */
export class Traffic {
  readonly #client: RawClient
  readonly #done: Promise<void>
  rounds = 0
  #isEnding = false

  constructor(client: RawClient) {
    this.#client = client
    this.#done = this.#run()
    // Looked at by `end`.
    this.#done.catch(() => {})
  }

  async #run(): Promise<void> {
    const client = this.#client
    await client.subscribe(['traffic'])
    while (!this.#isEnding) {
      client.send(
        publish({ level: 5, topic: 'traffic', payload: String(this.rounds), qos: 1, packetId: client.nextPacketId() }),
      )
      const both = [await client.receive(), await client.receive()]
      const message = both.find((packet) => packet.type === 'PUBLISH')
      assert.equal(message?.type === 'PUBLISH' && message.payload.toString(), String(this.rounds))
      this.rounds++
    }
  }

  async end(): Promise<void> {
    this.#isEnding = true
    await this.#done
  }
}
