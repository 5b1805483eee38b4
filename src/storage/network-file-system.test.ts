import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { networkFileSystemOf } from './network-file-system.ts'

test('a local folder is on no network file system, and only Linux can tell', async () => {
  assert.equal(await networkFileSystemOf(tmpdir(), 'linux'), null)
  assert.equal(await networkFileSystemOf('/nowhere', 'darwin'), null)
  if (existsSync('/proc/self')) assert.equal(await networkFileSystemOf('/proc', 'linux'), null)
  await assert.rejects(networkFileSystemOf('/nowhere', 'linux'), { code: 'ENOENT' })
})
