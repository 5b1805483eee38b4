// Hooks that look at messages: one counts them by their first level, one drops or refuses what is not wanted, one
// leaves receivers out.
import { createBroker, ReasonCode } from 'atollmq'
import mqtt from 'mqtt'

const broker = createBroker({ listeners: { tcp: 'tcp://127.0.0.1:0' }, features: { sysInterval: 0 } })

// A Map: what clients send must never become the key of a plain object.
const counts = new Map()
broker.use({
  onPublish(_client, { topic }) {
    const first = topic.split('/', 1)[0]
    if (counts.has(first) || counts.size < 1000) counts.set(first, (counts.get(first) ?? 0) + 1)
  },
})

broker.use({
  onPublish(_client, { topic, payload }) {
    if (topic.startsWith('debug/')) return false // acknowledged, and gone
    if (topic.startsWith('readings/') && Number.isNaN(Number(payload))) return ReasonCode.payloadFormatInvalid
  },
  onDeliver: (client, { topic }) => !(client.clientId.startsWith('guest-') && topic.startsWith('readings/private/')),
})

await broker.start()
const { port } = new URL(broker.listeners[0].address)
const connect = (clientId) => mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5, clientId })

const guest = await connect('guest-1')
const heard = []
const ended = new Promise((resolve) => {
  guest.on('message', (topic, payload) => {
    heard.push(`${topic}=${payload}`)
    if (topic === 'end') resolve()
  })
})
await guest.subscribeAsync('#', { qos: 1 })

const sensor = await connect('sensor')
await sensor.publishAsync('readings/temp', '20', { qos: 1 })
await sensor.publishAsync('readings/temp', 'warm', { qos: 1 }).catch(({ message }) => console.log(message))
await sensor.publishAsync('readings/private/key', '42', { qos: 1 }).catch(() => {})
await sensor.publishAsync('debug/x', 'noise', { qos: 1 })
await sensor.publishAsync('end', '', { qos: 1 })
await ended

await Promise.all([guest.endAsync(), sensor.endAsync()])
console.log(`the guest heard ${heard.join(' ')}`)
console.log(`counted ${[...counts].map(([topic, count]) => `${topic} ${count}`).join(', ')}`)
console.log(`${broker.counters.droppedByHook} dropped by hooks`)
await broker.stop()
