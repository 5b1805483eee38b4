// Counts all deliveries at the start: what waits in each queue, how many deliveries share a message, and which messages have none.
// In slices, because there may be millions. Knows no session.
import type { Slices } from '../base/slices.ts'
import type { Engine, Reference } from './engine.ts'
import type { DeliveryTally, QueueTally } from './store.ts'

/** Numbers that are sorted at once: about a millisecond. */
const numbersPerRun = 16_384
const mergedPerLook = 4096

/** @param forget told each message that no delivery points to */
export async function tallyDeliveries(
  engine: Engine,
  slices: Slices,
  forget: (messageNumber: number) => void,
): Promise<DeliveryTally> {
  const queues = new Map<number, QueueTally>()
  // Sorted numbers in one array take 8 bytes each; a map of all of them would take many times that.
  const runs: Float64Array[] = []
  let run = new Float64Array(numbersPerRun)
  let length = 0
  const endRun = () => {
    runs.push(run.subarray(0, length).sort())
    run = new Float64Array(numbersPerRun)
    length = 0
  }
  await slices.each<Reference>(
    (last) => engine.references(last),
    ({ messageNumber, sessionNumber, order, queuedBytes }) => {
      let queue = queues.get(sessionNumber)
      if (queuedBytes === -1 && queue !== undefined) queue.lastInflight = order
      if (messageNumber === null) return
      run[length++] = messageNumber
      if (length === numbersPerRun) endRun()
      if (queuedBytes === -1) return
      if (queue === undefined) {
        queue = { messages: 0, bytes: 0, lastOrder: 0, lastInflight: 0 }
        queues.set(sessionNumber, queue)
      }
      queue.messages++
      queue.bytes += queuedBytes
      queue.lastOrder = Math.max(queue.lastOrder, order)
    },
  )
  endRun()
  const numbers = await mergeRuns(runs, slices)
  const references = new Map<number, number>()
  for (let index = 1; index < numbers.length; index++) {
    const number = numbers[index]
    if (number === numbers[index - 1]) references.set(number, (references.get(number) ?? 1) + 1)
    if (index % mergedPerLook === 0 && slices.isOver) await slices.next()
  }
  let index = 0
  await slices.each<number>(
    (last) => engine.messageNumbers(last ?? 0),
    (messageNumber) => {
      while (index < numbers.length && numbers[index] < messageNumber) index++
      if (numbers[index] !== messageNumber) forget(messageNumber)
    },
  )
  return { references, queues }
}

/** All numbers of sorted runs, of which there is at least one, in one. */
async function mergeRuns(runs: readonly Float64Array[], slices: Slices): Promise<Float64Array> {
  let left = runs
  while (left.length > 1) {
    const merged: Float64Array[] = []
    for (let index = 0; index < left.length; index += 2) {
      const two = left.slice(index, index + 2)
      merged.push(two.length === 1 ? two[0] : await merge(two[0], two[1], slices))
    }
    left = merged
  }
  return left[0]
}

async function merge(one: Float64Array, other: Float64Array, slices: Slices): Promise<Float64Array> {
  const merged = new Float64Array(one.length + other.length)
  let first = 0
  let second = 0
  for (let index = 0; index < merged.length; index++) {
    const isFirst = second === other.length || (first < one.length && one[first] <= other[second])
    merged[index] = isFirst ? one[first++] : other[second++]
    if (index % mergedPerLook === 0 && slices.isOver) await slices.next()
  }
  return merged
}
