// The package as its users get it: packed, installed into an empty project, its command run, its types compiled against.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { RawClient } from '../kit/raw-client.ts'
import { projectFolder, runProgram } from '../process/run-program.ts'

const folder = mkdtempSync(join(tmpdir(), 'atoll-package-'))
const project = join(folder, 'project')
after(() => rmSync(folder, { recursive: true, force: true }))

const manifest = JSON.parse(readFileSync(join(projectFolder, 'package.json'), 'utf8'))
/** Paths of the files in the package. */
let files: string[] = []

async function succeed(command: string, args: string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await runProgram(command, args, { cwd, deadlineMs: 120_000 })
  assert.equal(code, 0, `${command} ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout
}

before(async () => {
  const packed = await succeed(
    'npm',
    ['pack', '--ignore-scripts', '--json', '--pack-destination', folder],
    projectFolder,
  )
  const [{ filename, files: list }] = JSON.parse(packed) as [{ filename: string; files: { path: string }[] }]
  files = list.map(({ path }) => path).sort()
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'empty', private: true, type: 'module' }))
  const quiet = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund']
  await succeed('npm', ['install', ...quiet, join(folder, filename)], project)
})

test('the package holds what it needs and nothing of the workshop', () => {
  for (const { types, default: main } of [manifest.exports['.'], manifest.exports['./testing']]) {
    assert.ok(files.includes(types.slice(2)), types)
    assert.ok(files.includes(main.slice(2)), main)
  }
  for (const path of [manifest.bin.atoll, 'README.md', 'LICENSE', 'docs/library.md', 'docs/atoll.schema.json']) {
    assert.ok(files.includes(path), path)
  }
  const allowed = /^(dist\/.*\.(js|d\.ts)|docs\/[^/]+\.(md|json)|README\.md|LICENSE|package\.json)$/
  assert.deepEqual(
    files.filter((path) => !allowed.test(path) || /\.test\./.test(path)),
    [],
  )
})

test('no file of the package names a path of the machine that made it', () => {
  const installed = join(project, 'node_modules/atollmq')
  const found: string[] = []
  for (const path of files) {
    if (readFileSync(join(installed, path), 'utf8').includes(`${projectFolder}/`)) found.push(path)
  }
  assert.deepEqual(found, [])
})

test('it brings only its own dependencies, none of which runs a script', () => {
  const installed = readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.'))
  for (const name of Object.keys(manifest.dependencies)) assert.ok(installed.includes(name), name)
  for (const name of Object.keys(manifest.devDependencies)) assert.ok(!installed.includes(name), name)
  assert.deepEqual(
    Object.keys(manifest.scripts).filter((name) => /install|prepare/.test(name)),
    [],
  )
})

test('npx atoll --version', async () => {
  assert.equal(await succeed('npx', ['--no-install', 'atoll', '--version'], project), `${manifest.version}\n`)
})

test('npx atoll start serves, and stops when the terminal says so', async (t) => {
  const socketPath = join(folder, 'x.sock')
  const folders = ['--set', `runDir=${join(folder, 'run')}`, '--set', `dataDir=${join(folder, 'data')}`]
  const args = ['--no-install', 'atoll', 'start', '--listen', `unix://${socketPath}`, ...folders]
  // A group of its own: Ctrl-C reaches npx and the broker alike.
  const child = spawn('npx', args, { cwd: project, stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const signal = (name: NodeJS.Signals) => process.kill(-child.pid!, name)
  t.after(() => child.exitCode === null && child.signalCode === null && signal('SIGKILL'))
  let said = ''
  for await (const text of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    said += text
    if (/ ready instance=/.test(said)) break
  }
  child.stdout.on('data', (text) => {
    said += text
  })
  const client = await RawClient.connect({ path: socketPath })
  await client.handshake()
  await client.subscribe(['a'])
  client.destroy()
  const closed = once(child, 'close')
  signal('SIGINT')
  await closed
  assert.match(said, /info {2}stopped\n$/)
})

const program = `
import { createBroker, OperatorError, ReasonCode, version } from 'atollmq'
import type { AtollBroker, BrokerHooks, Message } from 'atollmq'
import { createMemoryPair, ManualClock } from 'atollmq/testing'

const hooks: BrokerHooks = {
  onPublish: (client, message) => (client?.clientId === 'x' ? ReasonCode.notAuthorized : message.topic !== 'no'),
}
const clock = new ManualClock()
const broker: AtollBroker = await createBroker({ limits: { memory: '1MiB' } }, { clock }).use(hooks).start()
const [ours] = createMemoryPair()
broker.accept(ours, { name: 'pipe', maxPacketSize: '1KiB' })
const text = await new Promise<string>((resolve) => {
  const handler = (message: Message): void => resolve(\`\${message.topic} \${message.payload.toString()}\`)
  const client = broker.client('app')
  client.subscribe('a', handler).then(() => client.publish('a', 'b'))
})
ours.destroy()
await broker.stop()
const sent: number = broker.counters.publishSent
// @ts-expect-error a counter that is not there
broker.counters.nothing
// @ts-expect-error a key that is not there
createBroker.bind(null, { limts: {} })
console.log(text, sent, version, OperatorError.name)
`

test('both entry points can be imported, with their types', async () => {
  writeFileSync(join(project, 'program.ts'), program)
  const options = {
    module: 'nodenext',
    target: 'es2022',
    strict: true,
    skipLibCheck: false,
    types: ['node'],
    typeRoots: [join(projectFolder, 'node_modules/@types')],
    outDir: 'out',
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['program.ts'] }))
  await succeed(process.execPath, [join(projectFolder, 'node_modules/typescript/bin/tsc'), '-p', '.'], project)
  const said = await succeed(process.execPath, ['out/program.js'], project)
  assert.equal(said, `a b 0 ${manifest.version} OperatorError\n`)
})
