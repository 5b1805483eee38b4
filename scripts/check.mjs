// Types, lint and format, import floors, generated documents: everything about the tree that needs no running broker.
import { spawnSync } from 'node:child_process'

const node = process.execPath
const checks = [
  ['types', [node, 'node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit']],
  ['types of tests', [node, 'node_modules/typescript/bin/tsc', '-p', 'test/tsconfig.json', '--noEmit']],
  ['lint and format', ['node_modules/.bin/biome', 'check', '--error-on-warnings', '.']],
  ['import floors', [node, 'scripts/check-floors.mjs']],
  ['conformance table', [node, 'scripts/generate-conformance.mjs', '--check']],
]
let failed = 0
for (const [title, [command, ...args]] of checks) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  process.stdout.write(`${status === 0 ? 'ok    ' : 'FAILED'} ${title}\n`)
  if (status === 0) continue
  failed++
  process.stdout.write(`${stdout}${stderr}`)
}
process.exit(failed === 0 ? 0 : 1)
