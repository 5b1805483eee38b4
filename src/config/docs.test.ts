import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { jsonSchemaText } from './document-schema.ts'
import { load } from './fixture.test.ts'
import { withKeyReference } from './key-reference.ts'

let root = import.meta.dirname
while (!existsSync(join(root, 'docs/configuration.md'))) root = dirname(root)
const renew = 'run npm run build && node scripts/generate-docs.mjs'

test('the reference of keys in docs/configuration.md is current', () => {
  const page = readFileSync(join(root, 'docs/configuration.md'), 'utf8')
  assert.equal(page, withKeyReference(page), renew)
})

test('docs/atoll.schema.json is current', () => {
  assert.equal(readFileSync(join(root, 'docs/atoll.schema.json'), 'utf8'), jsonSchemaText(), renew)
})

test('every example of the page is a configuration', () => {
  const page = readFileSync(join(root, 'docs/configuration.md'), 'utf8')
  const examples = [...page.matchAll(/^```(yaml|toml|json)\n(.*?)^```/gms)]
  assert.ok(examples.length > 2)
  for (const [, extension, text] of examples) assert.ok(load(text!, extension).config.listeners.length > 0)
})
