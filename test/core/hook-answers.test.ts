// Answers of hooks that are neither a clear yes nor a clear no: nobody gets in, subscribes or receives by them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withBroker } from '../kit/broker.ts'
import { connect } from '../kit/wire.ts'

test('an onConnect hook that answers null, true or false lets nobody in', async () => {
  for (const answer of [null, true, false] as unknown[]) {
    for (const onConnect of [() => answer, async () => answer]) {
      await withBroker({ hooks: { onConnect } }, async (broker) => {
        const client = await broker.connect()
        client.send(connect({ clientId: 'a' }))
        await client.expectRefused(0x83)
      })
    }
  }
})

test('an onSubscribe hook that answers a promise refuses the filter', () =>
  withBroker({ hooks: { onSubscribe: (async () => 0x87) as unknown as () => number } }, async (broker) => {
    const client = await broker.client()
    assert.deepEqual(await client.subscribe(['a']), [0x83])
  }))

test('an onDeliver hook that answers a promise keeps the message back', () =>
  withBroker({ hooks: { onDeliver: (async () => true) as unknown as () => boolean } }, async (broker) => {
    const client = await broker.client()
    await client.subscribe(['a'])
    await client.publish({ topic: 'a', payload: 'x' })
    await client.expectNothing()
  }))

test('a hook of a name that there is not is refused, with the names that there are', () =>
  withBroker({}, (broker) => {
    assert.throws(() => broker.library!.use({ onPublsh: () => false } as object), /no hook "onPublsh"/)
  }))
