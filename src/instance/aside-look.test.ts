import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SetAsideFile } from '../storage/set-aside.ts'
import type { StoreFile } from '../storage/store-file.ts'
import { AsideLook } from './aside-look.ts'

const store = { path: '/data/plant/store/store.mdb' } as StoreFile
const files = [{ file: '/data/plant/store/store.corrupt-20261122T003300Z', bytes: 1, sinceMs: 0 }]

test('a disk that does not answer holds up one look and no question for long, and is asked again when it has', async () => {
  const asked: string[] = []
  let answer = (_files: SetAsideFile[]) => {}
  const aside = new AsideLook((directory) => {
    asked.push(directory)
    return new Promise((resolve) => {
      answer = resolve
    })
  })
  assert.deepEqual(await Promise.all([aside.list(store), aside.list(store)]), [null, null])
  const last = aside.list(store)
  answer(files)
  assert.deepEqual(await last, files)
  assert.deepEqual(asked, ['/data/plant/store'])
  const next = aside.list(store)
  answer([])
  assert.deepEqual(await next, [])
  assert.equal(asked.length, 2)
})

test('a disk that fails says nothing', async () => {
  const aside = new AsideLook(() => Promise.reject(new Error('EIO')))
  assert.equal(await aside.list(store), null)
})
