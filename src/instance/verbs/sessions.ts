// Verbs of sessions: what outlives connections, and ending it.
import * as z from 'zod'
import { OperatorError } from '../../base/errors.ts'
import { ReasonCode } from '../../codec/reason-codes.ts'
import { quote } from '../../config/quantities.ts'
import { neverExpires, type Session } from '../../session/session.ts'
import { controlVerb } from '../control-verb.ts'
import type { Instance } from '../instance.ts'
import { clientIdShape, count, optionalCount, pageOf, pageParams, prefixShape } from './shapes.ts'

const sessionShape = z.strictObject({
  clientId: z.string(),
  username: z.string().nullable(),
  isConnected: z.boolean(),
  expirySeconds: optionalCount.meta({ description: 'Session Expiry Interval; null for a session that never ends.' }),
  endsInSeconds: optionalCount.meta({ description: 'null while it is connected, and when it never ends.' }),
  subscriptions: count,
  inflight: count,
  queuedMessages: count,
  queuedBytes: count,
  droppedMessages: count.meta({ description: 'Since the start of the instance, because the queue was full.' }),
  hasWill: z.boolean(),
  mountPoint: z.string(),
})

export const sessionVerbs = [
  controlVerb({
    name: 'sessions.list',
    summary: 'Lists sessions, connected or not.',
    isReading: true,
    params: z.strictObject({
      ...pageParams,
      prefix: prefixShape.optional().meta({ description: 'How the client identifier begins.' }),
      connected: z.boolean('expected true or false').optional(),
    }),
    result: pageOf(sessionShape),
    run: ({ instance, listings }, { limit, cursor, ...filter }) =>
      listings.page('sessions.list', { limit, cursor }, () => walkSessions(instance, filter)),
  }),
  controlVerb({
    name: 'sessions.show',
    summary: 'Shows one session.',
    isReading: true,
    params: z.strictObject({ clientId: clientIdShape }),
    result: sessionShape,
    run: ({ instance }, { clientId }) => sessionRow(instance, expectSession(instance, clientId)),
  }),
  controlVerb({
    name: 'sessions.delete',
    summary: 'Ends a session: its client is disconnected, its Will published, its subscriptions and messages are gone.',
    isReading: false,
    params: z.strictObject({ clientId: clientIdShape }),
    result: z.strictObject({ clientId: z.string(), wasConnected: z.boolean() }),
    run({ instance }, { clientId }) {
      const session = expectSession(instance, clientId)
      const { outlet } = session
      const { loop, sessions } = instance.broker
      loop.enter()
      outlet?.disconnect(ReasonCode.administrativeAction, 'administrative action')
      sessions.end(session)
      loop.leave()
      return { clientId, wasConnected: outlet !== null }
    },
  }),
]

/** @throws OperatorError */
export function expectSession(instance: Instance, clientId: string): Session {
  const session = instance.broker.sessions.get(clientId)
  if (session !== null) return session
  throw new OperatorError('no-such-session', `${quote(clientId)} has no session`, { place: { key: 'clientId' } })
}

function* walkSessions(
  instance: Instance,
  { prefix, connected }: { prefix?: string; connected?: boolean },
): Generator<z.input<typeof sessionShape> | null, void, void> {
  for (const session of instance.broker.sessions.values()) {
    const isWanted =
      (connected === undefined || session.isAttached === connected) &&
      (prefix === undefined || session.clientId.startsWith(prefix))
    yield isWanted ? sessionRow(instance, session) : null
  }
}

function sessionRow(instance: Instance, session: Session): z.input<typeof sessionShape> {
  const { expirySeconds, isAttached } = session
  const isEndless = expirySeconds === neverExpires
  const absentSeconds = Math.floor((instance.broker.clock.monotonicMs() - session.detachedAtMs) / 1000)
  return {
    clientId: session.clientId,
    username: session.client?.username ?? null,
    isConnected: isAttached,
    expirySeconds: isEndless ? null : expirySeconds,
    endsInSeconds: isAttached || isEndless ? null : Math.max(0, expirySeconds - absentSeconds),
    subscriptions: session.subscriptionCount,
    inflight: session.inflightCount,
    queuedMessages: session.queuedMessages,
    queuedBytes: session.queuedBytes,
    droppedMessages: session.droppedMessages,
    hasWill: session.will !== null,
    mountPoint: session.mountPoint,
  }
}
