// Many rounds of the crash harness from the command line, for the nightly run: a line per round that has broken a promise, the
// story of each such message, and the figures as one JSON object at the end. Exit code 1 when a promise was broken.
//
//   npm run crash -- --rounds 300 --seed 1 --durability fsync        --seed S --rounds 1 repeats one round
//
//   --end kill          real processes, killed (the default)
//   --end power-cut     as kill, and what was not synced is lost: Linux with a C compiler
//   --end simulated-kill | simulated-power-cut      whole brokers in this process, many lives in a second
import { parseArgs } from 'node:util'
import { whyNotRecorded } from '../power-cut/recorded-broker.ts'
import { runRecordedRound } from '../power-cut/recorded-round.ts'
import { runSimulatedRound } from '../power-cut/simulated-round.ts'
import { type Durability, type RoundReport, runRound } from './harness.ts'
import { VIOLATION_KINDS } from './ledger.ts'

/** Stories printed per round: the first ones tell most. */
const STORY_LIMIT = 5

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    durability: { type: 'string', default: 'fsync' },
    kills: { type: 'string' },
    end: { type: 'string', default: 'kill' },
  },
})

const whole = (name: string, text: string): number => {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  process.stderr.write(`crash: --${name} wants a whole number, not ${JSON.stringify(text)}\n`)
  return process.exit(2)
}

const rounds = whole('rounds', values.rounds)
const firstSeed = whole('seed', values.seed)
const kills = values.kills === undefined ? undefined : whole('kills', values.kills)
const durability = values.durability as Durability
if (!['memory', 'os', 'fsync'].includes(durability)) {
  process.stderr.write(`crash: --durability is memory, os or fsync, not ${JSON.stringify(durability)}\n`)
  process.exit(2)
}

const ends = ['kill', 'power-cut', 'simulated-kill', 'simulated-power-cut']
if (!ends.includes(values.end) || (values.end !== 'kill' && durability === 'memory')) {
  process.stderr.write(`crash: --end is ${ends.join(', ')}, not ${JSON.stringify(values.end)}; memory is only killed\n`)
  process.exit(2)
}
const obstacle = values.end === 'power-cut' ? whyNotRecorded() : null
if (obstacle !== null) {
  process.stderr.write(`crash: no power cut of a real store here: ${obstacle}\n`)
  process.exit(2)
}

/** Where an end costs nothing there are many in a round. */
const simulatedEnds = 12
/** Syncs of a disk that is fast, usual, slow. */
const syncUs = [0, 1000, 10_000]

function run(seed: number): Promise<RoundReport> {
  if (durability === 'memory' || values.end === 'kill') return runRound({ seed, durability, kills })
  if (values.end === 'power-cut') {
    return runRecordedRound({ seed, durability, count: kills ?? 3, syncUs: syncUs[seed % syncUs.length] })
  }
  const how = values.end === 'simulated-kill' ? 'kill' : 'power-cut'
  return runSimulatedRound({ seed, durability, ends: how, count: kills ?? simulatedEnds })
}

function print(report: RoundReport): void {
  const { seed, violations } = report
  for (const { kind, text, story } of violations.slice(0, STORY_LIMIT)) {
    process.stdout.write(`seed ${seed} ${kind}: ${text} || ${story.join(' | ')}\n`)
  }
  if (violations.length > STORY_LIMIT) {
    process.stdout.write(`seed ${seed} … and ${violations.length - STORY_LIMIT} more\n`)
  }
}

function sumUp(reports: readonly RoundReport[]): object {
  const total = (of: (report: RoundReport) => number): number => reports.reduce((sum, one) => sum + of(one), 0)
  const recoveryMs = reports.flatMap((report) => report.recoveryMs).sort((a, b) => a - b)
  const recoveryAt = (part: number): number => Math.round(recoveryMs[Math.floor((recoveryMs.length - 1) * part)] ?? 0)
  const ofKind = (kind: string) => total(({ violations }) => violations.filter((one) => one.kind === kind).length)
  return {
    end: values.end,
    durability,
    firstSeed,
    rounds: reports.length,
    kills: total((one) => one.kills),
    stops: total((one) => one.stops),
    sent: total((one) => one.sent),
    acknowledged: total((one) => one.acknowledged),
    acknowledgements: total((one) => one.acknowledgements),
    deliveries: total((one) => one.deliveries),
    redeliveries: total((one) => one.redeliveries),
    redeliveriesWithoutDup: total((one) => one.redeliveriesWithoutDup),
    sessions: total((one) => one.sessions),
    subscriptions: total((one) => one.subscriptions),
    retainedChecks: total((one) => one.retainedChecks),
    allowedLosses: total((one) => one.allowedLosses),
    violations: Object.fromEntries(VIOLATION_KINDS.map((kind) => [kind, ofKind(kind)])),
    badSeeds: reports.filter(({ violations }) => violations.length > 0).map(({ seed }) => seed),
    recoveryMs: { median: recoveryAt(0.5), p99: recoveryAt(0.99), max: recoveryAt(1) },
    durationSeconds: Math.round(total((one) => one.durationMs) / 1000),
  }
}

const reports: RoundReport[] = []
for (let index = 0; index < rounds; index++) {
  const report = await run(firstSeed + index)
  reports.push(report)
  print(report)
  const { violations, acknowledged, durationMs } = report
  const isBad = violations.length > 0
  if (isBad || (index + 1) % 10 === 0 || rounds < 20) {
    const what = `${acknowledged} acknowledged, ${violations.length} violations, ${Math.round(durationMs)} ms`
    process.stderr.write(`round ${index + 1} of ${rounds}, seed ${report.seed}: ${what}\n`)
  }
}
process.stdout.write(`${JSON.stringify(sumUp(reports), null, 2)}\n`)
process.exitCode = reports.some(({ violations }) => violations.length > 0) ? 1 : 0
