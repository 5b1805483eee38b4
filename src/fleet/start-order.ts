// Who starts after whom: what is wrong with the wishes, and a way to run something in their order. Starts nothing itself.
import type { FleetMember } from '../config/fleet-config.ts'

/** For every instance that can never have its turn the reason, for people. */
export function findOrderFaults(members: readonly FleetMember[]): Map<string, string> {
  const after = new Map(members.map((member) => [member.config.name, member.after]))
  const faults = new Map<string, string>()
  for (const [name, names] of after) {
    const missing = names.find((other) => !after.has(other))
    if (missing !== undefined) faults.set(name, `it is to start after ${missing}, and there is no such instance`)
  }
  for (const name of after.keys()) {
    const circle = findCircle(name, after)
    if (circle !== null) faults.set(name, `instances wait for each other: ${circle.join(' after ')}`)
  }
  return faults
}

/** The shortest way from an instance back to itself. */
function findCircle(start: string, after: ReadonlyMap<string, readonly string[]>): string[] | null {
  const cameFrom = new Map<string, string>()
  const queue = [start]
  for (const name of queue) {
    for (const next of after.get(name) ?? []) {
      if (next === start) {
        const way = [name]
        for (let at = name; at !== start; way.unshift(at)) at = cameFrom.get(at)!
        return [...way, start]
      }
      if (cameFrom.has(next)) continue
      cameFrom.set(next, name)
      queue.push(next)
    }
  }
  return null
}

/**
 * Calls `act` for each name as soon as it has ended for all names that come before it, whatever became of them.
 * @param before names that are not in `names` do not count; there must be no circle
 */
export async function inOrder(
  names: readonly string[],
  before: (name: string) => readonly string[],
  act: (name: string) => Promise<void>,
): Promise<void> {
  const turns = new Map<string, Promise<void>>()
  const turnOf = (name: string): Promise<void> => {
    const known = turns.get(name)
    if (known !== undefined) return known
    const others = before(name).filter((other) => names.includes(other))
    const turn = Promise.resolve()
      .then(() => Promise.allSettled(others.map(turnOf)))
      .then(() => act(name))
    turns.set(name, turn)
    return turn
  }
  await Promise.all(names.map(turnOf))
}
