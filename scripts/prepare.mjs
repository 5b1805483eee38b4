// Makes a fresh clone ready (install, build) and returns at once when it already is.
// Plain JavaScript without dependencies: it runs before there are any.
import { spawnSync } from 'node:child_process'
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
process.chdir(root)

const modifiedAt = (path) => {
  try {
    return statSync(path).mtimeMs
  } catch {
    return 0
  }
}

/** Newest modification under a folder, directories included so that a deleted file counts too. */
const newestUnder = (folder) => {
  let newest = modifiedAt(folder)
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    newest = Math.max(newest, entry.isDirectory() ? newestUnder(path) : modifiedAt(path))
  }
  return newest
}

const run = (title, command, args) => {
  process.stderr.write(`atoll: ${title} …\n`)
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status === 0) return
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}${error ? `${error.message}\n` : ''}`)
  process.stderr.write(`atoll: ${title} failed: ${command} ${args.join(' ')}\n`)
  process.exit(status ?? 1)
}

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`atoll: Node.js 20.19 or later is needed, this is ${process.versions.node}\n`)
  process.exit(1)
}

if (modifiedAt('node_modules/.package-lock.json') < modifiedAt('package-lock.json')) {
  run('installing dependencies', 'npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'])
}
const sources = Math.max(newestUnder('src'), modifiedAt('tsconfig.json'), modifiedAt('package-lock.json'))
if (modifiedAt('dist/.stamp') < sources) {
  run('building', process.execPath, ['scripts/build.mjs'])
  writeFileSync('dist/.stamp', '')
}
