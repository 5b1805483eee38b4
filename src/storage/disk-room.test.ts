import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSystemClock } from '../base/clock.ts'
import { expectRoom, freeBytesAt } from './disk-room.ts'
import { openLmdbStore } from './lmdb-store.ts'
import { sessionRecord } from './store-contract.test.support.ts'

test('what is to be written needs room, and the error says how much there is', async () => {
  const folder = tmpdir()
  await expectRoom(folder, 0, 'nothing')
  assert.ok((await freeBytesAt(folder)) > 0)
  await assert.rejects(expectRoom(folder, 2 ** 60, 'a giant'), {
    code: 'no-space',
    message: /^a giant needs about \d+ bytes, and \d+ are free there$/,
    place: { file: folder },
  })
})

test('a note for whose text there was no room means whatever store is there', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'atoll-store-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const open = () => openLmdbStore({ directory, durability: 'os', clock: createSystemClock() })
  const store = await open()
  store.putSession(sessionRecord(1))
  store.putInbound(1, 77)
  await store.close()
  writeFileSync(join(directory, 'store.outdated'), '')
  const again = await open()
  assert.deepEqual(
    [...again.sessions()].map(({ inbound }) => inbound),
    [[]],
  )
  await again.close()
})
