// A daemon with a fleet of instances, started and asked as a user does. It must not know what is measured on it.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { childrenOf, isGreeting, programPath } from './brokers.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 30_000
const SPREAD_MS = 1_000
/** What a process catches up with after it was stopped is not what it does when it is idle. */
const SETTLE_MS = 2_500

/** CPU time of all threads of these processes, in milliseconds. */
export const cpuMsOf = async (pids) => {
  let nanoseconds = 0
  for (const pid of pids) {
    for (const tid of await readdir(`/proc/${pid}/task`).catch(() => [])) {
      const text = await readFile(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').catch(() => '0')
      nanoseconds += Number(text.split(' ')[0])
    }
  }
  return nanoseconds / 1e6
}

/**
 * A daemon whose instances are all ready, on the given core or on any.
 * @param configure (folder) => the text of its configuration; called again by `change` with what that is given
 * @param shape { count: instances, probe: the one of which it is seen that it greets }
 * Returns { pid, pids, readyMs, socketOf(), command(), ask(), change(), pause(), resume(), stop() }.
 */
export const startFleet = async (configure, { count, probe }, atollMain, core) => {
  const main = resolve(root, atollMain)
  const folder = await mkdtemp(join(tmpdir(), 'atoll-bench-'))
  const file = join(folder, 'atoll.yaml')
  const socketOf = (instance) => join(folder, 'run', `${instance}.sock`)
  const adminSocket = join(folder, 'run', 'admin.sock')
  await writeFile(file, configure(folder))
  const startedAt = performance.now()
  const child = spawn(process.execPath, [main, 'start', '-c', file], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = new Promise((resolve) => child.once('close', resolve))
  let output = ''
  const ready = new Promise((resolve, reject) => {
    const fail = (how) => reject(new Error(`the fleet ${how}: ${output.trim()}`))
    const timer = setTimeout(() => fail(`was not ready after ${READY_TIMEOUT_MS / 1000} s`), READY_TIMEOUT_MS)
    const read = (chunk) => {
      output = (output + chunk).slice(-4_000)
      const seen = output.match(/info +ready (?:instances=\d+ ready=(\d+)|instance=)/)
      if (!seen) return
      clearTimeout(timer)
      const ready = Number(seen[1] ?? 1)
      if (ready === count) resolve(performance.now() - startedAt)
      else fail(`has ${ready} of ${count} instances ready`)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    closed.then(() => {
      clearTimeout(timer)
      fail('ended at its start')
    })
  })
  /** Stops all processes as Ctrl-Z does, or lets them go on; spread over so long, so that they do not keep one pace. */
  const signal = async (name, spreadMs) => {
    const pids = [child.pid, ...(await childrenOf(child.pid))]
    for (const pid of pids) {
      try {
        process.kill(pid, name)
      } catch {} // it has ended
      if (spreadMs) await new Promise((resolve) => setTimeout(resolve, spreadMs / pids.length))
    }
  }
  const pause = () => signal('SIGSTOP', 0)
  const resume = async () => {
    await signal('SIGCONT', SPREAD_MS)
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  }
  const stop = async () => {
    await signal('SIGCONT', 0)
    const pids = [child.pid, ...(await childrenOf(child.pid))]
    child.kill('SIGTERM')
    const timer = setTimeout(() => {
      for (const pid of pids) process.kill(pid, 'SIGKILL')
    }, STOP_TIMEOUT_MS)
    await closed
    clearTimeout(timer)
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const readyMs = await ready
    if (!(await isGreeting({ path: socketOf(probe) })))
      throw new Error(`${probe} does not answer at ${socketOf(probe)}`)
    const pids = [child.pid, ...(await childrenOf(child.pid))]
    // Not before: a hundred processes start sooner on all cores.
    if (core !== undefined) for (const pid of pids) spawnSync(programPath('taskset'), ['-a', '-p', '-c', core, pid])
    /** Runs a command: how long it takes, and what it costs the fleet. */
    const command = async (...words) => {
      const cpuMs = await cpuMsOf(pids)
      const since = performance.now()
      const run = spawn(process.execPath, [main, ...words, '--json', '--admin', `unix://${adminSocket}`], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      let problem = ''
      run.stderr.on('data', (chunk) => {
        problem += chunk
      })
      const code = await new Promise((resolve) => run.once('close', resolve))
      if (code !== 0) throw new Error(`atoll ${words.join(' ')}: exit code ${code}: ${problem}`)
      return { wallMs: performance.now() - since, fleetCpuMs: (await cpuMsOf(pids)) - cpuMs }
    }
    /** The answer of the admin API to a GET. */
    const ask = (path) =>
      new Promise((resolve, reject) => {
        const asked = request({ socketPath: adminSocket, path: `/api/v1/${path}` }, async (response) => {
          let text = ''
          for await (const chunk of response.setEncoding('utf8')) text += chunk
          if (response.statusCode === 200) resolve(JSON.parse(text))
          else reject(new Error(`${path}: ${response.statusCode} ${text}`))
        })
        asked.on('error', reject)
        asked.end()
      })
    const change = (...given) => writeFile(file, configure(folder, ...given))
    return { pid: child.pid, pids, readyMs, socketOf, command, ask, change, pause, resume, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
