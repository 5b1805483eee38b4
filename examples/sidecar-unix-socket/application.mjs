// The application beside the broker: any MQTT client that takes the path of a socket will do; this is MQTT.js.
import mqtt from 'mqtt'

const client = await mqtt.connectAsync(`mqtt+unix://${process.argv[2]}`, { clientId: 'application' })
client.on('message', async (topic, payload) => {
  console.log(`${topic}: ${payload}`)
  await client.endAsync()
})
await client.subscribeAsync('jobs/#', { qos: 1 })
await client.publishAsync('jobs/1', 'done', { qos: 1 })
