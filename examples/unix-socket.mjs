// A broker on a UNIX socket, and MQTT.js as its client. Who may connect is decided by the rights of the socket file.
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createBroker } from 'atollmq'
import mqtt from 'mqtt'

const folder = mkdtempSync(join(tmpdir(), 'atoll-example-'))
const path = join(folder, 'broker.sock')

const broker = createBroker({ listeners: { local: { address: `unix://${path}`, mode: '0600' } } })
await broker.start()
console.log(`mode ${(statSync(path).mode & 0o777).toString(8)}`)

broker.on('clientConnected', ({ clientId, peer }) => console.log(`${clientId} came over ${peer.transport}`))

const client = await mqtt.connectAsync(`mqtt+unix://${path}`, { protocolVersion: 5, clientId: 'gateway' })
const arrived = new Promise((resolve) => client.once('message', (topic, payload) => resolve(`${topic}: ${payload}`)))
await client.subscribeAsync('doors/#', { qos: 1 })
await client.publishAsync('doors/7', 'open', { qos: 1 })
console.log(await arrived)

await client.endAsync()
await broker.stop()
rmSync(folder, { recursive: true })
