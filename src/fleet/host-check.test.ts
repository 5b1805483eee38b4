import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadFleet } from '../config/load-fleet.ts'
import { addressGrammar } from '../instance/address-grammar.ts'
import { checkHost, type HostFacts, readHostFacts } from './host-check.ts'

const plenty: HostFacts = { openFilesLimit: 1_000_000, memoryBytes: 2 ** 50 }
const folder = mkdtempSync(join(tmpdir(), 'atoll-host-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
let files = 0

/** `severity code key`, for a fleet whose run directory is there. */
async function check(
  text: string,
  facts = plenty,
  own: string[] = [],
  place = folder,
): Promise<{ found: string[]; messages: string[] }> {
  const file = join(folder, `${files++}.yaml`)
  writeFileSync(file, `runDir: ${place}\ndataDir: ${place}/data\nlogDir: ${place}/log\n${text}`)
  const loaded = loadFleet({
    file,
    environment: {},
    listen: [],
    settings: [],
    workingDirectory: folder,
    uid: 1000,
    grammar: addressGrammar(process.platform),
  })
  const findings = await checkHost(loaded, facts, process.platform, own)
  return {
    found: findings.map(({ severity, error: { code, place } }) => `${severity} ${code} ${place?.key ?? '-'}`),
    messages: findings.map(({ error }) => error.message),
  }
}

test('a host that has everything', async () => {
  const { found } = await check(`listeners: { a: "tcp://127.0.0.1:0", b: "unix://${folder}/new/b.sock" }`)
  assert.deepEqual(found, [])
})

test('a port and a socket that another program has', async (context) => {
  const tcp = createServer().listen(0, '127.0.0.1')
  const unix = createServer().listen(join(folder, 'taken.sock'))
  context.after(() => [tcp.close(), unix.close()])
  await Promise.all([once(tcp, 'listening'), once(unix, 'listening')])
  const { port } = tcp.address() as AddressInfo
  writeFileSync(join(folder, 'file.sock'), '')
  const { found, messages } = await check(`
instances:
  a: { listeners: { tcp: "tcp://127.0.0.1:${port}", local: "unix://${folder}/taken.sock" } }
  b: { listeners: { local: "unix://${folder}/file.sock" } }
`)
  assert.deepEqual(found, [
    'error port-in-use instances.a.listeners.tcp',
    'error socket-in-use instances.a.listeners.local',
    'error path-occupied instances.b.listeners.local',
  ])
  if (process.platform === 'linux') assert.match(messages[0]!, new RegExp(`in use by process ${process.pid} `))
})

test('what this process has already is not in its way, and a manual instance asks for nothing yet', async (context) => {
  const admin = createServer().listen(join(folder, 'own.sock'))
  const other = createServer().listen(0, '127.0.0.1')
  context.after(() => [admin.close(), other.close()])
  await Promise.all([once(admin, 'listening'), once(other, 'listening')])
  const { port } = other.address() as AddressInfo
  const text = `
admin: { listen: "unix://${folder}/own.sock" }
instances: { a: { start: manual, listeners: { tcp: "tcp://127.0.0.1:${port}" } }, b: { } }
defaults: { listeners: { local: "unix://${folder}/\${name}.sock" } }
`
  const { found, messages } = await check(text)
  assert.deepEqual(found, ['error socket-in-use admin.listen'])
  if (process.platform === 'linux') assert.match(messages[0]!, new RegExp(`by process ${process.pid} `))
  assert.deepEqual((await check(text, plenty, [`unix://${folder}/own.sock`])).found, [])
})

test('folders that are missing or cannot be written', async (context) => {
  const { found } = await check(`listeners: { a: "unix://${folder}-not-there/a.sock" }`)
  assert.deepEqual(found, ['error directory-missing listeners.a'])
  writeFileSync(join(folder, 'plain'), '')
  assert.deepEqual(
    (await check(`instances: { a: { dataDir: ${folder}/plain/data, listeners: { tcp: "tcp://127.0.0.1:0" } } }`)).found,
    ['error directory-missing instances.a.dataDir'],
  )
  if (process.getuid?.() === 0) return context.diagnostic('root may write everywhere')
  mkdirSync(join(folder, 'closed'))
  chmodSync(join(folder, 'closed'), 0o500)
  const closed = await check(
    `instances: { a: { logDir: ${folder}/closed/log }, b: { dataDir: ${folder}/closed/data } }`,
  )
  assert.deepEqual(closed.found, ['error directory-not-writable instances.a.logDir'])
})

test('files and memory for all limits together, process by process', async () => {
  const shared = (pool: string) => `isolation: shared, pool: ${pool}, poolSize: 2`
  const text = `
defaults: { limits: { connections: 100, memory: 1MiB } }
instances:
  a: { isolation: process }
  b: { ${shared('p')} }
  c: { ${shared('p')} }
  d: { ${shared('p')}, limits: { connections: 50 } }
`
  assert.deepEqual((await check(text, { openFilesLimit: 300, memoryBytes: 4 * 1024 ** 2 })).found, [])
  const short = await check(text, { openFilesLimit: 200, memoryBytes: 3 * 1024 ** 2 })
  assert.deepEqual(short.found, ['warning too-few-files -', 'warning too-little-memory -'])
  assert.match(short.messages[0]!, /^a process of the pool p may have 202 connections and listeners, and .* 200 files$/)
  assert.match(short.messages[1]!, /is 4MiB, and this host has 3MiB$/)
  assert.deepEqual((await check(text, { openFilesLimit: null, memoryBytes: 2 ** 50 })).found, [])
})

test("the default limit of connections is nobody's wish: of those that share a process each alone has to get along", async () => {
  const pool = `instances: { "i\${index}": { count: 3, isolation: shared, start: manual } }`
  assert.deepEqual((await check(pool, { ...plenty, openFilesLimit: 20_000 })).found, [])
  assert.deepEqual((await check(pool, { ...plenty, openFilesLimit: 10_000 })).found, ['warning too-few-files -'])
  const stated = `${pool}\ndefaults: { limits: { connections: 10000 } }`
  const { messages } = await check(stated, { ...plenty, openFilesLimit: 20_000 })
  assert.match(messages[0]!, /^a process of the pool default may have 30003 connections and listeners, /)
})

test('accounts and groups that this host does not have', async () => {
  const { found, messages } = await check(`
instances:
  a: { listeners: { l: { address: "unix://${folder}/a.sock", owner: no-such-account-1, group: "0" } } }
  b: { listeners: { l: { address: "unix://${folder}/b.sock", owner: root, group: no-such-group-1 } } }
  c: { isolation: process, user: no-such-account-1, group: no-such-group-1 }
`)
  assert.deepEqual(found, [
    'error unknown-account instances.a.listeners.l.owner',
    'error unknown-account instances.b.listeners.l.group',
    'error unknown-account instances.c.user',
    'error unknown-account instances.c.group',
  ])
  assert.match(messages[1]!, /^this machine has no group "no-such-group-1"$/)
})

test('the facts of this host', () => {
  const { openFilesLimit, memoryBytes } = readHostFacts()
  assert.ok(memoryBytes > 2 ** 20)
  assert.ok(process.platform !== 'linux' || openFilesLimit! > 10)
})

const asRoot = { skip: process.getuid?.() === 0 ? false : 'only root may try the rights of another account' }

test('what the account of an instance may not do', asRoot, async (context) => {
  const place = mkdtempSync(join(tmpdir(), 'atoll-rights-'))
  context.after(() => rmSync(place, { recursive: true, force: true }))
  chmodSync(place, 0o755)
  for (const name of ['secret.passwd', 'open.passwd']) writeFileSync(join(place, name), '')
  chmodSync(join(place, 'secret.passwd'), 0o600)
  mkdirSync(join(place, 'data/b'), { recursive: true })
  writeFileSync(join(place, 'data/b/store'), '')
  mkdirSync(join(place, 'locked'), { mode: 0o700 })
  const { found, messages } = await check(
    `
instances:
  a: { user: nobody, auth: { passwords: ${place}/open.passwd } }
  b: { user: nobody, auth: { passwords: ${place}/secret.passwd } }
  c: { user: nobody, dataDir: ${place}/locked/c, listeners: { local: "unix://${place}/c.sock" } }
`,
    plenty,
    [],
    place,
  )
  assert.deepEqual(found, [
    'error not-owned instances.b.dataDir',
    'error not-permitted instances.b.auth.passwords',
    'error not-permitted instances.c.dataDir',
    'error directory-not-writable instances.c.listeners.local',
  ])
  assert.match(messages[1]!, /the account nobody may not read .*secret\.passwd/)
})
