// Backup, restore and the looks into a store, as an operator uses them: against a real daemon that goes on publishing, against a
// stopped instance, and without any daemon.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import mqtt, { type MqttClient } from 'mqtt'
import { runTool } from '../crash/image-device.ts'
import { until } from '../kit/until.ts'
import { type Daemon, Workplace } from './daemon.ts'
import { projectFolder, runProgram } from './run-program.ts'

const command = join(projectFolder, 'dist/cli/main.js')

class StorePlace extends Workplace {
  describe(isolation: 'inline' | 'process'): void {
    this.configure({
      instances: { plant: { isolation, durability: 'os', listeners: { local: `unix://${this.socketPath}` } } },
    })
  }

  run(...args: string[]) {
    const environment = { ATOLL_ADMIN: `unix://${this.path('run/admin.sock')}`, HOME: this.folder }
    return runProgram(process.execPath, [command, ...args], { cwd: this.folder, environment })
  }

  /** What it prints when it succeeds. */
  async text(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args)
    assert.equal(code, 0, `atoll ${args.join(' ')}: ${stdout}${stderr}`)
    return stdout
  }

  /** Sends a signal to the command as soon as something is so. */
  async interrupt(signal: NodeJS.Signals, isTime: () => boolean, ...args: string[]) {
    const environment = { ATOLL_ADMIN: `unix://${this.path('run/admin.sock')}`, HOME: this.folder }
    const child = spawn(process.execPath, [command, ...args], { env: { ...process.env, ...environment } })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (text) => {
      stdout += text
    })
    child.stderr.on('data', (text) => {
      stderr += text
    })
    const closed = once(child, 'close')
    while (!isTime() && child.exitCode === null) await delay(1)
    child.kill(signal)
    await closed
    return { code: child.exitCode, stdout, stderr }
  }

  // biome-ignore lint/suspicious/noExplicitAny: JSON of any shape
  async rows(...args: string[]): Promise<any[]> {
    const lines = (await this.text('store', 'dump', ...args)).split('\n')
    assert.equal(lines.pop(), '')
    return lines.map((line) => JSON.parse(line))
  }

  async serve(): Promise<Daemon> {
    const daemon = this.start()
    await daemon.ready()
    return daemon
  }

  get storeFolder(): string {
    return this.path('data/plant/store')
  }
}

function open(place: StorePlace, clientId: string, clean: boolean): MqttClient {
  return mqtt.connect(`mqtt+unix://${place.socketPath}`, { clientId, clean, reconnectPeriod: 0, protocolVersion: 4 })
}

async function connect(place: StorePlace, clientId: string, clean: boolean): Promise<MqttClient> {
  const client = open(place, clientId, clean)
  await new Promise<void>((resolve, reject) => {
    client.once('connect', () => resolve())
    client.once('error', reject)
  })
  return client
}

/** A session that is away, and so many messages for it; topic and payload of each is its number. */
async function fill(place: StorePlace, messages: number): Promise<MqttClient> {
  const absent = await connect(place, 'absent', false)
  await absent.subscribeAsync('queue/#', { qos: 1 })
  await absent.endAsync()
  const publisher = await connect(place, 'publisher', true)
  for (let number = 0; number < messages; number++) {
    await publisher.publishAsync(`queue/${number}`, String(number), { qos: 1 })
    await publisher.publishAsync(`kept/${number}`, String(number), { qos: 1, retain: true })
  }
  return publisher
}

/** What the session gets when it comes back, until `isEnough`. */
async function receive(place: StorePlace, isEnough: (got: ReadonlySet<string>) => boolean): Promise<string[]> {
  const got = new Set<string>()
  // The listener must stand before the first packet comes: a resumed session sends at once.
  const client = open(place, 'absent', false)
  await new Promise<void>((resolve, reject) => {
    client.on('message', (topic) => {
      got.add(topic)
      if (isEnough(got)) resolve()
    })
    client.on('error', reject)
    client.on('close', () => reject(new Error(`the broker closed the connection after ${got.size} messages`)))
  })
  await client.endAsync()
  return [...got]
}

for (const isolation of ['inline', 'process'] as const) {
  test(`a backup while messages come in brings all back that was acknowledged before: ${isolation}`, async (t) => {
    const place = new StorePlace(t)
    place.describe(isolation)
    const daemon = await place.serve()
    const messages = 200
    const publisher = await fill(place, messages)
    let isPublishing = true
    let later = 0
    const publishing = (async () => {
      while (isPublishing) await publisher.publishAsync(`queue/later/${later++}`, 'later', { qos: 1 })
    })()
    const file = place.path('plant.backup')
    const copied = JSON.parse(await place.text('backup', file, '--json'))
    isPublishing = false
    await publishing
    assert.ok(later > 0)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.equal(copied.counts.retained, messages)
    assert.ok(copied.counts.deliveries >= messages)
    assert.equal(existsSync(`${file}.part`), false)
    assert.match((await place.run('backup', file)).stderr, /there is such a file already/)

    const refused = await place.run('restore', file, '--yes')
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /the instance plant runs/)
    await publisher.endAsync()

    await place.text('instance', 'stop', 'plant')
    rmSync(place.storeFolder, { recursive: true })
    assert.match(await place.text('restore', file), /^plant restored: /)
    await place.text('instance', 'start', 'plant')
    const got = await receive(place, (topics) => {
      for (let number = 0; number < messages; number++) if (!topics.has(`queue/${number}`)) return false
      return true
    })
    assert.deepEqual(
      got.filter((topic) => !topic.startsWith('queue/later/')).slice(0, messages),
      Array.from({ length: messages }, (_, number) => `queue/${number}`),
    )
    assert.equal((await place.rows('--kind', 'retained')).length, messages)
    daemon.kill('SIGTERM')
    assert.equal(await daemon.ended(), 0)
  })
}

test('stat, verify and dump tell the same of a running and of a stopped instance', async (t) => {
  const place = new StorePlace(t)
  place.describe('inline')
  const daemon = await place.serve()
  await (await fill(place, 30)).endAsync()
  const running = JSON.parse(await place.text('store', 'stat', '--json'))
  assert.equal(running.durability, 'os')
  assert.equal(running.problem, null)
  assert.deepEqual(running.counts, {
    sessions: 1,
    subscriptions: 1,
    inbound: 0,
    messages: 30,
    deliveries: 30,
    retained: 30,
  })
  assert.match(await place.text('store', 'verify'), /^ok: 92 records/)
  const rows = await place.rows('-i', 'plant')
  assert.equal(rows.length, 92)
  assert.equal((await place.rows('--limit', '3', '--kind', 'message')).length, 3)
  const message = rows.find(({ kind, topic }) => kind === 'message' && topic === 'queue/7')
  assert.equal(Buffer.from(message.payload, 'base64').toString(), '7')
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)

  const stopped = JSON.parse(await place.text('store', 'stat', '-c', place.configFile, '--json'))
  assert.deepEqual(stopped.counts, running.counts)
  const later = await place.rows('-c', place.configFile)
  const withoutTime = ({ detachedAt: _, detachedAtMs: __, ...row }: Record<string, unknown>) => row
  assert.deepEqual(later.map(withoutTime), rows.map(withoutTime))
  assert.equal((await place.rows('-c', place.configFile, '--limit', '5')).length, 5)
})

test('a dump whose reader goes away ends without a word, and one that cannot be written says so', async (t) => {
  const place = new StorePlace(t)
  place.describe('inline')
  const daemon = await place.serve()
  // More than a pipe takes at once.
  await (await fill(place, 1500)).endAsync()
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
  const dump = `"${process.execPath}" "${command}" store dump -c "${place.configFile}"`
  const shell = (script: string) => runProgram('/bin/sh', ['-c', script], { cwd: place.folder, environment: {} })
  const { stdout, stderr } = await shell(`${dump} | head -n 1`)
  assert.equal(stdout.split('\n').length, 2)
  assert.equal(stderr, '')
  if (existsSync('/dev/full')) {
    const full = await shell(`${dump} > /dev/full`)
    assert.equal(full.code, 1)
    assert.match(full.stderr, /^atoll: the output cannot be written: ENOSPC[^\n]*\n$/)
  }
})

test('a damaged store: verify names what is wrong, backup refuses it, restore keeps it aside', async (t) => {
  const place = new StorePlace(t)
  place.describe('inline')
  const daemon = await place.serve()
  await (await fill(place, 100)).endAsync()
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
  const at = ['-c', place.configFile]
  const file = place.path('good.backup')
  await place.text('backup', file, ...at)
  assert.match(await place.text('store', 'verify', '--file', file), /^ok/)

  const store = join(place.storeFolder, 'store.mdb')
  const { size } = statSync(store)
  const descriptor = openSync(store, 'r+')
  for (let page = 4; page * 4096 < size; page += 2)
    writeSync(descriptor, Buffer.alloc(64, 0xa5), 0, 64, page * 4096 + 2048)
  closeSync(descriptor)
  const found = await place.run('store', 'verify', ...at)
  assert.equal(found.code, 1)
  assert.match(found.stdout, /\S/)
  assert.equal(JSON.parse((await place.run('store', 'verify', '--json', ...at)).stdout).ok, false)
  const refused = await place.run('backup', place.path('bad.backup'), ...at)
  assert.match(refused.stderr, /the file is damaged/)
  assert.equal(existsSync(place.path('bad.backup')), false)

  assert.match((await place.run('restore', file, ...at)).stderr, /has to be confirmed/)
  const damagedBackup = place.path('cut.backup')
  writeFileSync(damagedBackup, Buffer.alloc(8192, 1))
  assert.notEqual((await place.run('restore', damagedBackup, '--yes', ...at)).code, 0)
  assert.equal((await place.run('store', 'verify', ...at)).code, 1)

  await place.text('restore', file, '--yes', ...at)
  assert.match(await place.text('store', 'verify', ...at), /^ok/)
  assert.ok(readdirSync(place.storeFolder).some((name) => name.startsWith('store.replaced-')))
})

test('a store that is damaged while its instance runs gives no backup, clone or export; the instance goes on, and a restart rescues', async (t) => {
  const place = new StorePlace(t)
  place.describe('process')
  await place.serve()
  const publisher = await fill(place, 0)
  for (let number = 0; number < 300; number++) {
    await publisher.publishAsync(`kept/${number}`, 'damage me '.repeat(50), { qos: 1, retain: true })
  }
  await publisher.endAsync()
  const member = async () => JSON.parse((await place.run('status', '--json')).stdout).members[0]
  const { pid } = await member()
  const store = join(place.storeFolder, 'store.mdb')
  const bytes = readFileSync(store)
  const descriptor = openSync(store, 'r+')
  // All pages with retained messages and no others: those that the broker needs while nobody asks for more stay whole.
  for (let at = bytes.indexOf('damage me'); at !== -1; at = bytes.indexOf('damage me', (at | 4095) + 1)) {
    // Where the free bytes of the page begin and end: LMDB would copy from beyond the page as much as there is memory.
    writeSync(descriptor, Buffer.of(0, 0, 0, 0x80), 0, 4, (at & ~4095) + 20)
  }
  closeSync(descriptor)

  const file = place.path('plant')
  for (const args of [
    ['backup', file],
    ['instance', 'export', 'plant', place.path('exported'), '--with-data'],
    ['instance', 'clone', 'plant', 'next', `local=unix://${place.path('next.sock')}`, '--with-data'],
  ]) {
    const { code, stderr } = await place.run(...args)
    assert.notEqual(code, 0, args.join(' '))
    assert.match(stderr, /store\.mdb: the file is damaged: page \d+ .*atoll store verify.*restart the instance/)
  }
  assert.deepEqual(
    readdirSync(place.folder).filter((name) => name.startsWith('plant') || name.startsWith('exported')),
    [],
  )
  const damaged = await member()
  assert.deepEqual([damaged.pid, damaged.isReady], [pid, true])
  assert.match((await place.run('status')).stdout, /plant: THE STORE IS DAMAGED/)
  assert.match(
    place.read('log/plant/plant.log'),
    / error THE STORE IS DAMAGED, a check has found instance=plant finding="?page \d+ .*fix=/,
  )

  await place.text('instance', 'restart', 'plant')
  assert.match((await place.run('status')).stdout, /plant: THE STORE WAS DAMAGED, set aside as/)
  await place.text('backup', file)
})

test('files that were set aside are named by store stat, and instance show has a word for them: no state of the instance', async (t) => {
  const place = new StorePlace(t)
  place.describe('process')
  const daemon = await place.serve()
  const at = ['-c', place.configFile]
  const assertNone = async (...which: string[]) => {
    assert.deepEqual(JSON.parse(await place.text('store', 'stat', '--json', ...which)).setAside, [])
    assert.doesNotMatch(await place.text('store', 'stat', ...which), /set aside/)
  }
  const hint = async () => JSON.parse(await place.text('instance', 'show', 'plant', '--json')).counts.store.setAside
  await assertNone()
  assert.equal(await hint(), null)

  const corrupt = join(place.storeFolder, 'store.corrupt-20261122T003300Z')
  const replaced = join(place.storeFolder, 'store.replaced-20261122T003301Z-2')
  writeFileSync(corrupt, Buffer.alloc(5000))
  writeFileSync(replaced, Buffer.alloc(300))
  const setAside = [
    { file: corrupt, bytes: 5000, sinceMs: Date.UTC(2026, 10, 22, 0, 33) },
    { file: replaced, bytes: 300, sinceMs: Date.UTC(2026, 10, 22, 0, 33, 1) },
  ]
  const lines = `set aside: ${corrupt}, 5000 bytes, since 2026-11-22T00:33:00.000Z
set aside: ${replaced}, 300 bytes, since 2026-11-22T00:33:01.000Z
`
  const assertNamed = async (...which: string[]) => {
    assert.deepEqual(JSON.parse(await place.text('store', 'stat', '--json', ...which)).setAside, setAside)
    assert.ok((await place.text('store', 'stat', ...which)).endsWith(`\n${lines}`))
  }
  await assertNamed()
  const words = 'files that were set aside: 2, with 5300 bytes; atoll store stat -i plant names them'
  assert.equal(await hint(), words)
  assert.equal((await place.text('instance', 'show', 'plant')).match(/set aside.*/g)?.length, 1)
  assert.doesNotMatch(await place.text('status'), /set aside/)

  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
  await assertNamed(...at)
  rmSync(corrupt)
  rmSync(replaced)
  await assertNone(...at)
})

/** A store whose backup takes a while: large messages, as many as it needs. */
async function fillLarge(place: StorePlace, messages: number): Promise<void> {
  const publisher = await connect(place, 'publisher', true)
  const payload = Buffer.alloc(1_000_000, 'x')
  for (let number = 0; number < messages; number++) {
    await publisher.publishAsync(`large/${number}`, payload, { qos: 1, retain: true })
  }
  await publisher.endAsync()
}

for (const kind of ['inline', 'process', 'stopped'] as const) {
  test(`Ctrl-C and SIGTERM take back a backup, and nothing of it comes later: ${kind}`, async (t) => {
    const place = new StorePlace(t)
    place.describe(kind === 'process' ? 'process' : 'inline')
    const daemon = await place.serve()
    await fillLarge(place, 100)
    const file = place.path('plant.backup')
    const at = kind === 'stopped' ? ['-c', place.configFile] : []
    if (kind === 'stopped') {
      daemon.kill('SIGTERM')
      assert.equal(await daemon.ended(), 0)
    }
    const left = () => readdirSync(place.folder).filter((name) => name.startsWith('plant.backup'))
    // The one before may still be letting go of what it has copied.
    const isBusy = ({ stderr }: { stderr: string }) => /another backup or check of this instance is on/.test(stderr)
    for (const [signal, expected] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      for (let isQuicker = 0; ; ) {
        const ended = await place.interrupt(signal, () => left().length > 0, 'backup', file, ...at)
        if (isBusy(ended)) continue
        const { code, stdout, stderr } = ended
        // Who is held up for so long that the backup is whole by then tries again.
        if (code === 0 && isQuicker++ < 5) {
          rmSync(file)
          continue
        }
        assert.equal(code, expected, stdout + stderr)
        assert.match(stderr, /^atoll: the backup was (interrupted|terminated), and nothing is left of it\n$/)
        break
      }
      assert.deepEqual(left(), [])
    }
    for (;;) {
      const ended = await place.run('backup', file, ...at)
      if (isBusy(ended)) continue
      assert.equal(ended.code, 0, ended.stderr)
      break
    }
    assert.deepEqual(left(), ['plant.backup'])
  })
}

test('a backup into a folder that is not there is refused, and no folder is made: it may be a disk that is not mounted', async (t) => {
  const place = new StorePlace(t)
  place.describe('process')
  const daemon = await place.serve()
  place.write('file', '')
  const missing = place.path('missing')
  const assertRefused = async (file: string, ...args: string[]) => {
    const { code, stderr } = await place.run(...args)
    const folder = dirname(file)
    const fix = 'make it, or mount its disk, or write to another one'
    assert.equal(stderr, `${file}: there is no folder ${folder} (${fix})\n`)
    assert.equal(code, 5)
    assert.equal(existsSync(missing), false)
  }
  const deep = join(missing, 'folder/x')
  await assertRefused(deep, 'backup', deep)
  await assertRefused(place.path('file/x'), 'backup', place.path('file/x'))
  await assertRefused(deep, 'instance', 'export', 'plant', deep, '--with-data')
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
  await assertRefused(deep, 'backup', deep, '-c', place.configFile)
  // Nor is one made for a backup that is not there.
  rmSync(place.path('data'), { recursive: true })
  const { code, stderr } = await place.run('restore', deep, '-c', place.configFile)
  assert.equal(stderr, `${deep}: there is no such file\n`)
  assert.equal(code, 5)
  assert.equal(existsSync(place.path('data')), false)
})

test('nobody looks into a folder that a broker has', async (t) => {
  const place = new StorePlace(t)
  place.describe('inline')
  const daemon = await place.serve()
  const { code, stderr } = await place.run('store', 'verify', '-c', place.configFile)
  assert.equal(code, 3)
  assert.match(stderr, /is in use by the instance plant/)
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
})

/** For root no folder is read-only but by its mount. */
const isRoot = process.getuid?.() === 0
const readOnly = { skip: isRoot && process.platform !== 'linux' ? 'mounts are made as on Linux' : false }

/** Runs a command where the data directory is read-only. */
async function runReadOnly(place: StorePlace, ...args: string[]) {
  const dataDir = place.path('data')
  if (!isRoot) {
    chmodSync(join(dataDir, 'plant'), 0o500)
    try {
      return await runProgram(process.execPath, [command, ...args])
    } finally {
      chmodSync(join(dataDir, 'plant'), 0o700)
    }
  }
  // Not in a mount namespace of its own: as long as that lives, it holds whatever others have mounted.
  const folder = mkdtempSync(place.path('read-only-'))
  const file = `${folder}.json`
  writeFileSync(file, place.read('atoll.json').replace(JSON.stringify(dataDir), JSON.stringify(folder)))
  runTool('mount', '--bind', dataDir, folder)
  try {
    runTool('mount', '-o', 'remount,bind,ro', folder)
    return await runProgram(process.execPath, [command, ...args.map((arg) => (arg === place.configFile ? file : arg))])
  } finally {
    runTool('umount', folder)
  }
}

test('a folder that cannot be written is looked at and backed up, unless a broker has it', readOnly, async (t) => {
  const place = new StorePlace(t)
  place.describe('inline')
  const daemon = await place.serve()
  await (await fill(place, 10)).endAsync()
  const file = place.path('plant.backup')
  const at = ['-c', place.configFile]
  const commands = [
    ['store', 'stat', ...at],
    ['store', 'verify', ...at],
    ['store', 'dump', ...at],
    ['backup', file, ...at],
  ]
  for (const args of commands) {
    const { code, stderr } = await runReadOnly(place, ...args)
    assert.deepEqual([code, /is in use by the instance plant/.test(stderr)], [3, true], stderr)
  }
  assert.equal(existsSync(file), false)
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
  for (const args of commands) {
    const { code, stdout, stderr } = await runReadOnly(place, ...args)
    assert.deepEqual([code, stderr], [0, ''])
    assert.match(stdout, args[1] === 'verify' ? /^ok: / : /plant|retained/)
  }
  assert.match(await place.text('store', 'verify', '--file', file), /^ok/)
  // What changes something needs more.
  const { code, stderr } = await runReadOnly(place, 'restore', file, '--yes', ...at)
  assert.equal(code, 1)
  assert.match(stderr, /cannot lock the directory/)
})

test(
  'what was read in a folder that cannot be written counts for nothing when somebody has written there meanwhile',
  readOnly,
  async (t) => {
    const place = new StorePlace(t)
    place.describe('inline')
    const daemon = await place.serve()
    await fillLarge(place, 100)
    daemon.kill('SIGTERM')
    assert.equal(await daemon.ended(), 0)
    const file = place.path('plant.backup')
    const store = join(place.storeFolder, 'store.mdb')
    const read = runReadOnly(place, 'backup', file, '-c', place.configFile)
    while (!existsSync(`${file}.part`)) await delay(1)
    utimesSync(store, 1, 1)
    const { code, stderr } = await read
    assert.equal(code, 1)
    assert.match(stderr, /store\.mdb: something wrote to the store while it was read \(a broker runs on it/)
    assert.deepEqual([existsSync(file), existsSync(`${file}.part`)], [false, false])
  },
)

test('an instance is cloned, exported and imported with what it keeps', async (t) => {
  const place = new StorePlace(t)
  place.describe('inline')
  await place.serve()
  await (await fill(place, 20)).endAsync()
  const kept = async (instance: string) => (await place.rows('-i', instance)).filter(({ kind }) => kind !== 'session')
  const original = await kept('plant')
  assert.equal(original.length, 61)
  await place.text('instance', 'clone', 'plant', 'copy', `local=unix://${place.path('copy.sock')}`, '--with-data')
  assert.deepEqual(await kept('copy'), original)
  assert.equal(
    readdirSync(place.path('data/plant')).some((name) => name.startsWith('clone-')),
    false,
  )

  const file = place.path('copy.yaml')
  await place.text('instance', 'export', 'copy', file, '--with-data')
  await place.text('instance', 'delete', 'copy', '--yes')
  const refused = await place.run('instance', 'import', file, '--with-data')
  assert.match(refused.stderr, /there is data of an instance of that name already/)
  assert.doesNotMatch(await place.text('instance', 'list'), /copy/)
  rmSync(place.path('data/copy'), { recursive: true })
  await place.text('instance', 'import', file, '--with-data')
  assert.deepEqual(await kept('copy'), original)
})

const asRoot = { skip: process.getuid?.() === 0 ? false : 'only root may give an instance another account' }

test('data that an instance begins with belongs to the account under which it runs', asRoot, async (t) => {
  const place = new StorePlace(t)
  chmodSync(place.folder, 0o755)
  const run = place.path('run')
  const instance = { user: 'nobody', listeners: { local: `unix://${run}/plant/plant.sock` } }
  place.configure({ instances: { plant: instance, other: { listeners: { local: `unix://${place.path('o.sock')}` } } } })
  const daemon = await place.serve()
  await daemon.said(/ ready instance=plant/)
  const client = mqtt.connect(`mqtt+unix://${run}/plant/plant.sock`, { reconnectPeriod: 0 })
  await client.publishAsync('kept', 'x', { qos: 1, retain: true })
  await client.endAsync()
  const assertHas = async (name: string) => {
    const { phase, reason } = JSON.parse(await place.text('instance', 'show', name, '--json'))
    assert.deepEqual([name, phase, reason], [name, 'ready', null])
    assert.equal((await place.rows('-i', name, '--kind', 'retained')).length, 1)
    const all = readdirSync(place.path(`data/${name}`), { recursive: true }) as string[]
    for (const path of ['', ...all]) assert.equal(statSync(join(place.path(`data/${name}`), path)).uid, 65534, path)
  }
  await place.text('instance', 'clone', 'plant', 'copy', `local=unix://${run}/copy/copy.sock`, '--with-data')
  await assertHas('copy')

  const backup = place.path('plant.backup')
  // A running one writes under its own account, which may not write here.
  await place.text('instance', 'stop', 'plant')
  await place.text('backup', backup, '-i', 'plant')
  for (const left of ['nothing', 'an empty folder']) {
    await place.text('instance', 'stop', 'plant')
    rmSync(place.path('data/plant'), { recursive: true })
    if (left !== 'nothing') mkdirSync(place.path('data/plant'))
    await place.text('restore', backup, '-i', 'plant')
    await place.text('instance', 'start', 'plant')
    await assertHas('plant')
  }
})

test('a client that comes back for what waited, and asks for nothing to be kept any more, leaves nothing in the store', async (t) => {
  const place = new StorePlace(t)
  place.describe('inline')
  const daemon = await place.serve()
  const absent = await connect(place, 'absent', false)
  await absent.subscribeAsync('queue/#', { qos: 2 })
  await absent.endAsync()
  const publisher = await connect(place, 'publisher', true)
  for (let number = 0; number < 10; number++) {
    await publisher.publishAsync(`queue/${number}`, 'x', { qos: number % 2 === 0 ? 1 : 2 })
  }
  const back = mqtt.connect(`mqtt+unix://${place.socketPath}`, {
    clientId: 'absent',
    clean: false,
    reconnectPeriod: 0,
    protocolVersion: 5,
  })
  let got = 0
  back.on('message', () => got++)
  await until('10 messages', () => got === 10)
  await publisher.publishAsync('queue/last', 'x', { qos: 1 })
  await back.endAsync()
  await publisher.endAsync()
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
  const { counts } = JSON.parse(await place.text('store', 'stat', '-c', place.configFile, '--json'))
  assert.deepEqual([counts.sessions, counts.deliveries, counts.messages], [0, 0, 0])
})
