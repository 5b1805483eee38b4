// The brokers that can be compared: whether they are installed, with which configuration they start, when they are ready.
// It must not know what is measured on them.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const READY_TIMEOUT_MS = 20_000
const STOP_TIMEOUT_MS = 3_000
// Debian puts daemons into sbin, which is not on everyone's PATH.
const FOLDERS = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']

/** The absolute path of a program, or undefined. */
export const programPath = (name) => FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path))

const packageVersion = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).version

const firstMatch = (command, args, pattern) => {
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 5_000 })
  return `${stdout}${stderr}`.match(pattern)?.[1] ?? '?'
}

// As root it would change to an account that may not enter our folder.
const mosquittoConfig =
  (persistence) =>
  ({ port, socket, folder }) =>
    `user ${userInfo().username}
${persistence}
persistence_location ${folder}/
max_inflight_messages 1000
max_queued_messages 1000000
allow_anonymous true
log_type error
log_dest stderr
listener ${port} 127.0.0.1
listener 0 ${socket}
`

const atollConfig =
  (durability) =>
  ({ port, socket, folder }) =>
    `dataDir: ${folder}/data
runDir: ${folder}/run
logDir: ${folder}/log
durability: ${durability}
isolation: inline
log: { level: error }
listeners:
  tcp: { address: "tcp://127.0.0.1:${port}", maxConnections: 30000 }
  local: { address: "unix://${socket}", maxConnections: 30000 }
limits:
  connections: 30000
  inflight: 1000
  receiveMaximum: 1000
  queueMessages: 1000000
  queueBytes: 1GiB
  totalQueueBytes: 1GiB
  subscriptions: 2000000
  subscriptionsPerClient: 1000000
  retainedMessages: 2000000
  retainedBytes: 1GiB
  sessions: 30000
`

// Each: how it is found, its version, its transports, and the command with the text of its configuration file.
// Those with a `set` take part in the scenarios of that set alone.
const BROKERS = {
  mosquitto: {
    title: 'Mosquitto',
    transports: ['tcp', 'unix'],
    find: () => programPath('mosquitto'),
    version: (path) => firstMatch(path, ['-h'], /version ([\d.]+)/),
    command: (path, file) => [path, '-c', file],
    config: mosquittoConfig('persistence false'),
  },
  atoll: {
    title: 'AtollMQ',
    transports: ['tcp', 'unix'],
    find: (atollMain) => [resolve(root, atollMain)].find((path) => existsSync(path)),
    version: () => packageVersion('package.json'),
    command: (path, file) => [process.execPath, path, 'start', '-c', file],
    config: atollConfig('memory'),
  },
  aedes: {
    title: 'Aedes',
    transports: ['tcp', 'unix'],
    find: () => [join(root, 'node_modules/aedes/package.json')].find((path) => existsSync(path)),
    version: () => packageVersion('node_modules/aedes/package.json'),
    command: (_path, _file, { port, socket }) => [
      process.execPath,
      join(root, 'bench/peers/aedes.mjs'),
      String(port),
      socket,
    ],
    config: () => '',
  },
  flashmq: {
    title: 'FlashMQ',
    transports: ['tcp'],
    find: () => programPath('flashmq'),
    version: (path) => firstMatch(path, ['--version'], /([\d]+\.[\d.]+)/),
    command: (path, file) => [path, '--config-file', file],
    config: ({ port }) => `allow_anonymous true
log_level error
thread_count 1
max_qos_msg_pending_per_client 65535
max_qos_bytes_pending_per_client 268435456
retained_messages_delivery_limit 1000000
listen {
  protocol mqtt
  inet4_bind_address 127.0.0.1
  inet_protocol ip4
  port ${port}
}
`,
  },
  nanomq: {
    title: 'NanoMQ',
    transports: ['tcp'],
    find: () => programPath('nanomq'),
    version: (path) => firstMatch(path, ['--version'], /([\d]+\.[\d.]+)/),
    command: (path, file) => [path, 'start', '--conf', file],
    config: ({
      port,
    }) => `mqtt { max_mqueue_len = 65535, max_inflight_window = 2048, keepalive_multiplier = 1.25, retry_interval = 10s }
listeners.tcp { bind = "127.0.0.1:${port}" }
auth { allow_anonymous = true, no_match = allow, deny_action = ignore }
log { to = [console], level = error }
`,
  },
}

const variant = (name, title, config) => ({ ...BROKERS[name], title, set: 'durable', config })

// Every change asks for a save of the whole database: as near as it comes to writing before it acknowledges, which it never does.
BROKERS['mosquitto-disk'] = variant(
  'mosquitto',
  'Mosquitto, persistent',
  mosquittoConfig('persistence true\nautosave_interval 1\nautosave_on_changes true'),
)
BROKERS['mosquitto-autosave'] = variant(
  'mosquitto',
  'Mosquitto, saved every second',
  mosquittoConfig('persistence true\nautosave_interval 1'),
)
BROKERS['atoll-os'] = variant('atoll', 'AtollMQ os', atollConfig('os'))
BROKERS['atoll-fsync'] = variant('atoll', 'AtollMQ fsync', atollConfig('fsync'))

/** Brokers that are installed: [{ name, title, version, transports, path, set }], Mosquitto, the base of all ratios, first. */
export const installedBrokers = (atollMain) =>
  Object.entries(BROKERS).flatMap(([name, broker]) => {
    const path = broker.find(atollMain)
    if (!path) return []
    const { title, transports, set } = broker
    return [{ name, path, title, version: broker.version(path), transports, set }]
  })

export const brokerNames = Object.keys(BROKERS)

/** A TCP port of 127.0.0.1 that nobody listens on now. */
export const freePort = async () => {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** CONNECT and its answer: true once the broker greets. */
export const isGreeting = (address) =>
  new Promise((resolve) => {
    const socket = net.connect(address)
    const finish = (is) => {
      socket.destroy()
      resolve(is)
    }
    socket.setTimeout(2_000, () => finish(false))
    socket.on('error', () => finish(false))
    socket.on('close', () => finish(false))
    socket.on('data', (chunk) => finish(chunk[0] === 0x20))
    socket.write(Buffer.from('101000044d5154540402003c000470726f62', 'hex'))
  })

/** Process ids below this one. */
export const childrenOf = async (pid) => {
  const lists = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  const children = lists.split(' ').filter(Boolean).map(Number)
  return [...children, ...(await Promise.all(children.map(childrenOf))).flat()]
}

/**
 * Starts a broker of its own folder and port, on the given core if `taskset` exists.
 * Returns { addresses: { tcp, unix }, pids, readyMs, stop() }; fails with what the broker printed.
 */
export const startBroker = async ({ name, path }, core) => {
  const broker = BROKERS[name]
  const folder = await mkdtemp(join(tmpdir(), 'atoll-bench-'))
  const place = { folder, port: await freePort(), socket: join(folder, 'mqtt.sock') }
  const file = join(folder, name.startsWith('atoll') ? 'atoll.yaml' : `${name}.conf`)
  await writeFile(file, broker.config(place))
  const taskset = programPath('taskset')
  const [command, ...args] = [...(taskset ? [taskset, '-c', core] : []), ...broker.command(path, file, place)]
  const startedAt = performance.now()
  const child = spawn(command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let hasExited = false
  const keep = (chunk) => {
    output = (output + chunk).slice(-4_000)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const exited = new Promise((resolve) => {
    child.once('error', (error) => keep(error.message))
    child.once('close', () => {
      hasExited = true
      resolve()
    })
  })
  const stop = async () => {
    if (!hasExited) child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await exited
    clearTimeout(timer)
    await rm(folder, { recursive: true, force: true })
  }
  const endpoints = [{ host: '127.0.0.1', port: place.port }]
  if (broker.transports.includes('unix')) endpoints.push({ path: place.socket })
  for (const endpoint of endpoints) {
    while (!(await isGreeting(endpoint))) {
      const isLate = performance.now() - startedAt > READY_TIMEOUT_MS
      if (hasExited || isLate) {
        await stop()
        throw new Error(`${broker.title} ${hasExited ? 'ended' : 'did not answer'} at its start: ${output.trim()}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }
  return {
    addresses: { tcp: `tcp:127.0.0.1:${place.port}`, unix: `unix:${place.socket}` },
    pids: [child.pid, ...(await childrenOf(child.pid))],
    readyMs: performance.now() - startedAt,
    stop,
  }
}
