import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FleetMember } from '../config/fleet-config.ts'
import { findOrderFaults, inOrder } from './start-order.ts'

const members = (after: Record<string, string[]>) =>
  Object.entries(after).map(([name, names]) => ({ config: { name }, after: names }) as unknown as FleetMember)

test('a circle names everyone in it, and only they are at fault', () => {
  const faults = findOrderFaults(
    members({ a: ['b'], b: ['c'], c: ['a'], d: ['a'], e: [], self: ['self'], f: ['ghost'] }),
  )
  assert.deepEqual([...faults.keys()].sort(), ['a', 'b', 'c', 'f', 'self'])
  assert.equal(faults.get('a'), 'instances wait for each other: a after b after c after a')
  assert.equal(faults.get('self'), 'instances wait for each other: self after self')
  assert.match(faults.get('f')!, /after ghost, and there is no such instance/)
})

test('one after the other where it is wanted, the rest at once; a failure does not stop the others', async () => {
  const after: Record<string, string[]> = { a: [], b: ['a'], c: ['b', 'elsewhere'], d: [] }
  const seen: string[] = []
  await assert.rejects(
    inOrder(
      ['c', 'b', 'd', 'a'],
      (name) => after[name],
      async (name) => {
        seen.push(`+${name}`)
        await new Promise((resolve) => setImmediate(resolve))
        seen.push(`-${name}`)
        if (name === 'a') throw new Error('broken')
      },
    ),
    /broken/,
  )
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.deepEqual(seen.filter((one) => !one.endsWith('d')).join(' '), '+a -a +b -b +c -c')
  assert.ok(seen.indexOf('+d') < seen.indexOf('-a'))
})
