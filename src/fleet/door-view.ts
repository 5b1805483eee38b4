// What the verbs on listeners answer for an on-demand instance, whose listeners are not its own: the supervisor's are laid
// over the instance's answer. Opens and closes nothing.
import { OperatorError } from '../base/errors.ts'
import type { ListenerStatus } from './fleet.ts'

/** Lists in the answers of verbs that hold one entry for each listener. */
const listsByVerb = new Map([
  ['listeners.list', 'items'],
  ['instance.show', 'listeners'],
])

/** @throws OperatorError `listener-on-demand` for what would take a listener out of the supervisor's hands */
export function assertNotDoors(verb: string, params: unknown, doors: readonly ListenerStatus[]): void {
  if (!['listeners.start', 'listeners.stop', 'listeners.delete'].includes(verb)) return
  const { name } = (params ?? {}) as { name?: unknown }
  if (!doors.some((door) => door.name === name)) return
  throw new OperatorError('listener-on-demand', `the listener ${name} starts its instance on demand and stays open`, {
    fix: 'stop the instance, or change the listener in the configuration',
  })
}

export function overlayDoors(verb: string, answer: unknown, doors: readonly ListenerStatus[]): unknown {
  if (typeof answer !== 'object' || answer === null) return answer
  const overlay = (one: unknown) => {
    const door = doors.find(({ name }) => name === (one as { name?: unknown }).name)
    return door === undefined ? one : { ...(one as object), ...door }
  }
  if (verb === 'listeners.show') return overlay(answer)
  const list = listsByVerb.get(verb)
  const entries = list === undefined ? undefined : (answer as Record<string, unknown>)[list]
  return list !== undefined && Array.isArray(entries) ? { ...answer, [list]: entries.map(overlay) } : answer
}
