// What a power cut makes of renames that no sync has covered, when the folder that the file came from is not there any more.
import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Random } from '../simulation/random.ts'
import { loseEntries } from './unsynced-entries.ts'

function withFolder(body: (folder: string, record: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-entries-'))
  try {
    body(join(folder, 'data'), join(folder, 'record'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('a rename is undone with the removal of the folder that it came from, or the file has neither name', () => {
  const seen = new Set<string>()
  for (let seed = 1; seed <= 50; seed++) {
    withFolder((data, record) => {
      const [old, file] = [join(data, 'private', 'x'), join(data, 'file')]
      mkdirSync(join(data, 'private'), { recursive: true })
      writeFileSync(old, 'bytes')
      renameSync(old, file)
      rmdirSync(join(data, 'private'))
      writeFileSync(record, `moved ${file}\n${old}\n`)
      const lost = loseEntries(record, new Random(seed))
      const left = (readdirSync(data, { recursive: true }) as string[]).sort().join()
      assert.equal(lost, left === 'file' ? 0 : 1)
      seen.add(left)
    })
  }
  assert.deepEqual([...seen].sort(), ['', 'file', 'private,private/x'])
})

test('a file that was removed after its rename stays removed', () => {
  for (let seed = 1; seed <= 10; seed++) {
    withFolder((data, record) => {
      mkdirSync(data)
      writeFileSync(record, `moved ${join(data, 'file')}\n${join(data, 'private', 'x')}\n`)
      assert.equal(loseEntries(record, new Random(seed)), 0)
      assert.deepEqual(readdirSync(data), [])
    })
  }
})

test('a rename whose folder is still there is undone, and what was synced stays', () => {
  const seen = new Set<boolean>()
  for (let seed = 1; seed <= 20; seed++) {
    withFolder((data, record) => {
      mkdirSync(data)
      const [synced, file] = [join(data, 'synced'), join(data, 'file')]
      for (const path of [synced, file]) writeFileSync(path, path)
      writeFileSync(record, `moved ${synced}\n${synced}.part\nsynced ${data}\nmoved ${file}\n${file}.part\n`)
      loseEntries(record, new Random(seed))
      assert.ok(existsSync(synced))
      const isKept = existsSync(file)
      seen.add(isKept)
      assert.equal(readFileSync(isKept ? file : `${file}.part`, 'utf8'), file)
    })
  }
  assert.equal(seen.size, 2)
})
