import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProtocolError } from '../base/errors.ts'
import { decodePacket } from './decode.ts'
import type { ProtocolLevel } from './packet-types.ts'

/** The code that answers the packet: first byte and body in hex, blanks between what belongs together. */
function answerTo(firstByte: number, hex: string, level: ProtocolLevel): number | 'fine' {
  const body = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  try {
    decodePacket(firstByte, body, 0, body.length, level)
    return 'fine'
  } catch (error) {
    assert.ok(error instanceof ProtocolError, String(error))
    return error.reasonCode
  }
}

type Row = [what: string, firstByte: number, body: string, answers: { 3?: Answer; 4?: Answer; 5?: Answer }]
type Answer = number | 'fine'

const mqtt5 = '0004 4d515454 05'
const mqtt4 = '0004 4d515454 04'
const every = (answer: Answer) => ({ 3: answer, 4: answer, 5: answer })

/** CONNECT tells its own level: the same answer at each. */
const connectRows: [what: string, body: string, answer: Answer][] = [
  ['a good one, 5', `${mqtt5} 02 003c 00 0001 61`, 'fine'],
  ['a good one, 3.1.1', `${mqtt4} 02 003c 0001 61`, 'fine'],
  ['a good one, 3.1', '0006 4d5149736470 03 02 003c 0001 61', 'fine'],
  ['an unknown protocol name', '0004 4d515458 04 02 003c 0001 61', 0x84],
  ['an unknown protocol level', '0004 4d515454 06 02 003c 00 0001 61', 0x84],
  ['the name of 3.1 with the level of 3.1.1', '0006 4d5149736470 04 02 003c 0001 61', 0x84],
  ['the level of 3.1 with the name of 3.1.1', '0004 4d515454 03 02 003c 0001 61', 0x84],
  ['the bridge bit of Mosquitto', '0004 4d515454 84 02 003c 0001 61', 0x84],
  ['no body', '', 0x81],
  ['the reserved flag', `${mqtt5} 03 003c 00 0001 61`, 0x81],
  ['Will QoS 3', `${mqtt5} 1e 003c 00 0001 61 00 0001 74 0000`, 0x81],
  ['Will QoS without the Will Flag', `${mqtt5} 0a 003c 00 0001 61`, 0x81],
  ['Will Retain without the Will Flag', `${mqtt5} 22 003c 00 0001 61`, 0x81],
  ['a will that is missing', `${mqtt5} 06 003c 00 0001 61`, 0x81],
  ['a will payload that is missing', `${mqtt5} 06 003c 00 0001 61 00 0001 74`, 0x81],
  ['a user name that is missing', `${mqtt5} 82 003c 00 0001 61`, 0x81],
  ['a password that is missing', `${mqtt5} c2 003c 00 0001 61 0001 75`, 0x81],
  ['a password without a user name, 5', `${mqtt5} 42 003c 00 0001 61 0001 70`, 'fine'],
  ['a password without a user name, 3.1.1', `${mqtt4} 42 003c 0001 61 0001 70`, 0x81],
  ['an empty user name', `${mqtt5} 82 003c 00 0001 61 0000`, 'fine'],
  ['bytes left over', `${mqtt5} 02 003c 00 0001 61 00`, 0x81],
  ['no client identifier at all', `${mqtt4} 02 003c`, 0x81],
  ['a client identifier cut short', `${mqtt4} 02 003c 0005 61`, 0x81],
  ['a client identifier that is no UTF-8', `${mqtt4} 02 003c 0001 ff`, 0x81],
  ['a client identifier with U+0000', `${mqtt4} 02 003c 0001 00`, 0x81],
  ['a user name with a surrogate', `${mqtt4} 82 003c 0001 61 0003 eda080`, 0x81],
  ['a will topic that is no UTF-8', `${mqtt4} 06 003c 0001 61 0001 c0 0000`, 0x81],
  ['Session Expiry Interval', `${mqtt5} 02 003c 05 11 0000000a 0001 61`, 'fine'],
  ['Session Expiry Interval twice', `${mqtt5} 02 003c 0a 11 0000000a 11 0000000a 0001 61`, 0x82],
  ['Receive Maximum 0', `${mqtt5} 02 003c 03 21 0000 0001 61`, 0x82],
  ['Maximum Packet Size 0', `${mqtt5} 02 003c 05 27 00000000 0001 61`, 0x82],
  ['Topic Alias Maximum 0', `${mqtt5} 02 003c 03 22 0000 0001 61`, 'fine'],
  ['Request Problem Information 2', `${mqtt5} 02 003c 02 17 02 0001 61`, 0x82],
  ['Request Response Information 2', `${mqtt5} 02 003c 02 19 02 0001 61`, 0x82],
  ['a property of another packet', `${mqtt5} 02 003c 03 23 0001 0001 61`, 0x81],
  ['an unknown property', `${mqtt5} 02 003c 02 7f 00 0001 61`, 0x81],
  ['property 0', `${mqtt5} 02 003c 01 00 0001 61`, 0x81],
  ['a property length past the end', `${mqtt5} 02 003c 7f 11 0000000a 0001 61`, 0x81],
  ['a property that goes past its length', `${mqtt5} 02 003c 03 11 0000000a 0001 61`, 0x81],
  ['a property length not in its shortest form', `${mqtt5} 02 003c 8000 0001 61`, 0x81],
  ['a property length of five bytes', `${mqtt5} 02 003c 8080808001 0001 61`, 0x81],
  ['Authentication Data without a method', `${mqtt5} 02 003c 04 16 0001 78 0001 61`, 0x82],
  ['a user property twice', `${mqtt5} 02 003c 0e 26 0001 61 0001 62 26 0001 61 0001 62 0001 61`, 'fine'],
  ['a user property whose value is no UTF-8', `${mqtt5} 02 003c 07 26 0001 61 0001 80 0001 61`, 0x81],
  ['Will Delay Interval among its own', `${mqtt5} 02 003c 05 18 00000001 0001 61`, 0x81],
  ['Will Delay Interval twice', `${mqtt5} 06 003c 00 0001 61 0a 18 00000001 18 00000001 0001 74 0000`, 0x82],
]

test('malformed CONNECT', () => {
  for (const [what, body, answer] of connectRows) {
    for (const level of [3, 4, 5] as const) assert.equal(answerTo(0x10, body, level), answer, what)
  }
})

const rows: Row[] = [
  ['packet type 0', 0x00, '', every(0x81)],
  ['CONNECT with flags', 0x11, `${mqtt4} 02 003c 0001 61`, every(0x81)],

  ['PUBLISH of QoS 0', 0x30, '0001 74 00', every('fine')],
  ['PUBLISH without a topic', 0x30, '', every(0x81)],
  ['PUBLISH whose topic is cut short', 0x30, '0005 74', every(0x81)],
  ['PUBLISH of QoS 3', 0x36, '0001 74 0001 00', every(0x81)],
  ['PUBLISH of QoS 3 with DUP', 0x3e, '0001 74 0001 00', every(0x81)],
  ['PUBLISH of QoS 0 with DUP', 0x38, '0001 74 00', every(0x81)],
  ['PUBLISH with packet identifier 0', 0x32, '0001 74 0000 00', every(0x82)],
  ['PUBLISH without packet identifier', 0x34, '0001 74', every(0x81)],
  ['PUBLISH whose topic is no UTF-8', 0x30, '0002 c080 00', every(0x81)],
  ['PUBLISH whose topic has U+0000', 0x30, '0003 610062 00', every(0x81)],
  ['PUBLISH whose topic has a surrogate', 0x30, '0003 edbfbf 00', every(0x81)],
  ['PUBLISH without property length', 0x30, '0001 74', { 3: 'fine', 4: 'fine', 5: 0x81 }],
  ['PUBLISH, Topic Alias twice', 0x30, '0001 74 06 23 0001 23 0001', { 5: 0x82 }],
  ['PUBLISH, Payload Format Indicator 2', 0x30, '0001 74 02 01 02', { 5: 0x82 }],
  ['PUBLISH, Payload Format Indicator twice', 0x30, '0001 74 04 01 00 01 00', { 5: 0x82 }],
  ['PUBLISH, Message Expiry Interval twice', 0x30, '0001 74 0a 02 00000001 02 00000001', { 5: 0x82 }],
  ['PUBLISH, Content Type that is no UTF-8', 0x30, '0001 74 04 03 0001 ff', { 5: 0x81 }],
  ['PUBLISH, Response Topic with U+0000', 0x30, '0001 74 04 08 0001 00', { 5: 0x81 }],
  ['PUBLISH, Correlation Data cut short', 0x30, '0001 74 04 09 0005 61', { 5: 0x81 }],
  ['PUBLISH, Subscription Identifier 0', 0x30, '0001 74 02 0b 00', { 5: 0x82 }],
  ['PUBLISH, Subscription Identifier twice', 0x30, '0001 74 04 0b 01 0b 02', { 5: 'fine' }],
  ['PUBLISH, a property of CONNECT', 0x30, '0001 74 05 11 0000000a', { 5: 0x81 }],
  ['PUBLISH, Will Delay Interval', 0x30, '0001 74 05 18 0000000a', { 5: 0x81 }],
  ['PUBLISH, Reason String', 0x30, '0001 74 04 1f 0001 61', { 5: 0x81 }],
  ['PUBLISH, an unknown property of two bytes', 0x30, '0001 74 02 8101', { 5: 0x81 }],
  ['PUBLISH, a property not in its shortest form', 0x30, '0001 74 03 8100 01', { 5: 0x81 }],

  ['PUBACK', 0x40, '0001', every('fine')],
  ['PUBACK with flags', 0x42, '0001', every(0x81)],
  ['PUBACK with packet identifier 0', 0x40, '0000', every(0x82)],
  ['PUBACK cut short', 0x40, '00', every(0x81)],
  ['PUBACK with a reason', 0x40, '0001 87', { 3: 0x81, 4: 0x81, 5: 'fine' }],
  ['PUBACK with a reason of CONNACK', 0x40, '0001 86', { 5: 0x82 }],
  ['PUBACK, Reason String twice', 0x40, '0001 00 08 1f 0001 61 1f 0001 61', { 5: 0x82 }],
  ['PUBACK, bytes left over', 0x40, '0001 00 00 00', { 5: 0x81 }],
  ['PUBREC with flags', 0x52, '0001', every(0x81)],
  ['PUBREC with an unknown reason', 0x50, '0001 05', { 5: 0x82 }],
  ['PUBREL without its flags', 0x60, '0001', every(0x81)],
  ['PUBREL with all flags', 0x6f, '0001', every(0x81)],
  ['PUBREL', 0x62, '0001', every('fine')],
  ['PUBREL with DUP, as 3.1 sends it again', 0x6a, '0001', { 3: 'fine', 4: 0x81, 5: 0x81 }],
  ['PUBREL with a reason of PUBREC', 0x62, '0001 10', { 5: 0x82 }],
  ['PUBREL with packet identifier 0', 0x62, '0000', every(0x82)],
  ['PUBCOMP with flags', 0x72, '0001', every(0x81)],

  ['SUBSCRIBE, 3', 0x82, '0001 0001 61 01', { 3: 'fine', 4: 'fine' }],
  ['SUBSCRIBE, 5', 0x82, '0001 00 0001 61 01', { 5: 'fine' }],
  ['SUBSCRIBE with DUP, as 3.1 sends it again', 0x8a, '0001 0001 61 01', { 3: 'fine', 4: 0x81, 5: 0x81 }],
  ['SUBSCRIBE without its flags', 0x80, '0001 00 0001 61 01', every(0x81)],
  ['SUBSCRIBE with packet identifier 0', 0x82, '0000 00 0001 61 01', every(0x82)],
  ['SUBSCRIBE without a filter, 3', 0x82, '0001', { 3: 0x82, 4: 0x82 }],
  ['SUBSCRIBE without a filter, 5', 0x82, '0001 00', { 5: 0x82 }],
  ['SUBSCRIBE without options', 0x82, '0001 0001 61', { 3: 0x81, 4: 0x81 }],
  ['SUBSCRIBE of QoS 3, 3', 0x82, '0001 0001 61 03', { 3: 0x82, 4: 0x82 }],
  ['SUBSCRIBE of QoS 3, 5', 0x82, '0001 00 0001 61 03', { 5: 0x82 }],
  ['SUBSCRIBE with options of MQTT 5', 0x82, '0001 0001 61 04', { 3: 0x81, 4: 0x81 }],
  ['SUBSCRIBE, reserved option 0x40', 0x82, '0001 00 0001 61 40', { 5: 0x81 }],
  ['SUBSCRIBE, reserved option 0x80', 0x82, '0001 00 0001 61 80', { 5: 0x81 }],
  ['SUBSCRIBE, Retain Handling 3', 0x82, '0001 00 0001 61 30', { 5: 0x82 }],
  ['SUBSCRIBE, a filter that is no UTF-8', 0x82, '0001 00 0001 ff 00', { 5: 0x81 }],
  ['SUBSCRIBE, the second filter cut short', 0x82, '0001 00 0001 61 00 0005 61', { 5: 0x81 }],
  ['SUBSCRIBE, Subscription Identifier 0', 0x82, '0001 02 0b 00 0001 61 00', { 5: 0x82 }],
  ['SUBSCRIBE, Subscription Identifier twice', 0x82, '0001 04 0b 01 0b 02 0001 61 00', { 5: 0x82 }],
  ['UNSUBSCRIBE without its flags', 0xa0, '0001 00 0001 61', every(0x81)],
  ['UNSUBSCRIBE with DUP, as 3.1 sends it again', 0xaa, '0001 0001 61', { 3: 'fine', 4: 0x81, 5: 0x81 }],
  ['UNSUBSCRIBE without a filter, 3', 0xa2, '0001', { 3: 0x82, 4: 0x82 }],
  ['UNSUBSCRIBE without a filter, 5', 0xa2, '0001 00', { 5: 0x82 }],
  ['UNSUBSCRIBE, a filter with U+0000', 0xa2, '0001 00 0001 00', { 5: 0x81 }],
  ['UNSUBSCRIBE, Subscription Identifier', 0xa2, '0001 02 0b 01 0001 61', { 5: 0x81 }],

  ['PINGREQ', 0xc0, '', every('fine')],
  ['PINGREQ with flags', 0xc1, '', every(0x81)],
  ['PINGREQ with a body', 0xc0, '00', every(0x81)],
  ['PINGRESP with a body', 0xd0, '00', every(0x81)],
  ['DISCONNECT', 0xe0, '', every('fine')],
  ['DISCONNECT with flags', 0xe1, '', every(0x81)],
  ['DISCONNECT with a reason', 0xe0, '04', { 3: 0x81, 4: 0x81, 5: 'fine' }],
  ['DISCONNECT, Session Expiry Interval twice', 0xe0, '00 0a 11 00000001 11 00000001', { 5: 0x82 }],
  ['DISCONNECT, bytes left over', 0xe0, '00 00 00', { 5: 0x81 }],
  ['AUTH with flags', 0xf1, '00 00', every(0x81)],
  ['AUTH in MQTT 3', 0xf0, '00 00', { 3: 0x82, 4: 0x82, 5: 'fine' }],
  ['AUTH with an unknown reason', 0xf0, '01 00', { 5: 0x82 }],

  ['CONNACK', 0x20, '00 00', { 3: 'fine', 4: 'fine', 5: 0x81 }],
  ['CONNACK with reserved flags', 0x20, '02 00 00', every(0x81)],
  ['CONNACK, Maximum QoS 2', 0x20, '00 00 02 24 02', { 5: 0x82 }],
  ['CONNACK, Receive Maximum 0', 0x20, '00 00 03 21 0000', { 5: 0x82 }],
  ['SUBACK without codes', 0x90, '0001', every(0x81)],
  ['SUBACK without codes, 5', 0x90, '0001 00', { 5: 0x81 }],
  ['UNSUBACK without codes', 0xb0, '0001 00', { 3: 0x81, 4: 0x81, 5: 0x81 }],
  ['UNSUBACK', 0xb0, '0001', { 3: 'fine', 4: 'fine', 5: 0x81 }],
]

test('malformed packets', () => {
  for (const [what, firstByte, body, answers] of rows) {
    for (const level of [3, 4, 5] as const) {
      const expected = answers[level]
      if (expected !== undefined) assert.equal(answerTo(firstByte, body, level), expected, `${what}, level ${level}`)
    }
  }
})
