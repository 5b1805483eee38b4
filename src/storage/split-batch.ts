// A batch that is too large for the room there is, in parts that may be written one after the other. Knows no pages.
//
// Nothing of a batch has been answered before all of it is written, so a crash between two parts must only leave what a crash before
// the answers may leave. What is new is one part and the first: a message with its deliveries, Sessions that come and go, deliveries that have
// changed hands. Then come changes of deliveries that are stored, one by one: without one, a message is sent again, as if the
// acknowledgement of its client had been lost. Last go messages that nobody waits for: one that stays is removed by the next start.
import type { Batch } from './batch.ts'
import type { Changes } from './page-need.ts'
import type { DeliveryRecord } from './store.ts'

export type Step =
  | { readonly sessionNumber: number; readonly order: number; readonly record: DeliveryRecord | null }
  | { readonly messageNumber: number }

export interface SplitBatch {
  readonly first: Changes
  /** To be written in this order. */
  readonly steps: readonly Step[]
}

export function splitBatch(batch: Batch, isStored: (sessionNumber: number, order: number) => boolean): SplitBatch {
  const changed: Step[] = []
  const removed: Step[] = []
  const deliveries: Changes['deliveries'] = new Map()
  for (const [sessionNumber, changes] of batch.deliveries) {
    const kept = new Map<number, DeliveryRecord | null>()
    for (const [order, record] of changes) {
      if (record === null) removed.push({ sessionNumber, order, record })
      else if (isStored(sessionNumber, order)) changed.push({ sessionNumber, order, record })
      else kept.set(order, record)
    }
    if (kept.size > 0) deliveries.set(sessionNumber, kept)
  }
  const messages: Changes['messages'] = new Map()
  for (const [messageNumber, record] of batch.messages) {
    if (record === null) removed.push({ messageNumber })
    else messages.set(messageNumber, record)
  }
  return { first: partOf(batch, { deliveries, messages }), steps: [...changed, ...removed] }
}

/** Nothing but these steps. */
export function changesOf(steps: readonly Step[], batch: Batch): Changes {
  const deliveries: Changes['deliveries'] = new Map()
  const messages: Changes['messages'] = new Map()
  for (const step of steps) {
    if ('messageNumber' in step) {
      messages.set(step.messageNumber, null)
      continue
    }
    let changes = deliveries.get(step.sessionNumber)
    if (changes === undefined) {
      changes = new Map()
      deliveries.set(step.sessionNumber, changes)
    }
    changes.set(step.order, step.record)
  }
  return partOf(batch, {
    sessions: new Map(),
    subscriptions: new Map(),
    inbound: new Map(),
    retained: new Map(),
    reservation: null,
    deliveries,
    messages,
  })
}

function partOf(batch: Batch, changes: Partial<Changes>): Changes {
  const { sessions, subscriptions, inbound, messages, deliveries, retained, reservation } = batch
  const isFreshMessage = (messageNumber: number) => batch.isFreshMessage(messageNumber)
  return { sessions, subscriptions, inbound, messages, deliveries, retained, reservation, isFreshMessage, ...changes }
}
