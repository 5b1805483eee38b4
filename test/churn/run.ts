// A longer month from the command line: figures as one JSON object. Exit code 1 when the file has grown on from the middle.
//
//   node build/test/churn/run.js --steps 20000 --seed 1
import { parseArgs } from 'node:util'
import { runChurn } from './churn.ts'

const { values } = parseArgs({
  options: { steps: { type: 'string', default: '5000' }, seed: { type: 'string', default: '1' } },
})
const report = await runChurn({ seed: Number(values.seed), steps: Number(values.steps), measuredAt: [0.1, 0.5, 1] })
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
const [, middle, late] = report.fileBytes
process.exitCode = late <= middle * 1.5 ? 0 : 1
