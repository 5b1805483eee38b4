// Rounds of the crash harness without processes: a simulated broker under the same load, ended many times in a second.
import { type Durability, type RoundReport, runRound } from '../crash/harness.ts'
import { SimulatedBroker, type SimulationOptions } from './simulated-broker.ts'
import { SimulatedTempo } from './simulated-tempo.ts'

export interface SimulatedRound extends SimulationOptions {
  seed: number
  durability: Exclude<Durability, 'memory'>
  /** Ends in this round. */
  count: number
}

export async function runSimulatedRound({ seed, durability, count, ...options }: SimulatedRound): Promise<RoundReport> {
  const tempo = new SimulatedTempo()
  try {
    return await runRound({
      seed,
      durability,
      kills: count,
      world: () => ({
        tempo,
        haste: 8,
        broker: (configuration, random, ledger) =>
          new SimulatedBroker(tempo, { ...configuration, durability }, random, ledger, options),
      }),
    })
  } finally {
    tempo.end()
  }
}
