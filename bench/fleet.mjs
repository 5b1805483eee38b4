// What many instances in one daemon cost: time until all are ready, memory, the commands.
// It must not know the other scenarios: there is no other broker to compare a fleet with.
import { cpuMsOf, startFleet } from './fleet-daemon.mjs'
import { machine, median, memoryOf, settledMemoryOf } from './measure.mjs'

const IDLE_MS = 2_000
const REPEATS = 3
const MEBIBYTE = 2 ** 20

const sizes = { own: [30, 100], shared: 1_000 }
const quickSizes = { own: [5], shared: 100 }

const configurationOf =
  ({ isolation, durability, count }) =>
  (folder, connections = 1_000) =>
    `runDir: ${folder}/run
dataDir: ${folder}/data
logDir: ${folder}/log
log: { level: info }
defaults: { isolation: ${isolation}, durability: ${durability}, log: { level: error } }
instances:
  busy: { limits: { connections: ${connections} }, listeners: { local: "unix://${folder}/run/busy.sock" } }
${count > 1 ? `  "idle-\${index}": { count: ${count - 1} }\n` : ''}`

/** Ready, memory, idle CPU and commands of one fleet. */
const measureShape = async (shape, { atollMain, track }) => {
  const probe = shape.count > 1 ? `idle-${shape.count - 2}` : 'busy'
  const fleet = track(await startFleet(configurationOf(shape), { count: shape.count, probe }, atollMain))
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
export const measureFleet = async (options, keep, track) => {
  const size = options.isQuick ? quickSizes : sizes
  const context = { ...options, track }
  const runs = []
  const show = (line) => process.stdout.write(`${line}\n`)
  for (const shape of [
    { isolation: 'process', durability: 'fsync', count: 1 },
    ...size.own.map((count) => ({ isolation: 'process', durability: 'fsync', count })),
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
  show(`kept in ${keep({ date: new Date().toISOString(), machine: machine(), runs }, options).join(' and ')}`)
}
