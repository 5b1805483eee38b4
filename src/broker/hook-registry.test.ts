import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Peer } from '../base/peer.ts'
import { createMessage } from '../codec/application-message.ts'
import { ReasonCode } from '../codec/reason-codes.ts'
import { createSilentLog } from '../observe/log.ts'
import { droppedByHook, HookRegistry } from './hook-registry.ts'
import type { BrokerHooks, ClientInfo } from './hooks.ts'

const peer = { transport: 'memory', label: 'test' } as Peer
const client: ClientInfo = { clientId: 'c', username: 'u', group: null, listener: 'l', level: 5, peer }
const credentials = { clientId: 'c', username: 'u', password: null, peer, listenerName: 'l' }
const message = () =>
  createMessage('site/a', Buffer.from('x'), { qos: 1, retain: false, properties: undefined, nowMs: 0 })

function registryOf(...hooks: BrokerHooks[]): HookRegistry {
  const registry = new HookRegistry(createSilentLog())
  for (const one of hooks) registry.add(one)
  return registry
}

test('hooks are asked in their order, whether they answer at once or later, until one decides', async () => {
  const asked: string[] = []
  const says = (name: string, answer: undefined | false | Promise<undefined>) => ({
    onPublish: () => {
      asked.push(name)
      return answer
    },
  })
  const registry = registryOf(
    says('first', undefined),
    says('late', Promise.resolve(undefined)),
    says('drops', false),
    says('never', undefined),
  )
  assert.equal(await registry.runPublish(client, message(), ''), droppedByHook)
  assert.deepEqual(asked, ['first', 'late', 'drops'])
})

test('a hook sees the topic without the mount point', () => {
  const topics: string[] = []
  const look = (_client: ClientInfo | null, { topic }: { topic: string }): undefined => {
    topics.push(topic)
  }
  const registry = registryOf({ onPublish: look, onDeliver: look })
  assert.equal(registry.runPublish(null, message(), 'site/'), 0)
  assert.equal(registry.mayDeliver(client, message(), 'site/'), true)
  assert.deepEqual(topics, ['a', 'a'])
})

test('a hook that throws refuses', () => {
  const fails = () => {
    throw new Error('no')
  }
  const registry = registryOf({
    authenticate: fails,
    authorize: fails,
    onConnect: fails,
    onSubscribe: fails,
    onPublish: fails,
    onDeliver: fails,
  })
  const answer = registry.askAuthenticate(credentials)
  assert.deepEqual(answer, {
    allowed: false,
    reasonCode: ReasonCode.serverUnavailable,
    reason: 'authentication is not possible now',
  })
  assert.equal(registry.askAuthorize(client, 'publish', 'a'), false)
  assert.equal(registry.mayReceive(client, 'a'), false)
  assert.equal(registry.runConnect(client), ReasonCode.serverUnavailable)
  assert.equal(registry.runSubscribe(client, 'a', 0), ReasonCode.implementationSpecificError)
  assert.equal(registry.runPublish(client, message(), ''), ReasonCode.implementationSpecificError)
  assert.equal(registry.mayDeliver(client, message(), ''), false)
})

test('a hook that throws when a later one is asked rejects, and one that only hears keeps nobody from hearing', async () => {
  const fails = () => {
    throw new Error('no')
  }
  let heard = 0
  const registry = registryOf(
    { authorize: async () => true, onDisconnect: fails, onUnsubscribe: fails },
    { authorize: fails, onDisconnect: () => heard++, onUnsubscribe: () => heard++ },
  )
  await assert.rejects(async () => registry.askAuthorize(client, 'subscribe', 'a'), /no/)
  registry.runDisconnect(client, 0)
  registry.runUnsubscribe(client, 'a')
  assert.equal(heard, 2)
})
