// `-F FORMAT` of `atoll sub`, in the letters of Mosquitto's client: a format is read once, then applied to every message.
import { OperatorError } from '../base/errors.ts'
import type { PublishPacket } from '../codec/packets.ts'
import { messageAsMosquittoJson } from './message-json.ts'
import { formatOffset, formatTime } from './time-format.ts'

/** Gives the bytes of one message, without a line feed at the end. `at` is when it came. */
export type MessageFormat = (message: PublishPacket, at: Date) => Buffer

type Part = (message: PublishPacket, at: Date) => string | Buffer

interface Field {
  value: Part
  /** Whether `%05l` pads it with zeros. */
  isNumeric?: boolean
  /** Whether `%.5t` cuts it. */
  isCuttable?: boolean
}

const fields = new Map<string, Field>([
  ['A', { value: ({ properties }) => text(properties?.topicAlias), isNumeric: true }],
  ['C', { value: ({ properties }) => properties?.contentType ?? '', isCuttable: true }],
  ['D', { value: ({ properties }) => properties?.correlationData ?? '' }],
  ['E', { value: ({ properties }) => text(properties?.messageExpiryInterval), isNumeric: true }],
  ['F', { value: ({ properties }) => text(properties?.payloadFormatIndicator), isNumeric: true }],
  ['I', { value: (_, at) => `${formatTime('F', at)}T${formatTime('T', at)}${formatOffset(at)}`, isCuttable: true }],
  ['J', { value: (message, at) => messageAsMosquittoJson(message, at, 'as-json') }],
  ['j', { value: (message, at) => messageAsMosquittoJson(message, at, 'as-text') }],
  ['l', { value: ({ payload }) => text(payload.length), isNumeric: true }],
  ['m', { value: ({ packetId }) => text(packetId), isNumeric: true }],
  ['P', { value: ({ properties }) => (properties?.userProperties ?? []).map((pair) => pair.join(':')).join(' ') }],
  ['p', { value: ({ payload }) => payload }],
  ['q', { value: ({ qos }) => text(qos) }],
  ['R', { value: ({ properties }) => properties?.responseTopic ?? '', isCuttable: true }],
  ['r', { value: ({ retain }) => (retain ? '1' : '0') }],
  ['S', { value: ({ properties }) => (properties?.subscriptionIdentifiers ?? []).join(' '), isNumeric: true }],
  ['t', { value: ({ topic }) => topic, isCuttable: true }],
  ['U', { value: (_, at) => (at.getTime() / 1000).toFixed(9) }],
  ['x', { value: ({ payload }) => payload.toString('hex'), isNumeric: true }],
  ['X', { value: ({ payload }) => payload.toString('hex').toUpperCase(), isNumeric: true }],
])

const escapes = new Map([
  ['\\', '\\'],
  ['0', '\0'],
  ['a', '\x07'],
  ['e', '\x1b'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
])

const widestField = 10_000

/** @throws OperatorError for a letter that means nothing */
export function parseMessageFormat(format: string): MessageFormat {
  const parts: Part[] = []
  let at = 0
  while (at < format.length) {
    const next = format.slice(at).search(/[%@\\]/)
    if (next !== 0) {
      const literal = next === -1 ? format.slice(at) : format.slice(at, at + next)
      parts.push(() => literal)
      at += literal.length
      continue
    }
    const [part, length] = parseSequence(format, at)
    parts.push(part)
    at += length
  }
  return (message, time) =>
    Buffer.concat(
      parts.map((part) => {
        const value = part(message, time)
        return typeof value === 'string' ? Buffer.from(value) : value
      }),
    )
}

function parseSequence(format: string, at: number): [part: Part, length: number] {
  const [lead, letter] = [format[at], format[at + 1]]
  if (letter === undefined) throw unknown(lead, `write ${lead}${lead} for a literal ${lead}`)
  if (letter === lead && lead !== '\\') return [() => lead, 2]
  if (lead === '\\') {
    const character = escapes.get(letter)
    if (character === undefined) throw unknown(`\\${letter}`, `use \\ with one of ${[...escapes.keys()].join(' ')}`)
    return [() => character, 2]
  }
  if (lead === '@') {
    if (formatTime(letter, new Date(0)) === null)
      throw unknown(`@${letter}`, 'use @ with one of @ d F H j M m N S s T Y y z')
    return [(_, time) => formatTime(letter, time) ?? '', 2]
  }
  const match = /^%([0-]*)(\d{0,5})(?:\.(\d{1,5}))?(.)/su.exec(format.slice(at))
  const field = match === null ? undefined : fields.get(match[4])
  if (match === null || field === undefined) {
    throw unknown(match?.[0] ?? '%', `use % with one of % ${[...fields.keys()].join(' ')}`)
  }
  const width = Math.min(Number(match[2]), widestField)
  const longest = match[3] !== undefined && field.isCuttable ? Number(match[3]) : Number.POSITIVE_INFINITY
  if (width === 0 && longest === Number.POSITIVE_INFINITY) return [field.value, match[0].length]
  const isLeft = match[1].includes('-')
  const fill = !isLeft && match[1].includes('0') && field.isNumeric ? '0' : ' '
  const part: Part = (message, time) => {
    const value = field.value(message, time)
    if (typeof value !== 'string') {
      const padding = Buffer.alloc(Math.max(0, width - value.length), fill)
      return Buffer.concat(isLeft ? [value, padding] : [padding, value])
    }
    const cut = value.length > longest ? value.slice(0, longest) : value
    return isLeft ? cut.padEnd(width, fill) : cut.padStart(width, fill)
  }
  return [part, match[0].length]
}

function text(value: number | undefined): string {
  return value === undefined ? '' : String(value)
}

function unknown(sequence: string, fix: string): OperatorError {
  const message = `the format has ${JSON.stringify(sequence)}, which means nothing`
  return new OperatorError('format-invalid', message, { place: { key: '-F' }, fix })
}
