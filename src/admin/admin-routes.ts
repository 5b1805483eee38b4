// THE table of the admin API: the operations on the fleet, and the control verbs of an instance. The router, the OpenAPI document,
// the page of the documentation and the command line's requests all come from it.
import type { ControlVerb } from '../instance/control-verb.ts'
import type { TaskState } from '../instance/long-task.ts'
import { type AdminRoute, route } from './admin-route.ts'
import { fleetRoutes } from './fleet-routes.ts'
import { listenerRoutes } from './listener-routes.ts'

/** What instances.show gives as well. */
const shownElsewhere = 'instance.show'

export function adminRoutes(verbs: readonly ControlVerb[], platform: NodeJS.Platform): readonly AdminRoute[] {
  const own = [...fleetRoutes, ...listenerRoutes(verbs, platform)]
  const ids = new Set([...own.map(({ id }) => id), shownElsewhere])
  return [...own, ...verbs.filter(({ name, isInternal }) => !isInternal && !ids.has(name)).map(routeOfVerb)]
}

function routeOfVerb(verb: ControlVerb): AdminRoute {
  return route(
    verb.name,
    verb.summary,
    verb.params,
    async ({ fleet }, instance, params, caller) => {
      const answer = await fleet.call(instance, verb.name, params)
      if (caller.aborted && isTaskOnItsWay(answer)) await fleet.call(instance, 'store.cancel', { task: answer.task })
      return answer
    },
    verb.result,
    verb.isFollowUp,
  )
}

/** Work for a caller: nobody else asks for it. */
function isTaskOnItsWay(answer: unknown): answer is TaskState {
  return typeof answer === 'object' && answer !== null && 'isDone' in answer && answer.isDone === false
}
