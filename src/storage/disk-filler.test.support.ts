// A process that fills a small disk through a store until it can't be written, then makes room (`free`) and sees it go on, or
// ends (`stay`). Prints what it was told as JSON.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSystemClock } from '../base/clock.ts'
import { openLmdbStore } from './lmdb-store.ts'
import { messageRecord } from './store-contract.test.support.ts'

const [directory, then] = process.argv.slice(2)
const ballast = join(directory, 'ballast')
writeFileSync(ballast, Buffer.alloc(4 << 20, 1))
const store = await openLmdbStore({
  directory: join(directory, 'data'),
  durability: 'fsync',
  clock: createSystemClock(),
})
const told: string[] = []
let problem = ''
let noted = 0
let named = 0
let failed = 0
store.onProblem = (text) => {
  told.push(text === null ? 'well' : 'problem')
  problem ||= text ?? ''
}
while (failed < 3) {
  for (let index = 0; index < 100; index++) store.putRetained(`t/${noted++}`, messageRecord(Buffer.alloc(900, 1)))
  try {
    await store.flush()
    named = noted
  } catch {
    failed++
  }
}
if (then === 'free') {
  store.onDurable = () => told.push('named')
  rmSync(ballast)
  await store.flush()
  named = noted
  await store.close()
}
process.stdout.write(JSON.stringify({ problem, named, told: told.slice(0, 3) }), () => process.exit(0))
