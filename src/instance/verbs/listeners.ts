// Verbs of the listeners of one instance. What is started here is the same object, with the same defaults, as one from a
// configuration file.
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import * as z from 'zod'
import { OperatorError } from '../../base/errors.ts'
import type { Broker } from '../../broker/broker.ts'
import { ReasonCode } from '../../codec/reason-codes.ts'
import { ConfigError } from '../../config/config-error.ts'
import type { ListenerConfig } from '../../config/instance-config.ts'
import { type InstanceInput, listenerKeys, namePattern } from '../../config/keys.ts'
import { instanceFromInput } from '../../config/resolve-instance.ts'
import { addressGrammar } from '../address-grammar.ts'
import { controlVerb } from '../control-verb.ts'
import type { Instance } from '../instance.ts'
import type { ManagedListener } from '../managed-listener.ts'
import { count } from './shapes.ts'

const name = z
  .string('expected the name of a listener')
  .regex(namePattern, 'expected up to 64 letters, digits, - and _, beginning with a letter or digit')

/** Names that are made of an address. */
const nameLimitChars = 64
const digestChars = 8

/** What a listener may be given; one that is started need not be told that it is enabled. */
const { enabled: _enabled, address: _address, ...startKeys } = listenerKeys

const startShape = z.strictObject({
  name: name
    .optional()
    .meta({ description: 'By default made of the address. Alone, it starts a stopped listener again.' }),
  address: listenerKeys.address.kind.input.optional().meta({ description: listenerKeys.address.description }),
  ...Object.fromEntries(
    Object.entries(startKeys).map(([key, { kind, description, default: value }]) => [
      key,
      kind.input.optional().meta({ description, default: value }),
    ]),
  ),
})

export const listenerRowShape = z.strictObject({
  instance: z.string(),
  name,
  address: z.string(),
  phase: z.string(),
  connections: count,
  isStatic: z.boolean().meta({ description: 'Whether the configuration describes it.' }),
})

const listenerShape = listenerRowShape.extend({
  settings: z.record(z.string(), z.unknown()).meta({ description: 'Every key, as in a configuration file.' }),
  accepted: count,
  refusedOverLimit: count,
  throttled: count,
  acceptErrors: count,
})

const endShape = z.strictObject({
  name,
  connections: z.boolean('expected true or false').default(false).meta({
    description: 'Whether its connections are ended as well; MQTT 5 clients are told 0x98, administrative action.',
  }),
})
const endedShape = listenerRowShape.extend({ disconnected: count })

export const listenerVerbs = [
  controlVerb({
    name: 'listeners.list',
    summary: 'Lists all listeners, from the configuration and from commands.',
    isReading: true,
    params: z.strictObject({}),
    result: z.strictObject({ items: z.array(listenerRowShape), cursor: z.null() }),
    run: ({ instance }) => ({
      items: instance.listeners.map((listener) => listenerRow(instance, listener)),
      cursor: null,
    }),
  }),
  controlVerb({
    name: 'listeners.show',
    summary: 'Shows one listener with all its keys and counters.',
    isReading: true,
    params: z.strictObject({ name }),
    result: listenerShape,
    run: ({ instance }, params) => showListener(instance, instance.expectListener(params.name)),
  }),
  controlVerb({
    name: 'listeners.start',
    summary: 'Starts a new listener, or one that was stopped.',
    isReading: false,
    params: startShape,
    result: listenerShape,
    run: async ({ instance }, params) => showListener(instance, await startListener(instance, params)),
  }),
  controlVerb({
    name: 'listeners.stop',
    summary: 'Stops a listener; it can be started again.',
    isReading: false,
    params: endShape,
    result: endedShape,
    async run({ instance }, { name, connections }) {
      const listener = await instance.stopListener(name)
      const disconnected = connections ? await disconnectAll(instance.broker, name) : 0
      return { ...listenerRow(instance, listener), disconnected }
    },
  }),
  controlVerb({
    name: 'listeners.delete',
    summary: 'Stops a listener and forgets it; one of the configuration comes back with the next reload.',
    isReading: false,
    params: endShape,
    result: endedShape,
    async run({ instance }, { name, connections }) {
      const listener = await instance.deleteListener(name)
      const disconnected = connections ? await disconnectAll(instance.broker, name) : 0
      return { ...listenerRow(instance, listener), disconnected }
    },
  }),
]

export function listenerRow(instance: Instance, listener: ManagedListener): z.input<typeof listenerRowShape> {
  const { name, address, phase, connections, isStatic } = listener
  return { instance: instance.name, name, address, phase, connections, isStatic }
}

function showListener(instance: Instance, listener: ManagedListener): z.input<typeof listenerShape> {
  return { ...listenerRow(instance, listener), ...listener.counters, settings: settingsOf(listener.config) }
}

/** As a file would have it: without the port, which is in the address, and without rights where there is no file. */
function settingsOf(config: ListenerConfig): Record<string, unknown> {
  const hasFile = config.address.startsWith('unix:///')
  return Object.fromEntries(
    Object.entries(listenerKeys)
      .filter(([key]) => key !== 'port' && (hasFile || !['mode', 'owner', 'group'].includes(key)))
      .map(([key, { field, kind }]) => [key, (kind.show as (value: unknown) => unknown)(Reflect.get(config, field))]),
  )
}

async function startListener(instance: Instance, params: z.output<typeof startShape>): Promise<ManagedListener> {
  const { name: givenName, address, ...keys } = params
  if (address === undefined) {
    const [key] = Object.keys(keys)
    if (key !== undefined || givenName === undefined) {
      throw new OperatorError('bad-parameters', 'a new listener needs an address', {
        place: { key: 'address' },
        fix: 'give an address such as unix:///path or tcp://host:port, or nothing but the name of a stopped listener',
      })
    }
    return instance.startListener(givenName)
  }
  const name = givenName ?? nameFor(instance, address as string, keys as { port?: number | null })
  try {
    return await instance.addListener(resolveListener(instance, name, { address, ...keys }))
  } catch (error) {
    throw asParameterError(error, name)
  }
}

/** With the checks and defaults of a configuration file. @throws ConfigError */
function resolveListener(instance: Instance, name: string, keys: object): ListenerConfig {
  const { passwords } = instance.config.auth
  const input = { listeners: { [name]: keys }, auth: { passwords } } as InstanceInput
  const grammar = addressGrammar(instance.platform)
  return instanceFromInput(input, { name: instance.name, workingDirectory: '/', grammar }).listeners[0]
}

/** The same address has the same name at all times: `unix:///tmp/a.sock` is `unix-tmp-a-sock`. */
function nameFor(instance: Instance, text: string, { port }: { port?: number | null }): string {
  const grammar = addressGrammar(instance.platform)
  const parsed = grammar.parse(text, { place: { key: 'address' }, ...(port == null ? {} : { port }) })
  const address = grammar.format(parsed)
  const words = address.replaceAll(/[^A-Za-z0-9_]+/g, '-').replace(/-$/, '')
  const digest = createHash('sha256').update(address).digest('hex').slice(0, digestChars)
  const base = words.length <= nameLimitChars ? words : `${words.slice(0, nameLimitChars - digestChars - 1)}-${digest}`
  const holder = instance.listener(base)
  if (holder === null) return base
  const isChosenBySystem = parsed.kind === 'tcp' && parsed.port === 0
  if (holder.config.address === address && !isChosenBySystem) {
    throw new OperatorError('listener-exists', `${address} is the listener ${base} already, which is ${holder.phase}`, {
      place: { key: 'address' },
      fix: holder.isStopped ? `start it by its name, ${base}` : 'stop it first, or choose another address',
    })
  }
  for (let number = 2; ; number++) {
    const numbered = `${base.slice(0, nameLimitChars - 5)}-${number}`
    if (instance.listener(numbered) === null) return numbered
  }
}

/** What a configuration file calls `listeners.NAME.mode` was the parameter `mode` here. */
function asParameterError(error: unknown, name: string): unknown {
  if (!(error instanceof OperatorError)) return error
  const [first] = error instanceof ConfigError ? error.findings : [error]
  const { code, message, place, fix } = first
  const prefix = `listeners.${name}.`
  const key = place?.key?.startsWith(prefix) === true ? place.key.slice(prefix.length) : place?.key
  return new OperatorError(code, message, { place: { key }, fix: fix ?? undefined, cause: error })
}

/** Connections looked at before others get their turn. */
const connectionsPerTurn = 1000

/** Ends the connections that came through listeners of this name. @returns how many */
async function disconnectAll(broker: Broker, listenerName: string): Promise<number> {
  let disconnected = 0
  let seen = 0
  const present = broker.connections.size
  for (const connection of broker.connections) {
    if (connection.listener.name === listenerName && connection.isOpen) {
      broker.loop.enter()
      connection.disconnect(ReasonCode.administrativeAction, 'the listener is stopped')
      broker.loop.leave()
      disconnected++
    }
    if (++seen === present) break
    if (seen % connectionsPerTurn === 0) await setImmediate()
  }
  return disconnected
}
