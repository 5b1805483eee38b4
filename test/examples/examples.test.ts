// Every program in examples/ is run as its reader runs it, and says what it is meant to say.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { projectFolder, runProgram } from '../process/run-program.ts'

const folder = join(projectFolder, 'examples')

/** What each program writes; the test fixture is run by the test runner and compiled ones from where they are compiled to. */
const outputs: Record<string, RegExp> = {
  'embed.mjs': lines(
    'others connect to tcp://127\\.0\\.0\\.1:[1-9]\\d*',
    'sensors/1/temp is 21\\.5',
    'the broker is stopped',
  ),
  'many-brokers.mjs': lines(
    'plant-a: of plant-a',
    'plant-b: of plant-b',
    'plant-c: of plant-c',
    'plant-a is running, 2 clients',
    'plant-b is stopped, 0 clients',
    'plant-c is running, 2 clients',
  ),
  'unix-socket.mjs': lines('mode 600', 'gateway came over unix', 'doors/7: open'),
  'own-users.ts': lines(
    'alice: Connection refused: Bad User Name or Password',
    'Publish error: Not authorized',
    'users/alice/status here, users/bob mine, users/bob still mine',
  ),
  'enhanced-authentication.mjs': lines(
    'press-4 is press-4',
    'Connection refused: Not authorized',
    'Connection refused: Bad User Name or Password',
  ),
  'count-and-filter.mjs': lines(
    'Publish error: Payload format invalid',
    'the guest heard readings/temp=20 end=',
    'counted readings 3, debug 1, end 1',
    '2 dropped by hooks',
  ),
  'fixture.test.mjs': /^# pass 2\n# fail 0$/m,
}

function lines(...expected: string[]): RegExp {
  return new RegExp(`^${expected.join('\n')}\n$`)
}

const programs = readdirSync(folder).filter((name) => /\.(mjs|ts)$/.test(name))

test('every example is known here', () => {
  assert.deepEqual(programs.sort(), Object.keys(outputs).sort())
})

for (const [name, output] of Object.entries(outputs)) {
  test(`examples/${name}`, async () => {
    const result = await runProgram(process.execPath, await commandOf(name))
    assert.equal(result.stderr, '')
    assert.match(result.stdout, output)
    assert.equal(result.code, 0)
  })
}

async function commandOf(name: string): Promise<string[]> {
  if (name.endsWith('.test.mjs')) return ['--test', '--test-reporter=tap', join(folder, name)]
  if (name.endsWith('.mjs')) return [join(folder, name)]
  const tsc = join(projectFolder, 'node_modules/typescript/bin/tsc')
  const compiled = await runProgram(process.execPath, [tsc, '-p', folder])
  assert.deepEqual(compiled, { code: 0, stdout: '', stderr: '' })
  return [join(projectFolder, 'build/examples', name.replace(/\.ts$/, '.js'))]
}
