// The file of a store is cut short by somebody else while its instance runs: the instance says so or ends, the fleet brings it
// back with what can be read, and status shouts.
import assert from 'node:assert/strict'
import { statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { RawClient } from '../kit/raw-client.ts'
import { until } from '../kit/until.ts'
import { Workplace } from './daemon.ts'
import { type ProgramResult, projectFolder, runProgram } from './run-program.ts'

const command = join(projectFolder, 'dist/cli/main.js')
const padding = 'x'.repeat(4000)

/** null when it is not answered: the instance ends, or finds that it cannot write what it has taken on. */
async function retain(client: RawClient, number: number): Promise<number | null> {
  const payload = `${number} ${padding}`
  return client.publish({ topic: `retained/${number}`, payload, qos: 1, retain: true }).catch(() => null)
}

const cases: [title: string, share: number, isSeen: boolean][] = [
  ['to nothing and written to at once', 0, false],
  ['in half and written to when that was seen', 0.5, true],
]

for (const [title, share, isSeen] of cases) {
  test(`a store file cut ${title}`, async (t) => {
    const place = new Workplace(t)
    const listeners = { local: `unix://${place.socketPath}` }
    place.configure({
      instances: { plant: { isolation: 'process', durability: 'fsync', listeners, restart: { backoff: '0s' } } },
    })
    const daemon = place.start()
    await daemon.ready()
    const atoll = (...args: string[]) => {
      const environment = { ATOLL_ADMIN: `unix://${place.path('run/admin.sock')}`, HOME: place.folder }
      return runProgram(process.execPath, [command, ...args], { cwd: place.folder, environment })
    }
    const client = await place.client()
    for (let number = 0; number < 100; number++) assert.ok(((await retain(client, number)) ?? 0x97) < 0x80)
    const file = place.path('data/plant/store/store.mdb')
    const knownBytes = async () =>
      JSON.parse((await atoll('instance', 'show', 'plant', '--json')).stdout).counts.store.fileBytes
    while ((await knownBytes()) !== statSync(file).size);
    truncateSync(file, Math.floor(statSync(file).size * share))

    const statusSaying = async (pattern: RegExp) => {
      let status!: ProgramResult
      await until(
        () => `${pattern} in ${status.stdout}${daemon.stdout}`,
        async () => {
          status = await atoll('status')
          return pattern.test(status.stdout)
        },
      )
      return status
    }
    if (isSeen) {
      const { code } = await statusSaying(/plant IS NOT READY: .*cut short/)
      assert.equal(code, 1)
      assert.equal(await retain(client, 100), 0x97)
      await atoll('instance', 'restart', 'plant')
    } else {
      // Whichever comes first: the broker finds it, or needs a page that is not there.
      let reasonCode: number | null = 0
      for (let number = 100; number < 300 && reasonCode !== null && reasonCode < 0x80; number++) {
        reasonCode = await retain(client, number)
      }
      assert.ok(reasonCode === null || reasonCode === 0x97)
      const { stdout } = await statusSaying(/cut short|THE STORE WAS DAMAGED/)
      if (/cut short/.test(stdout)) await atoll('instance', 'restart', 'plant')
    }
    const { code } = await statusSaying(/plant: THE STORE WAS DAMAGED, set aside as \/.*; rescued: /)
    assert.equal(code, 0)
    const again = await place.client()
    assert.equal(await retain(again, 1000), 0x10)
    await again.subscribe(['retained/#'])
    await again.fence()
    const found = again.unread.filter(({ type }) => type === 'PUBLISH').length
    t.diagnostic(`${found - 1} of 100 were rescued`)
    assert.ok(found > (share === 0 ? 0 : 30))
  })
}
