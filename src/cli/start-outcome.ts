// What `start --detach` tells of a fleet beside its process number: how many instances are ready, and which are not, and why.
// The daemon makes it, the command that waits for it prints it.
import type { MemberPhase, MemberStatus } from '../fleet/fleet.ts'
import { escapeText } from '../observe/log.ts'
import { counted } from './counted.ts'

export interface StartOutcome {
  instances: number
  /** Those that wait for their first client included. */
  ready: number
  /** The first of those that are to run and do not. */
  troubled: { name: string; phase: MemberPhase; reason: string | null }[]
  /** How many there are of them in all. */
  troubledCount: number
}

const shownLimit = 10
export const troublePhases: readonly MemberPhase[] = ['failed', 'backing-off']

export function startOutcome(members: readonly MemberStatus[]): StartOutcome {
  const troubled = members.filter(({ phase }) => troublePhases.includes(phase))
  return {
    instances: members.length,
    ready: members.filter(({ phase }) => phase === 'ready' || phase === 'waiting').length,
    troubled: troubled.slice(0, shownLimit).map(({ name, phase, reason }) => ({ name, phase, reason })),
    troubledCount: troubled.length,
  }
}

/** Lines for people; none when all is well. */
export function describeOutcome({ instances, ready, troubled, troubledCount }: StartOutcome): string[] {
  if (troubledCount === 0) return []
  const more = troubledCount - troubled.length
  return [
    `atoll: ${ready} of ${counted(instances, 'instance')} ready`,
    ...troubled.map(
      ({ name, phase, reason }) => `atoll: ${name} is ${phase}: ${escapeText(reason ?? 'no reason is known')}`,
    ),
    ...(more > 0 ? [`atoll: and ${more} more: see atoll status`] : []),
  ]
}
