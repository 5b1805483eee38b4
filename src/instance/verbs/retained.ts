// Verbs of retained messages.
import { setImmediate } from 'node:timers/promises'
import * as z from 'zod'
import { OperatorError } from '../../base/errors.ts'
import type { Broker } from '../../broker/broker.ts'
import { type ApplicationMessage, createMessage } from '../../codec/application-message.ts'
import { quote } from '../../config/quantities.ts'
import { stepsPerPause } from '../../routing/retained-store.ts'
import { controlVerb } from '../control-verb.ts'
import { count, filterShape, optionalCount, pageOf, pageParams, topicShape, wholeNumber } from './shapes.ts'

/** Of one message in a list, and of one alone. */
const listPayloadLimitBytes = 4096
const payloadLimitBytes = 1024 * 1024

const rowShape = z.strictObject({
  topic: z.string(),
  qos: count,
  payloadBytes: count,
  payload: z.string().meta({ description: 'In Base64; only the beginning when it is longer than asked for.' }),
  isTruncated: z.boolean(),
  expiresInSeconds: optionalCount,
})

const messageShape = rowShape.extend({
  contentType: z.string().nullable(),
  responseTopic: z.string().nullable(),
  correlationData: z.string().nullable().meta({ description: 'In Base64.' }),
  isText: z.boolean().meta({ description: 'Whether the publisher has said that the payload is UTF-8.' }),
  userProperties: z.array(z.tuple([z.string(), z.string()])),
})

export const retainedVerbs = [
  controlVerb({
    name: 'retained.list',
    summary: 'Lists retained messages.',
    isReading: true,
    params: z.strictObject({
      ...pageParams,
      filter: filterShape.default('#').meta({ description: 'As in a subscription: `#` does not match `$SYS/…`.' }),
      payloadLimitBytes: wholeNumber(0, listPayloadLimitBytes).default(0),
    }),
    result: pageOf(rowShape),
    run({ instance: { broker }, listings }, { limit, cursor, filter, payloadLimitBytes: limitBytes }) {
      broker.onLook?.(filter)
      return listings.page('retained.list', { limit, cursor }, () => walkMessages(broker, filter, limitBytes))
    },
  }),
  controlVerb({
    name: 'retained.get',
    summary: 'Shows the retained message of a topic.',
    isReading: true,
    params: z.strictObject({
      topic: topicShape,
      payloadLimitBytes: wholeNumber(0, payloadLimitBytes).default(payloadLimitBytes),
    }),
    result: messageShape,
    run({ instance: { broker } }, { topic, payloadLimitBytes: limitBytes }) {
      broker.onLook?.(topic)
      const message = broker.retained.get(topic)
      if (message === null || hasExpired(broker, message)) throw noSuchMessage(topic)
      return showMessage(broker, message, limitBytes)
    },
  }),
  controlVerb({
    name: 'retained.delete',
    summary: 'Deletes the retained message of a topic, or all that match a filter. Subscribers are not told.',
    isReading: false,
    params: z.strictObject({ topic: topicShape.optional(), filter: filterShape.optional() }),
    result: z.strictObject({ deleted: count }),
    async run({ instance: { broker } }, { topic, filter }) {
      if ((topic === undefined) === (filter === undefined)) {
        throw new OperatorError('bad-parameters', 'expected a topic, or else a filter', { place: { key: 'topic' } })
      }
      if (filter !== undefined) return { deleted: await deleteMatching(broker, filter) }
      if (broker.retained.get(topic!) === null) throw noSuchMessage(topic!)
      forget(broker, topic!)
      return { deleted: 1 }
    },
  }),
]

function* walkMessages(
  broker: Broker,
  filter: string,
  limitBytes: number,
): Generator<z.input<typeof rowShape> | null, void, void> {
  for (const message of broker.retained.matching(filter)) {
    // A pause of the store stands for as many entries that do not match.
    if (message === null) for (let step = 0; step < stepsPerPause; step++) yield null
    else yield hasExpired(broker, message) ? null : messageRow(broker, message, limitBytes)
  }
}

function messageRow(broker: Broker, message: ApplicationMessage, limitBytes: number): z.input<typeof rowShape> {
  const { topic, qos, payloadLength } = message
  return {
    topic,
    qos,
    payloadBytes: payloadLength,
    payload: message.payload.toString('base64', 0, Math.min(payloadLength, limitBytes)),
    isTruncated: payloadLength > limitBytes,
    expiresInSeconds: message.remainingExpirySeconds(broker.clock.monotonicMs()),
  }
}

function showMessage(broker: Broker, message: ApplicationMessage, limitBytes: number): z.input<typeof messageShape> {
  const { contentType, responseTopic, correlationData, payloadFormatIndicator, userProperties } = message.properties
  return {
    ...messageRow(broker, message, limitBytes),
    contentType: contentType ?? null,
    responseTopic: responseTopic ?? null,
    correlationData: correlationData?.toString('base64') ?? null,
    isText: payloadFormatIndicator === 1,
    userProperties: userProperties ?? [],
  }
}

function hasExpired(broker: Broker, message: ApplicationMessage): boolean {
  return message.hasExpired(broker.clock.monotonicMs())
}

/** Messages deleted, or pauses of the walk, before others get their turn. */
const deletionsPerTurn = 1000
const pausesPerTurn = 8

async function deleteMatching(broker: Broker, filter: string): Promise<number> {
  let deleted = 0
  let pauses = 0
  for (const message of broker.retained.matching(filter)) {
    if (message === null) {
      if (++pauses % pausesPerTurn === 0) await setImmediate()
      continue
    }
    forget(broker, message.topic)
    if (++deleted % deletionsPerTurn === 0) await setImmediate()
  }
  return deleted
}

/** As an empty retained PUBLISH does it, without a PUBLISH. */
function forget(broker: Broker, topic: string): void {
  const nowMs = broker.clock.monotonicMs()
  broker.retain(topic, createMessage(topic, Buffer.alloc(0), { retain: true, nowMs }))
}

function noSuchMessage(topic: string): OperatorError {
  return new OperatorError('no-such-message', `${quote(topic)} has no retained message`, { place: { key: 'topic' } })
}
