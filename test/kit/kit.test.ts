// The kit itself: that its decoder refuses what a server must not send, since every other test relies on that.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { decode, type Level, lengthPrefixed, P, packet, property, propertyList, WireError } from './wire.ts'

const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('decoder of the test kit', () => {
  const refused: [string, Level, Buffer][] = [
    ['flags on CONNACK', 5, bytes('21 03 00 00 00')],
    ['reserved acknowledge flags', 5, bytes('20 03 02 00 00')],
    ['Session Present in a refusal', 5, bytes('20 03 01 87 00')],
    ['CONNACK without properties', 5, bytes('20 02 00 00')],
    ['unlisted reason code', 5, bytes('20 03 00 8e 00')],
    ['return code 6 in 3.1.1', 4, bytes('20 02 00 06')],
    ['QoS 3', 4, packet({ type: 3, flags: 6, body: Buffer.concat([lengthPrefixed('t'), bytes('0001')]) })],
    ['DUP with QoS 0', 4, packet({ type: 3, flags: 8, body: lengthPrefixed('t') })],
    [
      'packet identifier 0',
      4,
      packet({ type: 3, flags: 2, body: Buffer.concat([lengthPrefixed('t'), bytes('0000')]) }),
    ],
    ['wildcard in a topic', 4, packet({ type: 3, body: lengthPrefixed('a/#') })],
    ['surrogate in a topic', 4, packet({ type: 3, body: lengthPrefixed(bytes('eda080')) })],
    ['U+0000 in a topic', 4, packet({ type: 3, body: lengthPrefixed('a\0b') })],
    ['empty topic without alias', 5, packet({ type: 3, body: Buffer.concat([lengthPrefixed(''), propertyList()]) })],
    ['property length past the end', 5, packet({ type: 3, body: Buffer.concat([lengthPrefixed('t'), bytes('05')]) })],
    ['PUBREL with flags 0', 5, bytes('60 02 00 01')],
    ['bytes left over', 4, bytes('d0 01 00')],
    ['remaining length not minimal', 4, bytes('d0 80 00')],
    ['DISCONNECT in 3.1.1', 4, bytes('e0 00')],
    ['SUBACK code 3', 5, bytes('90 04 00 01 00 03')],
    ['SUBSCRIBE from a server', 5, bytes('82 06 00 01 00 00 01 61')],
    ['will delay in CONNACK', 5, bytes('20 08 00 00 05 18 00 00 00 01')],
    ['property twice', 5, bytes('20 09 00 00 06 21 00 0a 21 00 0a')],
    ['Receive Maximum 0', 5, bytes('20 06 00 00 03 21 00 00')],
    ['Session Expiry Interval in DISCONNECT', 5, bytes('e0 07 00 05 11 00 00 00 01')],
  ]
  for (const [name, level, packetBytes] of refused) {
    test(`refuses ${name}`, () => {
      assert.throws(() => decode(level, packetBytes), WireError)
    })
  }

  test('reads what is allowed', () => {
    const connack = decode(5, bytes('20 06 00 00 03 21 00 0a'))
    assert.equal(property(connack, P.receiveMaximum), 10)
    const message = decode(
      5,
      packet({ type: 3, flags: 0x0b, body: Buffer.concat([lengthPrefixed('é'), bytes('0102 00'), bytes('ff')]) }),
    )
    assert.ok(message.type === 'PUBLISH')
    assert.deepEqual(
      { topic: message.topic, id: message.packetId, dup: message.dup, retain: message.retain, qos: message.qos },
      { topic: 'é', id: 0x0102, dup: true, retain: true, qos: 1 },
    )
    assert.deepEqual(message.payload, bytes('ff'))
  })
})
