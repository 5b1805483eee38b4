// Listening sockets handed over by whoever started the process, as systemd does: LISTEN_PID, LISTEN_FDS and
// LISTEN_FDNAMES. Reads an environment that is passed in, touches no descriptor.
import { OperatorError } from '../base/errors.ts'

export interface InheritedFds {
  /** Number and name of every inherited descriptor; the name is '' where none was given. */
  readonly names: ReadonlyMap<number, string>
  /** Why there is none, for people; null when there are some. */
  readonly problem: string | null
}

const firstDescriptor = 3
const descriptorLimit = 1024

/** @param pid of the process that is to use the descriptors: those meant for another process are not ours */
export function parseListenFds(environment: Readonly<Record<string, string | undefined>>, pid: number): InheritedFds {
  const { LISTEN_PID: pidText, LISTEN_FDS: countText, LISTEN_FDNAMES: namesText } = environment
  const none = (problem: string): InheritedFds => ({ names: new Map(), problem })
  if (pidText === undefined || countText === undefined) {
    return none(`no sockets were handed over: LISTEN_PID is ${shown(pidText)} and LISTEN_FDS is ${shown(countText)}`)
  }
  if (pidText !== String(pid)) return none(`LISTEN_PID is ${shown(pidText)}, but this process is ${pid}`)
  const count = Number(countText)
  if (!/^\d{1,4}$/.test(countText) || count < 1 || count > descriptorLimit) {
    return none(`LISTEN_FDS is ${shown(countText)}, which is no number from 1 to ${descriptorLimit}`)
  }
  const given = namesText === undefined || namesText === '' ? [] : namesText.split(':')
  const names = new Map<number, string>()
  for (let index = 0; index < count; index++) names.set(firstDescriptor + index, given[index] ?? '')
  return { names, problem: null }
}

/**
 * The number of the descriptor that `fd:3` or `fd:name` means.
 * @throws OperatorError `descriptor-missing`, saying what was handed over
 */
export function findInheritedFd(inherited: InheritedFds, descriptor: number | string, key: string): number {
  const found: number[] = []
  for (const [number, name] of inherited.names) {
    if (descriptor === number || descriptor === name) found.push(number)
  }
  if (found.length === 1) return found[0]
  const all = [...inherited.names].map(([number, name]) =>
    name === '' ? `fd:${number}` : `fd:${number} (${shown(name)})`,
  )
  const have = inherited.problem ?? `handed over were ${all.slice(0, 20).join(', ')}${all.length > 20 ? ', …' : ''}`
  const problem = found.length === 0 ? 'there is no' : 'there is more than one'
  throw new OperatorError('descriptor-missing', `${problem} inherited socket fd:${descriptor}; ${have}`, {
    place: { key },
    fix:
      found.length === 0
        ? 'start the broker by its systemd socket unit, or give tcp:// or unix://'
        : 'name it by its number, or give each socket unit its own FileDescriptorName=',
  })
}

function shown(value: string | undefined): string {
  return value === undefined ? 'not set' : JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
}
