// A received message as one line of JSON: in a shape of our own, and in that of Mosquitto's client. The objects are written
// pair by pair, as names come from peers and may come twice.
import { isUtf8 } from 'node:buffer'
import { OperatorError } from '../base/errors.ts'
import type { PublishPacket } from '../codec/packets.ts'
import type { Properties } from '../codec/properties.ts'
import { formatOffset, formatTime } from './time-format.ts'

/** JSON leaves these as they are, but a terminal obeys some of them. */
const unsafe = /[\u007f-\u009f\u2028\u2029]/g

function escapeUnsafe(json: string): string {
  return json.replace(unsafe, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** JSON that is one line and that no terminal takes for commands. */
export function encodeSafeJson(
  value: unknown,
  replacer?: (this: unknown, key: string, value: unknown) => unknown,
): string {
  return escapeUnsafe(JSON.stringify(value, replacer))
}

/**
 * `{"time":…,"topic":…,"qos":0,"retain":false,"duplicate":false,"packetId":1,"payload":…,"encoding":"utf8","properties":{…}}`:
 * `encoding` says whether `payload` is text or base64, user properties are a list of pairs, correlation data is base64.
 */
export function messageAsJson(message: PublishPacket, at: Date): string {
  const { topic, qos, retain, duplicate, packetId, payload, properties } = message
  const isText = isUtf8(payload)
  return encodeSafeJson({
    time: at.toISOString(),
    topic,
    qos,
    retain,
    duplicate,
    packetId: qos === 0 ? undefined : packetId,
    payload: payload.toString(isText ? 'utf8' : 'base64'),
    encoding: isText ? 'utf8' : 'base64',
    properties:
      properties === undefined
        ? undefined
        : { ...properties, correlationData: properties.correlationData?.toString('base64') },
  })
}

/** @throws OperatorError when the payload has to be JSON and is not */
export function messageAsMosquittoJson(message: PublishPacket, at: Date, payloadForm: 'as-text' | 'as-json'): string {
  const { topic, qos, retain, packetId, payload, properties } = message
  const microseconds = `${String(at.getMilliseconds()).padStart(3, '0')}000`
  const pairs: [string, string][] = [
    ['tst', encodeSafeJson(`${formatTime('F', at)}T${formatTime('T', at)}.${microseconds}${formatOffset(at)}`)],
    ['topic', encodeSafeJson(topic)],
    ['qos', String(qos)],
    ['retain', retain ? '1' : '0'],
    ['payloadlen', String(payload.length)],
  ]
  if (qos > 0) pairs.push(['mid', String(packetId)])
  if (properties !== undefined && Object.keys(properties).length > 0) {
    pairs.push(['properties', writeObject(propertyPairs(properties))])
  }
  const text = payload.toString()
  pairs.push(['payload', payloadForm === 'as-text' ? encodeSafeJson(text) : checkedJson(text, topic)])
  return writeObject(pairs)
}

function propertyPairs(properties: Properties): [string, string][] {
  const pairs: [string, string][] = []
  const add = (name: string, value: unknown) => {
    if (value !== undefined) pairs.push([name, encodeSafeJson(value)])
  }
  const { userProperties } = properties
  if (userProperties !== undefined) {
    pairs.push(['user-properties', writeObject(userProperties.map(([name, value]) => [name, encodeSafeJson(value)]))])
  }
  add('content-type', properties.contentType)
  add('correlation-data', properties.correlationData?.toString())
  add('payload-format-indicator', properties.payloadFormatIndicator)
  add('response-topic', properties.responseTopic)
  add('message-expiry-interval', properties.messageExpiryInterval)
  add('topic-alias', properties.topicAlias)
  for (const identifier of properties.subscriptionIdentifiers ?? []) add('subscription-identifier', identifier)
  return pairs
}

function checkedJson(text: string, topic: string): string {
  try {
    JSON.parse(text)
  } catch {
    throw new OperatorError('payload-not-json', `the payload on the topic ${topic} is not valid JSON`)
  }
  // As it came, so that large numbers stay whole; line breaks stand between values only.
  return escapeUnsafe(text.trim().replace(/[\r\n]+/g, ' '))
}

function writeObject(pairs: readonly [name: string, json: string][]): string {
  return `{${pairs.map(([name, json]) => `${encodeSafeJson(name)}:${json}`).join(',')}}`
}
