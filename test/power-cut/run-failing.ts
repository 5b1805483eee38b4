// Many rounds on a disk that fails, for the nightly run: what is wrong line by line, and the figures as one JSON object at the end.
// Exit code 1 when anything was. Linux with a C compiler.
//   node build/test/power-cut/run-failing.js --rounds 100 --seed 1
import { parseArgs } from 'node:util'
import { runFailingRound } from './failing-round.ts'
import { whyNotRecorded } from './recorded-broker.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '10' }, seed: { type: 'string', default: '1' } },
})
const obstacle = whyNotRecorded()
if (obstacle !== null) {
  process.stderr.write(`no disk that fails here: ${obstacle}\n`)
  process.exit(2)
}

const kinds = ['write', 'flush', 'through', 'flush through', 'write flush through']
const faults = kinds.flatMap((words) => [words, `${words} once`])
const figures = { rounds: 0, acknowledged: 0, refused: 0, crashes: 0, badSeeds: [] as number[] }
const firstSeed = Number(values.seed)
for (let seed = firstSeed; seed < firstSeed + Number(values.rounds); seed++) {
  const { acknowledged, refused, crashes, violations } = await runFailingRound({ seed, lives: 3, faults })
  figures.rounds++
  figures.acknowledged += acknowledged
  figures.refused += refused
  figures.crashes += crashes
  if (violations.length > 0) figures.badSeeds.push(seed)
  for (const text of violations) process.stdout.write(`seed ${seed} ${text}\n`)
}
process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`)
process.exitCode = figures.badSeeds.length > 0 ? 1 : 0
