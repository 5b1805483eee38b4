// What one listener alone cannot show: its address, two listeners in one place, and the rule of safe defaults.
// Knows the grammar of addresses only through what it is given.
import { OperatorError, type Place } from '../base/errors.ts'
import { type ConfigNode, childOf, keyPlaceOf, placeOf } from './config-node.ts'
import type { ListenerConfig } from './instance-config.ts'
import type { JudgedNodes } from './judged-nodes.ts'
import { namePattern } from './keys.ts'
import { isSamePlace } from './same-place.ts'

export type ListenerAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'abstract'; readonly name: string }
  | { readonly kind: 'fd'; readonly descriptor: number | string }

/** How addresses are read; the transport knows, and the composition root hands it over. */
export interface AddressGrammar {
  /** @throws OperatorError */
  parse(text: string, options: { port?: number; place: Place }): ListenerAddress
  format(address: ListenerAddress): string
  /** Whether only this machine can reach the address. */
  isLoopback(address: ListenerAddress): boolean
  /** The most bytes of the path of a folder in which a socket file can be made. */
  readonly socketFolderLimitBytes: number
}

interface Located {
  config: ListenerConfig
  address: ListenerAddress
  place: Place
}

/** The most listeners of one instance: each pair is compared. */
const listenersLimit = 1000

/**
 * @param root the instance; listeners that the schema refuses are left out here
 * @param hasPasswords whether clients can prove who they are
 */
export function checkListeners(
  root: ConfigNode,
  hasPasswords: boolean,
  grammar: AddressGrammar,
  findings: OperatorError[],
  judged: JudgedNodes,
): ListenerConfig[] {
  const listeners = childOf(root, 'listeners')
  if (listeners?.kind !== 'map') return []
  if (listeners.entries.size > listenersLimit) {
    findings.push(
      new OperatorError('out-of-range', `${listeners.entries.size} listeners, and ${listenersLimit} is the limit`, {
        place: listeners.place,
      }),
    )
    return []
  }
  const located: Located[] = []
  for (const [name, { value: node }] of listeners.entries) {
    if (!namePattern.test(name)) continue
    const parsed = judged.listener(node)
    if (parsed === null) continue
    const { port, ...values } = parsed
    const place = node.kind === 'scalar' ? node.place : placeOf(node, ['address'])
    try {
      const address = grammar.parse(values.address, { place, ...(port === null ? {} : { port }) })
      const config: ListenerConfig = { ...values, name, address: grammar.format(address) }
      located.push({ config, address, place })
      checkRights(node, address, findings)
      checkSafety(config, address, place, hasPasswords, grammar, findings)
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error
      findings.push(error)
    }
  }
  checkConflicts(located, findings)
  return located.map(({ config }) => config)
}

/** A mode on something that is no socket file would silently do nothing. */
function checkRights(node: ConfigNode, address: ListenerAddress, findings: OperatorError[]): void {
  if (address.kind === 'unix' || node.kind !== 'map') return
  for (const name of ['mode', 'owner', 'group']) {
    const entry = node.entries.get(name)
    if (entry === undefined || (entry.value.kind === 'scalar' && entry.value.value === null)) continue
    findings.push(
      new OperatorError('not-applicable', 'only the socket file of a unix:///path listener has rights', {
        place: keyPlaceOf(node, [], name),
        fix: `take ${name} out`,
      }),
    )
  }
}

function checkSafety(
  config: ListenerConfig,
  address: ListenerAddress,
  place: Place,
  hasPasswords: boolean,
  grammar: AddressGrammar,
  findings: OperatorError[],
): void {
  // What an inherited descriptor is shows only when it is opened; until then nobody is let in without a name.
  if (hasPasswords || config.anonymous !== null || address.kind === 'fd' || grammar.isLoopback(address)) return
  findings.push(
    new OperatorError(
      'needs-authentication',
      `${config.address} can be reached from other machines and asks for no password`,
      {
        place,
        fix: `set auth.passwords, or listeners.${config.name}.anonymous: true to let everyone in`,
      },
    ),
  )
}

function checkConflicts(located: readonly Located[], findings: OperatorError[]): void {
  const enabled = located.filter(({ config }) => config.enabled)
  for (const [index, later] of enabled.entries()) {
    const earlier = enabled.slice(0, index).find((other) => isSamePlace(other.address, later.address))
    if (earlier === undefined) continue
    const line = earlier.place.line === undefined ? '' : ` in line ${earlier.place.line}`
    findings.push(
      new OperatorError(
        'address-conflict',
        `${later.config.address} is taken by the listener ${earlier.config.name}${line}, ${earlier.config.address}`,
        { place: later.place, fix: 'give each listener an address of its own' },
      ),
    )
  }
}
