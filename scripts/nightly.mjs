// What is too long for every test run: hundreds of kills and power cuts for each level of durability, long simulations, a month of
// churn. Prints one table; what went wrong stands in build/nightly/. Exit code 1 when anything did.
//   npm run nightly                          about an hour on two cores
//   npm run nightly -- --scale 0.02          the same in small, to see that it works
//   npm run nightly -- --seed 7 power-cut    only rows whose name contains one of the words, with this first seed
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const logFolder = 'build/nightly'
const { values, positionals: words } = parseArgs({
  options: { scale: { type: 'string', default: '1' }, seed: { type: 'string' } },
  allowPositionals: true,
})
const scale = Number(values.scale)
const seed = values.seed === undefined ? Math.floor(Date.now() / 86_400_000) * 10_000 : Number(values.seed)
if (!(scale > 0) || !Number.isSafeInteger(seed)) {
  process.stderr.write('nightly: --scale is a number above 0, --seed a whole number\n')
  process.exit(2)
}
const scaled = (count) => Math.max(1, Math.round(count * scale))

/** Every round has clients of 3.1.1 and 5, over tcp and UNIX sockets. */
const crash = (end, durability, rounds) => ({
  name: `${end} ${durability}`,
  args: ['build/test/crash/run.js', '--end', end, '--durability', durability, '--rounds', String(scaled(rounds))],
  tell({ rounds, kills, stops, acknowledged, allowedLosses, violations, badSeeds }) {
    const broken = Object.entries(violations).filter(([, count]) => count > 0)
    const lost = allowedLosses > 0 ? `, ${allowedLosses} lost that were not promised` : ''
    const told = `${rounds} rounds, ${kills} ends, ${stops} stops, ${acknowledged} acknowledged${lost}`
    return broken.length === 0 ? told : `${told}; BROKEN ${JSON.stringify(broken)} in seeds ${badSeeds.join(' ')}`
  },
})

const rows = [
  crash('kill', 'fsync', 300),
  crash('kill', 'os', 300),
  crash('power-cut', 'fsync', 300),
  crash('power-cut', 'os', 200),
  {
    name: 'failing disk fsync',
    args: ['build/test/power-cut/run-failing.js', '--rounds', String(scaled(60))],
    tell: ({ rounds, acknowledged, refused, crashes, badSeeds }) => {
      const told = `${rounds} rounds, ${acknowledged} acknowledged, ${refused} refused, ${crashes} crashes of the library`
      return badSeeds.length === 0 ? told : `${told}; BROKEN in seeds ${badSeeds.join(' ')}`
    },
  },
  crash('simulated-kill', 'fsync', 100),
  crash('simulated-kill', 'os', 100),
  crash('simulated-power-cut', 'fsync', 200),
  crash('simulated-power-cut', 'os', 100),
  {
    name: 'simulation',
    args: ['--test', 'build/test/simulation/simulation.test.js'],
    environment: { ATOLL_SEEDS: String(scaled(20_000)) },
    tell: () => `${scaled(20_000)} random lives of a broker`,
  },
  {
    name: 'churn',
    args: ['build/test/churn/run.js', '--steps', String(Math.max(1000, scaled(20_000)))],
    tell: ({ fileBytes, writtenBytes }) => {
      const sizes = fileBytes.map((bytes) => (bytes / 1e6).toFixed(1)).join(', ')
      return `store of ${sizes} MB after 10, 50 and 100 %; ${(writtenBytes / 1e6).toFixed(0)} MB passed through`
    },
  },
].filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))

rmSync(logFolder, { recursive: true, force: true })
mkdirSync(logFolder, { recursive: true })
process.stdout.write(`seed ${seed}, scale ${scale}\n`)
let failed = 0
for (const { name, args, environment = {}, tell } of rows) {
  const beganAtMs = performance.now()
  const isTest = args[0] === '--test'
  const { status, stdout, stderr } = spawnSync(process.execPath, isTest ? args : [...args, '--seed', String(seed)], {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
    maxBuffer: 1 << 30,
  })
  let told
  try {
    told = tell(isTest ? null : JSON.parse(stdout.slice(stdout.search(/^\{/m))))
  } catch {
    told = 'it did not come to its end'
  }
  const seconds = `${((performance.now() - beganAtMs) / 1000).toFixed(0)} s`
  process.stdout.write(`${status === 0 ? 'ok    ' : 'FAILED'}  ${name.padEnd(27)}  ${seconds.padStart(6)}  ${told}\n`)
  if (status === 0) continue
  failed++
  const file = join(logFolder, `${name.replaceAll(' ', '-')}.txt`)
  writeFileSync(file, `${stdout}\n${stderr}`)
  process.stdout.write(`        see ${file}\n`)
}
process.exit(failed === 0 ? 0 : 1)
