// A disk that is full when the broker starts: it starts all the same wherever there is a store, refuses what it cannot keep, and goes
// on by itself when there is room. Where there is none yet, and none can be made, it says so and is tried again.
import assert from 'node:assert/strict'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../kit/until.ts'
import { FleetPlace } from '../process/fleet-place.ts'
import { hasImageDevices, ImageDevice, runTool } from './image-device.ts'
import { CrashPlace } from './place.ts'

const canMount = process.platform === 'linux' && process.getuid?.() === 0
const skip = !canMount && process.env.REQUIRE_INTEROP !== '1' ? 'only root can mount a small file system' : false

const kinds: Record<string, (path: string) => () => void> = {
  tmpfs(path) {
    runTool('mount', '-t', 'tmpfs', '-o', 'size=24m,mode=0700', 'tmpfs', path)
    return () => runTool('umount', '-l', path)
  },
}
if (hasImageDevices()) {
  // Here a directory takes room too.
  kinds.ext4 = (path) => {
    const device = new ImageDevice(path, { mebibytes: 24 })
    return () => device.destroy()
  }
}

/** Takes all that is left. @returns gives it back */
function fill(folder: string): () => void {
  const hog = join(folder, 'hog')
  const descriptor = openSync(hog, 'w')
  for (const bytes of [65_536, 4096, 512]) {
    try {
      for (;;) if (writeSync(descriptor, Buffer.alloc(bytes, 1)) < bytes) break
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
    }
  }
  closeSync(descriptor)
  return () => rmSync(hog)
}

for (const [kind, mount] of Object.entries(kinds)) {
  test(`the disk is full when the broker starts, ${kind}: it is up, refuses what is to be kept, and recovers`, {
    skip,
  }, async (t) => {
    const place = new CrashPlace(t, {}, mount)
    await place.broker.start()
    const { client: absent } = await place.client({ clientId: 'absent' })
    await absent.subscribe(['kept'], { qos: 1 })
    absent.destroy()
    const { client: before } = await place.client()
    assert.equal(await before.publish({ topic: 'kept', payload: 'before', qos: 1 }), 0)
    place.broker.end('SIGTERM')
    await place.broker.ended()

    const giveBack = fill(place.broker.dataFolder)
    for (const end of ['SIGKILL', 'SIGTERM', null] as const) {
      await place.broker.start()
      const { client } = await place.client()
      await client.subscribe(['live'], { qos: 0 })
      await client.publish({ topic: 'live', payload: 'x', qos: 0 })
      await client.expect('PUBLISH')
      assert.equal(await client.publish({ topic: 'kept', payload: 'refused', qos: 1 }), 0x97)
      if (end === null) break
      place.broker.end(end)
      await place.broker.ended()
    }
    giveBack()
    await place.broker.said(/the store works again/)
    const { client: back, isPresent } = await place.client({ clientId: 'absent' })
    assert.equal(isPresent, true)
    assert.equal((await back.expect('PUBLISH')).payload.toString(), 'before')
  })

  test(`there is no store and no room for one, ${kind}: it says what to do, and is tried again`, {
    skip,
  }, async (t) => {
    let unmount = () => {}
    t.after(() => unmount())
    const place = new FleetPlace(t)
    mkdirSync(place.path('data'))
    unmount = mount(place.path('data'))
    place.describe({ one: { isolation: 'process', durability: 'fsync' }, other: { durability: 'memory' } })
    const giveBack = fill(place.path('data'))
    await place.serve()
    const { phase, reason } = (await place.members()).get('one')!
    assert.equal(phase, 'backing-off')
    assert.match(reason!, /(needs about \d+ bytes, and \d+ are free|no space left on its file system) .*\(?make room/)
    assert.doesNotMatch(reason!, /\n|\.js:/)
    const { code, stderr } = await place.command(['instance', 'start', 'one'])
    assert.equal(code, 1)
    assert.match(stderr, /the instance one is not ready: .*make room/)
    giveBack()
    await until('it starts by itself', async () => (await place.members()).get('one')!.phase === 'ready')
  })
}
