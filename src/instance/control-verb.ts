// Control: the serialisable verbs of one instance, the only thing that crosses a process boundary. Messages never do.
// The table of verbs is control-verbs.ts; the admin API, its OpenAPI description and the command line are made from it.
import type * as z from 'zod'
import type { AsideLook } from './aside-look.ts'
import type { Instance } from './instance.ts'
import type { Listings } from './listings.ts'
import type { LongTask } from './long-task.ts'

/** What a verb works on. */
export interface ControlContext {
  readonly instance: Instance
  /** Lists that are read page by page. */
  readonly listings: Listings
  readonly tasks: LongTask
  readonly aside: AsideLook
}

export interface ControlVerb<Params extends z.ZodObject = z.ZodObject, Result extends z.ZodType = z.ZodType> {
  /** `clients.list`, `listeners.start`: resource and verb. */
  readonly name: string
  /** One sentence, for people. */
  readonly summary: string
  /** What the verb takes: one object of plain JSON. */
  readonly params: Params
  /** What it answers: plain JSON. */
  readonly result: Result
  /** Reading verbs change nothing and are served by GET. */
  readonly isReading: boolean
  /** For the supervisor alone; the admin API does not offer it. */
  readonly isInternal: boolean
  /** Only goes on with what another verb has begun: no act of its own, of which the audit log tells. */
  readonly isFollowUp: boolean
  run(context: ControlContext, params: z.output<Params>): z.input<Result> | Promise<z.input<Result>>
}

/** One row of the table; keeps the types between the shapes and `run`. */
export function controlVerb<Params extends z.ZodObject, Result extends z.ZodType>(
  verb: Omit<ControlVerb<Params, Result>, 'isInternal' | 'isFollowUp'> &
    Partial<Pick<ControlVerb, 'isInternal' | 'isFollowUp'>>,
): ControlVerb {
  return { isInternal: false, isFollowUp: false, ...verb } as unknown as ControlVerb
}

/** A failure as it crosses a boundary: the parts of an OperatorError. */
export interface ControlFailure {
  code: string
  message: string
  key: string | null
  fix: string | null
}
