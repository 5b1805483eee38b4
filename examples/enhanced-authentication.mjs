// Enhanced authentication of MQTT 5: the client proves that it knows a secret without sending it. The broker asks with a
// random challenge, the client answers with its HMAC.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { createBroker } from 'atollmq'
import mqtt from 'mqtt'

const method = 'EXAMPLE-HMAC-SHA256'
const secrets = new Map([['press-4', 'only the press and the broker know this']])
const proofOf = (secret, challenge) => createHmac('sha256', secret).update(challenge).digest()

const authenticator = {
  method,
  step({ clientId, data, state }) {
    // The first step comes with CONNECT, or when a connected client wants to authenticate again.
    if (state === null) {
      const challenge = randomBytes(32)
      return { status: 'continue', data: challenge, state: challenge }
    }
    // An unknown client goes the same way as one with the wrong secret.
    const expected = proofOf(secrets.get(clientId) ?? randomBytes(32), state)
    const isRight = data?.length === expected.length && timingSafeEqual(data, expected)
    return isRight ? { status: 'success', username: clientId } : { status: 'failure', reasonCode: 0x87 }
  },
}

const broker = createBroker({ listeners: { tcp: 'tcp://127.0.0.1:0' } })
broker.use({
  enhancedAuthenticators: [authenticator],
  authenticate: () => false, // nobody gets in without the exchange
})
broker.on('clientConnected', ({ clientId, username }) => console.log(`${clientId} is ${username}`))
await broker.start()

const { port } = new URL(broker.listeners[0].address)

function connect(clientId, secret, properties = { authenticationMethod: method }) {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 5,
    clientId,
    properties,
    reconnectPeriod: 0,
  })
  client.handleAuth = (packet, answer) => {
    const authenticationData = proofOf(secret, packet.properties.authenticationData)
    answer(undefined, {
      cmd: 'auth',
      reasonCode: 0x18,
      properties: { authenticationMethod: method, authenticationData },
    })
  }
  return new Promise((resolve, reject) => {
    client.once('connect', () => resolve(client))
    client.once('error', reject)
  })
}

const client = await connect('press-4', secrets.get('press-4'))
await connect('press-4', 'a guess').catch(({ message }) => console.log(message))
await connect('press-4', '', {}).catch(({ message }) => console.log(message))

await client.endAsync()
await broker.stop()
