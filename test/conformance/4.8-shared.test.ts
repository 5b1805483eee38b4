// Shared subscriptions, chapter 4.8, and the four ways to choose a member. Seen from outside.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BrokerUnderTest, withBroker } from '../kit/broker.ts'
import type { RawClient } from '../kit/raw-client.ts'
import { variantTest } from '../kit/variants.ts'
import { disconnect, P, type Property, type PublishPacket, puback, pubcomp, pubrec, subscribe } from '../kit/wire.ts'

const forever: Property[] = [[P.sessionExpiryInterval, 60]]

/** The member that got the next message, and the message. Every other member must get nothing. */
async function receiver(members: RawClient[]): Promise<{ member: RawClient; message: PublishPacket }> {
  for (const member of members) await member.fence()
  const winners = members.filter(({ unread }) => unread.length > 0)
  assert.equal(winners.length, 1, 'exactly one member gets the message')
  return { member: winners[0], message: await winners[0].expect('PUBLISH') }
}

variantTest(
  '[MQTT-4.8.2-1] [MQTT-4.8.2-2] a share name that is none is refused',
  { levels: [5] },
  async ({ client }) => {
    const bad = [
      '$share/',
      '$share/x',
      '$share/x/',
      '$share//a',
      '$share/a+/b',
      '$share/#/b',
      '$share/a#/b',
      '$share/+/b',
      '$share/g/a/#/b',
      '$share/g/a+',
    ]
    for (const filter of bad) {
      const subscriber = await client()
      subscriber.send(subscribe({ packetId: 1, filters: [{ filter }] }))
      const answer = await subscriber.receive()
      if (answer.type === 'SUBACK') {
        assert.deepEqual(answer.reasonCodes, [0x8f], filter)
      } else {
        assert.ok(answer.type === 'DISCONNECT' && answer.reasonCode === 0x82, filter)
        await subscriber.expectClosed()
      }
    }
  },
)

variantTest('[MQTT-4.8.2-1] share names and filters of every kind work', {}, async ({ client }) => {
  const publisher = await client()
  for (const name of ['g', 'a long name', '__proto__', 'ü', '$share', '.*']) {
    const members = [await client(), await client()]
    for (const member of members) assert.deepEqual(await member.subscribe([`$share/${name}/s/+/#`]), [0])
    await publisher.publish({ topic: 's/1/2', payload: name })
    const { message } = await receiver(members)
    assert.equal(message.payload.toString(), name)
    for (const member of members) await member.disconnect()
  }
})

variantTest('each group gets its own copy, and so does a plain subscription', {}, async ({ client }) => {
  const plain = await client()
  await plain.subscribe(['s/#'])
  const groups = [
    [await client(), await client()],
    [await client(), await client(), await client()],
  ]
  for (const [index, members] of groups.entries()) {
    for (const member of members) await member.subscribe([`$share/g${index}/s/+`])
  }
  const publisher = await client()
  for (let number = 0; number < 12; number++) {
    await publisher.publish({ topic: 's/1', payload: `${number}` })
    for (const members of [[plain], ...groups]) {
      assert.equal((await receiver(members)).message.payload.toString(), `${number}`)
    }
  }
})

variantTest('the same group name on another filter is another group', {}, async ({ client }) => {
  const members = [await client(), await client()]
  await members[0].subscribe(['$share/g/s/#'])
  await members[1].subscribe(['$share/g/s/+'])
  await (await client()).publish({ topic: 's/1', payload: 'x' })
  for (const member of members) await member.expect('PUBLISH')
})

variantTest('a shared and a plain subscription of one client bring two copies', { levels: [5] }, async ({ client }) => {
  const both = await client()
  await both.subscribe(['$share/g/t'], { properties: [[P.subscriptionIdentifier, 1]] })
  await both.subscribe(['t'], { properties: [[P.subscriptionIdentifier, 2]] })
  await (await client()).publish({ topic: 't', payload: 'x' })
  const ids = [await both.expect('PUBLISH'), await both.expect('PUBLISH')].map(({ properties }) => properties)
  assert.deepEqual(ids.sort(), [[[P.subscriptionIdentifier, 1]], [[P.subscriptionIdentifier, 2]]])
  await both.expectNothing()
})

variantTest('retained messages are not sent to a shared subscription', { levels: [5] }, async ({ client }) => {
  await (await client()).publish({ topic: 't', payload: 'kept', retain: true })
  for (const retainHandling of [0, 1, 2]) {
    const member = await client()
    await member.subscribe([{ filter: '$share/g/t', retainHandling, retainAsPublished: true }])
    await member.expectNothing()
  }
})

variantTest('[MQTT-4.8.2-3] the copy has the QoS granted to the member that gets it', {}, async ({ client }) => {
  const grants = [0, 1, 2]
  const members = [await client(), await client(), await client()]
  for (const [qos, member] of members.entries()) await member.subscribe([{ filter: '$share/g/t', qos }])
  const publisher = await client()
  const seen = new Set<number>()
  for (let number = 0; number < 6; number++) {
    await publisher.publish({ topic: 't', qos: 2, payload: `${number}` })
    const { member, message } = await receiver(members)
    assert.equal(message.qos, grants[members.indexOf(member)])
    seen.add(message.qos)
  }
  assert.equal(seen.size, 3, 'round robin reaches everybody')
})

variantTest('[MQTT-4.8.2-4] a QoS 2 message begun with a member waits for it', { levels: [5] }, async ({ client }) => {
  const members = [
    await client({ clientId: 'm0', properties: forever }),
    await client({ clientId: 'm1', properties: forever }),
  ]
  for (const member of members) await member.subscribe([{ filter: '$share/g/t', qos: 2 }])
  await (await client()).publish({ topic: 't', qos: 2, payload: 'x' })
  const { member, message } = await receiver(members)
  const other = members.find((candidate) => candidate !== member)!
  member.send(pubrec({ packetId: message.packetId! }))
  await member.expect('PUBREL')
  member.destroy()
  await other.expectNothing()
  const back = await client({ clientId: member.clientId, cleanStart: false, properties: forever })
  assert.equal((await back.expect('PUBREL')).packetId, message.packetId)
  back.send(pubcomp({ packetId: message.packetId! }))
  await back.expectNothing()
  await other.expectNothing()
})

variantTest(
  '[MQTT-4.8.2-5] a QoS 2 message whose member is gone for good goes to nobody',
  { levels: [5] },
  async ({ client }) => {
    const members = [await client(), await client()]
    for (const member of members) await member.subscribe([{ filter: '$share/g/t', qos: 2 }])
    const publisher = await client()
    await publisher.publish({ topic: 't', qos: 2, payload: 'x' })
    const { member } = await receiver(members)
    const other = members.find((candidate) => candidate !== member)!
    await member.disconnect() // and with it its session
    await other.expectNothing()
    await publisher.publish({ topic: 't', qos: 2, payload: 'y' })
    assert.equal((await other.expect('PUBLISH')).payload.toString(), 'y')
  },
)

variantTest('[MQTT-4.8.2-6] a message that a member refuses is dropped', { levels: [5] }, async ({ client }) => {
  const members = [await client(), await client()]
  for (const member of members) await member.subscribe([{ filter: '$share/g/t', qos: 2 }])
  const publisher = await client()
  for (const qos of [1, 2]) {
    await publisher.publish({ topic: 't', qos, payload: `${qos}` })
    const { member, message } = await receiver(members)
    const refuse = qos === 1 ? puback : pubrec
    member.send(refuse({ packetId: message.packetId!, reasonCode: 0x83 }))
    for (const each of members) await each.expectNothing()
    await member.disconnect()
    for (const each of members) if (each !== member) await each.expectNothing()
    members[members.indexOf(member)] = await client()
    for (const each of members) await each.subscribe([{ filter: '$share/g/t', qos: 2 }])
  }
})

variantTest(
  'a QoS 1 message that a member leaves unacknowledged goes to another one',
  { levels: [5] },
  async ({ client }) => {
    for (const leave of ['disconnect', 'cut'] as const) {
      const members = [await client(), await client()]
      for (const member of members) await member.subscribe([{ filter: `$share/${leave}/t/${leave}`, qos: 1 }])
      await (await client()).publish({ topic: `t/${leave}`, qos: 1, payload: 'x' })
      const { member } = await receiver(members)
      const other = members.find((candidate) => candidate !== member)!
      if (leave === 'cut') member.destroy()
      else member.send(disconnect())
      const message = await other.expect('PUBLISH')
      assert.equal(message.payload.toString(), 'x')
      assert.equal(message.qos, 1)
      other.send(puback({ packetId: message.packetId! }))
      await other.expectNothing()
    }
  },
)

variantTest(
  'messages that wait for the window of a member that goes reach another one',
  { levels: [5] },
  async ({ client }) => {
    const slow = await client({ properties: [[P.receiveMaximum, 1]] })
    await slow.subscribe([{ filter: '$share/g/t', qos: 1 }])
    const publisher = await client()
    for (const payload of ['0', '1', '2']) await publisher.publish({ topic: 't', qos: 1, payload })
    await slow.expect('PUBLISH')
    const heir = await client()
    await heir.subscribe([{ filter: '$share/g/t', qos: 1 }])
    await heir.expectNothing()
    slow.destroy()
    for (const payload of ['0', '1', '2']) {
      const message = await heir.expect('PUBLISH')
      assert.equal(message.payload.toString(), payload)
      heir.send(puback({ packetId: message.packetId! }))
    }
    await heir.expectNothing()
  },
)

variantTest('UNSUBSCRIBE takes a member out of its group', {}, async ({ client }) => {
  const members = [await client(), await client()]
  for (const member of members) await member.subscribe(['$share/g/t'])
  await members[0].unsubscribe(['$share/g/t'])
  const publisher = await client()
  for (let number = 0; number < 4; number++) {
    await publisher.publish({ topic: 't', payload: 'x' })
    assert.equal((await receiver(members)).member, members[1])
  }
})

async function group(broker: BrokerUnderTest, size: number, qos = 0): Promise<RawClient[]> {
  const members: RawClient[] = []
  for (let index = 0; index < size; index++) {
    const member = await broker.client({}, { transport: index % 2 ? 'unix' : 'tcp' })
    await member.subscribe([{ filter: '$share/g/t', qos }])
    members.push(member)
  }
  return members
}

test('strategy round-robin: everybody in turn', () =>
  withBroker({ features: { shareStrategy: 'round-robin' } }, async (broker) => {
    const members = await group(broker, 3)
    const publisher = await broker.client()
    const turns: number[] = []
    for (let number = 0; number < 9; number++) {
      await publisher.publish({ topic: 't', payload: 'x' })
      turns.push(members.indexOf((await receiver(members)).member))
    }
    assert.equal(new Set(turns.slice(0, 3)).size, 3)
    assert.deepEqual(turns.slice(3), [...turns.slice(0, 3), ...turns.slice(0, 3)])
  }))

test('strategy random: nobody is left out, and there are no turns', () =>
  withBroker({ features: { shareStrategy: 'random' } }, async (broker) => {
    const members = await group(broker, 2)
    const publisher = await broker.client()
    const chosen: number[] = []
    for (let number = 0; number < 60; number++) {
      await publisher.publish({ topic: 't', payload: 'x' })
      chosen.push(members.indexOf((await receiver(members)).member))
    }
    const repeats = chosen.filter((member, index) => index > 0 && member === chosen[index - 1]).length
    // Both fail by chance once in 2^53 runs or less.
    assert.equal(new Set(chosen).size, 2)
    assert.ok(repeats > 0 && repeats < 59, `${repeats} times the same member twice in a row`)
  }))

test('strategy sticky: one member as long as it is there', () =>
  withBroker({ features: { shareStrategy: 'sticky' } }, async (broker) => {
    const members = await group(broker, 3)
    const publisher = await broker.client()
    while (members.length > 0) {
      await publisher.publish({ topic: 't', payload: 'x' })
      const { member } = await receiver(members)
      for (let number = 0; number < 5; number++) {
        await publisher.publish({ topic: 't', payload: 'x' })
        assert.equal((await receiver(members)).member, member)
      }
      members.splice(members.indexOf(member), 1)
      await member.disconnect()
    }
  }))

test('strategy least-inflight: whoever has the fewest unacknowledged messages', () =>
  withBroker({ features: { shareStrategy: 'least-inflight' } }, async (broker) => {
    const members = await group(broker, 2, 1)
    const publisher = await broker.client()
    await publisher.publish({ topic: 't', qos: 1, payload: 'x' })
    const { member: busy } = await receiver(members)
    for (let number = 0; number < 5; number++) {
      await publisher.publish({ topic: 't', qos: 1, payload: 'x' })
      const { member, message } = await receiver(members)
      assert.notEqual(member, busy, 'the first member has not acknowledged yet')
      member.send(puback({ packetId: message.packetId! }))
    }
  }))
