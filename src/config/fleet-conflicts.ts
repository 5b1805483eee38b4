// What no instance of a fleet shows alone: two that want the same port, socket or folder, that disagree about their pool, or
// that wait for each other. Reads only the configuration: the host is asked elsewhere.
import { dirname } from 'node:path'
import { OperatorError, type Place } from '../base/errors.ts'
import type { AddressGrammar, ListenerAddress } from './check-listeners.ts'
import { closestName } from './closest-name.ts'
import type { AdminConfig, FleetMember } from './fleet-config.ts'
import { describePlace } from './member-sources.ts'
import { quote } from './quantities.ts'
import { isSamePlace } from './same-place.ts'

/** Where something about an instance, or with null about the fleet, was written; with an empty path the instance itself. */
export type FindPlace = (instance: string | null, path: readonly string[]) => Place

interface Endpoint {
  /** Name of the instance; null for the admin socket. */
  readonly instance: string | null
  readonly listener: string
  readonly address: ListenerAddress
  readonly text: string
}

/** @param names of all instances, also of those that are faulty themselves */
export function findFleetConflicts(
  members: readonly FleetMember[],
  admin: AdminConfig,
  names: ReadonlySet<string>,
  grammar: AddressGrammar,
  findPlace: FindPlace,
): OperatorError[] {
  const endpoints = endpointsOf(members, admin, grammar)
  return [
    ...findLongSocketPaths(endpoints, grammar, findPlace),
    ...findAddressConflicts(endpoints, findPlace),
    ...findFolderConflicts(members, findPlace),
    ...findPoolConflicts(members, findPlace),
    ...findOrderFaults(members, names, findPlace),
  ]
}

function endpointsOf(members: readonly FleetMember[], admin: AdminConfig, grammar: AddressGrammar): Endpoint[] {
  const endpoints: Endpoint[] = []
  const add = (instance: string | null, listener: string, text: string) =>
    endpoints.push({ instance, listener, text, address: grammar.parse(text, { place: {} }) })
  add(null, '', admin.listen)
  for (const { config } of members) {
    for (const { name, address, enabled } of config.listeners) if (enabled) add(config.name, name, address)
  }
  return endpoints
}

function pathOf({ instance, listener }: Endpoint): string[] {
  return instance === null ? ['admin', 'listen'] : ['listeners', listener, 'address']
}

function findLongSocketPaths(
  endpoints: readonly Endpoint[],
  { socketFolderLimitBytes }: AddressGrammar,
  findPlace: FindPlace,
): OperatorError[] {
  const findings: OperatorError[] = []
  for (const endpoint of endpoints) {
    if (endpoint.address.kind !== 'unix') continue
    const folder = dirname(endpoint.address.path)
    const bytes = Buffer.byteLength(folder)
    if (bytes <= socketFolderLimitBytes) continue
    const message =
      `the folder of the socket ${endpoint.address.path} has ${bytes} bytes, and ${socketFolderLimitBytes} is the limit, ` +
      `because a socket is made in a private folder inside it first${ofInstance(endpoint.instance, findPlace)}`
    findings.push(
      new OperatorError('socket-path-too-long', message, {
        place: findPlace(endpoint.instance, pathOf(endpoint)),
        fix: 'choose a shorter folder, such as /run/atoll',
      }),
    )
  }
  return findings
}

function findAddressConflicts(endpoints: readonly Endpoint[], findPlace: FindPlace): OperatorError[] {
  const findings: OperatorError[] = []
  const rivals = new Map<string, Endpoint[]>()
  for (const endpoint of endpoints) {
    const { address, instance, text } = endpoint
    if (address.kind === 'tcp' && address.port === 0) continue
    // Only what has this in common can be one place.
    const common = address.kind === 'tcp' ? `tcp ${address.port}` : text
    const others = rivals.get(common)
    if (others === undefined) {
      rivals.set(common, [endpoint])
      continue
    }
    // Two of one instance have been compared with the instance.
    const other = others.find((one) => one.instance !== instance && isSamePlace(one.address, address))
    others.push(endpoint)
    if (other === undefined) continue
    const owner =
      other.instance === null
        ? `the admin socket${atPlace(findPlace(null, pathOf(other)))}`
        : `the listener ${other.listener} of the instance ${other.instance}${atPlace(findPlace(other.instance, []))}`
    const message = `${text}${ofInstance(instance, findPlace)} is taken by ${owner}${other.text === text ? '' : `, ${other.text}`}`
    findings.push(
      new OperatorError('address-conflict', message, {
        place: findPlace(instance, pathOf(endpoint)),
        fix: 'give each an address of its own',
      }),
    )
  }
  return findings
}

/** Folders that are the same, or one inside the other: one instance would write into what is the other's. */
function findFolderConflicts(members: readonly FleetMember[], findPlace: FindPlace): OperatorError[] {
  const findings: OperatorError[] = []
  const folders = members.flatMap(({ config: { name }, dataDir, logDir }) => [
    { name, key: 'dataDir', path: dataDir, prefix: dataDir === '/' ? '/' : `${dataDir}/` },
    { name, key: 'logDir', path: logDir, prefix: logDir === '/' ? '/' : `${logDir}/` },
  ])
  folders.sort((left, right) => (left.prefix < right.prefix ? -1 : left.prefix > right.prefix ? 1 : 0))
  // Sorted so, everything inside a folder comes right behind it.
  const around: typeof folders = []
  for (const folder of folders) {
    while (around.length > 0 && !folder.prefix.startsWith(around.at(-1)!.prefix)) around.pop()
    const other = around.findLast(({ name }) => name !== folder.name)
    around.push(folder)
    if (other === undefined) continue
    const isSame = other.path === folder.path
    const message =
      `${folder.path}${ofInstance(folder.name, findPlace)} is ${isSame ? '' : 'inside '}the ${other.key} of the instance ` +
      `${other.name}${atPlace(findPlace(other.name, []))}${isSame ? '' : `, ${other.path}`}`
    findings.push(
      new OperatorError('directory-conflict', message, {
        place: findPlace(folder.name, [folder.key]),
        fix: 'give each instance folders of its own',
      }),
    )
  }
  return findings
}

function findPoolConflicts(members: readonly FleetMember[], findPlace: FindPlace): OperatorError[] {
  const findings: OperatorError[] = []
  const pools = new Map<string, FleetMember>()
  for (const member of members) {
    if (member.isolation !== 'shared') continue
    const { name } = member.config
    const first = pools.get(member.pool)
    if (first === undefined) pools.set(member.pool, member)
    else if (first.poolSize !== member.poolSize) {
      const other = first.config.name
      const message =
        `the pool ${member.pool} has the size ${member.poolSize}${ofInstance(name, findPlace)}, and ${first.poolSize} ` +
        `for the instance ${other}${atPlace(findPlace(other, ['poolSize']))}`
      findings.push(
        new OperatorError('pool-conflict', message, {
          place: findPlace(name, ['poolSize']),
          fix: 'give all instances of a pool the same poolSize, in defaults or in their template',
        }),
      )
    }
  }
  return findings
}

function findOrderFaults(
  members: readonly FleetMember[],
  names: ReadonlySet<string>,
  findPlace: FindPlace,
): OperatorError[] {
  const findings: OperatorError[] = []
  const waiting = new Map<string, string[]>()
  for (const { config, after } of members) {
    const { name } = config
    waiting.set(name, [...after])
    for (const other of after) {
      if (names.has(other)) continue
      const near = closestName(other, names)
      const message = `there is no instance ${quote(other)}, for which ${name} would wait`
      findings.push(
        new OperatorError('unknown-instance', message, {
          place: findPlace(name, ['after']),
          ...(near === null ? {} : { fix: `did you mean ${near}?` }),
        }),
      )
    }
  }
  const circle = findCircle(waiting)
  if (circle !== null) {
    const steps = circle.map((name, index) => `${name} waits for ${circle[(index + 1) % circle.length]}`)
    findings.push(
      new OperatorError('after-cycle', `none of these can be started first: ${steps.slice(0, 10).join(', ')}`, {
        place: findPlace(circle[0]!, ['after']),
        fix: 'take one of them out of after',
      }),
    )
  }
  return findings
}

/** Names that wait for each other in a circle; null when everybody can be started. */
function findCircle(waiting: Map<string, readonly string[]>): string[] | null {
  const started = new Set<string>()
  const waiters = new Map<string, string[]>()
  const open = new Map<string, number>()
  const ready: string[] = []
  for (const [name, others] of waiting) {
    const real = others.filter((other) => waiting.has(other))
    open.set(name, real.length)
    if (real.length === 0) ready.push(name)
    for (const other of real) {
      if (!waiters.has(other)) waiters.set(other, [])
      waiters.get(other)!.push(name)
    }
  }
  for (let name = ready.pop(); name !== undefined; name = ready.pop()) {
    started.add(name)
    for (const waiter of waiters.get(name) ?? []) {
      const left = open.get(waiter)! - 1
      open.set(waiter, left)
      if (left === 0) ready.push(waiter)
    }
  }
  // Whoever is left waits for somebody who is left too: following that, one comes by the same name again.
  let name = [...waiting.keys()].find((one) => !started.has(one))
  const path: string[] = []
  while (name !== undefined && !path.includes(name)) {
    path.push(name)
    name = waiting.get(name)!.find((other) => waiting.has(other) && !started.has(other))
  }
  return name === undefined ? null : path.slice(path.indexOf(name))
}

function ofInstance(instance: string | null, findPlace: FindPlace): string {
  return instance === null ? '' : ` of the instance ${instance}${atPlace(findPlace(instance, []))}`
}

function atPlace(place: Place): string {
  return place.line === undefined ? '' : ` (${describePlace(place)})`
}
