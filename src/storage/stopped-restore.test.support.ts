// A process that restores a backup and is killed before one of its calls to the file system, chosen by number; a copy is killed
// halfway. Ends with 0 when there was no call of that number.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { createSystemClock } from '../base/clock.ts'

const [backup, directory, dieAt] = process.argv.slice(2)
let calls = 0

type Call = (...args: unknown[]) => unknown

function watch(owner: Record<string, Call>, name: string, halfway: Call = () => {}): void {
  const original = owner[name]
  owner[name] = function (this: unknown, ...args: unknown[]) {
    if (++calls === Number(dieAt)) {
      halfway(...args)
      process.kill(process.pid, 'SIGKILL')
    }
    return original.apply(this, args)
  }
}

const sync = fs as unknown as Record<string, Call>
const { writeFileSync, readFileSync } = fs
for (const name of ['renameSync', 'rmSync', 'chmodSync', 'mkdirSync', 'openSync', 'fsyncSync', 'closeSync']) {
  watch(sync, name)
}
watch(fs.promises as unknown as Record<string, Call>, 'open')
watch(fs.promises as unknown as Record<string, Call>, 'copyFile', (from, to) => {
  const bytes = readFileSync(from as string)
  writeFileSync(to as string, bytes.subarray(0, bytes.length >> 1))
})
syncBuiltinESMExports()

const { restoreStore } = await import('./backup-store.ts')
await restoreStore(backup, directory, createSystemClock())
