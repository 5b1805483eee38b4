// From the start to the end of a broker's process: readiness, signals, a killed predecessor, a living one.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { test } from 'node:test'
import { Stopwatch } from '../kit/stopwatch.ts'
import { connect } from '../kit/wire.ts'
import { portOf, Workplace } from './daemon.ts'

const bothListeners = (workplace: Workplace) => ({
  tcp: 'tcp://127.0.0.1:0',
  local: `unix://${workplace.socketPath}`,
})

test('when it says ready, every listener serves clients', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ listeners: bothListeners(workplace) })
  const daemon = await workplace.start().ready()
  const said = daemon.stdout
  const port = await portOf(daemon, 'tcp')
  for (const level of [3, 4, 5] as const) {
    await (await workplace.client({ port }, level)).fence()
    await (await workplace.client({ path: workplace.socketPath }, level)).fence()
  }
  const [, afterListening] = said.split(`listening listener=local address=unix://${workplace.socketPath}\n`)
  assert.match(afterListening, new RegExp(`^\\S+ info  ready instance=default pid=${daemon.child.pid}\n$`))
  assert.equal(daemon.stderr, '')
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal}: MQTT 5 clients are told, the socket file goes, exit code 0 within the grace period`, async (t) => {
    const workplace = new Workplace(t)
    workplace.configure({ gracePeriod: '5s', listeners: bothListeners(workplace) })
    const daemon = await workplace.start().ready()
    const port = await portOf(daemon, 'tcp')
    const clients = [
      await workplace.client({ port }, 5),
      await workplace.client({ path: workplace.socketPath }, 5),
      await workplace.client({ path: workplace.socketPath }, 4),
    ]
    const stopwatch = new Stopwatch()
    daemon.kill(signal)
    for (const client of clients) await client.expectDisconnect(0x8b)
    assert.equal(await daemon.ended(), 0)
    stopwatch.assertBetween(0, 5000, 'stopped')
    assert.ok(!existsSync(workplace.socketPath))
    assert.match(daemon.stdout, new RegExp(`stopping signal=${signal}\n.*info  stopped\n$`, 's'))
    assert.equal(daemon.stdout.match(/ stopped\b.*\n/g)?.filter((line) => !/listener/.test(line)).length, 1)
    assert.equal(daemon.stderr, '')
  })
}

test('a client that does not part cannot hold up a stop beyond the grace period', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ gracePeriod: '1s', listeners: bothListeners(workplace) })
  const daemon = await workplace.start().ready()
  const clinging = await clingingClient(t, workplace.socketPath)
  daemon.kill('SIGTERM')
  assert.equal(await daemon.ended(), 0)
  clinging.destroy()
})

test('a second SIGINT ends at once, without waiting for clients', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ gracePeriod: '1h', listeners: bothListeners(workplace) })
  const daemon = await workplace.start().ready()
  await clingingClient(t, workplace.socketPath)
  daemon.kill('SIGINT')
  await daemon.said(/stopping signal=SIGINT\n/)
  // Two signals of one key press, as npm passes them on, count as one; so it may take a few.
  const again = setInterval(() => daemon.kill('SIGINT'), 40)
  const ended = await daemon.ended()
  clearInterval(again)
  assert.equal(ended, 130)
})

test('after kill -9 the next one takes the socket file over, and clients work', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ listeners: { local: `unix://${workplace.socketPath}` } })
  const first = await workplace.start().ready()
  const lost = await workplace.client()
  first.kill('SIGKILL')
  assert.equal(await first.ended(), 'SIGKILL')
  await lost.expectClosed()
  const { ino } = statSync(workplace.socketPath)
  const second = await workplace.start().ready()
  assert.match(second.stdout, /replaced the socket file that a dead process had left listener=local/)
  assert.notEqual(statSync(workplace.socketPath).ino, ino)
  const subscriber = await workplace.client()
  await subscriber.subscribe(['a'])
  await (await workplace.client()).publish({ topic: 'a', payload: 'x', qos: 1 })
  assert.equal((await subscriber.expect('PUBLISH')).payload.toString(), 'x')
  second.kill('SIGTERM')
  assert.equal(await second.ended(), 0)
  assert.deepEqual(readdirSync(workplace.folder), ['atoll.json', 'data', 'run'])
  assert.deepEqual(readdirSync(workplace.path('run')), ['.atoll.spare'])
})

test('a second start of the same configuration says who runs, and harms nothing', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ listeners: { local: `unix://${workplace.socketPath}` } })
  const first = await workplace.start().ready()
  const client = await workplace.client()
  const second = workplace.start()
  assert.equal(await second.ended(), 3)
  assert.match(second.stderr, /^atoll: admin\.listen: the socket \S+admin\.sock is in use/)
  if (process.platform === 'linux') assert.match(second.stderr, new RegExp(`by process ${first.child.pid} `))
  await client.fence()
  await (await workplace.client()).fence()
})

test('a second start on the same socket is refused, naming the holder, and harms nothing', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ listeners: { local: `unix://${workplace.socketPath}` } })
  const first = await workplace.start().ready()
  const client = await workplace.client()
  const local = `unix://${workplace.socketPath}`
  workplace.configure({ runDir: workplace.path('run2'), dataDir: workplace.path('data2'), listeners: { local } })
  const second = workplace.start()
  assert.equal(await second.ended(), 3)
  assert.match(second.stderr, /^\S+atoll\.json:\d+:\d+: listeners\.local: the socket \S+x\.sock is in use/)
  if (process.platform === 'linux') assert.match(second.stderr, new RegExp(`by process ${first.child.pid} `))
  await client.fence()
  await (await workplace.client()).fence()
})

test('a second start on the same port is refused, naming the holder, and leaves no socket behind', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ listeners: { tcp: 'tcp://127.0.0.1:0' } })
  const first = await workplace.start().ready()
  const port = await portOf(first, 'tcp')
  const listeners = { local: `unix://${workplace.socketPath}`, tcp: `tcp://127.0.0.1:${port}` }
  workplace.configure({ runDir: workplace.path('run2'), dataDir: workplace.path('data2'), listeners })
  const second = workplace.start()
  assert.equal(await second.ended(), 3)
  assert.match(
    second.stderr,
    new RegExp(`^\\S+atoll\\.json:\\d+:\\d+: listeners\\.tcp: tcp://127\\.0\\.0\\.1:${port} is in use`),
  )
  if (process.platform === 'linux') assert.match(second.stderr, new RegExp(`by process ${first.child.pid} `))
  assert.ok(!existsSync(workplace.socketPath))
  await (await workplace.client({ port })).fence()
})

for (const address of ['tcp://0.0.0.0:0', 'tcp://*:0', 'tcp://[::]:0']) {
  test(`${address} without authentication is refused before anything is opened, and the message names the fix`, async (t) => {
    const workplace = new Workplace(t)
    workplace.configure({ listeners: { local: `unix://${workplace.socketPath}`, open: address } })
    const daemon = workplace.start()
    assert.equal(await daemon.ended(), 2)
    const place = `${workplace.configFile}:`
    assert.ok(daemon.stderr.startsWith(place), daemon.stderr)
    assert.match(daemon.stderr, /:\d+:\d+: listeners\.open/)
    assert.match(daemon.stderr, /\(set auth\.passwords, or listeners\.open\.anonymous: true to let everyone in\)\n$/)
    assert.ok(!existsSync(workplace.socketPath))
  })
}

test('anonymous: true is such a fix', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ listeners: { open: { address: 'tcp://0.0.0.0:0', anonymous: true } } })
  const daemon = await workplace.start().ready()
  const [, port] = await daemon.said(/listening listener=open address=tcp:\/\/0\.0\.0\.0:(\d+)\n/)
  await (await workplace.client({ port: Number(port) })).fence()
})

test('the socket file has the mode, owner and group of the configuration', async (t) => {
  const workplace = new Workplace(t)
  const isRoot = process.getuid!() === 0
  // Only root may give a file away; others may give it to a group of their own.
  const owner = isRoot ? 1 : process.getuid!()
  const group = isRoot ? 1 : process.getgroups!().at(-1)!
  const listener = {
    address: `unix://${workplace.socketPath}`,
    mode: '0620',
    owner: String(owner),
    group: String(group),
  }
  const defaults = `unix://${workplace.path('default.sock')}`
  workplace.configure({ listeners: { local: listener, defaults } })
  await workplace.start().ready()
  const { mode, uid, gid } = statSync(workplace.socketPath)
  assert.deepEqual({ mode: (mode & 0o7777).toString(8), uid, gid }, { mode: '620', uid: owner, gid: group })
  assert.equal((statSync(workplace.path('default.sock')).mode & 0o7777).toString(8), '660')
  await (await workplace.client()).fence()
})

/** A client that has connected and then keeps its side open, whatever the broker does. */
async function clingingClient(t: { after(cleanup: () => void): void }, path: string) {
  const socket = connectSocket({ path, allowHalfOpen: true })
  t.after(() => socket.destroy())
  socket.write(connect({ level: 5, clientId: 'clinging' }))
  await once(socket, 'data')
  socket.resume()
  return socket
}
