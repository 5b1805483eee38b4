// The real broker on its real store, in a process whose writes are recorded: when it is killed the power goes as well, and the
// store loses what was not synced. Linux with a C compiler only.
import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { CrashingBroker } from '../crash/crashing-broker.ts'
import type { Ledger } from '../crash/ledger.ts'
import type { Tempo } from '../crash/tempo.ts'
import type { Configuration } from '../process/daemon.ts'
import { projectFolder } from '../process/run-program.ts'
import type { Random } from '../simulation/random.ts'
import { cutPower, type PowerCut } from './unflushed-writes.ts'
import { loseEntries } from './unsynced-entries.ts'

/** Longer than answers need that were on their way when the power went. */
const travelMs = 50

/** Why this machine cannot record writes; null when it can. */
export function whyNotRecorded(): string | null {
  if (process.platform !== 'linux') return 'writes are recorded on Linux only'
  return spawnSync('cc', ['--version']).error === undefined ? null : 'there is no C compiler (cc) to build the recorder'
}

/** @returns path of the library */
export function buildRecorder(folder: string): string {
  const library = join(folder, 'write-recorder.so')
  const source = join(projectFolder, 'test/power-cut/write-recorder.c')
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl', '-lpthread'], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`the write recorder cannot be built:\n${stderr}`)
  return library
}

export interface RecordedOptions {
  syncUs: number
  /** Syncs that say they are done and do nothing. */
  isDiskLying?: boolean
}

export class RecordedBroker extends CrashingBroker {
  readonly cuts: PowerCut[] = []
  /** Files and folders that were gone, or had their old name, after a cut. */
  lostEntries = 0
  /** While this file is there, the disk fails as it says: see write-recorder.c. */
  readonly faultFile: string
  readonly #record: string
  readonly #tempo: Tempo
  readonly #random: Random
  readonly #ledger: Ledger
  readonly #mayLose: boolean
  #cutLife = 0

  constructor(
    folder: string,
    configuration: Configuration,
    surroundings: { tempo: Tempo; random: Random; ledger: Ledger },
    { syncUs, isDiskLying = false }: RecordedOptions,
  ) {
    const record = join(folder, 'record')
    super(folder, configuration, {
      LD_PRELOAD: buildRecorder(folder),
      RECORDER_RECORD: record,
      RECORDER_FILES: '.mdb',
      RECORDER_SYNC_US: String(syncUs),
      RECORDER_FAULT: join(folder, 'fault'),
      RECORDER_FOLDER: join(folder, 'data'),
      RECORDER_ENTRIES: `${record}.entries`,
      ...(isDiskLying ? { RECORDER_LIES: '1' } : {}),
    })
    this.faultFile = join(folder, 'fault')
    this.#record = record
    this.#tempo = surroundings.tempo
    this.#random = surroundings.random
    this.#ledger = surroundings.ledger
    this.#mayLose = configuration.durability === 'os'
  }

  override async ended(): Promise<void> {
    await super.ended()
    if (this.isUp || this.#cutLife === this.life) return
    this.#cutLife = this.life
    if (this.#mayLose) {
      await this.#tempo.pause(travelMs)
      this.#ledger.mayHaveLost()
    }
    // Killed before it has written anything.
    if (!existsSync(this.#record)) return
    this.cuts.push(cutPower(this.dataFolder, this.#record, this.#random))
    this.lostEntries += loseEntries(`${this.#record}.entries`, this.#random)
    // What is left is on the disk.
    rmSync(this.#record)
    rmSync(`${this.#record}.entries`)
  }
}
