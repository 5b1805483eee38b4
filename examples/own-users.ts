// A program's own users and rights: who may connect, and to which topics. Every hook has a type.
import { type AuthorizationRequest, type BrokerHooks, createBroker } from 'atollmq'
import mqtt from 'mqtt'

/** Stands for a database. */
const tokens = new Map([
  ['alice', 'correct horse'],
  ['bob', 'battery staple'],
])
const readers = new Set(['bob'])

const hooks: BrokerHooks = {
  async authenticate({ username, password }) {
    const token = username === null ? undefined : tokens.get(username)
    return token !== undefined && password?.toString() === token
  },

  authorize({ client, action, topic }: AuthorizationRequest): boolean {
    const isOwn = topic === `users/${client.username}` || topic.startsWith(`users/${client.username}/`)
    if (isOwn) return true
    // Asked for every message on its way to a client; must answer at once.
    return action !== 'publish' && readers.has(client.username ?? '')
  },
}

const broker = createBroker({ listeners: { tcp: 'tcp://127.0.0.1:0' } }).use(hooks)
await broker.start()
const { port } = new URL(broker.listeners[0].address)
const connect = (username: string, password: string) =>
  mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, username, password, reconnectPeriod: 0 }, false)

await connect('alice', 'wrong').catch((error: Error) => console.log(`alice: ${error.message}`))
const alice = await connect('alice', 'correct horse')
const bob = await connect('bob', 'battery staple')

const heard: string[] = []
bob.on('message', (topic, payload) => heard.push(`${topic} ${payload}`))
await bob.subscribeAsync('users/#', { qos: 1 })

await alice.publishAsync('users/alice/status', 'here', { qos: 1 })
await alice.publishAsync('users/bob', 'not hers', { qos: 1 }).catch((error: Error) => console.log(error.message))
await bob.publishAsync('users/bob', 'mine', { qos: 1 })

// bob may no longer read: what was remembered of his rights has to be forgotten.
readers.delete('bob')
broker.rightsChanged()
await alice.publishAsync('users/alice/status', 'secret', { qos: 1 }).catch(() => {})
await bob.publishAsync('users/bob', 'still mine', { qos: 1 })

await Promise.all([alice.endAsync(), bob.endAsync()])
console.log(heard.join(', '))
await broker.stop()
