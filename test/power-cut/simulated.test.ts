// Power cuts and kills of a simulated broker, seed by seed, and that they are told apart: no level of durability keeps less than
// it promises, and each loses what it does not promise. Many more: npm run crash -- --end simulated-power-cut.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RoundReport } from '../crash/harness.ts'
import { runSimulatedRound, type SimulatedRound } from './simulated-round.ts'

async function runSeeds(seeds: readonly number[], round: Omit<SimulatedRound, 'seed'>): Promise<RoundReport[]> {
  const reports: RoundReport[] = []
  for (const seed of seeds) reports.push(await runSimulatedRound({ seed, ...round }))
  return reports
}

function assertKept(reports: readonly RoundReport[]): void {
  for (const { seed, violations, acknowledged } of reports) {
    assert.ok(acknowledged > 0, 'a round in which nothing was acknowledged shows nothing')
    const told = violations.map(({ kind, text, story }) => `${kind}: ${text}\n    ${story.join('\n    ')}`)
    assert.deepEqual(told.slice(0, 3), [], `seed ${seed}`)
  }
}

const sum = (reports: readonly RoundReport[], of: (report: RoundReport) => number): number =>
  reports.reduce((total, report) => total + of(report), 0)

const seeds = [3, 5]

test('fsync: a power cut takes nothing that was acknowledged', async () => {
  assertKept(await runSeeds(seeds, { durability: 'fsync', ends: 'power-cut', count: 12 }))
})

test('os: a kill takes nothing that was acknowledged', async () => {
  assertKept(await runSeeds(seeds, { durability: 'os', ends: 'kill', count: 12 }))
})

test('os: a power cut takes the latest and nothing that was flushed before', async () => {
  const reports = await runSeeds(seeds, { durability: 'os', ends: 'power-cut', count: 12 })
  assertKept(reports)
  assert.ok(sum(reports, ({ allowedLosses }) => allowedLosses) > 100, 'it is told apart from fsync')
})

for (const [ends, durability] of [
  ['power-cut', 'fsync'],
  ['kill', 'os'],
] as const) {
  test(`answers that leave before their batch has arrived are found: ${ends}, ${durability}`, async () => {
    const reports = await runSeeds([1, 2, 3], { durability, ends, count: 12, isDiskLying: true })
    const kinds = new Set(reports.flatMap(({ violations }) => violations.map(({ kind }) => kind)))
    for (const kind of ['lost', 'retained', 'qos2-double', 'identifier-reused'] as const) {
      assert.ok(kinds.has(kind), `none is ${kind}`)
    }
  })
}

test('a round is the same each time', async () => {
  const run = async (): Promise<unknown> => {
    const { durationMs, ...report } = await runSimulatedRound({
      seed: 3,
      durability: 'os',
      ends: 'power-cut',
      count: 3,
    })
    return report
  }
  assert.deepEqual(await run(), await run())
})
