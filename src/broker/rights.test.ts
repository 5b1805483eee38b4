import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Peer } from '../base/peer.ts'
import { createSilentLog } from '../observe/log.ts'
import type { AuthenticationAnswer, Authorizer } from '../security/authority.ts'
import type { Session } from '../session/session.ts'
import { HookRegistry } from './hook-registry.ts'
import type { ClientInfo } from './hooks.ts'
import { Rights } from './rights.ts'

const peer = { transport: 'memory', label: 'test' } as Peer
const client: ClientInfo = { clientId: 'c', username: 'u', group: null, listener: 'l', level: 5, peer }
const credentialsOf = (username: string | null) => ({
  clientId: 'c',
  username,
  password: null,
  peer,
  listenerName: 'l',
})
const sessionOf = (of: ClientInfo | null) => ({ client: of, mountPoint: 'site/' }) as Session

function setUp() {
  const hooks = new HookRegistry(createSilentLog())
  let changes = 0
  const rights = new Rights(hooks, () => changes++)
  return { hooks, rights, changes: () => changes }
}

/** Rules that allow these topics. */
function rulesOf(...topics: string[]): Authorizer {
  const may = (_client: unknown, topic: string) => topics.includes(topic)
  return { generation: 0, mayPublish: may, mayReceive: may, maySubscribe: may }
}

test('who comes in follows from listener, password file and hooks', async () => {
  const { hooks, rights } = setUp()
  const isAllowed = async (username: string | null, anonymous: boolean | null) =>
    (await rights.authenticate(credentialsOf(username), anonymous)).allowed
  assert.deepEqual(rights.authenticate(credentialsOf('u'), null), { allowed: true, username: null })
  assert.equal(await isAllowed('u', false), false)
  const answers: AuthenticationAnswer[] = []
  rights.authenticator = { authenticate: async () => answers.shift()! }
  assert.equal(await isAllowed(null, null), false)
  assert.equal(await isAllowed(null, true), true)
  answers.push({ allowed: true }, { allowed: true, username: 'other' })
  assert.deepEqual(await rights.authenticate(credentialsOf('u'), null), { allowed: true, username: 'u' })
  assert.deepEqual(await rights.authenticate(credentialsOf('u'), null), { allowed: true, username: 'other' })
  hooks.add({ authenticate: () => false })
  assert.equal(await isAllowed('u', true), false)
})

test('rules know topics with the mount point, hooks without it, and both must allow', () => {
  const { hooks, rights, changes } = setUp()
  assert.equal(rights.hasRules, false)
  assert.equal(rights.authorize(client, 'site/', 'publish', 'a'), true)
  rights.authorizer = rulesOf('site/a', 'site/b')
  assert.equal(rights.hasRules, true)
  hooks.add({ authorize: ({ topic }) => topic === 'a' || topic === 'c' })
  rights.changed()
  assert.equal(changes(), 2)
  for (const [topic, expected] of [
    ['a', true],
    ['b', false],
    ['c', false],
  ] as const) {
    assert.equal(rights.authorize(client, 'site/', 'publish', topic), expected)
    assert.equal(rights.authorize(client, 'site/', 'subscribe', topic), expected)
    assert.equal(rights.mayReceive(sessionOf(client), `site/${topic}`), expected)
  }
  assert.equal(rights.mayReceive(sessionOf(null), 'site/b'), true)
  rights.authorizer = null
  assert.equal(rights.hasRules, true)
  assert.equal(rights.authorize(client, 'site/', 'publish', 'c'), true)
})
