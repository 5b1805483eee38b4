import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ManualClock } from '../base/clock.ts'
import { asidePath } from './lmdb-store.ts'
import { listSetAside } from './set-aside.ts'

test('what was set aside is listed with its size and since when, and nothing else', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'atoll-aside-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const store = join(directory, 'store.mdb')
  const clock = new ManualClock()
  const sinceMs = Math.floor(clock.wallMs() / 1000) * 1000
  for (const name of ['store.mdb', 'store.mdb-lock', 'store.closed', 'store.corrupt-x', 'x.corrupt-20261122T003300Z']) {
    writeFileSync(join(directory, name), 'x')
  }
  assert.deepEqual(await listSetAside(directory), [])
  const expected = (['corrupt', 'corrupt', 'replaced'] as const).map((reason, bytes) => {
    const file = asidePath(store, reason, clock)
    writeFileSync(file, Buffer.alloc(bytes))
    return { file, bytes, sinceMs }
  })
  assert.deepEqual(await listSetAside(directory), expected)
  assert.deepEqual(await listSetAside(join(directory, 'nowhere')), [])
})
