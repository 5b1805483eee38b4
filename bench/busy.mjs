// What 100 idle instances take from a busy one. Two daemons run side by side, one with the busy instance alone, one with the idle
// ones as well; whichever is not measured is stopped (SIGSTOP), so that a short run of one is followed at once by one of the other.
import { once } from 'node:events'
import net from 'node:net'
import { programPath } from './brokers.mjs'
import { cpuMsOf, startFleet } from './fleet-daemon.mjs'
import { runGenerator } from './generator.mjs'
import { cores, machine, median } from './measure.mjs'

const IDLE_COUNT = 100
const QUICK_IDLE_COUNT = 20
const ROUNDS = 8
const QUICK_ROUNDS = 3
const RUN_SECONDS = 0.5
const WARMUP_SECONDS = 0.2
const FIRST_SECONDS = 3

const layouts = {
  processes: { title: 'idle ones in processes of their own', busy: 'process', idle: 'process' },
  pool: { title: 'idle ones in one shared process, the busy one in its own', busy: 'process', idle: 'shared' },
  together: { title: 'all in one shared process', busy: 'shared', idle: 'shared' },
}

const configurationOf =
  ({ busy, idle }, idleCount) =>
  (folder) =>
    `runDir: ${folder}/run
dataDir: ${folder}/data
logDir: ${folder}/log
log: { level: info }
defaults: { durability: memory, log: { level: error } }
instances:
  busy: { isolation: ${busy}, listeners: { local: "unix://${folder}/run/busy.sock" } }
${idleCount ? `  "idle-\${index}": { isolation: ${idle}, count: ${idleCount} }\n` : ''}`

/** A client that says nothing more: CONNECT of MQTT 3.1.1 with a Keep Alive of an hour. */
const idleClient = async (path) => {
  const socket = net.connect(path)
  socket.on('error', () => {})
  socket.write(Buffer.from('101000044d51545404020e10000469646c65', 'hex'))
  await once(socket, 'data')
  return socket
}

const startSide = async (layout, idleCount, { atollMain, track, untrack }) => {
  const shape = { count: 1 + idleCount, probe: idleCount ? `idle-${idleCount - 1}` : 'busy' }
  const core = programPath('taskset') && cores().broker
  const fleet = track(await startFleet(configurationOf(layout, idleCount), shape, atollMain, core))
  const side = { fleet, clients: [] }
  try {
    for (let index = 0; index < idleCount; index++) side.clients.push(await idleClient(fleet.socketOf(`idle-${index}`)))
    side.pid = (await fleet.ask('instances/busy')).pid
    side.others = fleet.pids.filter((pid) => pid !== side.pid)
    return side
  } catch (error) {
    await untrack(fleet)
    throw error
  }
}

const measureRun = async ({ fleet, pid, others }, program, seconds) => {
  const load = { pubs: 4, subs: 4, topics: 4, perWrite: 16, window: 512, seconds, warmup: WARMUP_SECONDS }
  const since = performance.now()
  const before = await cpuMsOf(others)
  const connect = `unix:${fleet.socketOf('busy')}`
  const { flow, lost } = await runGenerator(program, cores().generator, 'flow', { connect, pid, ...load })
  const othersShare = ((await cpuMsOf(others)) - before) / (performance.now() - since)
  if (lost) throw new Error(`${lost} messages were lost`)
  const cpuNs = (flow.brokerCpuSeconds * 1e9) / flow.count
  const perSecond = flow.count / flow.seconds
  return {
    perSecond,
    cpuNs,
    othersShare,
    allCpuNs: cpuNs + (othersShare * 1e9) / perSecond,
    instructions:
      flow.userInstructions < 0 ? undefined : (flow.userInstructions + flow.kernelInstructions) / flow.count,
  }
}

/** One pair of fresh daemons: [[alone, beside], …], each a run. */
const measurePair = async (layout, idleCount, rounds, context, program) => {
  const sides = []
  try {
    for (const count of [0, idleCount]) {
      sides.push(await startSide(layout, count, context))
      // Until everything is compiled.
      await measureRun(sides.at(-1), program, FIRST_SECONDS)
      await sides.at(-1).fleet.pause()
    }
    const kept = []
    for (let round = 0; round < rounds; round++) {
      const runs = []
      // alone, beside, beside, alone, …: what drifts hits both.
      for (const index of round % 2 ? [1, 0] : [0, 1]) {
        await sides[index].fleet.resume()
        runs[index] = await measureRun(sides[index], program, RUN_SECONDS)
        await sides[index].fleet.pause()
      }
      kept.push(runs)
    }
    return kept
  } finally {
    for (const { clients, fleet } of sides) {
      for (const client of clients) client.destroy()
      await context.untrack(fleet)
    }
  }
}

const quartiles = (list) => {
  const sorted = list.filter((value) => Number.isFinite(value)).sort((a, b) => a - b)
  if (!sorted.length) return undefined
  const at = (share) => sorted[Math.round((sorted.length - 1) * share)]
  return { low: at(0.25), median: median(sorted), high: at(0.75) }
}

/** What each pair of runs says the idle ones cost, as a share of what the busy one does alone. */
const figuresOf = (pairs) => {
  const runs = pairs.flat()
  const lossOf = (key) => quartiles(runs.map(([alone, beside]) => 1 - alone[key] / beside[key]))
  const medianOf = (index, key) => median(runs.map((pair) => pair[index][key]))
  return {
    rounds: runs.length,
    loss: { cpu: lossOf('cpuNs'), allCpu: lossOf('allCpuNs'), instructions: lossOf('instructions') },
    instructions: { alone: medianOf(0, 'instructions'), beside: medianOf(1, 'instructions') },
    cpuNs: { alone: medianOf(0, 'cpuNs'), beside: medianOf(1, 'cpuNs') },
    othersShare: { alone: medianOf(0, 'othersShare'), beside: medianOf(1, 'othersShare') },
  }
}

const percent = (value) => `${(value * 100).toFixed(1)} %`
const spread = (one) => (one ? `${percent(one.median)} (${percent(one.low)} to ${percent(one.high)})` : 'not counted')

/** Prints a line per layout and keeps the figures; `track` hears of every daemon that must not outlive us. */
export const measureBusy = async (options, program, keep, track, untrack) => {
  const context = { ...options, track, untrack }
  const idleCount = options.isQuick ? QUICK_IDLE_COUNT : IDLE_COUNT
  const runs = []
  for (const [name, layout] of Object.entries(layouts)) {
    const run = { layout: name, idleCount }
    try {
      const pairs = []
      for (let repeat = 0; repeat < options.repeat; repeat++) {
        pairs.push(await measurePair(layout, idleCount, options.isQuick ? QUICK_ROUNDS : ROUNDS, context, program))
      }
      run.figures = figuresOf(pairs)
      run.pairs = pairs
    } catch (error) {
      run.error = error.message
      process.exitCode = 1
    }
    runs.push(run)
    const { figures, error } = run
    process.stdout.write(
      error
        ? `${layout.title}: failed: ${error}\n`
        : `${layout.title}: loss by instructions ${spread(figures.loss.instructions)}, by its CPU time ${spread(figures.loss.cpu)}, ` +
            `by the CPU time of all processes ${spread(figures.loss.allCpu)}; the others use ${percent(figures.othersShare.beside)} of a core\n`,
    )
  }
  const kept = keep({ date: new Date().toISOString(), machine: machine(), runs }, options)
  process.stdout.write(`kept in ${kept.join(' and ')}\n`)
}
