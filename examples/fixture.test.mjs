// A broker for the tests of another program: no port, no file, and hours that pass at once. Run with: node --test
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { createBroker } from 'atollmq'
import { createMemoryPair, ManualClock } from 'atollmq/testing'
import { MqttClient } from 'mqtt'

let broker
let clock

beforeEach(async () => {
  clock = new ManualClock()
  broker = await createBroker({}, { clock }).start()
})
afterEach(() => broker.stop())

/** A client whose bytes go through memory. */
async function connect(clientId, options = {}) {
  const [ours, theirs] = createMemoryPair()
  broker.accept(ours)
  const settings = { protocolId: 'MQTT', protocolVersion: 5, clientId, clean: true, keepalive: 0, reconnectPeriod: 0 }
  const client = new MqttClient(() => theirs, { ...settings, ...options })
  await new Promise((resolve, reject) => client.once('connect', resolve).once('error', reject))
  return client
}

test('what one client publishes another one gets', async () => {
  const display = await connect('display')
  await display.subscribeAsync('sensors/#')
  const arrived = new Promise((resolve) => display.once('message', (topic, payload) => resolve(`${topic} ${payload}`)))
  const sensor = await connect('sensor')
  await sensor.publishAsync('sensors/1', '21.5', { qos: 1 })
  assert.equal(await arrived, 'sensors/1 21.5')
})

test('the will of a client that falls silent is published after its keep alive', async () => {
  const arrived = new Promise((resolve) => {
    broker.client('watcher').subscribe('status/gateway', ({ payload }) => resolve(String(payload)))
  })
  await connect('gateway', { keepalive: 60, will: { topic: 'status/gateway', payload: Buffer.from('lost') } })
  clock.advance(89_000)
  assert.equal(broker.connectedClients, 2)
  clock.advance(2000) // one and a half times the keep alive has passed
  assert.equal(await arrived, 'lost')
  assert.equal(broker.connectedClients, 1)
})
