import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { addressGrammar } from '../instance/address-grammar.ts'
import { plainValue } from './config-node.ts'
import { loadFleet } from './load-fleet.ts'
import { SavedChanges, savedChangesFile } from './saved-changes.ts'

const folder = mkdtempSync(join(tmpdir(), 'atoll-saved-'))
after(() => rmSync(folder, { recursive: true }))
let count = 0

function changesBeside(text: string) {
  const directory = join(folder, String(count++))
  const configFile = join(directory, 'atoll.yaml')
  mkdirSync(directory)
  writeFileSync(configFile, text)
  const file = savedChangesFile(configFile)
  const load = (changes: SavedChanges) =>
    loadFleet({
      file: configFile,
      environment: { HOME: directory },
      listen: [],
      settings: [],
      workingDirectory: directory,
      uid: 1000,
      grammar: addressGrammar('linux'),
      changes,
    }).fleet
  return { directory, configFile, file, load, open: () => new SavedChanges(file) }
}

const fleetText = `
templates: {small: {listeners: {tcp: "tcp://127.0.0.1:\${port}"}}}
instances: {a: {template: small, port: 1}}
`

test('what is saved is there for the next one, in a file of its own; what is not saved is not', async () => {
  const { directory, configFile, file, load, open } = changesBeside(fleetText)
  const changes = open()
  await changes.exclusively(async () => {
    changes.putInstance('b', { template: 'small', port: 2 }, true)
    changes.putInstance('c', { template: 'small', port: 3 }, false)
    changes.putListener('a', 'x', { address: 'unix:///tmp/x.sock', mode: '0600' }, true)
  })
  assert.deepEqual(readdirSync(directory).sort(), ['atoll.saved.yaml', 'atoll.yaml'])
  assert.equal(readFileSync(configFile, 'utf8'), fleetText)
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const names = (one: SavedChanges) => load(one).members.map(({ config }) => config.name)
  assert.deepEqual(names(changes), ['a', 'b', 'c'])
  assert.deepEqual(names(open()), ['a', 'b'])
  const [a, b] = load(open()).members
  assert.deepEqual(
    a.config.listeners.map(({ name, address, mode }) => [name, address, mode]),
    [
      ['tcp', 'tcp://127.0.0.1:1', 0o660],
      ['x', 'unix:///tmp/x.sock', 0o600],
    ],
  )
  assert.equal(b.template, 'small')
  assert.equal(b.file, file)
  assert.deepEqual([changes.isSaved('b'), changes.isSaved('c'), changes.isSaved('a', 'x')], [true, false, true])
})

test('deleting the last of it removes the file, and an instance takes its listeners along', () => {
  const { file, open } = changesBeside(fleetText)
  const changes = open()
  changes.putInstance('b', { template: 'small', port: 2 }, true)
  changes.putListener('b', 'x', { address: 'unix:///tmp/x.sock' }, true)
  changes.deleteInstance('b')
  assert.ok(!existsSync(file))
  assert.deepEqual(plainValue(changes.listenersOf('b')), Object.create(null))
  changes.putListener('a', 'x', { address: 'unix:///tmp/x.sock' }, true)
  changes.deleteListener('a', 'x')
  assert.ok(!existsSync(file))
})

test('an attempt that fails is taken back, on the disk too, and the next one gets its turn', async () => {
  const { file, open } = changesBeside(fleetText)
  const changes = open()
  changes.putInstance('b', { template: 'small', port: 2 }, true)
  const before = readFileSync(file, 'utf8')
  const failing = changes.exclusively(async () => {
    changes.putInstance('c', { template: 'small', port: 3 }, true)
    assert.notEqual(readFileSync(file, 'utf8'), before)
    throw new Error('the port is taken')
  })
  const next = changes.exclusively(async () => changes.hasInstance('c'))
  await assert.rejects(failing, /the port is taken/)
  assert.equal(await next, false)
  assert.equal(readFileSync(file, 'utf8'), before)
})

test('beside a file without instances its one instance stays as it is', () => {
  const { load, open } = changesBeside('listeners: {tcp: "tcp://127.0.0.1:1"}\nlimits: {inflight: 7}\n')
  const changes = open()
  const [alone] = load(changes).members
  changes.putInstance('b', { listeners: { tcp: 'tcp://127.0.0.1:2' } }, true)
  const [still, b] = load(changes).members
  assert.deepEqual(still, alone)
  assert.equal(b.isolation, 'process')
  assert.equal(b.config.limits.inflight, 1000)
  assert.deepEqual(
    b.config.listeners.map(({ address }) => address),
    ['tcp://127.0.0.1:2'],
  )
})

test('a name that a file has as well is an error that names both', () => {
  const { configFile, file, load, open } = changesBeside(fleetText)
  const changes = open()
  changes.putInstance('b', { template: 'small', port: 2 }, true)
  writeFileSync(configFile, fleetText.replace('port: 1}', 'port: 1}, b: {template: small, port: 4}'))
  assert.throws(
    () => load(open()),
    (error: Error) => error.message.includes(configFile) && error.message.includes(file),
  )
})

test('a file that cannot be understood keeps everything from starting', () => {
  const { file, open } = changesBeside(fleetText)
  for (const text of ['instances: [', 'instances: 3\n', 'instanses: {}\n']) {
    writeFileSync(file, text)
    assert.throws(open, (error: Error) => error.name === 'ConfigError' && error.message.includes(file))
  }
})

test('without a place nothing can be saved, but what is not to be saved works', () => {
  const changes = new SavedChanges(null)
  changes.putInstance('b', {}, false)
  assert.throws(() => changes.putInstance('c', {}, true), { code: 'cannot-save' })
  assert.deepEqual([changes.hasInstance('b'), changes.hasInstance('c')], [true, false])
})

test('beside another file count what was saved there and what is not saved at all', async () => {
  const first = changesBeside(fleetText)
  const second = changesBeside(fleetText)
  const changes = first.open()
  await changes.exclusively(async () => {
    changes.putInstance('kept', { template: 'small', port: 2 }, true)
    changes.putInstance('passing', { template: 'small', port: 3 }, false)
    changes.putListener('a', 'kept', { address: 'unix:///tmp/k.sock' }, true)
    changes.putListener('a', 'passing', { address: 'unix:///tmp/p.sock' }, false)
  })
  const there = second.open()
  await there.exclusively(async () => there.putInstance('theirs', { template: 'small', port: 4 }, true))
  assert.equal(changes.beside(first.configFile), changes)
  const other = changes.beside(second.configFile)
  const { members } = second.load(other)
  assert.deepEqual(
    members.map(({ config }) => [config.name, config.listeners.map(({ name }) => name)]),
    [
      ['a', ['tcp', 'passing']],
      ['theirs', ['tcp']],
      ['passing', ['tcp']],
    ],
  )
  const before = readFileSync(first.file, 'utf8')
  changes.become(other)
  await changes.exclusively(async () => changes.putInstance('more', { template: 'small', port: 5 }, true))
  assert.equal(changes.file, second.file)
  assert.match(readFileSync(second.file, 'utf8'), /theirs:[\s\S]*more:/)
  assert.equal(readFileSync(first.file, 'utf8'), before)
})
