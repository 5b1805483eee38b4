// What a row of the API's table is, and what its handler is given. The rows are in fleet-routes.ts and, made from the control
// verbs, in instance-routes.ts.
import type * as z from 'zod'
import type { Clock } from '../base/clock.ts'
import type { FleetConfig, FleetMember } from '../config/fleet-config.ts'
import type { SavedChanges } from '../config/saved-changes.ts'
import type { Fleet, FleetChange } from '../fleet/fleet.ts'
import type { ControlVerb } from '../instance/control-verb.ts'
import type { Log } from '../observe/log.ts'
import type { LongWork } from './long-work.ts'

/** What the API needs of the daemon. */
export interface AdminContext {
  fleet: Fleet
  verbs: readonly ControlVerb[]
  changes: SavedChanges
  longWork: LongWork
  platform: NodeJS.Platform
  /** Of the daemon. */
  uid: number
  log: Log
  clock: Clock
  /** Where an instance logs to; null when that is the standard output of the daemon. */
  logFileOf(member: FleetMember): string | null
  /**
   * Reads the configuration again, with `changes` laid over it.
   * @param file null for the one that is in force
   * @throws ConfigError
   */
  readConfig(file: string | null): FleetConfig
  /**
   * Makes the fleet what its configuration says, and tells the log. Not within `changes.exclusively`.
   * @param file becomes the one in force, unless everything in it was rejected; null for that which is
   * @throws ConfigError when nothing was done
   */
  applyConfig(file: string | null): Promise<FleetChange[]>
  /** Begins the end of the daemon, and returns at once. */
  requestStop(reason: string): void
}

export interface AdminRoute {
  /** `clients.list`; method and path follow from it: see operation-address.ts. */
  readonly id: string
  /** One sentence, for people. */
  readonly summary: string
  /** An object of JSON values: the query of a GET, the body of a POST. */
  readonly params: z.ZodObject
  /** What it answers; null where that is described in words only. */
  readonly result: z.ZodType | null
  /** As of a control verb. */
  readonly isFollowUp: boolean
  /**
   * @param instance name of an instance that exists, or '' where the operation concerns none
   * @param caller aborted when the caller has gone before the answer
   */
  run(context: AdminContext, instance: string, params: never, caller: AbortSignal): unknown
}

/** Keeps the type of the parameters between the shape and the handler of one row. */
export function route<Params extends z.ZodObject>(
  id: string,
  summary: string,
  params: Params,
  run: (context: AdminContext, instance: string, params: z.output<Params>, caller: AbortSignal) => unknown,
  result: z.ZodType | null = null,
  isFollowUp = false,
): AdminRoute {
  return { id, summary, params, result, isFollowUp, run: run as AdminRoute['run'] }
}
