// The library's page knows every counter that a program can read, and nothing that is not there.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { createBroker } from 'atollmq'
import { projectFolder } from '../process/run-program.ts'

test('docs/library.md lists the counters', () => {
  const page = readFileSync(join(projectFolder, 'docs/library.md'), 'utf8')
  const [, section] = page.split('\n## Counters\n')
  const named = [...section.split('\n## ')[0].matchAll(/`([a-z]\w*)`/g)].map(([, name]) => name)
  assert.deepEqual(named.sort(), Object.keys(createBroker().counters).sort())
})
