// Proves the floors of ARCHITECTURE.md: a file imports from its own folder, from neighbours that are listed, and from
// floors below; never from above. Proves too what a process must not load when it starts: there are many host processes, and
// commands that are typed often. Prints one line per offence.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** Folder -> folders that it may import from. */
const allowed = {
  base: [],
  codec: ['base'],
  topic: ['base'],
  observe: ['base'],
  config: ['base'],
  routing: ['base', 'codec', 'topic'],
  storage: ['base'],
  session: ['base', 'codec', 'topic', 'routing', 'storage', 'observe'],
  security: ['base', 'topic'],
  transport: ['base'],
  client: ['base', 'codec', 'topic', 'transport'],
  broker: ['base', 'codec', 'topic', 'config', 'observe', 'routing', 'session', 'storage', 'security', 'transport'],
  instance: [
    'base',
    'codec',
    'topic',
    'config',
    'observe',
    'routing',
    'session',
    'storage',
    'security',
    'transport',
    'broker',
  ],
  fleet: ['base', 'config', 'observe', 'transport', 'instance'],
  admin: ['base', 'config', 'observe', 'transport', 'instance', 'fleet'],
  testing: ['base', 'storage'],
  cli: ['base', 'codec', 'topic', 'config', 'observe', 'security', 'transport', 'client', 'instance', 'fleet', 'admin'],
  '.': ['base', 'codec', 'topic', 'config', 'broker', 'security', 'instance'],
}
/** Types of the configuration are plain data that the edge may read as well. */
const allowedTypes = { transport: ['config'] }

/** Entry -> packages that it may load with all that it imports; what is imported later, with `import()`, is not counted. */
const lean = {
  'fleet/host-main.ts': ['fastest-levenshtein'],
  'cli/status.ts': [],
}

/** Whether nothing of an import is left when the types are gone. */
const isOfTypes = (what) => /^type\b/.test(what) || /^\{(\s*type\s[^,}]+,?)+\s*\}/.test(what)

/** Packages that a file needs to be loaded, each with the way to it. */
const packagesOf = (file, way, seen) => {
  if (seen.has(file)) return []
  seen.add(file)
  return [
    ...readFileSync(join('src', file), 'utf8').matchAll(/^(?:import|export)\s+(?:([^'"]*?)\sfrom\s+)?'([^']+)'/gms),
  ].flatMap(([, what = '', target]) => {
    if (isOfTypes(what) || target.startsWith('node:')) return []
    const here = [...way, file]
    return target.startsWith('.')
      ? packagesOf(relative('src', join('src', dirname(file), target)), here, seen)
      : [{ name: target, way: here }]
  })
}

let offences = 0
for (const [entry, packages] of Object.entries(lean)) {
  for (const { name, way } of packagesOf(entry, [], new Set())) {
    if (packages.includes(name)) continue
    offences++
    process.stderr.write(`${entry} may not load ${name} (${way.join(' > ')})\n`)
  }
}
for (const entry of readdirSync('src', { withFileTypes: true, recursive: true })) {
  if (!entry.isFile() || !entry.name.endsWith('.ts')) continue
  const file = join(entry.parentPath ?? entry.path, entry.name)
  const folder = relative('src', dirname(file)).split('/')[0] || '.'
  const isTest = entry.name.endsWith('.test.ts')
  for (const [, type, target] of readFileSync(file, 'utf8').matchAll(
    /^(?:import|export)\s+(type\s)?(?:[^'"]*?\sfrom\s+)?'(\.[^']+)'/gms,
  )) {
    const other = relative('src', join(dirname(file), target)).split('/')
    const otherFolder = other.length === 1 ? '.' : other[0]
    const known = allowed[folder]
    const isFine =
      otherFolder === folder ||
      known?.includes(otherFolder) ||
      (type !== undefined && allowedTypes[folder]?.includes(otherFolder)) ||
      (isTest && known !== undefined)
    if (isFine) continue
    offences++
    process.stderr.write(`${file}: ${folder} may not import ${otherFolder} (${target})\n`)
  }
}
if (offences > 0) process.exit(1)
