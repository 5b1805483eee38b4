// The examples that are configurations, and the container: checked as their readers would, and two of the fleets run.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { publish } from '../kit/wire.ts'
import { Workplace } from '../process/daemon.ts'
import { freePorts } from '../process/free-ports.ts'
import { projectFolder, runProgram } from '../process/run-program.ts'

const folder = join(projectFolder, 'examples')
const command = join(projectFolder, 'dist/cli/main.js')
const text = (path: string) => readFileSync(join(projectFolder, path), 'utf8')

const answers: Record<string, string> = {
  compose: 'ok: 1 instance, 1 listener\n',
  'fourteen-sites': 'ok: 14 instances, 28 listeners\n',
  'sidecar-unix-socket': 'ok: 1 instance, 1 listener\n',
}

test('every folder with a configuration is known here', () => {
  const folders = readdirSync(folder).filter((name) => existsSync(join(folder, name, 'atoll.yaml')))
  assert.deepEqual(folders.sort(), Object.keys(answers))
})

for (const [name, answer] of Object.entries(answers)) {
  test(`atoll check of examples/${name}`, async () => {
    const result = await runProgram(process.execPath, [command, 'check', '-c', join(folder, name, 'atoll.yaml')])
    assert.deepEqual(result, { code: 0, stdout: answer, stderr: '' })
  })
}

const folders = '\nrunDir: run\ndataDir: data\nlogDir: log\n'

test('fourteen sites start, each a broker of its own', { timeout: 120_000 }, async (t) => {
  const place = new Workplace(t)
  const firstPort = await freePorts(14)
  const moved = text('examples/fourteen-sites/atoll.yaml')
    .replace('1883+index', `${firstPort}+index`)
    .replace('/run/atoll/', `${place.folder}/`)
  assert.ok(moved.includes(String(firstPort)) && moved.includes(place.folder))
  place.write('atoll.json', moved + folders)
  const daemon = place.start()
  await daemon.said(/"instance":"berlin".*"the instance is ready"/)
  await daemon.said(/"instances":14,"ready":14,/)

  const byPort = await place.client({ port: firstPort + 11 })
  const bySocket = await place.client({ path: place.path('munich.sock') })
  // The one that sleeps is waked by its first client.
  const elsewhere = await place.client({ path: place.path('stuttgart.sock') })
  for (const client of [byPort, elsewhere]) await client.subscribe(['#'])
  bySocket.send(publish({ level: 5, topic: 'a', payload: 'of munich' }))
  assert.equal((await byPort.expect('PUBLISH')).payload.toString(), 'of munich')
  const sender = await place.client({ port: firstPort + 13 })
  sender.send(publish({ level: 5, topic: 'a', payload: 'of stuttgart' }))
  assert.equal((await elsewhere.expect('PUBLISH')).payload.toString(), 'of stuttgart')
})

test('the application talks to the broker beside it', async (t) => {
  const place = new Workplace(t)
  const socket = place.path('application.sock')
  const moved = text('examples/sidecar-unix-socket/atoll.yaml').replace(
    'unix:///run/atoll/application.sock',
    `unix://${socket}`,
  )
  place.write('atoll.json', moved + folders)
  await place.start().ready()
  const witness = await place.client({ path: socket })
  await witness.subscribe(['#'])
  const application = join(folder, 'sidecar-unix-socket/application.mjs')
  const result = await runProgram(process.execPath, [application, socket])
  assert.deepEqual(result, { code: 0, stdout: 'jobs/1: done\n', stderr: '' })
  assert.equal((await witness.expect('PUBLISH')).topic, 'jobs/1')
})

test('containers of the compose example share the folder of the socket, and no more', () => {
  const { services, volumes } = parse(text('examples/compose/compose.yaml'))
  const { listeners } = parse(text('examples/compose/atoll.yaml'))
  const socket = listeners.plant.address.replace('unix://', '')
  assert.deepEqual(Object.keys(services), ['broker', 'reader'])
  for (const { volumes: mounts, network_mode } of [services.broker, services.reader]) {
    assert.ok(mounts.includes(`sockets:${dirname(socket)}`))
    assert.equal(network_mode, 'none')
  }
  assert.ok(services.reader.command.includes(socket))
  assert.ok(services.broker.volumes.includes('./atoll.yaml:/etc/atoll/atoll.yaml:ro'))
  assert.deepEqual(Object.keys(volumes), ['sockets', 'data'])
})

/** Instructions of the last stage, with lines that go on put together. */
function instructions(): [name: string, rest: string][] {
  const lines = text('Dockerfile').replaceAll('\\\n', '').split('\n')
  const all = lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line): [string, string] => [line.split(' ', 1)[0], line.slice(line.indexOf(' ') + 1)])
  return all.slice(all.findLastIndex(([name]) => name === 'FROM'))
}

test('the container runs the broker itself, without rights, and says how it is', () => {
  const last = instructions()
  const of = (wanted: string) => last.filter(([name]) => name === wanted).map(([, rest]) => rest)
  assert.deepEqual(of('USER'), ['node'])
  // A shell in between would keep signals to itself.
  assert.deepEqual(JSON.parse(of('CMD')[0]), ['atoll', 'start'])
  assert.deepEqual(of('ENTRYPOINT'), [])
  const [, check] = of('HEALTHCHECK')[0].split('CMD ')
  assert.deepEqual(JSON.parse(check), ['atoll', 'status'])
  assert.match(of('RUN').join('\n'), /^npm ci --omit=dev --ignore-scripts /)
  const names = last.map(([name]) => name)
  assert.ok(names.lastIndexOf('RUN') < names.indexOf('USER'), 'what belongs to root is done before')
})

test('what the image is made of is sent to the builder', () => {
  const sent = text('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1))
  const copied = [...text('Dockerfile').matchAll(/^COPY (?!--)(.+) \S+$/gm)].flatMap(([, paths]) => paths.split(' '))
  assert.deepEqual([...new Set(copied)].sort(), sent.sort())
  for (const path of copied) assert.ok(existsSync(join(projectFolder, path)), path)
})
