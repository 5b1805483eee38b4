// Clients that have gone on without a store: while durability was memory, and since the backup that was restored. They use Packet
// Identifiers again that this store has as open, and what is acknowledged then must be there.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { P, publish, pubrel } from '../kit/wire.ts'
import { type Daemon, Workplace } from './daemon.ts'
import { projectFolder, runProgram } from './run-program.ts'

const command = join(projectFolder, 'dist/cli/main.js')
const packetId = 5

class Place extends Workplace {
  #daemon: Daemon | null = null

  async serve(durability: string): Promise<Daemon> {
    this.configure({ durability, listeners: { local: `unix://${this.socketPath}` } })
    this.#daemon = this.start()
    return this.#daemon.ready()
  }

  async stop(): Promise<void> {
    this.#daemon!.kill('SIGTERM')
    await this.#daemon!.ended()
  }

  async kept(clientId: string): Promise<{ client: RawClient; isPresent: boolean }> {
    const client = await this.connect({ path: this.socketPath })
    const properties: [number, number][] = [[P.sessionExpiryInterval, 3600]]
    const { sessionPresent } = await client.handshake({ clientId, cleanStart: false, properties })
    return { client, isPresent: sessionPresent }
  }

  async atoll(...args: string[]): Promise<void> {
    const environment = { ATOLL_ADMIN: `unix://${this.path('run/admin.sock')}`, HOME: this.folder }
    const { code, stdout, stderr } = await runProgram(process.execPath, [command, ...args], { environment })
    assert.equal(code, 0, stdout + stderr)
  }
}

/** Somebody has subscribed, and a publisher has sent the first message and not released it. */
async function begin(context: TestContext): Promise<{ place: Place; publisher: RawClient }> {
  const place = new Place(context)
  await place.serve('fsync')
  const { client: subscriber } = await place.kept('subscriber')
  await subscriber.subscribe(['t'], { qos: 2 })
  await subscriber.disconnect()
  const { client: publisher } = await place.kept('publisher')
  await send(publisher, 'before')
  return { place, publisher }
}

async function send(publisher: RawClient, payload: string): Promise<void> {
  publisher.send(publish({ level: 5, topic: 't', qos: 2, packetId, payload }))
  assert.equal((await publisher.expect('PUBREC')).reasonCode, 0)
}

async function release(publisher: RawClient): Promise<void> {
  publisher.send(pubrel({ level: 5, packetId }))
  await publisher.expect('PUBCOMP')
}

async function expectBoth(place: Place): Promise<void> {
  const { client: publisher, isPresent } = await place.kept('publisher')
  assert.equal(isPresent, true)
  await send(publisher, 'after')
  await release(publisher)
  await publisher.disconnect()
  const { client: subscriber } = await place.kept('subscriber')
  const first = await subscriber.expect('PUBLISH')
  const second = await subscriber.expect('PUBLISH')
  assert.deepEqual(
    [first, second].map(({ payload }) => payload.toString()),
    ['before', 'after'],
  )
}

test('a store that lay there while durability was memory takes what comes under the Packet Identifiers that were open in it', async (t) => {
  const { place } = await begin(t)
  await place.stop()
  const daemon = await place.serve('memory')
  assert.match(daemon.stdout, /what was kept on disk is not used with durability: memory/)
  const { client, isPresent } = await place.kept('publisher')
  assert.equal(isPresent, false)
  await client.disconnect()
  await place.stop()
  await place.serve('fsync')
  await expectBoth(place)
})

test('a restored backup takes what comes under the Packet Identifiers that were open in it', async (t) => {
  const { place, publisher } = await begin(t)
  const file = place.path('backup.mdb')
  await place.atoll('backup', file)
  await release(publisher)
  await publisher.disconnect()
  await place.stop()
  await place.atoll('restore', '-c', place.configFile, '--yes', file)
  await place.serve('fsync')
  await expectBoth(place)
})
