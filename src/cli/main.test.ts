import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { jsonSchemaText } from '../config/document-schema.ts'
import { atoll } from './run-command.test.ts'

const folder = mkdtempSync(join(tmpdir(), 'atoll-cli-'))
after(() => rmSync(folder, { recursive: true }))

function fileWith(name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

test('version, help and a wrong command line', async () => {
  const version = await atoll(['--version'])
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
  assert.equal(version.code, 0)
  const help = await atoll(['--help'])
  for (const command of ['start', 'check', 'schema', 'passwd'])
    assert.match(help.stdout, new RegExp(`^  ${command} `, 'm'))
  assert.match(help.stdout, /^ {2}instance <command> {2,}list, create/m)
  assert.match((await atoll(['instance', '--help'])).stdout, /^ {2}loglevel \[name\.\.\.\] <level> /m)
  assert.doesNotMatch((await atoll(['start', '--help'])).stdout, /default: \[\]/)
  const mistyped = await atoll(['chekc'])
  assert.equal(mistyped.code, 64)
  assert.match(mistyped.stderr, /Did you mean check/)
  assert.equal((await atoll(['check', '--nothing'])).code, 64)
  assert.equal((await atoll(['passwd', 'x'])).code, 64)
})

test('check says ok in one line', async () => {
  const file = fileWith('good.yaml', 'listeners: {a: "tcp://127.0.0.1:1", b: "unix:///tmp/b"}')
  assert.deepEqual(await atoll(['check', '-c', file]), {
    code: 0,
    signal: null,
    stdout: 'ok: 1 instance, 2 listeners\n',
    stderr: '',
  })
  const one = await atoll(['check', '-c', file, '--listen', 'tcp://127.0.0.1:9', '--json'])
  assert.deepEqual(JSON.parse(one.stdout), { ok: true, instances: 1, listeners: 1, findings: [] })
  assert.equal((await atoll(['check'], { ATOLL_CONFIG: file })).code, 0)
})

test('check gives one line for each finding, and exit code 2', async () => {
  const file = fileWith(
    'bad.yaml',
    'limits:\n  "inflight\\u001b[31m\\n": 1\nlisteners: {a: "ws://x", b: "tcp://0.0.0.0:1"}\n',
  )
  const { code, stdout, stderr } = await atoll(['check', '-c', file])
  assert.equal(code, 2)
  assert.equal(stdout, '')
  const lines = stderr.trimEnd().split('\n')
  assert.deepEqual(
    lines.map((line) => line.replace(file, '').split(' ')[0]),
    [':2:3:', ':3:16:', ':3:29:'],
  )
  assert.ok(!stderr.includes('\u001b'))
  const json = JSON.parse((await atoll(['check', '-c', file, '--json'])).stdout)
  assert.equal(json.ok, false)
  assert.deepEqual(
    json.findings.map((finding: { code: string; line: number }) => [finding.code, finding.line]),
    [
      ['unknown-key', 2],
      ['address-unsupported', 3],
      ['needs-authentication', 3],
    ],
  )
  const variable = await atoll(['check', '-c', file], { ATOLL_LIMITS__INFLIHGT: '1' })
  assert.match(variable.stderr, /^ATOLL_LIMITS__INFLIHGT: .*did you mean ATOLL_LIMITS__INFLIGHT/m)
})

test('check reads the password and ACL files too', async () => {
  const file = fileWith('auth.yaml', 'auth: {passwords: users, acl: rules}')
  const missing = await atoll(['check', '-c', file])
  assert.equal(missing.code, 2)
  assert.match(missing.stderr, /users: .*does not exist \(make it with atoll passwd/)
  fileWith('users', '# nobody\nbob\n')
  fileWith('rules', 'user bob\ntopic reed x\n')
  const wrong = await atoll(['check', '-c', file])
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /users:2: /)
  assert.match(wrong.stderr, /rules:2/)
  fileWith('users', '')
  fileWith('rules', 'user bob\ntopic read x\n')
  assert.equal((await atoll(['check', '-c', file])).code, 0)
})

test('passwd sets, changes and deletes a user', async () => {
  const file = join(folder, 'passwd')
  assert.equal((await atoll(['passwd', file, 'alice'], {}, 'secret\n')).code, 0)
  const first = readFileSync(file, 'utf8')
  assert.match(first, /^alice:\$[^\n]+\n$/)
  assert.ok(!first.includes('secret'))
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.equal((await atoll(['passwd', '-b', file, 'bob', 'other'])).code, 0)
  assert.equal((await atoll(['passwd', file, 'alice'], {}, 'changed')).code, 0)
  const [alice, bob] = readFileSync(file, 'utf8').trimEnd().split('\n')
  assert.notEqual(`${alice}\n`, first)
  assert.match(bob!, /^bob:/)
  assert.equal((await atoll(['passwd', '-D', file, 'alice'])).code, 0)
  assert.equal(readFileSync(file, 'utf8'), `${bob}\n`)
  const again = await atoll(['passwd', '-D', file, 'alice'])
  assert.deepEqual([again.code, again.stderr.includes('no user')], [1, true])
})

test('passwd refuses what cannot be a password', async () => {
  const file = join(folder, 'refused')
  assert.equal((await atoll(['passwd', file, 'alice'], {}, '\n')).code, 1)
  assert.equal((await atoll(['passwd', file, 'al:ice'], {}, 'x')).code, 64)
  assert.equal((await atoll(['passwd', file, 'alice'], {}, 'x'.repeat(70_000))).code, 1)
  assert.equal((await atoll(['passwd', file, 'alice', 'x'])).code, 64)
  assert.equal((await atoll(['passwd', '-b', file, 'alice'])).code, 64)
  assert.equal((await atoll(['passwd', '-b', '-D', file, 'alice', 'x'])).code, 64)
  assert.throws(() => statSync(file), { code: 'ENOENT' })
})

test('schema prints the schema, also to a reader that goes away', async () => {
  assert.equal((await atoll(['schema'])).stdout, jsonSchemaText())
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.js'), 'schema'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.destroy()
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text
  })
  const [code] = await once(child, 'close')
  assert.deepEqual([code, stderr], [0, ''])
})

test('start shows a configuration that check accepts, and refuses a wrong one', async () => {
  const shown = await atoll(['start', '--print-config', '--listen', 'tcp://127.0.0.1:9', '--set', 'limits.inflight=7'])
  assert.equal(shown.code, 0)
  assert.match(shown.stdout, /inflight: 7\n/)
  const checked = await atoll(['check', '-c', fileWith('shown.yaml', shown.stdout)])
  assert.equal(checked.stdout, 'ok: 1 instance, 1 listener\n')
  const refused = await atoll(['start', '--set', 'limits.inflight=x'])
  assert.deepEqual([refused.code, refused.stdout], [2, ''])
  assert.match(refused.stderr, /--set: limits\.inflight: /)
})
