import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { jsonSchemaText } from './document-schema.ts'
import { fileWith, loadAll } from './fixture.test.ts'
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
  const examples = [...page.matchAll(/^```(yaml|toml|json)\n(.*?)^```/gms)].map(([, extension, text]) => ({
    extension: extension!,
    text: text!,
    // An example that begins with the name of a file is one that another example includes.
    included: /^# (\S+\/\S+)\n/.exec(text!)?.[1] ?? null,
  }))
  assert.ok(examples.length > 8)
  const folder = dirname(fileWith('#'))
  const parts = examples.filter(({ included }) => included !== null)
  for (const { included, text } of parts) {
    mkdirSync(dirname(join(folder, included!)), { recursive: true })
    writeFileSync(join(folder, included!), text)
  }
  assert.ok(parts.length > 0)
  for (const { extension, text } of examples.filter(({ included }) => included === null)) {
    const { members } = loadAll(text, extension).fleet
    assert.ok(
      members.every(({ config }) => config.listeners.length > 0),
      text,
    )
  }
})

test('the examples of counted and included instances are what the page says', () => {
  const page = readFileSync(join(root, 'docs/configuration.md'), 'utf8')
  const membersAfter = (heading: string) => {
    const [, text] = /^```yaml\n(.*?)^```/ms.exec(page.slice(page.indexOf(heading)))!
    return loadAll(text!).fleet.members
  }
  const many = membersAfter('### Hundreds of instances').map(
    ({ config }) => `${config.name} ${config.listeners[0]!.address.slice(16)}`,
  )
  assert.deepEqual(
    [many.length, many[0], many[199], many[200], many[209]],
    [210, 'plant-0 20000', 'plant-199 20199', 'lab-501 20500', 'lab-510 20509'],
  )
  assert.deepEqual(
    membersAfter('### Several files').map(({ config, template }) => [config.name, template]),
    [
      ['plant-a', 'small'],
      ['plant-c', 'small'],
    ],
  )
})
