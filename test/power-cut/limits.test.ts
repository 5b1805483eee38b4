// Queues with a limit over power cuts: the newest messages are there, without a gap, as many as the limit allows and no more.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Ledger } from '../crash/ledger.ts'
import type { RawClient } from '../kit/raw-client.ts'
import { P, puback, publish } from '../kit/wire.ts'
import { Random } from '../simulation/random.ts'
import { SimulatedBroker } from './simulated-broker.ts'
import { SimulatedTempo } from './simulated-tempo.ts'

const queueMessages = 20
const burstLength = 60

async function connect(broker: SimulatedBroker, clientId: string): Promise<RawClient> {
  const client = await broker.connect('unix', 5)
  await client.handshake({ clientId, cleanStart: false, properties: [[P.sessionExpiryInterval, 1000]] })
  return client
}

/** Numbers of the messages that wait, all taken. */
async function takeAll(client: RawClient): Promise<number[]> {
  const numbers: number[] = []
  for (;;) {
    await client.fence()
    if (client.unread.length === 0) return numbers
    while (client.unread.length > 0) {
      const packet = await client.expect('PUBLISH')
      numbers.push(Number(packet.payload.toString()))
      client.send(puback({ packetId: packet.packetId! }))
    }
  }
}

async function live(seed: number): Promise<void> {
  const tempo = new SimulatedTempo()
  const random = new Random(seed)
  const configuration = { durability: 'fsync', limits: { queueMessages } } as const
  const broker = new SimulatedBroker(tempo, configuration, random, new Ledger(tempo.nowMs), { ends: 'power-cut' })
  let sent = 0
  let acknowledged = 0
  const cut = async (): Promise<void> => {
    broker.end('SIGKILL')
    await broker.ended()
    await broker.start()
  }
  /** A burst that a power cut ends somewhere. */
  const burst = async (): Promise<void> => {
    const publisher = await connect(broker, 'publisher')
    for (let packetId = 1; packetId <= burstLength; packetId++) {
      publisher.send(publish({ topic: 't', payload: String(++sent), qos: 1, packetId }))
    }
    const first = sent - burstLength
    for (let left = random.between(1, burstLength); left > 0; left--) {
      acknowledged = first + (await publisher.expect('PUBACK')).packetId
    }
    await cut()
    publisher.destroy()
  }
  try {
    await broker.start()
    const before = await connect(broker, 'absent')
    await before.subscribe(['t'], { qos: 1 })
    before.destroy()
    for (let round = 0; round < 4; round++) {
      await burst()
      if (random.chance(0.5)) continue
      const absent = await connect(broker, 'absent')
      const numbers = await takeAll(absent)
      absent.destroy()
      const last = numbers.at(-1) ?? 0
      assert.ok(last >= acknowledged, `${last} is the last, ${acknowledged} was acknowledged`)
      assert.ok(numbers.length <= queueMessages, `${numbers.length} have come`)
      // What was sent and not acknowledged by an earlier burst need not be there; within one there is no gap.
      const ofLastBurst = numbers.filter((number) => number > sent - burstLength)
      const expected = ofLastBurst.map((_, index) => last - ofLastBurst.length + 1 + index)
      assert.deepEqual(ofLastBurst, expected)
      const wanted = Math.min(queueMessages, acknowledged - (sent - burstLength))
      assert.ok(ofLastBurst.length >= wanted, `${ofLastBurst.length} of ${wanted} are there`)
      await tempo.pause(1500)
    }
  } finally {
    tempo.end()
  }
}

test('a queue with a limit holds the newest after each power cut', async () => {
  for (let seed = 1; seed <= 12; seed++) await live(seed)
})
