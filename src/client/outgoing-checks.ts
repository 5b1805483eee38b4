// What a caller wants to send, checked before a byte of it is written: a server closes the connection on what the
// specification forbids, and that tells the caller nothing.
import { OperatorError } from '../base/errors.ts'
import { PacketType, type ProtocolLevel } from '../codec/packet-types.ts'
import type { PublishPacket, SubscriptionRequest, WillPacket } from '../codec/packets.ts'
import { type Properties, propertyRows, willPropertiesContext } from '../codec/properties.ts'
import { hasWildcard, isSharedFilter, isValidTopicFilter, parseSharedFilter } from '../topic/topic-filter.ts'
import { isValidTopicName } from '../topic/topic-name.ts'

const longestFieldBytes = 0xffff
const largestByType = new Map([
  ['boolean', 1],
  ['byte', 0xff],
  ['uint16', 0xffff],
  ['uint32', 0xffff_ffff],
  ['variable', 268_435_455],
])

function refused(what: string, problem: string, fix: string): OperatorError {
  return new OperatorError('cannot-send', `${what} ${problem}`, { fix })
}

/** @throws OperatorError */
export function checkText(what: string, text: string): void {
  if (!text.isWellFormed() || text.includes('\0')) throw refused(what, 'is not valid UTF-8 text', 'take out U+0000')
  checkBytes(what, Buffer.byteLength(text))
}

/** @throws OperatorError */
export function checkBytes(what: string, lengthBytes: number): void {
  if (lengthBytes > longestFieldBytes) {
    throw refused(what, `has ${lengthBytes} bytes, and ${longestFieldBytes} is the limit`, 'make it shorter')
  }
}

/** @throws OperatorError */
export function checkInteger(what: string, value: number, smallest: number, largest: number): void {
  if (Number.isInteger(value) && value >= smallest && value <= largest) return
  throw refused(what, `is ${value}`, `give a whole number from ${smallest} to ${largest}`)
}

/**
 * @param context a packet type, or `willPropertiesContext`
 * @throws OperatorError
 */
export function checkProperties(properties: Properties | undefined, context: number, level: ProtocolLevel): void {
  if (properties === undefined) return
  for (const { name, type, allowedIn, isNonZero } of propertyRows) {
    const value = properties[name]
    if (value === undefined) continue
    if (level !== 5) throw refused(`the property ${name}`, 'needs MQTT 5', 'connect with MQTT 5')
    if ((allowedIn & (1 << context)) === 0) throw refused(`the property ${name}`, 'is not allowed here', 'leave it out')
    if (type === 'pair') {
      for (const [key, text] of value as [string, string][]) {
        checkText('the name of a user property', key)
        checkText('the value of a user property', text)
      }
    } else if (type === 'string') checkText(name, value as string)
    else if (type === 'binary') checkBytes(name, (value as Buffer).length)
    else {
      for (const number of Array.isArray(value) ? value : [value]) {
        checkInteger(name, number as number, isNonZero ? 1 : 0, largestByType.get(type) ?? 0)
      }
    }
  }
}

/** @throws OperatorError */
export function checkWill(will: WillPacket, level: ProtocolLevel): void {
  checkTopicName('the will topic', will.topic)
  checkBytes('the will payload', will.payload.length)
  checkProperties(will.properties, willPropertiesContext, level)
}

/**
 * @param server properties of its CONNACK
 * @throws OperatorError
 */
export function checkPublish(packet: PublishPacket, level: ProtocolLevel, server: Properties): void {
  const alias = packet.properties?.topicAlias
  if (packet.topic !== '' || alias === undefined) checkTopicName('the topic', packet.topic)
  checkProperties(packet.properties, PacketType.publish, level)
  if (packet.properties?.subscriptionIdentifiers !== undefined) {
    throw refused('a Subscription Identifier', 'is for SUBSCRIBE only', 'leave it out') // [MQTT-3.3.4-6]
  }
  const responseTopic = packet.properties?.responseTopic
  if (responseTopic !== undefined) checkTopicName('the response topic', responseTopic) // [MQTT-3.3.2-14]
  if (alias !== undefined) checkInteger('topicAlias', alias, 1, server.topicAliasMaximum ?? 0) // [MQTT-3.3.2-9]
  if (packet.qos > (server.maximumQos ?? 2)) {
    throw refused(`QoS ${packet.qos}`, 'is not supported by this server', `use QoS ${server.maximumQos}`) // [MQTT-3.2.2-11]
  }
  if (packet.retain && server.retainAvailable === 0) {
    throw refused('a retained message', 'is not supported by this server', 'publish without RETAIN') // [MQTT-3.2.2-14]
  }
}

function checkTopicName(what: string, topic: string): void {
  if (isValidTopicName(topic)) return
  throw refused(`${what} ${JSON.stringify(topic.slice(0, 100))}`, 'cannot be published to', topicRule)
}

const topicRule = 'give a topic of 1 to 65535 bytes without +, # and U+0000'

/** @throws OperatorError */
export function checkFilters(filters: readonly string[]): void {
  if (filters.length === 0) throw refused('a request without a topic filter', 'says nothing', 'give a topic filter')
  for (const filter of filters) {
    if (isSharedFilter(filter) ? parseSharedFilter(filter) !== null : isValidTopicFilter(filter)) continue
    const shown = JSON.stringify(filter.slice(0, 100))
    throw refused(
      `the topic filter ${shown}`,
      'is not valid',
      'let + be a whole level, # the last one, and a share $share/name/filter',
    )
  }
}

/** @throws OperatorError */
export function checkSubscribe(
  requests: readonly SubscriptionRequest[],
  properties: Properties | undefined,
  level: ProtocolLevel,
  server: Properties,
): void {
  checkFilters(requests.map(({ filter }) => filter))
  checkProperties(properties, PacketType.subscribe, level)
  for (const { filter, noLocal, retainAsPublished, retainHandling } of requests) {
    if (level !== 5 && (noLocal || retainAsPublished || retainHandling !== 0)) {
      throw refused('a subscription option', 'needs MQTT 5', 'connect with MQTT 5')
    }
    if (isSharedFilter(filter)) {
      if (noLocal) throw refused('No Local', 'is not allowed for a Shared Subscription', 'leave it out') // [MQTT-3.8.3-4]
      if (server.sharedSubscriptionAvailable === 0) {
        throw refused('a Shared Subscription', 'is not supported by this server', 'subscribe without $share')
      }
    }
    if (hasWildcard(filter) && server.wildcardSubscriptionAvailable === 0) {
      throw refused('a wildcard', 'is not supported by this server', 'subscribe to whole topics')
    }
  }
  if (properties?.subscriptionIdentifiers !== undefined && server.subscriptionIdentifierAvailable === 0) {
    throw refused('a Subscription Identifier', 'is not supported by this server', 'leave it out')
  }
}
