import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Command } from 'commander'
import fc from 'fast-check'
import { OperatorError } from '../base/errors.ts'
import { addMqttOptions, type MqttFlags, readMqttFlags } from './mqtt-options.ts'
import { parsePropertyArguments } from './property-arguments.ts'
import { readWhole, splitLines } from './split-lines.ts'

function read(words: string[], environment: NodeJS.ProcessEnv = {}) {
  const command = addMqttOptions(new Command('pub'))
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
  command.parse(words, { from: 'user' })
  return readMqttFlags(command.opts<MqttFlags>(), environment, 'pub')
}

test('where to connect', () => {
  const rows: [words: string[], environment: NodeJS.ProcessEnv, address: object][] = [
    [[], {}, { kind: 'tcp', host: '127.0.0.1', port: 1883 }],
    [[], { ATOLL_ADDRESS: 'unix:///run/a.sock' }, { kind: 'unix', path: '/run/a.sock' }],
    [['-h', 'example.org'], { ATOLL_ADDRESS: 'unix:///run/a.sock' }, { kind: 'tcp', host: 'example.org', port: 1883 }],
    [['-p', '1884'], {}, { kind: 'tcp', host: '127.0.0.1', port: 1884 }],
    [['-h', '::1', '-p', '7'], {}, { kind: 'tcp', host: '::1', port: 7 }],
    [['--unix', '/run/b.sock'], {}, { kind: 'unix', path: '/run/b.sock' }],
    [['-A', 'tcp://h:9'], {}, { kind: 'tcp', host: 'h', port: 9 }],
    [['-A', 'mqtt://h'], {}, { kind: 'tcp', host: 'h', port: 1883 }],
  ]
  for (const [words, environment, address] of rows) assert.deepEqual(read(words, environment).client.address, address)
  assert.deepEqual(read(['--unix', 'x.sock']).client.address, { kind: 'unix', path: `${process.cwd()}/x.sock` })
  for (const words of [
    ['-A', 'x'],
    ['-A', 'tcp://a:0'],
    ['-h', 'a', '--unix', '/b'],
    ['-A', 'tcp://a', '-p', '1'],
  ]) {
    assert.throws(() => read(words), OperatorError, words.join(' '))
  }
  assert.throws(
    () => read([], { ATOLL_ADDRESS: 'nonsense' }),
    (error) => {
      assert.ok(error instanceof OperatorError)
      assert.equal(error.place?.key, 'ATOLL_ADDRESS')
      return true
    },
  )
})

test('versions, sessions and identifiers', () => {
  for (const text of ['3.1', '31', 'mqttv31']) assert.equal(read(['-V', text]).client.level, 3)
  for (const text of ['3.1.1', '311', 'mqttv311']) assert.equal(read(['-V', text]).client.level, 4)
  for (const text of ['5', '5.0', 'mqttv5', 'MQTTv5']) assert.equal(read(['-V', text]).client.level, 5)
  assert.match(read([]).client.clientId ?? '', /^atoll-pub-[0-9a-f]{8}$/)
  assert.equal(read(['-I', 'x-']).client.clientId, `x-${process.pid}`)
  const kept = read(['-c', '-i', 'me']).client
  assert.deepEqual(
    [kept.cleanStart, kept.clientId, kept.properties],
    [false, 'me', { sessionExpiryInterval: 0xffff_ffff }],
  )
  assert.deepEqual(read(['-c', '-i', 'me', '-x', '60']).client.properties, { sessionExpiryInterval: 60 })
  assert.deepEqual(read(['-x', '-1']).client.properties, { sessionExpiryInterval: 0xffff_ffff })
  assert.equal(read(['-c', '-i', 'me', '-V', '3.1.1']).client.properties, undefined)
  assert.throws(() => read(['-c']), /without -i/)
  assert.throws(() => read(['-V', '311', '-x', '1']), /need MQTT 5/)
  for (const words of [
    ['-V', '4'],
    ['-p', '0'],
    ['-p', 'x'],
    ['-k', '65536'],
    ['-k', '-1'],
    ['-x', '-2'],
    ['-i', 'a', '-I', 'b'],
  ]) {
    assert.throws(() => read(words), { name: 'CommanderError' }, words.join(' '))
  }
})

test('the Will Message', () => {
  const will = ['--will-topic', 'w', '--will-payload', 'gone', '--will-qos', '2', '--will-retain']
  assert.deepEqual(read([...will, '-D', 'will', 'will-delay-interval', '5']).client.will, {
    topic: 'w',
    payload: Buffer.from('gone'),
    qos: 2,
    retain: true,
    properties: { willDelayInterval: 5 },
  })
  assert.equal(read([]).client.will, null)
  assert.throws(() => read(['--will-payload', 'x']), /without a topic/)
})

test('properties as words', () => {
  const words = 'publish user-property a b CONNECT receive-maximum 10 publish user-property a c publish content-type t'
  assert.deepEqual(parsePropertyArguments(words.split(' ')), {
    publish: {
      userProperties: [
        ['a', 'b'],
        ['a', 'c'],
      ],
      contentType: 't',
    },
    connect: { receiveMaximum: 10 },
  })
  assert.deepEqual(
    parsePropertyArguments(['publish', 'correlation-data', 'x', 'subscribe', 'subscription-identifier', '7']),
    {
      publish: { correlationData: Buffer.from('x') },
      subscribe: { subscriptionIdentifiers: [7] },
    },
  )
  for (const bad of ['nothing', 'publish', 'publish color red', 'publish content-type', 'publish user-property a']) {
    assert.throws(() => parsePropertyArguments(bad.split(' ')), OperatorError, bad)
  }
  for (const bad of ['connect receive-maximum x', 'connect receive-maximum -1', 'publish __proto__ x']) {
    assert.throws(() => parsePropertyArguments(bad.split(' ')), OperatorError, bad)
  }
})

async function* chunksOf(chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks
}

test('lines, however the input is cut', async () => {
  const line = fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 10)))
  const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 })
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.boolean(), sizes, async (lines, isEnded, cuts) => {
      const whole = Buffer.concat(lines.flatMap((bytes) => [bytes, Buffer.from('\n')]))
      const input = isEnded || whole.length === 0 ? whole : whole.subarray(0, -1)
      const chunks: Buffer[] = []
      for (let at = 0, turn = 0; at < input.length; turn++) {
        chunks.push(input.subarray(at, at + cuts[turn % cuts.length]))
        at += cuts[turn % cuts.length]
      }
      const seen: string[] = []
      for await (const bytes of splitLines(chunksOf(chunks))) seen.push(bytes.toString('hex'))
      const expected = lines.map((bytes) => bytes.toString('hex'))
      // An empty last line without a line feed is nothing.
      if (!isEnded && expected.at(-1) === '') expected.pop()
      assert.deepEqual(seen, expected)
    }),
  )
})

test('a line that is too long is an error, not a full memory', async () => {
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) yield Buffer.alloc(10)
  }
  const lines = splitLines(endless(), 100)
  await assert.rejects(lines.next(), { code: 'message-too-large', message: /100 bytes is the limit/ })
  await assert.rejects(readWhole(endless(), 100), { code: 'message-too-large' })
  await assert.rejects(splitLines(chunksOf([Buffer.from('12345678901\n')]), 10).next(), { code: 'message-too-large' })
  const { value } = await splitLines(chunksOf([Buffer.from('1234567890\n')]), 10).next()
  assert.equal(String(value), '1234567890')
})
