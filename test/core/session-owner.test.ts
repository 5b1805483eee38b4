// A Session belongs to a user behind a mount point: what happens when the same Client Identifier comes from somebody else.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type AtollBroker, type BrokerHooks, type BrokerInput, createBroker } from 'atollmq'
import { RawClient } from '../kit/raw-client.ts'
import { type ConnectOptions, P } from '../kit/wire.ts'

interface Running {
  broker: AtollBroker
  client(listener: string, options?: ConnectOptions): Promise<RawClient>
  connect(listener: string): Promise<RawClient>
}

async function start(t: TestContext, listeners: BrokerInput['listeners'], hooks: BrokerHooks = {}): Promise<Running> {
  const broker = createBroker({ features: { sysInterval: 0 }, listeners }).use(hooks)
  await broker.start()
  const clients: RawClient[] = []
  t.after(async () => {
    for (const client of clients) client.destroy()
    await broker.stop()
  })
  const connect = async (listener: string) => {
    const { address } = broker.listeners.find(({ name }) => name === listener)!
    const client = await RawClient.connect({ port: Number(new URL(address).port) })
    clients.push(client)
    return client
  }
  const client = async (listener: string, options: ConnectOptions = {}) => {
    const opened = await connect(listener)
    await opened.handshake(options)
    return opened
  }
  return { broker, client, connect }
}

const kept = {
  clientId: 'shared-name',
  cleanStart: false,
  properties: [[P.sessionExpiryInterval, 100]] as [number, number][],
}
const anyPort = 'tcp://127.0.0.1:0'

test('another user who resumes a Session gets nothing that only the first may receive', async (t) => {
  const { client } = await start(
    t,
    { tcp: anyPort },
    {
      authenticate: ({ username }) => ({ allowed: true, username }),
      authorize: ({ client: { username }, action, topic }) =>
        action !== 'receive' || topic === 'open' || username === 'alice',
    },
  )
  const alice = await client('tcp', { ...kept, username: 'alice' })
  await alice.subscribe(['secret', 'open'], { qos: 1 })
  const publisher = await client('tcp', { username: 'publisher' })
  // The routes are known by now, with alice's rights.
  await publisher.publish({ topic: 'secret', qos: 0, payload: 'live' })
  assert.equal((await alice.expect('PUBLISH')).payload.toString(), 'live')
  await alice.disconnect()
  await publisher.publish({ topic: 'secret', qos: 1, payload: 'queued' })
  await publisher.publish({ topic: 'open', qos: 1, payload: 'queued' })
  const bob = await client('tcp', { ...kept, username: 'bob' })
  assert.equal((await bob.expect('PUBLISH')).topic, 'open')
  await publisher.publish({ topic: 'secret', qos: 0, payload: 'live' })
  await bob.expectNothing()
})

test('a Session is not resumed behind another mount point', async (t) => {
  const { client, connect } = await start(t, {
    a: { address: anyPort, mountPoint: 'a/' },
    b: { address: anyPort, mountPoint: 'tenant-b/' },
  })
  const first = await client('a', kept)
  await first.subscribe(['t'], { qos: 1 })
  await first.disconnect()
  const publisher = await client('a')
  await publisher.publish({ topic: 't', qos: 1, payload: 'of a' })
  const second = await connect('b')
  assert.equal((await second.handshake(kept)).sessionPresent, false)
  await publisher.publish({ topic: 't', qos: 1, payload: 'of a' })
  await second.expectNothing()
})

test('a Will Topic that is too long with the mount point is refused, and no Session is left', async (t) => {
  const { broker, connect } = await start(t, { tcp: { address: anyPort, mountPoint: 'plant/' } })
  const client = await connect('tcp')
  client.sendConnect({ will: { topic: 'x'.repeat(65_535), payload: 'w' } })
  await client.expectRefused(0x90)
  assert.equal(broker.counters.sessions, 0)
})
