// Calls the control verbs of one instance: by name, with plain JSON in and out, so that it makes no difference whether the
// caller is in the same process.
import type * as z from 'zod'
import { OperatorError } from '../base/errors.ts'
import { closestName } from '../config/closest-name.ts'
import { quote } from '../config/quantities.ts'
import { AsideLook } from './aside-look.ts'
import type { ControlVerb } from './control-verb.ts'
import { controlVerbs } from './control-verbs.ts'
import type { Instance } from './instance.ts'
import { Listings } from './listings.ts'
import { LongTask } from './long-task.ts'

export interface Control {
  /**
   * @param params plain JSON; undefined is taken for an empty object
   * @returns plain JSON
   * @throws OperatorError `unknown-verb`, `bad-parameters` with the parameter as `place.key`, and those of the verb
   */
  call(verb: string, params: unknown): Promise<unknown>
}

export function createControl(instance: Instance): Control {
  const context = {
    instance,
    listings: new Listings(instance.broker.wheel),
    tasks: new LongTask(),
    aside: new AsideLook(),
  }
  return {
    async call(name, params) {
      const verb = findVerb(name)
      return verb.run(context, readParams(verb, params))
    },
  }
}

function findVerb(name: string): ControlVerb {
  const verb = controlVerbs.find((one) => one.name === name)
  if (verb !== undefined) return verb
  const near = closestName(
    name,
    controlVerbs.map((one) => one.name),
  )
  throw new OperatorError('unknown-verb', `there is no verb ${quote(name)}`, {
    ...(near === null ? {} : { fix: `did you mean ${near}?` }),
  })
}

function readParams(verb: ControlVerb, params: unknown = {}): Record<string, unknown> {
  const parsed = verb.params.safeParse(params)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = issue.path.map(String).join('.')
  if (issue.code !== 'unrecognized_keys') throw badParameter(path, describeIssue(issue))
  const [unknown] = issue.keys
  const names = Object.keys(verb.params.shape)
  const near = closestName(unknown, names)
  const isTop = issue.path.length === 0
  throw badParameter(isTop ? unknown : `${path}.${unknown}`, `${verb.name} has no such parameter`, {
    fix: !isTop ? undefined : near === null ? `it takes ${names.join(', ') || 'none'}` : `did you mean ${near}?`,
  })
}

function describeIssue(issue: z.core.$ZodIssue): string {
  return issue.message.charAt(0).toLowerCase() + issue.message.slice(1)
}

/** @param key shortened: it may come from anywhere */
function badParameter(key: string, message: string, { fix }: { fix?: string } = {}): OperatorError {
  return new OperatorError('bad-parameters', message, { place: { key: key.slice(0, 200) }, fix })
}
