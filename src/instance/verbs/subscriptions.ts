// Verbs of subscriptions. Filters are shown as the broker knows them: with the mount point of the client's listener.
import * as z from 'zod'
import type { Router } from '../../routing/router.ts'
import type { Subscription } from '../../routing/subscription.ts'
import type { Session } from '../../session/session.ts'
import { parseSharedFilter } from '../../topic/topic-filter.ts'
import { controlVerb } from '../control-verb.ts'
import type { Instance } from '../instance.ts'
import { expectSession } from './sessions.ts'
import { clientIdShape, count, pageOf, pageParams, subscriptionFilterShape } from './shapes.ts'

const subscriptionShape = z.strictObject({
  clientId: z.string(),
  filter: z.string().meta({ description: 'With `$share/name/` where it is shared.' }),
  qos: count,
  noLocal: z.boolean(),
  retainAsPublished: z.boolean(),
  identifiers: z.array(count),
})

type SubscriptionWalk = Generator<z.input<typeof subscriptionShape> | null, void, void>

export const subscriptionVerbs = [
  controlVerb({
    name: 'subscriptions.list',
    summary: 'Lists subscriptions: all, those of a client, or those to a filter.',
    isReading: true,
    params: z.strictObject({
      ...pageParams,
      clientId: clientIdShape.optional(),
      filter: subscriptionFilterShape.optional().meta({
        description: 'Exactly this filter; without `$share/name/` shared subscriptions to it are listed as well.',
      }),
    }),
    result: pageOf(subscriptionShape),
    run: ({ instance, listings }, { limit, cursor, clientId, filter }) =>
      listings.page('subscriptions.list', { limit, cursor }, () => walk(instance, clientId, filter)),
  }),
]

/** @throws OperatorError */
function walk(instance: Instance, clientId: string | undefined, filter: string | undefined): SubscriptionWalk {
  const { router } = instance.broker
  const session = clientId === undefined ? null : expectSession(instance, clientId)
  if (filter === undefined) return session === null ? walkAll(instance) : walkSession(router, session)
  return walkFilter(router, filter, session)
}

function* walkAll({ broker: { sessions, router } }: Instance): SubscriptionWalk {
  for (const session of sessions.values()) {
    yield null
    yield* walkSession(router, session)
  }
}

function* walkSession(router: Router, session: Session): SubscriptionWalk {
  // The list of a Session cannot be gone on with from a Subscription that has left it.
  const all: Subscription[] = []
  for (let next = session.subscriptions; next !== null; next = next.nextOfSubscriber) all.push(next)
  for (const subscription of all) {
    const { filter, share } = subscription
    const isHeld = router.find(session, filter, share?.shareName ?? null) === subscription
    yield isHeld ? subscriptionRow(subscription) : null
  }
}

function* walkFilter(router: Router, text: string, session: Session | null): SubscriptionWalk {
  const shared = parseSharedFilter(text)
  for (const subscription of router.subscriptionsTo(shared?.filter ?? text)) {
    const isWanted =
      (session === null || subscription.subscriber === session) &&
      (shared === null || subscription.share?.shareName === shared.shareName)
    yield isWanted ? subscriptionRow(subscription) : null
  }
}

function subscriptionRow(subscription: Subscription): z.input<typeof subscriptionShape> {
  const { filter, share, qos, noLocal, retainAsPublished, identifiers } = subscription
  return {
    clientId: (subscription.subscriber as Session).clientId,
    filter: share === null ? filter : `$share/${share.shareName}/${filter}`,
    qos,
    noLocal,
    retainAsPublished,
    identifiers: [...(identifiers ?? [])],
  }
}
