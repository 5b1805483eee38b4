// What many instances in one daemon cost: time until all are ready, memory, the commands, and what idle ones take from a busy one.
// It must not know the other scenarios: there is no other broker to compare a fleet with.
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { childrenOf, isGreeting, programPath } from './brokers.mjs'
import { runGenerator } from './generator.mjs'
import { cores, machine, median, memoryOf, settledMemoryOf } from './measure.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 30_000
const IDLE_MS = 2_000
const SETTLE_MS = 1_000
const REPEATS = 3
const MEBIBYTE = 2 ** 20

const sizes = { own: 30, shared: 1_000, idle: 100 }
const quickSizes = { own: 5, shared: 100, idle: 20 }

const configuration = (folder, { isolation, durability, count }, connections) => `runDir: ${folder}/run
dataDir: ${folder}/data
logDir: ${folder}/log
defaults: { isolation: ${isolation}, durability: ${durability}, log: { level: error } }
instances:
  busy: { limits: { connections: ${connections} }, listeners: { local: "unix://${folder}/run/busy.sock" } }
${count > 1 ? `  "idle-\${index}": { count: ${count - 1} }\n` : ''}`

/** CPU time of all threads of these processes, in milliseconds. */
const cpuMsOf = async (pids) => {
  let nanoseconds = 0
  for (const pid of pids) {
    for (const tid of await readdir(`/proc/${pid}/task`).catch(() => [])) {
      const text = await readFile(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').catch(() => '0')
      nanoseconds += Number(text.split(' ')[0])
    }
  }
  return nanoseconds / 1e6
}

/** A daemon whose instances are all ready: { pid, pids, readyMs, command(), change(), generate(), stop() }. */
const startFleet = async (shape, atollMain, core) => {
  const main = resolve(root, atollMain)
  const folder = await mkdtemp(join(tmpdir(), 'atoll-bench-'))
  const file = join(folder, 'atoll.yaml')
  await writeFile(file, configuration(folder, shape, 1_000))
  const bound = core === undefined ? [] : [programPath('taskset'), '-c', core]
  const [program, ...args] = [...bound, process.execPath, main, 'start', '-c', file]
  const startedAt = performance.now()
  const child = spawn(program, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
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
      const count = Number(seen[1] ?? 1)
      if (count === shape.count) resolve(performance.now() - startedAt)
      else fail(`has ${count} of ${shape.count} instances ready`)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
    closed.then(() => {
      clearTimeout(timer)
      fail('ended at its start')
    })
  })
  const stop = async () => {
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
    const socket = join(folder, 'run', shape.count > 1 ? `idle-${shape.count - 2}.sock` : 'busy.sock')
    if (!(await isGreeting({ path: socket })))
      throw new Error(`the last instance of the fleet does not answer at ${socket}`)
    const pids = [child.pid, ...(await childrenOf(child.pid))]
    /** Runs a command: how long it takes, and what it costs the fleet. */
    const command = async (...words) => {
      const cpuMs = await cpuMsOf(pids)
      const since = performance.now()
      const run = spawn(process.execPath, [main, ...words, '--json', '--admin', `unix://${folder}/run/admin.sock`], {
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
    const change = (connections) => writeFile(file, configuration(folder, shape, connections))
    const generate = (loader, given) =>
      runGenerator(loader, cores().generator, 'flow', {
        connect: `unix:${join(folder, 'run', 'busy.sock')}`,
        pid: pids.join(','),
        ...given,
      })
    return { pid: child.pid, pids, readyMs, command, change, generate, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Ready, memory, idle CPU and commands of one fleet. */
const measureShape = async (shape, { atollMain, track }) => {
  const fleet = track(await startFleet(shape, atollMain))
  try {
    const hosts = fleet.pids.filter((pid) => pid !== fleet.pid)
    const { pssBytes } = await settledMemoryOf(hosts)
    const daemon = await memoryOf([fleet.pid])
    const cpuMs = await cpuMsOf(fleet.pids)
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
    const idleCpuShare = ((await cpuMsOf(fleet.pids)) - cpuMs) / IDLE_MS
    const medianOf = (list, key) => median(list.map((one) => one[key]))
    const statuses = []
    const applies = []
    for (let round = 0; round < REPEATS; round++) {
      statuses.push(await fleet.command('status'))
      await fleet.change(1_001 + round)
      applies.push(await fleet.command('apply'))
    }
    return {
      readyMs: fleet.readyMs,
      readyMsPerInstance: fleet.readyMs / shape.count,
      processes: hosts.length,
      pssBytes,
      pssBytesPerInstance: pssBytes / shape.count,
      daemonPssBytes: daemon.pssBytes,
      idleCpuShare,
      statusMs: medianOf(statuses, 'wallMs'),
      statusFleetCpuMs: medianOf(statuses, 'fleetCpuMs'),
      applyMs: medianOf(applies, 'wallMs'),
      applyFleetCpuMs: medianOf(applies, 'fleetCpuMs'),
    }
  } finally {
    await fleet.stop()
  }
}

/** One busy instance: alone in its process, and beside idle ones there, in turns. */
const measureBusy = async (idle, { atollMain, track, seconds, warmup }, program) => {
  const shapes = { alone: 1, beside: idle + 1 }
  const load = { pubs: 4, subs: 4, topics: 4, perWrite: 16, window: 512, seconds, warmup }
  const kept = { alone: [], beside: [] }
  for (let round = 0; round < REPEATS; round++) {
    for (const [name, count] of Object.entries(shapes)) {
      const shape = { isolation: 'shared', durability: 'memory', count }
      const fleet = track(await startFleet(shape, atollMain, programPath('taskset') && cores().broker))
      try {
        await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
        const { flow, lost } = await fleet.generate(program, load)
        if (lost) throw new Error(`${lost} messages were lost`)
        kept[name].push({
          perCpuSecond: flow.count / flow.brokerCpuSeconds,
          wallPerSecond: flow.count / flow.seconds,
          instructions:
            flow.userInstructions < 0 ? undefined : (flow.userInstructions + flow.kernelInstructions) / flow.count,
        })
      } finally {
        await fleet.stop()
      }
    }
  }
  const medians = (name) =>
    Object.fromEntries(
      ['perCpuSecond', 'wallPerSecond', 'instructions'].map((key) => [key, median(kept[name].map((run) => run[key]))]),
    )
  const [alone, beside] = [medians('alone'), medians('beside')]
  return {
    runs: kept,
    alone,
    beside,
    share: beside.perCpuSecond / alone.perCpuSecond,
    instructionsShare: alone.instructions / beside.instructions,
  }
}

const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
const mebibytes = (value) => `${(value / MEBIBYTE).toFixed(value < 10 * MEBIBYTE ? 2 : 1)} MiB`
const percent = (value) => `${(value * 100).toFixed(1)} %`

const lineOf = ({ isolation, durability, count, figures, error }) =>
  error
    ? `${count} ${isolation}, ${durability}: failed: ${error}`
    : [
        `${count} ${isolation}, ${durability}: ready in ${ms(figures.readyMs)} (${ms(figures.readyMsPerInstance)} each)`,
        `${mebibytes(figures.pssBytesPerInstance)} PSS each (${figures.processes} processes, daemon ${mebibytes(figures.daemonPssBytes)} more)`,
        `idle CPU ${percent(figures.idleCpuShare)}`,
        `status ${ms(figures.statusMs)} (fleet's CPU ${ms(figures.statusFleetCpuMs)})`,
        `apply of one key ${ms(figures.applyMs)} (${ms(figures.applyFleetCpuMs)})`,
      ].join(', ')

/** Prints a line per fleet and keeps the figures; `track` hears of every daemon that must not outlive us. */
export const measureFleet = async (options, program, keep, track) => {
  const size = options.isQuick ? quickSizes : sizes
  const context = { ...options, track }
  const runs = []
  const show = (line) => process.stdout.write(`${line}\n`)
  for (const shape of [
    { isolation: 'process', durability: 'fsync', count: 1 },
    { isolation: 'process', durability: 'fsync', count: size.own },
    { isolation: 'shared', durability: 'fsync', count: 1 },
    { isolation: 'shared', durability: 'memory', count: size.shared },
    { isolation: 'shared', durability: 'fsync', count: size.shared },
  ]) {
    const run = { ...shape }
    try {
      run.figures = await measureShape(shape, context)
    } catch (error) {
      run.error = error.message
      process.exitCode = 1
    }
    runs.push(run)
    show(lineOf(run))
  }
  const busy = await measureBusy(size.idle, context, program)
  runs.push({ busyBeside: size.idle, figures: busy })
  show(
    `busy beside ${size.idle} idle in one process: ${percent(busy.share)} of its messages per CPU second when alone` +
      (busy.alone.instructions ? `, ${percent(busy.instructionsShare)} by instructions` : ''),
  )
  show(`kept in ${keep({ date: new Date().toISOString(), machine: machine(), runs }, options).join(' and ')}`)
}
