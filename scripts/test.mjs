// Runs every test: those beside the code, then the black-box suites in test/. Arguments name folders or parts of paths.
//   npm test                     everything
//   npm test -- codec 3.8        only files whose path contains one of the words
import { spawnSync } from 'node:child_process'
import { readdirSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

const tsc = ['node_modules/typescript/bin/tsc', '-p', 'test/tsconfig.json']
rmSync('build/test', { recursive: true, force: true })
const { status: compiled } = spawnSync(process.execPath, tsc, { stdio: 'inherit' })
if (compiled !== 0) process.exit(compiled ?? 1)

const testsUnder = (folder) =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.js'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort()

const words = process.argv.slice(2).filter((word) => !word.startsWith('--'))
const options = process.argv.slice(2).filter((word) => word.startsWith('--'))
const files = [...testsUnder('dist'), ...testsUnder('build/test')].filter(
  (file) => words.length === 0 || words.some((word) => file.includes(word)),
)
if (files.length === 0) {
  process.stderr.write(`no test file matches ${words.join(', ')}\n`)
  process.exit(1)
}
const reporter = options.some((option) => option.startsWith('--test-reporter')) ? [] : ['--test-reporter', 'dot']
const concurrency = `--test-concurrency=${Math.max(2, availableParallelism())}`
const summary = ['--test-reporter', 'spec', '--test-reporter-destination', 'build/test/report.txt']
const args = ['--test', concurrency, ...options, ...reporter]
if (reporter.length > 0) args.push('--test-reporter-destination', 'stdout', ...summary)
const { status } = spawnSync(process.execPath, [...args, ...files], { stdio: 'inherit' })
if (reporter.length > 0) {
  const { readFileSync } = await import('node:fs')
  const report = readFileSync('build/test/report.txt', 'utf8')
  const failures = report.indexOf('failing tests:')
  if (failures !== -1) process.stdout.write(`\n${report.slice(failures)}`)
  const count = (name) => Number(report.match(new RegExp(`^ℹ ${name} (\\d+)`, 'm'))?.[1] ?? 0)
  const skipped = count('skipped')
  process.stdout.write(`\n${count('pass')} passed, ${count('fail')} failed, ${skipped} skipped\n`)
}
process.exit(status ?? 1)
