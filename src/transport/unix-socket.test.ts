import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { connect, createServer, Socket, type SocketConstructorOpts } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { createSystemClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import type { ListenerConfig } from '../config/instance-config.ts'
import { createListener, type Listener } from './listener.ts'

const isRoot = process.getuid?.() === 0
// As root somebody else, to see that it is done; as anybody else the only one that is permitted.
const uid = isRoot ? 1 : Number(process.getuid?.())
const gid = isRoot ? 1 : Number(process.getgid?.())

/** The private directory that all who start at a path `…/a.sock` have in common. */
const lockOfA = `.atoll=${createHash('sha256').update('a.sock').digest('hex').slice(0, 6)}`

function temporary(t: TestContext): string {
  const directory = fs.mkdtempSync(join(tmpdir(), 'us-'))
  t.after(() => fs.rmSync(directory, { recursive: true }))
  return directory
}

interface Made {
  listener: Listener
  notices: string[]
}

function make(t: TestContext, path: string, config: Partial<ListenerConfig> = {}, runDir: string | null = null): Made {
  const notices: string[] = []
  const listener = createListener(
    {
      name: 'local',
      address: `unix://${path}`,
      enabled: true,
      mode: 0o660,
      owner: null,
      group: null,
      protocols: ['5'],
      anonymous: null,
      maxConnections: 100,
      connectRate: 0,
      connectTimeoutSeconds: 10,
      maxPacketSizeBytes: 1000,
      receiveMaximumPolicy: 'strict',
      mountPoint: '',
      backlog: 16,
      ...config,
    },
    {
      platform: process.platform,
      runDir,
      inheritedFds: { names: new Map(), problem: 'none' },
      log: { info: (message) => notices.push(message), warn: (message) => notices.push(message) },
      clock: createSystemClock(),
    },
    (handle, peer) => {
      const socket = new Socket({ handle } as unknown as SocketConstructorOpts)
      socket.on('error', () => {})
      socket.end(peer.label)
    },
  )
  t.after(() => listener.stop())
  return { listener, notices }
}

/** What the listener at the path says: its label for us. */
async function ask(path: string): Promise<string> {
  let text = ''
  for await (const chunk of connect(path)) text += chunk
  return text
}

async function refusal(starting: Promise<void>): Promise<OperatorError> {
  try {
    await starting
  } catch (error) {
    assert.ok(error instanceof OperatorError, String(error))
    assert.match(error.place?.key ?? '', /^listeners\.local\./)
    return error
  }
  return assert.fail('it started')
}

/** A process of its own that runs `code` as a module and says lines; killed after the test. */
function child(t: TestContext, code: string): { process: ChildProcess; line(): Promise<string> } {
  const started = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => started.kill('SIGKILL'))
  const lines = createInterface({ input: started.stdout! })[Symbol.asyncIterator]()
  return { process: started, line: async () => String((await lines.next()).value) }
}

const plainServer = (path: string) => `
  import { createServer } from 'node:net'
  createServer().listen(${JSON.stringify(path)}, () => console.log('listening'))`

async function killed(t: TestContext, code: string): Promise<void> {
  const victim = child(t, code)
  assert.equal(await victim.line(), 'listening')
  victim.process.kill('SIGKILL')
  await once(victim.process, 'exit')
}

const listenerProcess = (path: string, count: number) => `
  import { createListener } from ${JSON.stringify(new URL('./listener.js', import.meta.url).href)}
  import { createSystemClock } from ${JSON.stringify(new URL('../base/clock.js', import.meta.url).href)}
  const environment = { platform: process.platform, runDir: null, clock: createSystemClock(),
    inheritedFds: { names: new Map(), problem: 'none' }, log: { info() {}, warn() {} } }
  const config = { name: 'local', address: ${JSON.stringify(`unix://${path}`)}, mode: 0o660, owner: null, group: null,
    maxConnections: 10, connectRate: 0, backlog: 16 }
  const all = Array.from({ length: ${count} }, () => createListener(config, environment, (handle) => handle.close()))
  console.log('ready')
  process.stdin.once('data', () => {
    for (const one of all) one.start().then(() => console.log('listening'), (error) => console.log(error.code ?? error))
  })
  process.stdin.on('end', () => process.exit())`

test('a socket file comes, serves and goes', async (t) => {
  const directory = temporary(t)
  const path = join(directory, 'a.sock')
  const { listener } = make(t, path)
  assert.equal(listener.phase, 'created')
  await listener.start()
  assert.equal(listener.phase, 'listening')
  assert.equal(listener.address, `unix://${path}`)
  assert.deepEqual(fs.readdirSync(directory), ['a.sock'])
  assert.equal(await ask(path), `unix:${path}`)
  await listener.stop()
  assert.equal(listener.phase, 'stopped')
  assert.deepEqual(fs.readdirSync(directory), [])
})

test('mode, owner and group are right from the first moment', async (t) => {
  const path = join(temporary(t), 'a.sock')
  const watcher = child(
    t,
    `import { lstatSync } from 'node:fs'
    console.log('watching')
    const endMs = Date.now() + 20000
    while (Date.now() < endMs) {
      const stats = lstatSync(${JSON.stringify(path)}, { throwIfNoEntry: false })
      if (stats === undefined) continue
      console.log([(stats.mode & 0o7777).toString(8), stats.uid, stats.gid, stats.isSocket()].join(' '))
      break
    }`,
  )
  assert.equal(await watcher.line(), 'watching')
  await make(t, path, { mode: 0o604, owner: String(uid), group: String(gid) }).listener.start()
  assert.equal(await watcher.line(), `604 ${uid} ${gid} true`)
})

test('without owner and group they are those of the process', async (t) => {
  const path = join(temporary(t), 'a.sock')
  await make(t, path).listener.start()
  const stats = fs.lstatSync(path)
  assert.deepEqual([stats.mode & 0o7777, stats.uid, stats.gid], [0o660, process.geteuid?.(), process.getegid?.()])
})

test('an unknown account and a bad mode name their key', async (t) => {
  const directory = temporary(t)
  const path = join(directory, 'a.sock')
  const rows: [Partial<ListenerConfig>, string][] = [
    [{ owner: 'no-such-account' }, 'listeners.local.owner'],
    [{ group: 'no-such-group' }, 'listeners.local.group'],
    [{ mode: 0o1660 }, 'listeners.local.mode'],
  ]
  for (const [config, key] of rows) {
    const { listener } = make(t, path, config)
    assert.equal((await refusal(listener.start())).place?.key, key)
    assert.equal(listener.phase, 'failed')
  }
  assert.deepEqual(fs.readdirSync(directory), [])
})

test('a path that is too long is refused before anything is made', async (t) => {
  const directory = temporary(t)
  const limit = process.platform === 'linux' ? 107 : 103
  const path = `${directory}/${'a'.repeat(limit - Buffer.byteLength(directory))}`
  const tooLong = await refusal(make(t, path).listener.start())
  assert.equal(tooLong.code, 'socket-path-too-long')
  assert.match(tooLong.message, new RegExp(`${limit + 1} bytes`))
  assert.deepEqual(fs.readdirSync(directory), [])
  await make(t, path.slice(0, -1)).listener.start()
  assert.deepEqual(fs.readdirSync(directory), [basename(path).slice(0, -1)])
})

test('a directory that leaves no room for the private one is refused before anything is made', async (t) => {
  const directory = temporary(t)
  const deep = join(directory, 'd'.repeat(85 - Buffer.byteLength(directory)))
  const error = await refusal(make(t, join(deep, 'a.sock'), {}, directory).listener.start())
  assert.equal(error.code, 'socket-path-too-long')
  assert.match(error.message, /private directory/)
  assert.deepEqual(fs.readdirSync(directory), [])
})

test('what is no socket is refused and left untouched', async (t) => {
  const directory = temporary(t)
  const path = join(directory, 'a.sock')
  const rows: [() => void, RegExp][] = [
    [() => fs.writeFileSync(path, 'precious'), /a regular file/],
    [() => fs.mkdirSync(path), /a directory/],
    [() => fs.symlinkSync(join(directory, 'nothing'), path), /a symbolic link/],
    [() => fs.symlinkSync(directory, path), /a symbolic link/],
  ]
  for (const [put, kind] of rows) {
    put()
    const before = fs.lstatSync(path)
    const names = fs.readdirSync(directory)
    const error = await refusal(make(t, path).listener.start())
    assert.equal(error.code, 'path-occupied')
    assert.match(error.message, kind)
    assert.equal(fs.lstatSync(path).ino, before.ino)
    assert.deepEqual(fs.readdirSync(directory), names)
    if (before.isFile()) assert.equal(fs.readFileSync(path, 'utf8'), 'precious')
    fs.rmSync(path, { recursive: true })
  }
})

test('a symbolic link to a live socket is refused too', async (t) => {
  const directory = temporary(t)
  const { listener } = make(t, join(directory, 'live.sock'))
  await listener.start()
  fs.symlinkSync(join(directory, 'live.sock'), join(directory, 'a.sock'))
  assert.equal((await refusal(make(t, join(directory, 'a.sock')).listener.start())).code, 'path-occupied')
})

test('the socket of a killed process is replaced, and that is said', async (t) => {
  const path = join(temporary(t), 'a.sock')
  await killed(t, plainServer(path))
  assert.ok(fs.lstatSync(path).isSocket())
  const { listener, notices } = make(t, path)
  await listener.start()
  assert.equal(await ask(path), `unix:${path}`)
  assert.ok(notices.includes('replaced the socket file that a dead process had left'), notices.join())
})

test('the socket of a live process is refused, and the process named where it can be known', async (t) => {
  const directory = temporary(t)
  for (const code of [plainServer(join(directory, 'a.sock')), listenerProcess(join(directory, 'b.sock'), 1)]) {
    const path = join(directory, code.includes('a.sock') ? 'a.sock' : 'b.sock')
    const owner = child(t, code)
    owner.process.stdin?.write('go\n')
    while ((await owner.line()) !== 'listening');
    const before = fs.lstatSync(path)
    const error = await refusal(make(t, path).listener.start())
    assert.equal(error.code, 'socket-in-use')
    if (process.platform === 'linux')
      assert.ok(error.message.includes(`process ${owner.process.pid} (node)`), error.message)
    assert.equal(fs.lstatSync(path).ino, before.ino)
  }
  assert.deepEqual(fs.readdirSync(directory).sort(), ['a.sock', 'b.sock'])
})

test('the close of an older listener leaves the socket of a newer one alone', async (t) => {
  const path = join(temporary(t), 'a.sock')
  const older = make(t, path)
  await older.listener.start()
  fs.unlinkSync(path)
  await make(t, path).listener.start()
  const { ino } = fs.lstatSync(path)
  await older.listener.stop()
  assert.equal(fs.lstatSync(path).ino, ino)
  assert.equal(await ask(path), `unix:${path}`)
  assert.match(older.notices.join(), /no longer ours/)
})

test('a file that took the place of the socket is left alone', async (t) => {
  const path = join(temporary(t), 'a.sock')
  const { listener } = make(t, path)
  await listener.start()
  fs.unlinkSync(path)
  fs.writeFileSync(path, 'precious')
  await listener.stop()
  assert.equal(fs.readFileSync(path, 'utf8'), 'precious')
})

test('missing directories are made in the run directory only', async (t) => {
  const directory = temporary(t)
  const runDir = join(directory, 'run')
  const outside = await refusal(make(t, join(directory, 'run2', 'a.sock'), {}, runDir).listener.start())
  assert.equal(outside.code, 'directory-missing')
  assert.ok(outside.message.includes(join(directory, 'run2')))
  assert.deepEqual(fs.readdirSync(directory), [])
  const nowhere = await refusal(make(t, join(runDir, 'a.sock')).listener.start())
  assert.equal(nowhere.code, 'directory-missing')

  const owned = { owner: String(uid), group: String(gid) }
  const path = join(runDir, 'plant', 'a', 'a.sock')
  await make(t, path, owned, runDir).listener.start()
  assert.equal(await ask(path), `unix:${path}`)
  for (const one of [runDir, join(runDir, 'plant'), join(runDir, 'plant', 'a')]) {
    const stats = fs.statSync(one)
    assert.deepEqual([stats.mode & 0o7777, stats.uid, stats.gid], [0o755, uid, gid], one)
  }
})

test('a file in place of a directory is refused', async (t) => {
  const directory = temporary(t)
  fs.writeFileSync(join(directory, 'file'), '')
  const error = await refusal(make(t, join(directory, 'file', 'a.sock'), {}, directory).listener.start())
  assert.equal(error.code, 'directory-missing')
})

test('a directory where everybody may write is refused unless it is sticky', async (t) => {
  const directory = temporary(t)
  fs.chmodSync(directory, 0o777)
  assert.equal(
    (await refusal(make(t, join(directory, 'a.sock')).listener.start())).code,
    'directory-writable-by-others',
  )
  assert.deepEqual(fs.readdirSync(directory), [])
  fs.chmodSync(directory, 0o1777)
  await make(t, join(directory, 'a.sock')).listener.start()
})

test('the leftovers of killed starters are removed, and nothing else', async (t) => {
  const directory = temporary(t)
  const path = join(directory, 'a.sock')
  const old = new Date(Date.now() - 60_000)
  const put = (name: string, mode: number) => {
    fs.mkdirSync(join(directory, name))
    fs.chmodSync(join(directory, name), mode)
  }
  const dead = async (name: string) => {
    put(name, 0o700)
    await killed(t, plainServer(join(directory, name, 'abcdefghijkl')))
  }
  await dead('.atoll-aaaaaa')
  put('.atoll-bbbbbb', 0o700)
  put('.atoll-cccccc', 0o755)
  put('.atoll-dddddd', 0o700)
  fs.writeFileSync(join(directory, '.atoll-dddddd', 'abcdefghijkl'), 'precious')
  put('.atoll-eeeeee', 0o700)
  const alive = createServer().listen(join(directory, '.atoll-eeeeee', 'abcdefghijkl'))
  t.after(() => alive.close())
  await once(alive, 'listening')
  put('.atoll-ffffff-other', 0o700)
  for (const name of fs.readdirSync(directory)) fs.utimesSync(join(directory, name), old, old)
  await dead('.atoll-yyyyyy')

  await make(t, path).listener.start()
  assert.deepEqual(fs.readdirSync(directory).sort(), [
    '.atoll-cccccc',
    '.atoll-dddddd',
    '.atoll-eeeeee',
    '.atoll-ffffff-other',
    '.atoll-yyyyyy',
    'a.sock',
  ])
  assert.deepEqual(fs.readdirSync(join(directory, '.atoll-dddddd')), ['abcdefghijkl'])
})

test('a lock left by a killed starter does not hold', async (t) => {
  const directory = temporary(t)
  const path = join(directory, 'a.sock')
  const lock = join(directory, lockOfA)
  fs.mkdirSync(lock, { mode: 0o700 })
  await killed(t, plainServer(join(lock, 'abcdefghijkl')))
  await make(t, path).listener.start()
  assert.deepEqual(fs.readdirSync(directory), ['a.sock'])
})

test('a lock that is alive holds until its owner goes', async (t) => {
  const directory = temporary(t)
  const lock = join(directory, lockOfA)
  fs.mkdirSync(lock, { mode: 0o700 })
  let probes = 0
  const holder = createServer(() => {
    if (++probes === 3) holder.close()
  })
  holder.listen(join(lock, 'abcdefghijkl'))
  await make(t, join(directory, 'a.sock')).listener.start()
  assert.equal(probes, 3)
  assert.deepEqual(fs.readdirSync(directory), ['a.sock'])
})

test('something strange in place of the lock is refused and left untouched', async (t) => {
  const directory = temporary(t)
  const lock = join(directory, lockOfA)
  fs.mkdirSync(lock)
  fs.writeFileSync(join(lock, 'file'), 'precious')
  assert.equal((await refusal(make(t, join(directory, 'a.sock')).listener.start())).code, 'listen-failed')
  assert.deepEqual(fs.readdirSync(directory), [lockOfA])
  fs.rmSync(lock, { recursive: true })
  fs.writeFileSync(lock, 'precious')
  assert.equal((await refusal(make(t, join(directory, 'a.sock')).listener.start())).code, 'listen-failed')
  assert.deepEqual(fs.readdirSync(directory), [lockOfA])
})

test('of ten starters in one process exactly one wins', async (t) => {
  const directory = temporary(t)
  for (let round = 0; round < 10; round++) {
    const path = join(directory, `${round}.sock`)
    const all = Array.from({ length: 10 }, () => make(t, path).listener)
    const results = await Promise.allSettled(all.map((one) => one.start()))
    const codes = results.map((result) => (result.status === 'fulfilled' ? 'won' : result.reason.code))
    assert.deepEqual(codes.sort(), [...Array(9).fill('socket-in-use'), 'won'])
    assert.equal(all.filter((one) => one.phase === 'listening').length, 1)
    assert.equal(await ask(path), `unix:${path}`)
  }
  assert.equal(fs.readdirSync(directory).length, 10)
})

test('of ten starters in five processes exactly one replaces a dead socket', async (t) => {
  const directory = temporary(t)
  const path = join(directory, 'a.sock')
  await killed(t, plainServer(path))
  const processes = Array.from({ length: 5 }, () => child(t, listenerProcess(path, 2)))
  for (const one of processes) assert.equal(await one.line(), 'ready')
  for (const one of processes) one.process.stdin?.write('go\n')
  const codes: string[] = []
  for (const one of processes) codes.push(await one.line(), await one.line())
  assert.deepEqual(codes.sort(), ['listening', ...Array(9).fill('socket-in-use')])
  assert.deepEqual(fs.readdirSync(directory), ['a.sock'])
})
