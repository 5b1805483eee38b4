// The round trip of one instance beside others under full load, in a crash loop, with subscribers that have stopped reading. All
// processes of the fleet share one core; the generators share the other, where those of the noise get what the probe leaves.
import { programPath } from './brokers.mjs'
import { startFleet } from './fleet-daemon.mjs'
import { runGenerator } from './generator.mjs'
import { cores, machine, median } from './measure.mjs'

const PROBE_RATE = 400
const PROBE_WARMUP_SECONDS = 0.5
/** How long noise goes on before the probe begins, and after it has ended. */
const LEAD_SECONDS = 0.5
const TAIL_SECONDS = 0.5
const MESSAGE_RATE = 2_000
const KILL_POLL_MS = 20
/** 0 needs no right; as root the probe comes before all noise on its core. */
const PROBE_NICE = process.getuid?.() === 0 ? -20 : 0

const configurationOf = (isolation) => (folder) =>
  `runDir: ${folder}/run
dataDir: ${folder}/data
logDir: ${folder}/log
log: { level: info }
defaults: { isolation: ${isolation}, durability: memory, log: { level: error } }
instances:
  quiet: {}
  loud: {}
  limited: { limits: { messageRate: ${MESSAGE_RATE} } }
  nice: { isolation: process, nice: 19 }
  stuck-qos0: {}
  stuck-qos1: {}
  crashing: { isolation: process, restart: { backoff: 0, burst: 1000, within: 1s } }
`
const INSTANCE_COUNT = 7

// More on their way than any buffer between holds, so that the publishers never wait for the subscribers.
const fullLoad = { pubs: 4, subs: 4, topics: 4, perWrite: 64, window: 20_000 }
const stopped = { pubs: 1, subs: 1, stopped: 1, perWrite: 16, window: 512, payload: 1_000 }

/** What each noise asks of which instance. */
const noises = {
  loud: { loud: fullLoad },
  limited: { limited: fullLoad },
  nice: { nice: fullLoad },
  crashing: { crashing: 'kill' },
  'stopped subscribers': { 'stuck-qos0': stopped, 'stuck-qos1': { ...stopped, qos: 1, window: 250 } },
}
noises.all = { ...noises.loud, ...noises.crashing, ...noises['stopped subscribers'] }
noises['all, held down'] = { ...noises.limited, ...noises.nice, ...noises.crashing }

/** Kills the process of the instance whenever it is back. @returns how often */
const killAgain = async (fleet, name, isOver) => {
  let last = null
  let count = 0
  while (!isOver()) {
    const { pid, phase } = (await fleet.ask('fleet')).members.find((member) => member.name === name)
    if (phase === 'ready' && pid !== last) {
      process.kill(pid, 'SIGKILL')
      last = pid
      count++
    }
    await new Promise((resolve) => setTimeout(resolve, KILL_POLL_MS))
  }
  return count
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

/** The probe beside one noise. */
const measureBeside = async (fleet, noise, seconds, program) => {
  const { generator: core } = cores()
  let isOver = false
  const noiseSeconds = LEAD_SECONDS + PROBE_WARMUP_SECONDS + seconds + TAIL_SECONDS
  const started = Object.entries(noise).map(async ([name, what]) => {
    if (what === 'kill') return { name, kills: await killAgain(fleet, name, () => isOver) }
    const options = { ...what, seconds: noiseSeconds, warmup: 0, connect: `unix:${fleet.socketOf(name)}` }
    const { flow } = await runGenerator(program, core, 'flow', options, undefined, 19)
    return { name, perSecond: flow.count / flow.seconds }
  })
  // Looked at below.
  for (const one of started) one.catch(() => {})
  await sleep(LEAD_SECONDS)
  const probe = { rate: PROBE_RATE, sleepy: true, latency: true, warmup: PROBE_WARMUP_SECONDS, seconds }
  try {
    const { latencyMicros, lost, duplicated, outOfOrder } = await runGenerator(
      program,
      core,
      'flow',
      { ...probe, connect: `unix:${fleet.socketOf('quiet')}` },
      undefined,
      PROBE_NICE,
    )
    if (lost || duplicated || outOfOrder) throw new Error(`the probe lost ${lost}, doubled ${duplicated}`)
    isOver = true
    return { ...latencyMicros, noise: await Promise.all(started) }
  } finally {
    isOver = true
    await Promise.allSettled(started)
  }
}

const micros = (value) => (value < 1_000 ? `${Math.round(value)} µs` : `${(value / 1_000).toFixed(1)} ms`)

const noiseLine = (runs) =>
  runs[0].noise.map(({ name }, index) => {
    const kills = median(runs.map(({ noise }) => noise[index].kills))
    if (kills !== undefined) return `${name} ${kills} kills`
    return `${name} ${Math.round(median(runs.map(({ noise }) => noise[index].perSecond)) / 1000)}k/s`
  })

const measureIsolation = async (isolation, options, program, track, untrack) => {
  const core = programPath('taskset') && cores().broker
  const shape = { count: INSTANCE_COUNT, probe: 'quiet' }
  const fleet = track(await startFleet(configurationOf(isolation), shape, options.atollMain, core))
  const conditions = Object.entries({ alone: {}, ...noises })
  const runs = []
  try {
    for (let round = 0; round < options.repeat; round++) {
      for (const [condition, noise] of conditions) {
        runs.push({ isolation, condition, ...(await measureBeside(fleet, noise, options.seconds, program)) })
      }
    }
  } finally {
    await untrack(fleet)
  }
  process.stdout.write(`\nisolation: ${isolation}; medians, and the lowest of ${options.repeat}\n`)
  for (const [condition] of conditions) {
    const those = runs.filter((run) => run.condition === condition)
    const times = ['p50', 'p99', 'p999'].map((key) => {
      const all = those.map((run) => run[key])
      return `${key} ${micros(median(all))} (${micros(Math.min(...all))})`
    })
    process.stdout.write(`  ${condition.padEnd(20)} ${times.join('  ')}  ${noiseLine(those).join(', ')}\n`)
  }
  return runs
}

/** Prints the figures and keeps them; `track` hears of every daemon that must not outlive us. */
export const measureNeighbours = async (options, program, keep, track, untrack) => {
  const runs = []
  for (const isolation of ['process', 'shared']) {
    runs.push(...(await measureIsolation(isolation, options, program, track, untrack)))
  }
  const kept = keep({ date: new Date().toISOString(), machine: machine(), runs }, options)
  process.stdout.write(`\nkept in ${kept.join(' and ')}\n`)
}
