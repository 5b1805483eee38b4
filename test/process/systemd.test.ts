// `atoll systemd`: the units that it writes, what it refuses, and what systemd itself says of them where it is installed.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Workplace } from './daemon.ts'
import { projectFolder, runProgram } from './run-program.ts'

const command = join(projectFolder, 'dist/cli/main.js')

const sockets = ['--socket', 'mqtt=tcp://0.0.0.0:1883', '--socket', 'local=unix:///run/atoll/local.sock']

class UnitPlace extends Workplace {
  readonly units: string

  constructor(context: TestContext) {
    super(context)
    this.units = this.path('units')
    mkdirSync(this.units)
  }

  systemd(verb: 'print' | 'install', ...args: string[]) {
    const place = verb === 'install' ? ['--directory', this.units] : []
    return runProgram(process.execPath, [command, 'systemd', verb, '-c', this.configFile, ...place, ...args])
  }

  async install(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.systemd('install', ...args)
    assert.equal(code, 0, stderr)
    return stdout
  }
}

/** Settings of a unit, `Section.Key=value`; a line that is none of them fails. */
function settingsOf(text: string): string[] {
  let section = ''
  return text.split('\n').flatMap((line) => {
    if (line === '' || line.startsWith('#')) return []
    const head = /^\[(\w+)\]$/.exec(line)
    if (head === null) {
      assert.match(line, /^[A-Z]\w+=/)
      return [`${section}.${line}`]
    }
    section = head[1]
    return []
  })
}

function expectSettings(text: string, expected: readonly string[]): void {
  const settings = settingsOf(text)
  assert.deepEqual(
    expected.filter((one) => !settings.includes(one)),
    [],
    text,
  )
}

test('the service says when it is ready, reloads, stops in order and has few rights', async (t) => {
  const place = new UnitPlace(t)
  place.configure({ gracePeriod: '40s', instances: { a: {}, b: {} } })
  await place.install()
  assert.deepEqual(readdirSync(place.units), ['atoll.service'])
  const text = place.read('units/atoll.service')
  expectSettings(text, [
    'Service.Type=notify',
    'Service.NotifyAccess=all',
    `Service.ExecStart=${process.execPath} ${realpathSync(command)} start -c ${place.configFile}`,
    'Service.ExecReload=/bin/kill -HUP $MAINPID',
    'Service.KillMode=mixed',
    'Service.TimeoutStopSec=60',
    'Service.WatchdogSec=60',
    'Service.RuntimeDirectory=atoll',
    'Service.StateDirectory=atoll',
    'Service.LogsDirectory=atoll',
    'Service.User=atoll',
    'Service.NoNewPrivileges=yes',
    'Service.CapabilityBoundingSet=',
    'Service.ProtectSystem=full',
    `Service.ReadWritePaths=-${place.folder}`,
    'Install.WantedBy=multi-user.target',
  ])
})

test('sockets are units of their own, which the service takes by name', async (t) => {
  const place = new UnitPlace(t)
  const said = await place.install(...sockets, '--user', 'mosquito', '--group', 'plant')
  assert.match(said, /wrote \S+atoll@mqtt\.socket\n/)
  assert.match(said, / {2}give a listener of the configuration the address fd:mqtt\n/)
  assert.match(said, / {2}systemctl enable --now atoll@mqtt\.socket atoll@local\.socket atoll\.service\n$/)
  expectSettings(place.read('units/atoll.service'), [
    'Service.Sockets=atoll@mqtt.socket',
    'Service.Sockets=atoll@local.socket',
    'Service.User=mosquito',
    'Service.Group=plant',
  ])
  expectSettings(place.read('units/atoll@mqtt.socket'), [
    'Socket.ListenStream=0.0.0.0:1883',
    'Socket.FileDescriptorName=mqtt',
    'Socket.Service=atoll.service',
    'Install.WantedBy=sockets.target',
  ])
  expectSettings(place.read('units/atoll@local.socket'), [
    'Socket.ListenStream=/run/atoll/local.sock',
    'Socket.SocketUser=mosquito',
    'Socket.SocketGroup=plant',
    'Socket.SocketMode=0660',
  ])
})

test('print writes nothing but the same texts', async (t) => {
  const place = new UnitPlace(t)
  const { code, stdout } = await place.systemd('print', ...sockets)
  assert.equal(code, 0)
  await place.install(...sockets)
  const names = ['atoll.service', 'atoll@mqtt.socket', 'atoll@local.socket']
  assert.equal(stdout, names.map((name) => `# ${name}\n${place.read(`units/${name}`)}`).join('\n'))
})

test('a unit that is there is left alone, unless --force', async (t) => {
  const place = new UnitPlace(t)
  place.write('units/atoll@mqtt.socket', 'mine')
  const { code, stderr } = await place.systemd('install', ...sockets)
  assert.equal(code, 1)
  assert.match(stderr, /atoll@mqtt\.socket: there is such a unit already \(.*--force\)\n$/)
  assert.deepEqual(readdirSync(place.units), ['atoll@mqtt.socket'])
  await place.install(...sockets, '--force')
  assert.match(place.read('units/atoll@mqtt.socket'), /^\[Unit\]\n/)
  assert.equal(readdirSync(place.units).length, 3)
})

test('what makes no sense in a unit is refused', async (t) => {
  const place = new UnitPlace(t)
  for (const args of [
    ['--socket', 'tcp://0.0.0.0:1883'],
    ['--socket', 'a=fd:3'],
    ['--socket', 'a=tcp://0.0.0.0:0'],
    ['--socket', 'a=tcp://name:1883'],
    ['--socket', 'a=unix:///x.sock', '--socket', 'a=unix:///y.sock'],
    ['--user', 'a b'],
    ['--group', 'a\nExecStartPre=/bin/x'],
    ['-c', '/etc/a\nb.yaml'],
  ]) {
    const { code, stdout } = await place.systemd('print', ...args)
    assert.equal(code, 64, args.join(' '))
    assert.equal(stdout, '')
  }
  place.configure({ gracePeriods: '1s' })
  const { code, stderr } = await place.systemd('install')
  assert.equal(code, 2)
  assert.match(stderr, /gracePeriods/)
  assert.deepEqual(readdirSync(place.units), [])
})

const isThere = spawnSync('systemd-analyze', ['--version']).status === 0

test('systemd finds nothing wrong with the units', {
  skip: isThere ? false : 'systemd-analyze is not installed',
}, async (t) => {
  const place = new UnitPlace(t)
  // A path in which everything has a meaning of its own for systemd.
  const config = place.write('a $HOME 100% "b".yaml', '{ instances: { a: {}, b: {} } }')
  await place.install(...sockets, '-c', config)
  const files = readdirSync(place.units).map((name) => join(place.units, name))
  const { code, stdout, stderr } = await runProgram('systemd-analyze', ['verify', '--man=no', ...files])
  const ofOurs = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('atoll'))
  assert.deepEqual(ofOurs, [])
  assert.equal(code, 0, stderr)
})
