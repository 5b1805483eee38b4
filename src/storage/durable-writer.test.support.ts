// A process that writes until it is killed: messages numbered from 1, at most 200 of them kept. Prints the number of the last
// message of every batch that is named durable.
import { writeSync } from 'node:fs'
import { createSystemClock } from '../base/clock.ts'
import { openLmdbStore } from './lmdb-store.ts'
import { deliveryRecord, messageRecord, sessionRecord } from './store-contract.test.support.ts'

const [directory, durability] = process.argv.slice(2)
const store = await openLmdbStore({ directory, durability: durability as 'os' | 'fsync', clock: createSystemClock() })
const [existing] = store.sessions()
const session = existing?.session.sessionNumber ?? store.nextSessionNumber
const kept = store
  .deliveries(session, 0, 1000)
  .map(({ order, delivery }) => ({ order, message: delivery.messageNumber }))
let order = kept.at(-1)?.order ?? 0
let message = store.nextMessageNumber
const lastOf = new Map<number, number>()

store.onDurable = (batch) => {
  const last = lastOf.get(batch)
  lastOf.delete(batch)
  if (last !== undefined) writeSync(1, `${last}\n`)
}

function noteSome(): void {
  if (existing === undefined && order === 0) store.putSession(sessionRecord(session))
  for (let count = 1 + (order % 20); count > 0; count--) {
    order++
    store.putMessage(message, messageRecord(`message ${order}`))
    store.putDelivery(session, order, deliveryRecord(message))
    kept.push({ order, message: message++ })
  }
  for (const old of kept.splice(0, Math.max(0, kept.length - 200))) {
    store.deleteDelivery(session, old.order)
    store.deleteMessage(old.message)
  }
  store.putRetained('last', messageRecord(String(order)))
  lastOf.set(store.batch, order)
  setImmediate(noteSome)
}
noteSome()
