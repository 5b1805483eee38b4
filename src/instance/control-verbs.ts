// THE table of control verbs. A new verb is one row in the file of its resource; the admin API, its OpenAPI description and the
// reference page are made from here.
import type { ControlVerb } from './control-verb.ts'
import { clientVerbs } from './verbs/clients.ts'
import { instanceVerbs } from './verbs/instance.ts'
import { listenerVerbs } from './verbs/listeners.ts'
import { retainedVerbs } from './verbs/retained.ts'
import { sessionVerbs } from './verbs/sessions.ts'
import { storeVerbs } from './verbs/store.ts'
import { subscriptionVerbs } from './verbs/subscriptions.ts'

export const controlVerbs: readonly ControlVerb[] = [
  ...instanceVerbs,
  ...listenerVerbs,
  ...clientVerbs,
  ...sessionVerbs,
  ...subscriptionVerbs,
  ...retainedVerbs,
  ...storeVerbs,
]
