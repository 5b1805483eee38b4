// Writes what the documentation takes from the table of configuration keys: the reference in docs/configuration.md,
// the JSON Schema for editors, and the table of operations in docs/admin-api.md. Run after a build: node scripts/generate-docs.mjs [folder of the build]
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const built = (path) => import(pathToFileURL(join(resolve(root, process.argv[2] ?? 'dist'), path)).href)

const { withKeyReference } = await built('config/key-reference.js')
const { jsonSchemaText } = await built('config/document-schema.js')

const page = join(root, 'docs/configuration.md')
writeFileSync(page, withKeyReference(readFileSync(page, 'utf8')))
writeFileSync(join(root, 'docs/atoll.schema.json'), jsonSchemaText())

const { withRouteReference } = await built('admin/route-reference.js')
const { adminRoutes } = await built('admin/admin-routes.js')
const { controlVerbs } = await built('instance/control-verbs.js')

const apiPage = join(root, 'docs/admin-api.md')
writeFileSync(apiPage, withRouteReference(readFileSync(apiPage, 'utf8'), adminRoutes(controlVerbs, 'linux')))
