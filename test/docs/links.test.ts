// Every link of the documentation that stays within the project leads to a file and, after `#`, to a heading in it.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { projectFolder } from '../process/run-program.ts'
import { readPages } from './pages.ts'

const pages = readPages()

for (const { path, links } of pages) {
  test(`links of ${path}`, () => {
    const broken = links.filter(({ target }) => !isSound(path, target))
    assert.deepEqual(
      broken.map(({ target, line }) => `${path}:${line}: ${target}`),
      [],
    )
  })
}

function isSound(from: string, target: string): boolean {
  if (/^[a-z]+:/.test(target)) return /^(https|mailto):./.test(target)
  const [file, anchor] = target.split('#', 2)
  const path = file === '' ? from : normalize(join(dirname(from), file))
  if (path.startsWith('..') || !existsSync(join(projectFolder, path))) return false
  return anchor === undefined || pages.find((page) => page.path === path)?.anchors.has(anchor) === true
}

test('there are pages and links to check', () => {
  assert.ok(pages.some(({ path }) => path === 'README.md'))
  assert.ok(pages.some(({ path }) => path === join('docs', 'library.md')))
  assert.ok(pages.flatMap(({ links }) => links).length > 10)
})
