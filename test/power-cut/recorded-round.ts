// Rounds of the crash harness with the real broker and its real store, where each kill is a power cut.
import { type Durability, type RoundReport, runRound } from '../crash/harness.ts'
import { realTempo } from '../crash/tempo.ts'
import { RecordedBroker, type RecordedOptions } from './recorded-broker.ts'
import type { PowerCut } from './unflushed-writes.ts'

export interface RecordedRound extends RecordedOptions {
  seed: number
  durability: Exclude<Durability, 'memory'>
  count: number
  /** As of `RoundOptions`. */
  quietMs?: number
}

export async function runRecordedRound({
  seed,
  durability,
  count,
  quietMs,
  ...options
}: RecordedRound): Promise<RoundReport & { cuts: readonly PowerCut[] }> {
  let cuts: readonly PowerCut[] = []
  const report = await runRound({
    seed,
    durability,
    kills: count,
    quietMs,
    world: (folder) => ({
      tempo: realTempo,
      broker: (configuration, random, ledger) => {
        const broker = new RecordedBroker(folder, configuration, { tempo: realTempo, random, ledger }, options)
        cuts = broker.cuts
        return broker
      },
    }),
  })
  return { ...report, cuts }
}
