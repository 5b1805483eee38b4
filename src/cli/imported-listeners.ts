// The addresses of listeners in an instance that is imported: those that were given, and sockets named after the instance.
import { renamedAddress } from '../admin/renamed-address.ts'
import { OperatorError } from '../base/errors.ts'

/**
 * @param settings of the file, of any shape: what is no listener is left for the daemon to judge
 * @throws OperatorError `no-such-listener` when an address is for a listener that is not there
 */
export function withAddresses(
  settings: unknown,
  given: ReadonlyMap<string, string>,
  from: string,
  to: string,
): unknown {
  const listeners = isMapping(settings) && isMapping(settings.listeners) ? settings.listeners : {}
  for (const name of given.keys()) {
    if (Object.hasOwn(listeners, name)) continue
    throw new OperatorError('no-such-listener', `${from} has no listener ${name}`, {
      fix: `its listeners are ${Object.keys(listeners).join(', ') || 'those by default'}`,
    })
  }
  if (!isMapping(settings) || !isMapping(settings.listeners)) return settings
  const moved = Object.entries(listeners).map(([name, listener]) => {
    const old = isMapping(listener) ? listener.address : listener
    const address = given.get(name) ?? (typeof old === 'string' ? renamedAddress(old, from, to) : old)
    return [name, isMapping(listener) ? { ...listener, address } : address]
  })
  return { ...settings, listeners: Object.fromEntries(moved) }
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
