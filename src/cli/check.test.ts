import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { atoll } from './run-command.test.ts'

const folder = mkdtempSync(join(tmpdir(), 'atoll-check-'))
after(() => rmSync(folder, { recursive: true }))

function fileWith(name: string, text: string): string {
  const file = join(folder, name)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, text)
  return file
}

test('a fleet of many files is counted, as text and as JSON', async () => {
  const file = fileWith(
    'atoll.yaml',
    `templates:
  small: { listeners: { tcp: "tcp://127.0.0.1:\${20000+index}", local: "unix://${folder}/\${name}.sock" } }
instances:
  plant-\${index}: { template: small, count: 998 }
include: instances.d/*.yaml
`,
  )
  fileWith('instances.d/a.yaml', 'listeners: {}\n')
  fileWith('instances.d/b.yaml', 'template: small\n')
  assert.deepEqual(await atoll(['check', '-c', file]), {
    code: 0,
    signal: null,
    stdout: 'ok: 1000 instances, 1998 listeners\n',
    stderr: '',
  })
  const json = await atoll(['check', '-c', file, '--json'])
  assert.deepEqual(JSON.parse(json.stdout), { ok: true, instances: 1000, listeners: 1998, findings: [] })
})

test('every finding of a fleet is one line that names its file, and both sides of a conflict', async () => {
  const file = fileWith('bad.yaml', 'instances: { a: { listeners: { l: "unix:///x" } } }\ninclude: [bad.d/b.yaml]\n')
  const other = fileWith('bad.d/b.yaml', 'listeners:\n  m: unix:///x\n  n: { adress: unix:///y }\n')
  const { code, stdout, stderr } = await atoll(['check', '-c', file])
  assert.deepEqual([code, stdout], [2, ''])
  assert.deepEqual(
    stderr
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' ')[0]),
    [`${other}:3:6:`, `${other}:3:8:`],
  )
  fileWith('bad.d/b.yaml', 'listeners:\n  m: unix:///x\n')
  const conflict = await atoll(['check', '-c', file, '--json'])
  assert.equal(conflict.code, 2)
  const { ok, findings } = JSON.parse(conflict.stdout)
  assert.deepEqual(
    [ok, findings.map(({ code, file, line, key }: Record<string, unknown>) => [code, file, line, key])],
    [false, [['address-conflict', other, 2, 'listeners.m']]],
  )
  assert.ok(findings[0].message.includes(`${file}, line 1`))
})

test('password files of all instances are read, each once', async () => {
  const file = fileWith(
    'auth.yaml',
    'defaults: {auth: {passwords: users}}\ninstances: {a: , b: , c: {auth: {acl: rules}}}',
  )
  const { stderr } = await atoll(['check', '-c', file])
  assert.equal(stderr.match(/users: /g)?.length, 1)
  assert.equal(stderr.match(/rules: /g)?.length, 1)
})

test('files and accounts are looked at also where an address is wrong', async () => {
  const file = fileWith(
    'both.yaml',
    `templates: { t: { auth: { passwords: nobody }, listeners: { l: { address: "unix:///\${name}", group: no-such-group-1 } } } }
instances:
  bad: { listeners: { l: "tcp://127.0.0.1:99999", m: { address: "unix://${folder}/m.sock", owner: no-such-user-1 } }, auth: { acl: rules } }
  a: { template: t }
  b: { template: t }
`,
  )
  const { code, stderr } = await atoll(['check', '-c', file])
  assert.equal(code, 2)
  const lines = stderr.trimEnd().split('\n')
  const expected = [
    /:3:\d+: .*99999/,
    /rules: .*does not exist/,
    /nobody: .*does not exist/,
    /:3:\d+: .*no-such-user-1/,
    /:1:\d+: .*no-such-group-1/,
  ]
  for (const [at, pattern] of expected.entries()) assert.match(lines[at], pattern)
  assert.equal(lines.length, expected.length)
})

test('the host is asked when it is wanted; what may be the running fleet itself is a warning', async (context) => {
  const server = createServer().listen(0, '127.0.0.1')
  context.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const file = fileWith(
    'host.yaml',
    `runDir: run\ndataDir: data\nlogDir: log\nlisteners: { a: "tcp://127.0.0.1:${port}" }\n`,
  )
  assert.equal((await atoll(['check', '-c', file])).stderr, '')
  const warned = await atoll(['check', '-c', file, '--host'])
  assert.deepEqual([warned.code, warned.stdout], [0, 'ok: 1 instance, 1 listener\n'])
  assert.match(warned.stderr, new RegExp(`^warning: ${file}:4:17: listeners.a: tcp://127.0.0.1:${port} is in use`, 'm'))
  const refused = await atoll([
    'check',
    '-c',
    file,
    '--host',
    '--json',
    '--set',
    'listeners.b=unix:///nowhere/at/all.sock',
  ])
  const { findings, warnings } = JSON.parse(refused.stdout)
  assert.deepEqual([refused.code, findings.length, findings[0].code], [2, 1, 'directory-missing'])
  assert.ok(warnings.some(({ code }: { code: string }) => code === 'port-in-use'))
})

test('an account that this host does not have is found, with its place', async () => {
  const file = fileWith(
    'accounts.yaml',
    `instances:
  a:
    listeners:
      local:
        address: unix://${folder}/a.sock
        group: no-such-group-1
`,
  )
  const { code, stderr } = await atoll(['check', '-c', file])
  assert.equal(code, 2)
  assert.match(
    stderr,
    new RegExp(`^${file}:6:16: instances.a.listeners.local.group: this machine has no group "no-such`),
  )
  assert.match((await atoll(['check', '-c', file, '--host'])).stderr, /:6:16: .*no-such-group-1/)
})

test('a whole fleet is shown as one file that reads back', async () => {
  const file = fileWith(
    'few.yaml',
    `templates: { t: { listeners: { l: "unix://${folder}/\${name}.sock" }, isolation: shared } }
instances: { "i\${index}": { template: t, count: 3 }, other: { nice: 3 } }
`,
  )
  const shown = await atoll(['start', '--print-config', '-c', file])
  assert.equal(shown.code, 0)
  const checked = await atoll(['check', '-c', fileWith('shown.yaml', shown.stdout)])
  assert.equal(checked.stdout, 'ok: 4 instances, 4 listeners\n')
  const again = await atoll(['start', '--print-config', '-c', join(folder, 'shown.yaml')])
  assert.equal(again.stdout, shown.stdout)
})
