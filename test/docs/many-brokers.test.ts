// The page "Run many brokers on one host" works when it is typed: every block of commands runs, in order, in one shell
// and one folder; only the ports are others.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePorts } from '../process/free-ports.ts'
import { projectFolder, runProgram } from '../process/run-program.ts'
import { readPages } from './pages.ts'

const path = join('docs', 'many-brokers.md')

test(`${path} works when it is typed`, { timeout: 180_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'atoll-page-'))
  mkdirSync(join(folder, 'bin'))
  symlinkSync(join(projectFolder, 'dist/cli/main.js'), join(folder, 'bin/atoll'))
  const { blocks } = readPages().find((page) => page.path === path)!
  const commands = blocks.filter(({ language }) => language === 'sh')
  assert.ok(commands.length >= 9)

  const firstPort = await freePorts(5)
  const script = commands
    .map(({ code, line }) => `echo '== line ${line}'\n${code}`)
    .join('')
    .replace(/\b188[4-8]\b/g, (port) => String(firstPort + Number(port) - 1884))
  assert.doesNotMatch(script, /\b18\d\d\b/)
  const environment = { PATH: `${join(folder, 'bin')}:${process.env.PATH}`, HOME: folder }
  const run = (text: string) => runProgram('/bin/sh', ['-euc', text], { cwd: folder, environment, deadlineMs: 150_000 })
  // Whatever goes wrong on the way, no daemon is left.
  t.after(async () => {
    await run('[ ! -e atoll.pid ] || kill -9 "$(cat atoll.pid)" || true')
    rmSync(folder, { recursive: true, force: true })
  })

  const { code, stdout, stderr } = await run(script)
  assert.equal(code, 0, stdout + stderr)
  assert.equal(stderr, '')
  const said = stdout.split(/^== line \d+\n/m)
  assert.equal(said.length, commands.length + 1)
  const after = (words: string) => said[commands.findIndex(({ code }) => code.includes(words)) + 1]

  assert.equal(after('atoll check'), 'ok: 6 instances, 6 listeners\n')
  assert.match(after('export ATOLL_ADMIN'), /\nhamburg +ready (.*\n)+lab-2 +ready .*\nseldom +waiting /)
  assert.match(after('-m open'), /^doors\/7 open\n/)
  assert.doesNotMatch(after('-m open').slice(1), /doors/)
  assert.match(after('instance create'), /^kiel ready .*\naltona ready /)
  assert.match(after('instance create'), /\naltona deleted, /)
  assert.match(after('instance create'), / ready instance=hamburg /)
  assert.match(after('listener start'), /\nhamburg +doors +unix:\S+doors\.sock +listening /)
  assert.match(after('atoll apply'), /rostock/)
  const [asleep, awake] = after('-m awake').matchAll(/^seldom +(\S+)/gm)
  assert.deepEqual([asleep[1], awake[1]], ['waiting', 'ready'])
  assert.match(after('kill -9'), /^\d+\ndoors\/7 shut\n/)
  for (const name of ['hamburg', 'bremen', 'kiel', 'rostock', 'lab-0']) {
    assert.match(after('kill -9'), new RegExp(`\n${name} +ready `))
  }
  assert.match(after('kill -9'), /\nhamburg .*doors\.sock/)
  assert.match(after('systemd print'), /^# atoll\.service\n\[Unit\]\n/)
  assert.match(after('atoll stop'), /^stopped pid \d+\n$/)
})
