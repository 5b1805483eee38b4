// A broker, its folder and raw clients for one test of what a restart finds; all are gone at its end.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { type ConnectOptions, type Level, P } from '../kit/wire.ts'
import type { Configuration } from '../process/daemon.ts'
import { CrashingBroker } from './crashing-broker.ts'

export class CrashPlace {
  readonly folder = mkdtempSync(join(tmpdir(), 'atoll-crash-'))
  readonly broker: CrashingBroker
  readonly #clients: RawClient[] = []

  /** @param mount makes something else of the folder of data, and says how to undo that */
  constructor(
    context: TestContext,
    configuration: Configuration = {},
    mount: (path: string) => () => void = () => () => {},
  ) {
    this.broker = new CrashingBroker(this.folder, { durability: 'fsync', ...configuration })
    const unmount = mount(this.broker.dataFolder)
    context.after(async () => {
      for (const client of this.#clients) client.destroy()
      this.broker.end('SIGKILL')
      await this.broker.ended()
      unmount()
      rmSync(this.folder, { recursive: true, force: true })
    })
  }

  async kill(): Promise<void> {
    this.broker.end('SIGKILL')
    await this.broker.ended()
  }

  /** A connection on which nothing was sent. */
  async connect(level: Level = 5): Promise<RawClient> {
    const client = await this.broker.connect(level === 5 ? 'unix' : 'tcp', level)
    this.#clients.push(client)
    return client
  }

  /** Connected, with a Session that lasts if it has a name, and whether the Session was there. */
  async client(options: ConnectOptions = {}, level: Level = 5): Promise<{ client: RawClient; isPresent: boolean }> {
    const client = await this.connect(level)
    const isLasting = options.clientId !== undefined
    const properties = isLasting && level === 5 ? [[P.sessionExpiryInterval, 3600] as [number, number]] : []
    const { sessionPresent } = await client.handshake({ cleanStart: !isLasting, properties, ...options })
    return { client, isPresent: sessionPresent }
  }
}
