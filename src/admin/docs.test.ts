import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { controlVerbs } from '../instance/control-verbs.ts'
import { adminRoutes } from './admin-routes.ts'
import { withRouteReference } from './route-reference.ts'

let root = import.meta.dirname
while (!existsSync(join(root, 'package.json'))) root = dirname(root)

test('the table of operations in docs/admin-api.md is current', () => {
  const page = readFileSync(join(root, 'docs/admin-api.md'), 'utf8')
  const renew = 'run npm run build && node scripts/generate-docs.mjs'
  assert.equal(page, withRouteReference(page, adminRoutes(controlVerbs, 'linux')), renew)
})
