import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connectClient } from '../../client/mqtt-client.ts'
import { request, startControlled } from '../control.test.support.ts'

type Row = Record<string, unknown>
const pair = ({ clientId, filter }: Row) => `${clientId} ${filter}`

test('subscriptions are listed for all, by client and by filter', async (t) => {
  const { call, addressOf } = await startControlled(t)
  const local = await connectClient({ address: addressOf('local'), clientId: 'over-unix' })
  const remote = await connectClient({ address: addressOf('tcp'), clientId: '__proto__' })
  await local.subscribe([{ filter: 'a/+', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 0 }], {
    subscriptionIdentifiers: [7],
  })
  await local.subscribe([request('$share/g/a/+', 1)])
  await remote.subscribe([request('a/+', 0), request('$share/h/a/+', 1), request('line\nbreak/"x"', 0)])
  const list = async (params: object) => (await call('subscriptions.list', params)).items.map(pair).sort()
  assert.equal((await list({})).length, 5)
  assert.deepEqual(await list({ clientId: 'over-unix' }), ['over-unix $share/g/a/+', 'over-unix a/+'])
  assert.deepEqual(await list({ filter: 'a/+' }), [
    '__proto__ $share/h/a/+',
    '__proto__ a/+',
    'over-unix $share/g/a/+',
    'over-unix a/+',
  ])
  assert.deepEqual(await list({ filter: '$share/h/a/+' }), ['__proto__ $share/h/a/+'])
  assert.deepEqual(await list({ filter: 'a/+', clientId: '__proto__' }), ['__proto__ $share/h/a/+', '__proto__ a/+'])
  assert.deepEqual(await list({ filter: 'line\nbreak/"x"' }), ['__proto__ line\nbreak/"x"'])
  assert.deepEqual(await list({ filter: 'b' }), [])
  await assert.rejects(call('subscriptions.list', { clientId: 'nobody' }), { code: 'no-such-session' })
  const { items } = await call('subscriptions.list', { clientId: 'over-unix' })
  assert.deepEqual(
    items.find(({ filter }: Row) => filter === 'a/+'),
    { clientId: 'over-unix', filter: 'a/+', qos: 2, noLocal: true, retainAsPublished: true, identifiers: [7] },
  )
  await Promise.all([local.disconnect(), remote.disconnect()])
})

test('a list goes on although subscriptions of the client that it stands at have gone', async (t) => {
  const { call, callAll, addressOf } = await startControlled(t)
  const client = await connectClient({ address: addressOf('local'), clientId: 'many' })
  const filters = Array.from({ length: 30 }, (_, number) => `a/${number}`)
  await client.subscribe(filters.map((filter) => request(filter, 0)))
  const { items, cursor } = await call('subscriptions.list', { limit: 10 })
  const seen = items.map(({ filter }: Row) => filter)
  const gone = filters.filter((filter) => !seen.includes(filter)).slice(0, 5)
  await client.unsubscribe([...gone, ...seen.slice(-2)])
  const rest = (await callAll('subscriptions.list', { limit: 10, cursor })).map(({ filter }) => filter)
  assert.deepEqual([...seen, ...rest].sort(), filters.filter((filter) => !gone.includes(filter)).sort())
  await client.disconnect()
})
