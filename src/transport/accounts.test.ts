import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { OperatorError } from '../base/errors.ts'
import { findGroupId, findUserId, idInAccountFile } from './accounts.ts'

const options = { platform: process.platform, key: 'listeners.local.owner' }

test('a number is taken as it is', async () => {
  assert.equal(await findUserId('0', options), 0)
  assert.equal(await findGroupId('4294967294', options), 4294967294)
})

test('a name of this machine', async () => {
  const { username, uid } = userInfo()
  assert.equal(await findUserId(username, options), uid)
  assert.equal(await findGroupId('daemon', options), 1)
})

test('a name that only the tools of the system know', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'accounts-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const { username, uid } = userInfo()
  assert.equal(await findUserId(username, { ...options, directory }), uid)
  writeFileSync(join(directory, 'group'), 'other:x:5:\n')
  assert.equal(await findGroupId('other', { ...options, directory }), 5)
})

test('an unknown name is refused with its key', async () => {
  for (const name of ['no-such-account-here', '', '-u', 'a b', '4294967295', '99999999999', '__proto__', 'a:b']) {
    for (const find of [findUserId, findGroupId]) {
      await assert.rejects(find(name, options), (error) => {
        assert.ok(error instanceof OperatorError)
        assert.equal(error.code, 'unknown-account')
        assert.equal(error.place?.key, 'listeners.local.owner')
        return true
      })
    }
  }
})

test('only whole names and sound numbers of the file count', () => {
  const text = '# comment\nrooter:x:7:\nbad:x:seven:\nroot:x:0:0:root:/root:/bin/sh\nshort\n'
  assert.equal(idInAccountFile(text, 'root'), 0)
  assert.equal(idInAccountFile(text, 'bad'), null)
  assert.equal(idInAccountFile(text, 'short'), null)
  assert.equal(idInAccountFile(text, 'roo'), null)
})
