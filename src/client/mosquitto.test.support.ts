// A real Mosquitto for tests, on a TCP port and a UNIX socket of its own.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const patienceMs = 10_000
const program = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto', '/opt/homebrew/sbin/mosquitto'].find(existsSync)

/** Why tests with Mosquitto are skipped, or false; with REQUIRE_INTEROP=1 they never are. */
export const withoutMosquitto: string | false =
  program !== undefined || process.env.REQUIRE_INTEROP === '1' ? false : 'mosquitto is not installed'

export interface Mosquitto {
  readonly port: number
  readonly socketPath: string
  readonly version: string
  /** The broker is gone at once, as in a crash; `stop` is still needed. */
  kill(): Promise<void>
  stop(): Promise<void>
}

/** @param lines added to its configuration file */
export async function startMosquitto(lines: readonly string[] = ['allow_anonymous true']): Promise<Mosquitto> {
  if (program === undefined) throw new Error('mosquitto is not installed')
  const folder = await mkdtemp(join(tmpdir(), 'atoll-mosquitto-'))
  const port = await freePort()
  const socketPath = join(folder, 'm.sock')
  const configPath = join(folder, 'mosquitto.conf')
  const fixed = ['log_dest none', 'user root', `listener ${port} 127.0.0.1`, `listener 0 ${socketPath}`]
  await writeFile(configPath, `${[...fixed, ...lines].join('\n')}\n`)
  const child = spawn(program, ['-c', configPath], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  const kill = async () => {
    child.kill('SIGKILL')
    await exited
  }
  await Promise.all([waitUntilOpen({ port, host: '127.0.0.1' }, child), waitUntilOpen({ path: socketPath }, child)])
  const version = spawnSync(program, ['-h'], { encoding: 'utf8' }).stdout.split('\n')[0]
  return {
    port,
    socketPath,
    version,
    kill,
    async stop() {
      await kill()
      await rm(folder, { recursive: true })
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no TCP address')
  return address.port
}

async function waitUntilOpen(place: { port: number; host: string } | { path: string }, child: ChildProcess) {
  const endAtMs = performance.now() + patienceMs
  for (;;) {
    const socket = connect(place)
    try {
      await once(socket, 'connect')
      return
    } catch (error) {
      if (performance.now() > endAtMs || child.exitCode !== null) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    } finally {
      socket.destroy()
    }
  }
}
