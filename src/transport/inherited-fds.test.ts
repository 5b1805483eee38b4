import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OperatorError } from '../base/errors.ts'
import { findInheritedFd, parseListenFds } from './inherited-fds.ts'

const key = 'listeners.local.address'

function refusal(environment: Record<string, string>, descriptor: number | string): string {
  try {
    findInheritedFd(parseListenFds(environment, 42), descriptor, key)
  } catch (error) {
    assert.ok(error instanceof OperatorError)
    assert.equal(error.code, 'descriptor-missing')
    assert.equal(error.place?.key, key)
    assert.ok(error.fix)
    return error.message
  }
  return assert.fail('accepted')
}

test('by number and by name', () => {
  const inherited = parseListenFds({ LISTEN_PID: '42', LISTEN_FDS: '3', LISTEN_FDNAMES: 'mqtt:admin' }, 42)
  assert.deepEqual(
    [...inherited.names],
    [
      [3, 'mqtt'],
      [4, 'admin'],
      [5, ''],
    ],
  )
  assert.equal(findInheritedFd(inherited, 3, key), 3)
  assert.equal(findInheritedFd(inherited, 'admin', key), 4)
  assert.equal(findInheritedFd(inherited, 5, key), 5)
})

test('what is missing is said', () => {
  assert.match(refusal({}, 3), /fd:3; no sockets were handed over: LISTEN_PID is not set and LISTEN_FDS is not set/)
  assert.match(refusal({ LISTEN_PID: '41', LISTEN_FDS: '1' }, 3), /LISTEN_PID is "41", but this process is 42/)
  assert.match(refusal({ LISTEN_PID: '42', LISTEN_FDS: '1', LISTEN_FDNAMES: 'mqtt' }, 4), /were fd:3 \("mqtt"\)/)
  assert.match(
    refusal({ LISTEN_PID: '42', LISTEN_FDS: '1' }, 'mqtt'),
    /no inherited socket fd:mqtt; handed over were fd:3/,
  )
  for (const count of ['0', '-1', '1e3', '99999', ' 1', '2000', '']) {
    assert.match(refusal({ LISTEN_PID: '42', LISTEN_FDS: count }, 3), /LISTEN_FDS is/, count)
  }
})

test('a name that several sockets share is refused', () => {
  const environment = { LISTEN_PID: '42', LISTEN_FDS: '2', LISTEN_FDNAMES: 'mqtt:mqtt' }
  assert.match(refusal(environment, 'mqtt'), /more than one/)
})
