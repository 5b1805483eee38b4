// Random life of a whole broker against a model, seed by seed. A run that fails names its seed:
//   ATOLL_SEED=123 npm test -- simulation           that one, with what happened in it
//   ATOLL_SEEDS=5000 npm test -- simulation         as many, beginning at a random one
import { test } from 'node:test'
import { Simulation } from './simulation.ts'

const { ATOLL_SEED, ATOLL_SEEDS } = process.env
const steps = 120
const count = ATOLL_SEED === undefined ? Number(ATOLL_SEEDS ?? 200) : 1
const first = Number(ATOLL_SEED ?? (ATOLL_SEEDS === undefined ? 1 : Math.floor(Math.random() * 1e9)))

async function runSeed(seed: number): Promise<void> {
  const simulation = new Simulation(seed)
  try {
    await simulation.run(steps)
  } catch (error) {
    const journal = simulation.journal.slice(ATOLL_SEED === undefined ? -15 : 0).join('\n')
    const { message, stack } = error as Error
    const where = stack?.slice(stack.indexOf('\n    at '))
    throw new Error(`seed ${seed} fails (ATOLL_SEED=${seed} shows all of it):\n${journal}\n${message}${where}`)
  }
}

test(`${count} random lives of a broker, from seed ${first}`, async () => {
  for (let seed = first; seed < first + count; seed++) await runSeed(seed)
})
