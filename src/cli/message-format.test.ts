import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OperatorError } from '../base/errors.ts'
import type { PublishPacket } from '../codec/packets.ts'
import { parseMessageFormat } from './message-format.ts'
import { messageAsJson } from './message-json.ts'

const at = new Date(2026, 2, 4, 5, 6, 7, 89)
const message: PublishPacket = {
  type: 'publish',
  topic: 'a/b',
  payload: Buffer.from('{"x": 1}'),
  qos: 1,
  retain: true,
  duplicate: false,
  packetId: 7,
  properties: {
    contentType: 'text/x',
    responseTopic: 'r/s',
    correlationData: Buffer.from('abc'),
    messageExpiryInterval: 60,
    payloadFormatIndicator: 1,
    subscriptionIdentifiers: [3, 4],
    userProperties: [
      ['k', 'v'],
      ['__proto__', 'w'],
    ],
  },
}

function written(format: string, changes: Partial<PublishPacket> = {}): string {
  return parseMessageFormat(format)({ ...message, ...changes }, at).toString()
}

test('every letter', () => {
  assert.equal(written('%t|%p|%q|%r|%l|%m'), 'a/b|{"x": 1}|1|1|8|7')
  assert.equal(written('%x|%X'), '7b2278223a20317d|7B2278223A20317D')
  assert.equal(written('%C|%D|%E|%F|%P|%R|%S|%A'), 'text/x|abc|60|1|k:v __proto__:w|r/s|3 4|')
  assert.equal(written('%C%D%E%F%P%R%S%A', { properties: undefined }), '')
  assert.equal(written('%%|@@|\\\\|\\n\\t\\0\\e|plain ü'), '%|@|\\|\n\t\0\x1b|plain ü')
  assert.equal(written('@Y-@m-@d @H:@M:@S.@N @F @T @j @y'), '2026-03-04 05:06:07.089000000 2026-03-04 05:06:07 063 26')
  assert.match(written('%I'), /^2026-03-04T05:06:07[+-]\d{4}$/)
  assert.equal(written('%U|@s'), `${(at.getTime() / 1000).toFixed(9)}|${Math.floor(at.getTime() / 1000)}`)
})

test('widths', () => {
  assert.equal(written('[%6t][%-6t][%.2t][%4.1t][%2t]'), '[   a/b][a/b   ][a/][   a][a/b]')
  assert.equal(written('[%05l][%-05l][%5l][%06t]'), '[00008][8    ][    8][   a/b]')
  assert.equal(written('[%10p][%-10p]'), '[  {"x": 1}][{"x": 1}  ]')
})

test('JSON as Mosquitto has it', () => {
  const parsed = JSON.parse(written('%j'))
  assert.match(parsed.tst, /^2026-03-04T05:06:07\.089000[+-]\d{4}$/)
  assert.deepEqual(
    { ...parsed, tst: '', properties: null },
    {
      tst: '',
      topic: 'a/b',
      qos: 1,
      retain: 1,
      payloadlen: 8,
      mid: 7,
      properties: null,
      payload: '{"x": 1}',
    },
  )
  assert.match(written('%j'), /"user-properties":\{"k":"v","__proto__":"w"\},"content-type":"text\/x"/)
  assert.deepEqual(JSON.parse(written('%J')).payload, { x: 1 })
  assert.match(written('%J', { payload: Buffer.from('\n12345678901234567890\n') }), /"payload":12345678901234567890\}$/)
  assert.throws(() => written('%J', { payload: Buffer.from('{') }), /topic a\/b is not valid JSON/)
})

test('a payload that is no text goes through unchanged', () => {
  const payload = Buffer.from([0, 255, 10, 128])
  assert.deepEqual(parseMessageFormat('<%p>')({ ...message, payload }, at), Buffer.from([60, 0, 255, 10, 128, 62]))
})

test('what means nothing is an error when the format is read', () => {
  for (const bad of ['%', '%y', '%5', '@', '@Q', '\\', '\\x', '%.t%.3', '%-', '100%']) {
    assert.throws(() => parseMessageFormat(bad), OperatorError, bad)
  }
})

test('JSON of our own', () => {
  assert.deepEqual(JSON.parse(messageAsJson(message, at)), {
    time: at.toISOString(),
    topic: 'a/b',
    qos: 1,
    retain: true,
    duplicate: false,
    packetId: 7,
    payload: '{"x": 1}',
    encoding: 'utf8',
    properties: {
      ...message.properties,
      correlationData: 'YWJj',
    },
  })
  const binary = JSON.parse(
    messageAsJson({ ...message, qos: 0, payload: Buffer.from([0xff]), properties: undefined }, at),
  )
  assert.deepEqual(
    [binary.payload, binary.encoding, binary.packetId, binary.properties],
    ['/w==', 'base64', undefined, undefined],
  )
})

test('no control character of a peer reaches the terminal through JSON', () => {
  const payload = Buffer.from('\x1b[2J\u009b31m\x7f\u2028\n')
  for (const line of [messageAsJson({ ...message, payload }, at), written('%j', { payload })]) {
    assert.doesNotMatch(line, /[\u0000-\u001f\u007f-\u009f\u2028]/)
    assert.equal(JSON.parse(line).payload, payload.toString())
  }
})
