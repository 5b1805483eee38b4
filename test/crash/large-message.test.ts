// One message that is larger than what a small disk has left: it is refused at once, and those after it are kept as before.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { publish } from '../kit/wire.ts'
import { CrashPlace } from './place.ts'

const mebibyte = 1024 ** 2

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
}

const canMount = process.platform === 'linux' && process.getuid?.() === 0
const skip = !canMount && process.env.REQUIRE_INTEROP !== '1' ? 'only root can mount a small file system' : false

test('a message larger than what the disk has left is refused at once', { skip }, async (t) => {
  const sockets = mkdtempSync(join(tmpdir(), 'atoll-large-'))
  t.after(() => rmSync(sockets, { recursive: true }))
  const listeners = {
    tcp: { address: 'tcp://127.0.0.1:0', maxPacketSize: '32MiB' },
    local: { address: `unix://${join(sockets, 'x.sock')}`, maxPacketSize: '32MiB' },
  }
  const place = new CrashPlace(t, { listeners, limits: { queueBytes: '64MiB' } }, (path) => {
    run('mount', '-t', 'tmpfs', '-o', 'size=60m,mode=0700', 'tmpfs', path)
    return () => run('umount', '-l', path)
  })
  writeFileSync(join(place.broker.dataFolder, 'others'), Buffer.alloc(45 * mebibyte))
  await place.broker.start()
  const { client: absent } = await place.client({ clientId: 'absent' })
  await absent.subscribe(['kept'], { qos: 1 })
  absent.destroy()
  const { client: publisher } = await place.client()
  const large = Buffer.alloc(20 * mebibyte, 'x')
  assert.equal(await publisher.publish({ topic: 'kept', payload: 'before', qos: 1 }), 0)
  assert.equal(await publisher.publish({ topic: 'kept', payload: large, qos: 1 }), 0x97)
  assert.equal(await publisher.publish({ topic: 'kept', payload: large, qos: 1, retain: true }), 0x97)
  const { client: old } = await place.client({}, 4)
  old.send(publish({ level: 4, topic: 'kept', payload: large, qos: 1, packetId: 1 }))
  await old.expectClosed()
  // To nobody who is kept it flows.
  const { client: reader } = await place.client()
  await reader.subscribe(['fleeting'], { qos: 1 })
  assert.equal(await publisher.publish({ topic: 'fleeting', payload: large, qos: 1 }), 0)
  assert.equal(await publisher.publish({ topic: 'kept', payload: 'after', qos: 1 }), 0)
  assert.doesNotMatch(place.broker.output, /takes nothing new/)

  await place.kill()
  await place.broker.start()
  const { client: back } = await place.client({ clientId: 'absent' })
  for (const payload of ['before', 'after']) {
    assert.equal((await back.expect('PUBLISH')).payload.toString(), payload)
  }
})
