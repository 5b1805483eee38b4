// A broker inside a program, and the program as a client of its own broker: no socket between the two.
import { createBroker } from 'atollmq'

const broker = createBroker({ listeners: { tcp: 'tcp://127.0.0.1:0' } }) // port 0: the system chooses
await broker.start()
console.log(`others connect to ${broker.listeners[0].address}`)

const app = broker.client('app')
const arrived = new Promise((resolve) => {
  app.subscribe('sensors/+/temp', (message) => {
    console.log(`${message.topic} is ${message.payload}`)
    resolve()
  })
})
await app.publish('sensors/1/temp', '21.5', { qos: 1, retain: true })
await arrived

await app.close()
await broker.stop()
console.log(`the broker is ${broker.phase}`)
