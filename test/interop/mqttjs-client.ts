// MQTT.js as its users have it, connected to the broker under test over TCP or a UNIX socket, with its messages in a list
// that can be waited for.
import assert from 'node:assert/strict'
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import type { BrokerUnderTest, TransportName } from '../kit/broker.ts'
import { DEADLINE_MS } from '../kit/raw-client.ts'

export interface MqttJsPlace {
  broker: BrokerUnderTest
  transport: TransportName
  level: 4 | 5
  /** What is to be done at the end of the test, whatever its outcome. */
  cleanups: (() => void)[]
}

export interface ReceivedMessage {
  topic: string
  payload: Buffer
  packet: IPublishPacket
}

export class MqttJsClient {
  readonly client: MqttClient
  readonly #messages: ReceivedMessage[] = []
  #wake: () => void = () => {}

  private constructor(client: MqttClient) {
    this.client = client
    client.on('message', (topic, payload, packet) => {
      this.#messages.push({ topic, payload, packet })
      this.#wake()
    })
  }

  static async connect(place: MqttJsPlace, options: IClientOptions = {}): Promise<MqttJsClient> {
    const address = place.broker.address(place.transport)
    const url = 'path' in address ? `mqtt+unix://${address.path}` : `mqtt://127.0.0.1:${address.port}`
    // The listener must stand before the first packet comes: a resumed session sends at once.
    const client = mqtt.connect(url, { protocolVersion: place.level, reconnectPeriod: 0, ...options })
    place.cleanups.push(() => client.end(true))
    const result = new MqttJsClient(client)
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve())
      client.once('error', reject)
      client.once('close', () => reject(new Error('the broker closed the connection')))
    })
    return result
  }

  async next(): Promise<ReceivedMessage> {
    const endAtMs = performance.now() + DEADLINE_MS
    for (;;) {
      const message = this.#messages.shift()
      if (message) return message
      const leftMs = endAtMs - performance.now()
      if (leftMs <= 0) assert.fail('MQTT.js got no message')
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  get unread(): number {
    return this.#messages.length
  }
}
