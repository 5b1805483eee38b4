// Starting and deleting listeners: the verbs of the instance, and beside them what the fleet remembers, so that a listener of a
// command survives a reload, a crash of its instance and, with `save`, the daemon.
import * as z from 'zod'
import type { ListenerConfig } from '../config/instance-config.ts'
import { instanceFromInput } from '../config/resolve-instance.ts'
import { addressGrammar } from '../instance/address-grammar.ts'
import type { ControlVerb } from '../instance/control-verb.ts'
import { type AdminContext, type AdminRoute, route } from './admin-route.ts'
import { applyMember, memberOf } from './fleet-routes.ts'

/** What is needed of the answers of both verbs. */
interface Shown {
  name: string
  settings: Record<string, unknown>
}

const save = z.boolean().default(false).describe('Whether a new listener is kept for the next start of the daemon')

export function listenerRoutes(verbs: readonly ControlVerb[], platform: NodeJS.Platform): readonly AdminRoute[] {
  return verbs.flatMap((verb) => {
    const { name, summary, params } = verb
    if (name === 'listeners.delete') return [route(name, 'Stops and forgets a listener.', params, deleteListener)]
    if (name !== 'listeners.start') return []
    const withSave = params.extend({ save }) as z.ZodObject
    return [
      route(name, summary, withSave, (context, instance, given) => startListener(context, instance, given, platform)),
    ]
  })
}

async function startListener(
  context: AdminContext,
  instance: string,
  given: Record<string, unknown>,
  platform: NodeJS.Platform,
): Promise<unknown> {
  const { save: isSaved, ...params } = given
  const { fleet, changes } = context
  return await changes.exclusively(async () => {
    const started = (await fleet.call(instance, 'listeners.start', params)) as Shown
    // Without an address it is one that the fleet knows already.
    if (params.address === undefined) return started
    try {
      changes.putListener(instance, started.name, started.settings, isSaved === true)
      const member = memberOf(context, instance)
      const { config } = member
      const others = config.listeners.filter(({ name }) => name !== started.name)
      const listeners = [...others, resolveListener(instance, started, config.auth.passwords, platform)]
      await applyMember(context, instance, { ...member, config: { ...config, listeners } })
    } catch (error) {
      await fleet.call(instance, 'listeners.delete', { name: started.name })
      throw error
    }
    return started
  })
}

/** The same as the instance has made of it, so that applying it leaves it alone. */
function resolveListener(
  instance: string,
  { name, settings }: Shown,
  passwords: string | null,
  platform: NodeJS.Platform,
): ListenerConfig {
  const options = { name: instance, workingDirectory: '/', grammar: addressGrammar(platform) }
  return instanceFromInput({ listeners: { [name]: settings }, auth: { passwords } }, options).listeners[0]
}

async function deleteListener(
  context: AdminContext,
  instance: string,
  params: Record<string, unknown>,
): Promise<object> {
  const { fleet, changes } = context
  return await changes.exclusively(async () => {
    const deleted = (await fleet.call(instance, 'listeners.delete', params)) as Shown
    const { name } = deleted
    const isDescribed = !changes.hasListener(instance, name)
    changes.deleteListener(instance, name)
    const member = memberOf(context, instance)
    const { config } = member
    const listeners = config.listeners.filter((listener) => listener.name !== name)
    await applyMember(context, instance, { ...member, config: { ...config, listeners } })
    return { ...deleted, isDescribed }
  })
}
