// Names that mean something to a programming language, a file system or an access rule are ordinary names here.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { variantTest } from '../kit/variants.ts'
import { P, type Property, properties, publish } from '../kit/wire.ts'

const session: Property[] = [[P.sessionExpiryInterval, 60]]

describe('names', { concurrency: 8 }, () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'null', '0']) {
    variantTest(
      `${name} is an ordinary client id, user name, topic and property`,
      {},
      async ({ client, connect, level }) => {
        const kept = { clientId: name, cleanStart: false, properties: session, username: name, password: name }
        const a = await client(kept)
        await a.subscribe([name, `a/${name}`, `${name}/#`, `$share/${name}/s/${name}`], { qos: 1 })
        await a.disconnect()
        const publisher = await client()
        const list: Property[] = [[P.userProperty, [name, name]]]
        for (const topic of [`a/${name}`, `${name}/b/c`, `s/${name}`, `none/${name}`]) {
          await publisher.publish({ topic, payload: topic, qos: 1, retain: topic.startsWith('s'), properties: list })
        }
        const back = await connect()
        const connack = await back.handshake(kept)
        if (level > 3) assert.equal(connack.sessionPresent, true)
        for (const topic of [`a/${name}`, `${name}/b/c`, `s/${name}`]) {
          const message = await back.expect('PUBLISH')
          assert.equal(message.topic, topic)
          if (level === 5) assert.deepEqual(properties(message, P.userProperty), [[name, name]])
        }
        await back.unsubscribe([name, `a/${name}`])
        await back.expectNothing()
        assert.deepEqual(Object.keys(Object.prototype), [])
      },
    )
  }

  variantTest('a client id of 256 bytes is accepted, a longer one is refused', {}, async ({ client, connect }) => {
    await client({ clientId: 'é'.repeat(128) })
    const long = await connect()
    long.sendConnect({ clientId: 'é'.repeat(128) + 'x' })
    await long.expectRefused(0x85, 2)
  })

  test('a client id or user name with wildcards opens no foreign topic of a pattern rule', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'atoll-acl-'))
    const acl = join(folder, 'acl')
    await writeFile(
      acl,
      'pattern readwrite by-id/%c/#\npattern readwrite by-user/%u/#\nuser watcher\ntopic readwrite #\n',
    )
    const hooks = {
      authenticate: (given: { username: string | null }) => ({ allowed: true, username: given.username }),
    }
    try {
      await withBroker({ auth: { acl }, hooks }, async (broker) => {
        const watcher = await broker.client({ clientId: 'watcher', username: 'watcher', password: 'x' })
        await watcher.subscribe(['#'])
        for (const name of ['+', '#', 'victim/#', '+/+', 'a/+', '/', '%u', '%c']) {
          const intruder = await broker.connect()
          intruder.sendConnect({ clientId: name, username: name, password: 'x' })
          const { reasonCode } = await intruder.expect('CONNACK')
          if (reasonCode !== 0) {
            assert.equal(reasonCode, 0x85)
            continue
          }
          await intruder.subscribe(['#', 'by-id/+/#', 'by-user/+/#', 'by-id/victim/secret', 'by-user/victim/secret'])
          await watcher.publish({ topic: 'by-id/victim/secret', payload: 'x' })
          await watcher.publish({ topic: 'by-user/victim/secret', payload: 'x' })
          await intruder.expectNothing()
          for (const by of ['by-id', 'by-user']) {
            intruder.send(publish({ topic: `${by}/victim/secret`, payload: 'from the intruder', qos: 1, packetId: 1 }))
            assert.equal((await intruder.expect('PUBACK')).reasonCode, 0x87)
          }
          for (let index = 0; index < 2; index++)
            assert.equal((await watcher.expect('PUBLISH')).payload.toString(), 'x')
          await watcher.expectNothing()
          intruder.destroy()
        }
        const victim = await broker.client({ clientId: 'victim', username: 'victim', password: 'x' })
        await victim.subscribe(['by-id/victim/#', 'by-user/victim/#'])
        await watcher.publish({ topic: 'by-id/victim/secret', payload: 'mine' })
        assert.equal((await victim.expect('PUBLISH')).payload.toString(), 'mine')
      })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
