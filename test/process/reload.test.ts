// SIGHUP: what is in the files counts, all of it or nothing, and nobody is cut off who may stay.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { disconnect, P, publish } from '../kit/wire.ts'
import { portOf, Workplace } from './daemon.ts'
import { projectFolder, runProgram } from './run-program.ts'

test('listeners are added and removed while the clients of the others stay connected', async (t) => {
  const workplace = new Workplace(t)
  const stays = `unix://${workplace.path('stays.sock')}`
  const leaves = `unix://${workplace.path('leaves.sock')}`
  workplace.configure({ listeners: { stays, leaves } })
  const daemon = await workplace.start().ready()
  const staying = await workplace.client({ path: workplace.path('stays.sock') })
  const leaving = await workplace.client({ path: workplace.path('leaves.sock') })
  await staying.subscribe(['a'])

  const from = daemon.stdout.length
  workplace.configure({ listeners: { stays, comes: 'tcp://127.0.0.1:0' } })
  assert.match(await daemon.reload(), /configuration reloaded/)
  const port = await portOf(daemon, 'comes', from)
  const coming = await workplace.client({ port })
  await coming.publish({ topic: 'a', payload: 'over the new one', qos: 1 })
  assert.equal((await staying.expect('PUBLISH')).payload.toString(), 'over the new one')
  assert.ok(!existsSync(workplace.path('leaves.sock')))
  // Who came over the removed listener stays as well: it only accepts no more.
  await leaving.fence()

  workplace.configure({ listeners: { stays } })
  await daemon.reload()
  await assert.rejects(workplace.connect({ port }), { code: 'ECONNREFUSED' })
  await staying.fence()
})

test('a new limit counts from the reload on', async (t) => {
  const workplace = new Workplace(t)
  const listeners = { local: `unix://${workplace.socketPath}` }
  workplace.configure({ listeners })
  const daemon = await workplace.start().ready()
  const subscriber = await workplace.client()
  workplace.configure({ listeners, limits: { subscriptionsPerClient: 1 } })
  await daemon.reload()
  assert.deepEqual(await subscriber.subscribe(['a', 'b']), [0, 0x97])
})

test('the level of the log counts from the reload on', async (t) => {
  const workplace = new Workplace(t)
  const configure = (level: string) =>
    workplace.configure({ listeners: { local: `unix://${workplace.socketPath}` }, log: { level } })
  configure('info')
  const daemon = await workplace.start().ready()
  daemon.kill('SIGUSR1')
  configure('debug')
  await daemon.reload()
  assert.doesNotMatch(daemon.stdout, /log files reopened/)
  daemon.kill('SIGUSR1')
  await daemon.said(/ debug log files reopened/)
})

test('a broken configuration leaves everything in force, and the log names file and line', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ listeners: { local: `unix://${workplace.socketPath}` } })
  const daemon = await workplace.start().ready()
  const client = await workplace.client()
  workplace.write(
    'atoll.json',
    '{\n  "listeners": {\n    "other": "tcp://127.0.0.1:0",\n    "bad": "tcp://0.0.0.0:1"\n  },\n  "limts": {}\n}\n',
  )
  const said = await daemon.reload()
  assert.match(said, new RegExp(`error ${workplace.configFile}:4:\\d+: listeners\\.bad`))
  assert.match(said, new RegExp(`error ${workplace.configFile}:6:\\d+: limts: .*did you mean limits`))
  assert.match(said, /nothing was reloaded, the whole old configuration stays in force/)
  assert.doesNotMatch(said, /listener (started|stopped)/)
  await client.fence()
  await (await workplace.client()).fence()
})

test('a listener that cannot be opened brings the old ones back', async (t) => {
  const workplace = new Workplace(t)
  workplace.configure({ listeners: { local: `unix://${workplace.socketPath}` } })
  const daemon = await workplace.start().ready()
  workplace.write('taken', 'a file that is no socket')
  workplace.configure({
    listeners: { other: `unix://${workplace.path('o.sock')}`, taken: `unix://${workplace.path('taken')}` },
  })
  assert.match(await daemon.reload(), /error listeners\.taken\.address: .*taken/)
  assert.ok(!existsSync(workplace.path('o.sock')))
  assert.equal(workplace.read('taken'), 'a file that is no socket')
  await (await workplace.client()).fence()
})

const atoll = join(projectFolder, 'dist/cli/main.js')

test('users and rights: new ones count at once, a broken file leaves both in force', async (t) => {
  const workplace = new Workplace(t)
  const setPassword = async (user: string, password: string) => {
    const passwd = await runProgram(process.execPath, [
      atoll,
      'passwd',
      '--batch',
      workplace.path('passwd'),
      user,
      password,
    ])
    assert.equal(passwd.code, 0, passwd.stderr)
  }
  await setPassword('ada', 'one')
  workplace.write('acl', 'user ada\ntopic readwrite a/#\n')
  const auth = { passwords: 'passwd', acl: 'acl' }
  workplace.configure({ auth, listeners: { local: `unix://${workplace.socketPath}` } })
  const daemon = await workplace.start().ready()

  const logIn = async (username: string, password: string) => {
    const client = await workplace.connect({ path: workplace.socketPath })
    client.sendConnect({ username, password })
    return (await client.expect('CONNACK')).reasonCode
  }
  const ada = await workplace.connect({ path: workplace.socketPath })
  await ada.handshake({ username: 'ada', password: 'one' })
  await ada.subscribe(['#'])
  const hears = async (topic: string) => {
    ada.send(publish({ level: 5, topic, payload: 'x', qos: 1, packetId: ada.nextPacketId() }))
    const first = await ada.receive()
    if (first.type === 'PUBACK') return first.reasonCode
    assert.equal(first.type, 'PUBLISH')
    return (await ada.expect('PUBACK')).reasonCode === 0 ? 'heard' : 'refused'
  }
  assert.equal(await hears('a/1'), 'heard')
  assert.equal(await hears('b/1'), 0x87)

  await setPassword('ada', 'two')
  await setPassword('bob', 'three')
  workplace.write('acl', 'user ada\ntopic readwrite b/#\n')
  assert.equal(await logIn('ada', 'two'), 0x86)
  assert.equal(await logIn('bob', 'three'), 0x86)
  assert.match(await daemon.reload(), /configuration reloaded/)
  assert.equal(await logIn('ada', 'one'), 0x86)
  assert.equal(await logIn('ada', 'two'), 0)
  assert.equal(await logIn('bob', 'three'), 0)
  assert.equal(await hears('b/1'), 'heard')
  assert.equal(await hears('a/1'), 0x87)

  // The ACL file is broken: the good password file must not come into force alone.
  await setPassword('bob', 'four')
  workplace.write('acl', 'user ada\ntopic readwrite c/#\nnonsense\n')
  const brokenAcl = await daemon.reload()
  assert.match(brokenAcl, new RegExp(`error ${workplace.path('acl')}:3: `))
  assert.match(brokenAcl, /nothing was reloaded/)
  assert.equal(await logIn('bob', 'three'), 0)
  assert.equal(await logIn('bob', 'four'), 0x86)
  assert.equal(await hears('b/1'), 'heard')

  // Now the password file: neither counts.
  workplace.write('acl', 'user ada\ntopic readwrite c/#\n')
  workplace.write('passwd', `${workplace.read('passwd')}eve:secret\n`)
  const brokenPasswords = await daemon.reload()
  assert.match(brokenPasswords, new RegExp(`error ${workplace.path('passwd')}:3: `))
  assert.ok(!brokenPasswords.includes('secret'), 'the log shows what may be a password')
  assert.equal(await logIn('bob', 'three'), 0)
  assert.equal(await hears('b/1'), 'heard')
  assert.equal(await hears('c/1'), 0x87)
})

test('new rights count for what waits and what is in flight, by a reload and by a restart', async (t) => {
  const workplace = new Workplace(t)
  const passwd = [atoll, 'passwd', '--batch', workplace.path('passwd'), 'ada', 'one']
  assert.equal((await runProgram(process.execPath, passwd)).code, 0)
  workplace.configure({
    auth: { passwords: 'passwd', acl: 'acl' },
    listeners: { local: `unix://${workplace.socketPath}` },
  })
  for (const isRestart of [false, true]) {
    workplace.write('acl', 'user ada\ntopic readwrite #\n')
    let daemon = await workplace.start().ready()
    const connect = async (clientId: string, receiveMaximum: number) => {
      const client = await workplace.connect({ path: workplace.socketPath })
      const properties: [number, number][] = [
        [P.sessionExpiryInterval, 100],
        [P.receiveMaximum, receiveMaximum],
      ]
      await client.handshake({ clientId, username: 'ada', password: 'one', cleanStart: false, properties })
      return client
    }
    const away = await connect('away', 2)
    await away.subscribe(['#'], { qos: 1 })
    const publisher = await connect('publisher', 1)
    for (const topic of ['secret/1', 'open/2', 'secret/3', 'open/4']) await publisher.publish({ topic, qos: 1 })
    for (let count = 0; count < 2; count++) await away.expect('PUBLISH')
    away.destroy()
    workplace.write('acl', 'user ada\ntopic readwrite open/#\n')
    if (isRestart) {
      daemon.kill('SIGTERM')
      await daemon.ended()
      daemon = await workplace.start().ready()
    } else assert.match(await daemon.reload(), /configuration reloaded/)
    const back = await connect('away', 2)
    for (const topic of ['open/2', 'open/4']) assert.equal((await back.expect('PUBLISH')).topic, topic)
    await back.expectNothing()
    back.send(disconnect({ level: 5, properties: [[P.sessionExpiryInterval, 0]] }))
    await back.expectClosed()
    daemon.kill('SIGTERM')
    await daemon.ended()
  }
})

test('a Session that was granted no expiry is not kept when a reload would grant one', async (t) => {
  const workplace = new Workplace(t)
  const listeners = { local: `unix://${workplace.socketPath}` }
  workplace.configure({ listeners, limits: { sessionExpiry: 0 } })
  const daemon = await workplace.start().ready()
  const kept = {
    clientId: 'kept',
    cleanStart: false,
    properties: [[P.sessionExpiryInterval, 100]] as [number, number][],
  }
  const first = await workplace.connect({ path: workplace.socketPath })
  await first.handshake(kept)
  await first.subscribe(['t'], { qos: 1 })
  workplace.configure({ listeners })
  assert.match(await daemon.reload(), /configuration reloaded/)
  first.send(disconnect({ level: 5, properties: [[P.sessionExpiryInterval, 100]] }))
  await first.expectClosed()
  const again = await workplace.connect({ path: workplace.socketPath })
  assert.equal((await again.handshake(kept)).sessionPresent, false)
})
