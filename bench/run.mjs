// `npm run bench`: starts the brokers that are installed, drives all of them with one generator, prints and keeps the comparison.
import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { brokerNames, installedBrokers, startBroker } from './brokers.mjs'
import { measureBusy } from './busy.mjs'
import { measureCeiling } from './ceiling.mjs'
import { measureFleet } from './fleet.mjs'
import { compileGenerator, runGenerator } from './generator.mjs'
import { cores, machine } from './measure.mjs'
import { measureNeighbours } from './neighbour.mjs'
import { progressLine, report } from './report.mjs'
import { scenarios } from './scenarios.mjs'

const usage = `npm run bench [-- NAMES… OPTIONS]
  NAMES                 scenarios by name or letter; all of them if none is given
  durable               the scenarios of persistent sessions: durability memory, os, fsync; Mosquitto without and with persistence
  fleet                 what many instances cost in one daemon
  busy                  what 100 idle instances take from a busy one
  neighbour             the round trip of one instance beside others under load, in a crash loop, with a stopped subscriber
  ceiling               how fast the load generator itself is, per scenario
  --list                the scenarios
  --quick               small sizes, one short run each: under two minutes
  --brokers a,b         of: ${brokerNames.join(', ')}; all that are installed if none is given
  --transport tcp|unix  only this one
  --atoll FILE          main.js of another build of AtollMQ (default dist/cli/main.js)
  --seconds N           of each run (default 2)
  --repeat N            runs per broker, of which the median counts (default 3)
  --spin                the generator never sleeps: steadier, and brokers never pay for waking it
  --mqtt 3.1.1|5        protocol version of the clients (default 3.1.1)
`

class UsageError extends Error {}

const positive = (name, text) => {
  const value = Number(text)
  if (!(value > 0 && value <= 60)) throw new UsageError(`--${name} ${text}: a number above 0, up to 60, is needed`)
  return value
}

const readOptions = (argv) => {
  let parsed
  try {
    parsed = parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        list: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        quick: { type: 'boolean' },
        brokers: { type: 'string' },
        atoll: { type: 'string', default: 'dist/cli/main.js' },
        transport: { type: 'string' },
        seconds: { type: 'string' },
        repeat: { type: 'string' },
        spin: { type: 'boolean' },
        mqtt: { type: 'string', default: '3.1.1' },
      },
    })
  } catch (error) {
    throw new UsageError(error.message)
  }
  const { values, positionals } = parsed
  const isQuick = values.quick ?? false
  const { transport } = values
  if (transport !== undefined && transport !== 'tcp' && transport !== 'unix') {
    throw new UsageError(`--transport ${transport}: tcp or unix is needed`)
  }
  if (values.mqtt !== '3.1.1' && values.mqtt !== '5') {
    throw new UsageError(`--mqtt ${values.mqtt}: 3.1.1 or 5 is needed`)
  }
  const wantsCeiling = positionals.includes('ceiling')
  const alone = ['fleet', 'busy', 'neighbour'].find((name) => positionals.includes(name))
  if (alone && positionals.length > 1) throw new UsageError(`${alone} is measured alone, without other scenarios`)
  const chosen = positionals
    .filter((name) => name !== 'ceiling' && name !== alone)
    .flatMap((name) => {
      const ofSet = scenarios.filter(({ set, isSlow }) => set === name && !isSlow)
      if (ofSet.length) return ofSet
      const found = scenarios.find((one) => one.name === name || one.letter === name.toUpperCase())
      if (!found) throw new UsageError(`${name}: no such scenario; --list shows them`)
      return found
    })
  const brokers = values.brokers?.split(',')
  for (const name of brokers ?? []) {
    if (!brokerNames.includes(name))
      throw new UsageError(`--brokers ${name}: one of ${brokerNames.join(', ')} is needed`)
  }
  return {
    help: values.help,
    list: values.list,
    wantsCeiling,
    alone,
    chosen: chosen.length ? chosen : scenarios.filter(({ set, isSlow }) => !set && !(isQuick && isSlow)),
    names: positionals,
    isAll: !positionals.length,
    isQuick,
    brokers,
    atollMain: values.atoll,
    transport,
    isSpinning: values.spin ?? false,
    seconds: positive('seconds', values.seconds ?? (isQuick ? 0.7 : 2)),
    warmup: isQuick ? 0.3 : 0.6,
    repeat: Math.ceil(positive('repeat', values.repeat ?? (isQuick ? 1 : 3))),
    mqtt: values.mqtt === '5' ? 5 : 4,
  }
}

const current = new Set() // the brokers that must not outlive us
let isAbandoned = false

const track = (broker) => {
  current.add(broker)
  return broker
}

const untrack = async (broker) => {
  await broker.stop()
  current.delete(broker)
}

const measureOnce = async (scenario, transport, broker, options, program, core) => {
  const run = { scenario: scenario.name, transport, broker: broker.name }
  const raw = []
  let started
  try {
    started = track(await startBroker(broker, core.broker))
    if (isAbandoned) throw new Error('abandoned')
    const { addresses, pids, readyMs } = started
    const generate = async (mode, given, onHold) => {
      const result = await runGenerator(
        program,
        core.generator,
        mode,
        { connect: addresses[transport], pid: pids.join(','), mqtt: options.mqtt, spin: options.isSpinning, ...given },
        onHold,
      )
      raw.push({ options: given, result })
      return result
    }
    const { seconds, warmup, isQuick } = options
    run.figures = await scenario.measure({ seconds, warmup, isQuick, pids, readyMs, generate })
    if (run.figures.faults) run.raw = raw
  } catch (error) {
    run.error = error.message
  } finally {
    if (started) await untrack(started)
  }
  return run
}

const rounded = (_key, value) => (typeof value === 'number' ? Number(value.toPrecision(6)) : value)

const keep = (outcome, options) => {
  const folder = new URL('results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  const set = options.isAll ? (options.isQuick ? 'quick' : 'full') : options.names.join('+').slice(0, 60)
  const file = fileURLToPath(new URL(`${outcome.date.slice(0, 10)}-${set}.json`, folder))
  const lines = outcome.runs.map((run) => JSON.stringify(run, rounded)).join(',\n')
  writeFileSync(file, `${JSON.stringify({ ...outcome, runs: undefined }).slice(0, -1)},"runs":[\n${lines}\n]}\n`)
  if (!options.isAll) return [file]
  const latest = fileURLToPath(new URL('latest.md', folder))
  writeFileSync(latest, report(outcome, false))
  return [file, latest]
}

const transportsOf = (scenario, { transport, isQuick }) => {
  if (transport) return [transport]
  return isQuick && !scenario.isQuickOverUnix ? scenario.transports.slice(0, 1) : scenario.transports
}

// Brokers take turns, so that a slow minute of the machine hits all of them.
const compare = async (options, program) => {
  const installed = installedBrokers(options.atollMain)
  const brokers = installed.filter(({ name }) => !options.brokers || options.brokers.includes(name))
  for (const name of options.brokers ?? []) {
    if (!brokers.some((one) => one.name === name)) process.stderr.write(`bench: ${name} is not installed, left out\n`)
  }
  if (!brokers.length)
    throw new Error('no broker to measure: install mosquitto, or run npm run build for AtollMQ itself')
  if (!brokers.some(({ name }) => name === 'mosquitto')) {
    process.stderr.write(
      'bench: without mosquitto there is nothing to compare with: no ratios, only absolute figures\n',
    )
  }
  const core = cores()
  const runs = []
  const plan = options.chosen.flatMap((scenario) =>
    transportsOf(scenario, options).flatMap((transport) =>
      Array.from({ length: scenario.once ? 1 : options.repeat }, () =>
        brokers
          .filter(
            ({ name, set, transports }) =>
              transports.includes(transport) && (!set || set === scenario.set) && !scenario.without?.includes(name),
          )
          .map((broker) => ({ scenario, transport, broker })),
      ).flat(),
    ),
  )
  for (const [index, { scenario, transport, broker }] of plan.entries()) {
    process.stderr.write(`[${index + 1}/${plan.length}] ${scenario.name} ${transport} ${broker.name}: `)
    const run = await measureOnce(scenario, transport, broker, options, program, core)
    if (isAbandoned) {
      process.exitCode = 130
      return
    }
    runs.push(run)
    process.stderr.write(`${progressLine(run)}\n`)
  }
  if (!runs.length) throw new Error('nothing to measure: no chosen broker speaks that transport')
  const { seconds, repeat, isQuick, isSpinning, mqtt } = options
  const outcome = {
    date: new Date().toISOString(),
    machine: machine(),
    brokers: brokers
      .filter(({ name }) => runs.some((run) => run.broker === name))
      .map(({ name, title, version }) => ({ name, title, version })),
    options: { seconds, repeat, isQuick, isSpinning, mqtt },
    runs,
  }
  process.stdout.write(report(outcome, true))
  process.stdout.write(`\nkept in ${keep(outcome, options).join(' and ')}\n`)
  if (runs.every(({ error }) => error)) process.exitCode = 1
}

// Without its broker the generator ends as well, and with it the run.
const abandon = () => {
  isAbandoned = true
  for (const broker of current) broker.stop()
}

const main = async () => {
  const options = readOptions(process.argv.slice(2))
  if (options.help) return void process.stdout.write(usage)
  if (options.list) {
    const lines = scenarios.map(
      ({ name, letter = ' ', title, transports }) =>
        `${letter} ${name.padEnd(18)} ${transports.join(',').padEnd(9)} ${title}`,
    )
    return void process.stdout.write(`${lines.join('\n')}\n`)
  }
  const program = compileGenerator()
  if (options.wantsCeiling) return measureCeiling(options, program)
  process.once('SIGINT', abandon)
  process.once('SIGTERM', abandon)
  if (options.alone === 'fleet') return measureFleet(options, keep, track)
  if (options.alone === 'busy') return measureBusy(options, program, keep, track, untrack)
  if (options.alone === 'neighbour') return measureNeighbours(options, program, keep, track, untrack)
  await compare(options, program)
}

main().catch((error) => {
  process.stderr.write(`bench: ${error.message}\n${error instanceof UsageError ? `\n${usage}` : ''}`)
  process.exitCode = error instanceof UsageError ? 2 : 1
})
