// Verbs of clients: who is or was connected, over whatever kind of socket, and parting with one.
import * as z from 'zod'
import { OperatorError } from '../../base/errors.ts'
import type { Connection } from '../../broker/connection.ts'
import { PacketWriter } from '../../broker/packet-writer.ts'
import type { ProtocolLevel } from '../../codec/packet-types.ts'
import { ReasonCode } from '../../codec/reason-codes.ts'
import { quote } from '../../config/quantities.ts'
import type { Session } from '../../session/session.ts'
import { controlVerb } from '../control-verb.ts'
import type { Instance } from '../instance.ts'
import { clientIdShape, count, optionalCount, pageOf, pageParams, prefixShape, usernameShape } from './shapes.ts'

const versionNames: Readonly<Record<ProtocolLevel, string>> = { 3: '3.1', 4: '3.1.1', 5: '5' }

const rowShape = z.strictObject({
  clientId: z.string(),
  username: z.string().nullable().meta({ description: 'null when nobody has vouched for it.' }),
  isConnected: z.boolean(),
  peer: z.string().meta({ description: 'As in the log: `127.0.0.1:50312`, `unix:/run/atoll/a.sock`.' }),
  listener: z.string().nullable().meta({ description: 'null for a client inside the process.' }),
  protocolVersion: z.string().nullable(),
  connectedSinceMs: optionalCount.meta({ description: 'Since 1970; null while it is not connected.' }),
  keepAliveSeconds: z.number().nullable(),
  subscriptions: count,
  inflight: count,
  queuedMessages: count,
  queuedBytes: count,
})

const clientShape = rowShape.extend({
  transport: z.string().nullable(),
  peerAddress: z.string().nullable(),
  peerPort: optionalCount.meta({ description: 'null for a UNIX socket.' }),
  peerPid: optionalCount,
  peerUid: optionalCount,
  peerGid: optionalCount,
  mountPoint: z.string(),
  sentBytes: optionalCount,
  outputBytes: optionalCount.meta({ description: 'Waiting for the client to read.' }),
})

export const clientVerbs = [
  controlVerb({
    name: 'clients.list',
    summary: 'Lists clients, connected or not.',
    isReading: true,
    params: z.strictObject({
      ...pageParams,
      listener: z.string('expected the name of a listener').max(64, 'expected the name of a listener').optional(),
      prefix: prefixShape.optional().meta({ description: 'How the client identifier begins.' }),
      username: usernameShape.optional(),
      connected: z.boolean('expected true or false').optional(),
    }),
    result: pageOf(rowShape),
    run: ({ instance, listings }, { limit, cursor, ...filter }) =>
      listings.page('clients.list', { limit, cursor }, () => walkClients(instance, filter)),
  }),
  controlVerb({
    name: 'clients.show',
    summary: 'Shows one client and its peer.',
    isReading: true,
    params: z.strictObject({ clientId: clientIdShape }),
    result: clientShape,
    run({ instance }, { clientId }) {
      const session = instance.broker.sessions.get(clientId)
      if (session === null) throw noSuchClient(clientId, 'there is no client')
      return showClient(instance, session)
    },
  }),
  controlVerb({
    name: 'clients.disconnect',
    summary:
      'Parts with a client; MQTT 5 clients are told 0x98, administrative action. Its session stays as it asked for.',
    isReading: false,
    params: z.strictObject({ clientId: clientIdShape }),
    result: z.strictObject({ clientId: z.string() }),
    run({ instance: { broker } }, { clientId }) {
      const outlet = broker.sessions.get(clientId)?.outlet ?? null
      if (outlet === null) throw noSuchClient(clientId, 'nobody is connected as')
      broker.loop.enter()
      outlet.disconnect(ReasonCode.administrativeAction, 'administrative action')
      broker.loop.leave()
      return { clientId }
    },
  }),
]

interface ClientFilter {
  listener?: string
  prefix?: string
  username?: string
  connected?: boolean
}

function* walkClients(
  instance: Instance,
  filter: ClientFilter,
): Generator<z.input<typeof rowShape> | null, void, void> {
  const { listener, prefix, username, connected } = filter
  for (const session of instance.broker.sessions.values()) {
    const { client } = session
    const isWanted =
      (connected === undefined || session.isAttached === connected) &&
      (prefix === undefined || session.clientId.startsWith(prefix)) &&
      (listener === undefined || client?.listener === listener) &&
      (username === undefined || client?.username === username)
    yield isWanted ? clientRow(instance, session) : null
  }
}

function clientRow(instance: Instance, session: Session): z.input<typeof rowShape> {
  const { client } = session
  const connection = connectionOf(session)
  const { clock } = instance.broker
  return {
    clientId: session.clientId,
    username: client?.username ?? null,
    isConnected: session.isAttached,
    peer: client?.peer.label ?? 'in-process',
    listener: client?.listener ?? null,
    protocolVersion: client === null ? null : versionNames[client.level],
    connectedSinceMs:
      connection === null ? null : Math.round(clock.wallMs() - clock.monotonicMs() + connection.connectedAtMs),
    keepAliveSeconds: connection === null ? null : connection.keepAliveMs / 1500,
    subscriptions: session.subscriptionCount,
    inflight: session.inflightCount,
    queuedMessages: session.queuedMessages,
    queuedBytes: session.queuedBytes,
  }
}

function showClient(instance: Instance, session: Session): z.input<typeof clientShape> {
  const peer = session.client?.peer ?? null
  const connection = connectionOf(session)
  return {
    ...clientRow(instance, session),
    transport: peer?.transport ?? null,
    peerAddress: peer?.address ?? null,
    peerPort: peer?.port ?? null,
    peerPid: peer?.pid ?? null,
    peerUid: peer?.uid ?? null,
    peerGid: peer?.gid ?? null,
    mountPoint: session.mountPoint,
    sentBytes: connection?.writer.output.writtenBytes ?? null,
    outputBytes: connection?.writer.output.queuedBytes ?? null,
  }
}

/** null for a client inside the process, too. */
function connectionOf({ outlet }: Session): Connection | null {
  return outlet instanceof PacketWriter ? outlet.connection : null
}

function noSuchClient(clientId: string, what: string): OperatorError {
  return new OperatorError('no-such-client', `${what} ${quote(clientId)}`, { place: { key: 'clientId' } })
}
