// What a client was told in CONNACK holds as long as it is connected, whatever a reload makes of it for others.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { P, property, publish } from '../kit/wire.ts'
import { Workplace } from '../process/daemon.ts'

test('Receive Maximum and Topic Alias Maximum stay as they were announced', async (t) => {
  const workplace = new Workplace(t)
  const listeners = { local: `unix://${workplace.socketPath}` }
  workplace.configure({ listeners, limits: { receiveMaximum: 5, topicAliasMaximum: 5 } })
  const daemon = await workplace.start().ready()
  const before = await workplace.client()
  workplace.configure({ listeners, limits: { receiveMaximum: 1, topicAliasMaximum: 1 } })
  assert.match(await daemon.reload(), /configuration reloaded/)
  for (let packetId = 1; packetId <= 5; packetId++) {
    const properties: [number, number][] = [[P.topicAlias, packetId]]
    before.send(publish({ level: 5, topic: `t/${packetId}`, qos: 2, packetId, properties }))
    assert.equal((await before.expect('PUBREC')).packetId, packetId)
  }
  const after = await workplace.connect({ path: workplace.socketPath })
  const connack = await after.handshake()
  assert.equal(property(connack, P.receiveMaximum), 1)
  after.send(publish({ level: 5, topic: 't', qos: 0, properties: [[P.topicAlias, 2]] }))
  await after.expectDisconnect(0x94)
})
