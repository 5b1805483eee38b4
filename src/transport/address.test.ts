import assert from 'node:assert/strict'
import { isIPv6 } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { OperatorError } from '../base/errors.ts'
import { type Address, type AddressOptions, formatAddress, isLoopback, parseAddress } from './address.ts'

const listener: AddressOptions = { platform: 'linux', role: 'listener' }
const client: AddressOptions = { platform: 'linux', role: 'client' }

function refusal(text: string, options = listener): OperatorError {
  try {
    parseAddress(text, options)
  } catch (error) {
    assert.ok(error instanceof OperatorError, String(error))
    assert.ok(error.fix, 'an error without a fix')
    return error
  }
  return assert.fail(`${text} was accepted`)
}

test('every spelling of an address', () => {
  const rows: [string, Address][] = [
    ['tcp://127.0.0.1:1883', { kind: 'tcp', host: '127.0.0.1', port: 1883 }],
    ['tcp://127.0.0.1', { kind: 'tcp', host: '127.0.0.1', port: 1883 }],
    ['TCP://Broker.Example:0', { kind: 'tcp', host: 'broker.example', port: 0 }],
    ['tcp://*:1883', { kind: 'tcp', host: '*', port: 1883 }],
    ['tcp://0.0.0.0:65535', { kind: 'tcp', host: '0.0.0.0', port: 65535 }],
    ['tcp://[::1]:1884', { kind: 'tcp', host: '::1', port: 1884 }],
    ['tcp://[fe80::1%eth0]:1884', { kind: 'tcp', host: 'fe80::1%eth0', port: 1884 }],
    ['unix:///run/a.sock', { kind: 'unix', path: '/run/a.sock' }],
    ['unix:/run/a.sock', { kind: 'unix', path: '/run/a.sock' }],
    ['unix:////run//./a.sock', { kind: 'unix', path: '/run/a.sock' }],
    ['unix:///run/ein name%20ü.sock', { kind: 'unix', path: '/run/ein name%20ü.sock' }],
    ['local:/tmp/x.sock', { kind: 'unix', path: '/tmp/x.sock' }],
    ['unix:@atoll', { kind: 'abstract', name: 'atoll' }],
    ['fd:3', { kind: 'fd', descriptor: 3 }],
    ['fd:mqtt', { kind: 'fd', descriptor: 'mqtt' }],
  ]
  for (const [text, address] of rows) assert.deepEqual(parseAddress(text, listener), address, text)
  assert.deepEqual(parseAddress('mqtt://localhost:1883/', client), { kind: 'tcp', host: 'localhost', port: 1883 })
})

test('a port given apart from the address', () => {
  const unix = { kind: 'unix', path: '/tmp/x.sock' }
  assert.deepEqual(parseAddress('local:/tmp/x.sock', { ...listener, port: '0' }), unix)
  assert.deepEqual(parseAddress('local:/tmp/x.sock', { ...listener, port: 0 }), unix)
  assert.deepEqual(parseAddress('0.0.0.0', { ...listener, port: '1883' }), { kind: 'tcp', host: '0.0.0.0', port: 1883 })
  assert.deepEqual(parseAddress('::1', { ...listener, port: 7 }), { kind: 'tcp', host: '::1', port: 7 })
  assert.deepEqual(parseAddress('tcp://a', { ...listener, port: 7 }), { kind: 'tcp', host: 'a', port: 7 })
  assert.deepEqual(parseAddress('tcp://a:7', { ...listener, port: 7 }), { kind: 'tcp', host: 'a', port: 7 })
  assert.match(refusal('tcp://a:7', { ...listener, port: 8 }).message, /port 7, but port 8/)
  assert.match(refusal('local:/tmp/x.sock', { ...listener, port: 1883 }).message, /takes no port/)
  assert.match(refusal('tcp://a', { ...listener, port: 'x' }).message, /the port "x"/)
})

test('schemes that this version cannot yet', () => {
  for (const text of ['tls://a:8883', 'wss://a:1/mqtt', 'ws://a:1', 'ws+unix:///run/a.sock', 'mqtts://a:8883']) {
    assert.equal(refusal(text).code, 'address-unsupported', text)
    assert.equal(refusal(text, client).code, 'address-unsupported', text)
  }
})

test('bad addresses', () => {
  const rows = [
    '',
    '1883',
    'localhost:1883',
    'http://a:1',
    'tcp:a:1',
    'tcp://',
    'tcp://:1883',
    'tcp://a:65536',
    'tcp://a:-1',
    'tcp://a:',
    'tcp://a:1/x',
    'tcp://::1:1883',
    'tcp://[::1',
    'tcp://[1.2.3.4]:1',
    'tcp://1.2.3:1',
    'tcp://300.1.1.1:1',
    'tcp://a b:1',
    'tcp://-a:1',
    'mqtt://a:1',
    'unix:run/a.sock',
    'unix://run/a.sock',
    'unix:',
    'unix:@',
    'unix:///',
    'unix:///run/',
    'unix:///run/../a.sock',
    'unix:///run/a\u0000.sock',
    'unix:@a\u0000b',
    'unix:///run/\ud800.sock',
    'fd:',
    'fd:2',
    'fd://3',
    'fd:a:b',
    'fd:99999999999',
  ]
  for (const text of rows) assert.equal(refusal(text).code, 'address-invalid', text)
  for (const text of ['fd:3', 'tcp://*:1', 'tcp://a:0']) assert.equal(refusal(text, client).code, 'address-invalid')
  assert.equal(refusal('/run/a.sock').fix, 'write unix:///run/a.sock')
})

test('an error shows where, and never a password', () => {
  const error = refusal('mqtt://me:secret@host:1', { ...client, place: { key: 'listeners.a.address' } })
  assert.equal(error.place?.key, 'listeners.a.address')
  assert.doesNotMatch(error.message + error.fix, /secret/)
})

test('the length of a path is counted in bytes, per platform', () => {
  const path = (bytes: number) => `/run/${'ü'.repeat(10)}${'a'.repeat(bytes - 25)}`
  assert.deepEqual(parseAddress(`unix://${path(107)}`, listener), { kind: 'unix', path: path(107) })
  const error = refusal(`unix://${path(108)}`)
  assert.equal(error.code, 'socket-path-too-long')
  assert.match(error.message, /108 bytes, and 107 is the limit/)
  assert.match(error.fix ?? '', /shorter directory/)
  const mac: AddressOptions = { ...listener, platform: 'darwin' }
  assert.deepEqual(parseAddress(`unix://${path(103)}`, mac), { kind: 'unix', path: path(103) })
  assert.match(refusal(`unix://${path(104)}`, mac).message, /104 bytes, and 103 is the limit/)
  assert.equal(refusal(`unix:@${'a'.repeat(107)}`).code, 'socket-path-too-long')
  assert.match(refusal('unix:@a', mac).message, /only Linux/)
})

test('loopback', () => {
  const yes = [
    'tcp://127.0.0.1:1',
    'tcp://127.9.9.9:1',
    'tcp://[::1]:1',
    'tcp://[0:0:0:0:0:0:0:1]:1',
    'tcp://localhost:1',
  ]
  yes.push('tcp://[::ffff:127.0.0.1]:1', 'unix:///a', 'unix:@a')
  for (const text of yes) assert.equal(isLoopback(parseAddress(text, listener)), true, text)
  const no = ['tcp://0.0.0.0:1', 'tcp://*:1', 'tcp://[::]:1', 'tcp://10.0.0.1:1', 'tcp://127.example:1', 'fd:3']
  no.push('tcp://[::ffff:10.0.0.1]:1', 'tcp://[fe80::1%lo]:1')
  for (const text of no) assert.equal(isLoopback(parseAddress(text, listener)), false, text)
})

test('format and parse are inverse', () => {
  const segment = fc
    .string({ unit: 'grapheme', minLength: 1, maxLength: 8 })
    .filter((s) => !/[/\p{Cc}]|^\.{1,2}$/u.test(s))
  const address = fc.oneof(
    fc.record({
      kind: fc.constant('tcp' as const),
      host: fc
        .oneof(fc.ipV4(), fc.ipV6().filter(isIPv6), fc.domain(), fc.constant('*'))
        .map((host) => host.toLowerCase()),
      port: fc.integer({ min: 0, max: 65535 }),
    }),
    fc
      .array(segment, { minLength: 1, maxLength: 4 })
      .map((segments) => ({ kind: 'unix' as const, path: `/${segments.join('/')}` }))
      .filter(({ path }) => Buffer.byteLength(path) <= 107),
    fc.record({ kind: fc.constant('abstract' as const), name: segment.filter((s) => Buffer.byteLength(s) <= 106) }),
    fc.record({ kind: fc.constant('fd' as const), descriptor: fc.integer({ min: 3, max: 65535 }) }),
  )
  fc.assert(
    fc.property(address, (value) => assert.deepEqual(parseAddress(formatAddress(value), listener), { ...value })),
  )
})

test('no input throws anything but an OperatorError', () => {
  const start = fc.constantFrom(
    '',
    'tcp://',
    'tcp:',
    'unix:',
    'unix://',
    'local:',
    'fd:',
    'mqtt://',
    'unix:@',
    'ws://',
    'x:',
  )
  const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.stringMatching(/^[\x5b\x5d:.@*/0-9a-f%]*$/))
  const port = fc.option(fc.oneof(fc.string(), fc.integer(), fc.double()), { nil: undefined })
  const platform = fc.constantFrom<NodeJS.Platform>('linux', 'darwin')
  const role = fc.constantFrom<'listener' | 'client'>('listener', 'client')
  fc.assert(
    fc.property(start, text, port, platform, role, (prefix, body, portApart, on, as) => {
      try {
        const address = parseAddress(prefix + body, { platform: on, role: as, port: portApart })
        isLoopback(address)
        assert.deepEqual(parseAddress(formatAddress(address), { platform: on, role: as }), address)
      } catch (error) {
        assert.ok(error instanceof OperatorError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})
