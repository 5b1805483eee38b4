// Several brokers in one process. They share nothing: each has its own listeners, clients, topics, limits and counters.
import { createBroker } from 'atollmq'

const brokers = new Map()
for (const name of ['plant-a', 'plant-b', 'plant-c']) {
  const broker = createBroker({ name, listeners: { tcp: 'tcp://127.0.0.1:0' }, features: { sysInterval: 0 } })
  brokers.set(name, await broker.start())
}

for (const [name, broker] of brokers) {
  // The same Client Identifier and the same topic in each, and they never meet.
  await broker.client('meter').publish('power', `of ${name}`, { retain: true })
}
for (const [name, broker] of brokers) {
  await new Promise((resolve) => {
    broker.client('display').subscribe('power', ({ payload }) => {
      console.log(`${name}: ${payload}`)
      resolve()
    })
  })
}

await brokers.get('plant-b').stop()
for (const [name, broker] of brokers) console.log(`${name} is ${broker.phase}, ${broker.connectedClients} clients`)
await Promise.all([...brokers.values()].map((broker) => broker.stop()))
