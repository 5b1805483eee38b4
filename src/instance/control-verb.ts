// Control: the serialisable verbs of one instance, the only thing that crosses a process boundary. Messages never do.
// The table of verbs is control-verbs.ts; the admin API, its OpenAPI description and the command line are made from it.
import type { z } from 'zod'
import type { Instance } from './instance.ts'

export interface ControlVerb<Params extends z.ZodType = z.ZodType, Result = unknown> {
  /** `clients.list`, `listeners.start`: resource and verb. */
  readonly name: string
  /** One sentence, for people. */
  readonly summary: string
  /** What the verb takes; plain JSON. */
  readonly params: Params
  /** Reading verbs change nothing and are served by GET. */
  readonly isReading: boolean
  run(instance: Instance, params: z.output<Params>): Result | Promise<Result>
}

/** A failure as it crosses a boundary: the parts of an OperatorError. */
export interface ControlFailure {
  code: string
  message: string
  key: string | null
  fix: string | null
}
