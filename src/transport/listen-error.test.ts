import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Address, parseAddress } from './address.ts'
import { describeListenError } from './listen-error.ts'

const low = parseAddress('tcp://192.0.2.1:883', { platform: 'linux', role: 'listener' })

function described(code: string, address: Address) {
  return describeListenError(Object.assign(new Error(`listen ${code}`), { code }), address, 'listeners.a.address')
}

test('every error of the system has its code and fix', () => {
  const rows: [string, string, RegExp][] = [
    ['EADDRINUSE', 'port-in-use', /another port/],
    ['EACCES', 'port-not-permitted', /under 1024/],
    ['EADDRNOTAVAIL', 'address-not-available', /address of this machine/],
    ['EAFNOSUPPORT', 'address-not-available', /address of this machine/],
    ['ENOTFOUND', 'host-not-found', /IP address/],
    ['EAI_AGAIN', 'host-not-found', /name service/],
  ]
  for (const [code, ours, fix] of rows) {
    const error = described(code, low)
    assert.equal(error.code, ours)
    assert.match(error.fix ?? '', fix)
    assert.equal(error.place?.key, 'listeners.a.address')
  }
  assert.doesNotMatch(described('EACCES', { kind: 'tcp', host: '*', port: 1024 }).fix ?? '', /under 1024/)
  assert.equal(described('EINVAL', low).code, 'listen-failed')
  assert.match(described('EINVAL', { kind: 'fd', descriptor: 3 }).message, /inherited descriptor fd:3/)
  assert.equal(described('EADDRINUSE', { kind: 'abstract', name: 'a' }).code, 'socket-in-use')
})
