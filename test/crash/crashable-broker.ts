// What a round wants of a broker: that it can be started, ended at any moment, and started again on what is left.
import type { RawClient } from '../kit/raw-client.ts'
import type { Level } from '../kit/wire.ts'
import type { Gate } from './gate.ts'

export type Transport = 'tcp' | 'unix'

export interface CrashableBroker {
  /** Number of the running one, from 1. */
  readonly life: number
  /** Clients may come. */
  readonly open: Gate
  /** Those that became ready, and how long that took. */
  readonly starts: readonly { life: number; readyAfterMs: number }[]
  /** The last start has found its store damaged. */
  readonly wasDamaged: boolean
  /** What the one that runs, or ran last, has written. */
  readonly output: string
  /** It was not told to end. */
  readonly isUp: boolean
  /** @returns whether it became ready: false when it was killed before. `open` stays closed. */
  start(): Promise<boolean>
  connect(transport: Transport, level: Level): Promise<RawClient>
  /** An end without warning, or a stop as a service manager asks for it. */
  end(signal: 'SIGKILL' | 'SIGTERM'): void
  ended(): Promise<void>
}
