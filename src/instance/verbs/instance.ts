// Verbs of the instance itself.
import * as z from 'zod'
import type { InstanceConfig } from '../../config/instance-config.ts'
import { namePattern } from '../../config/keys.ts'
import { type LogLevel, logLevels } from '../../observe/log.ts'
import type { SetAsideFile } from '../../storage/set-aside.ts'
import { readGauges, readTotals } from '../broker-counters.ts'
import { changedKeys } from '../changed-keys.ts'
import { controlVerb } from '../control-verb.ts'
import type { Instance } from '../instance.ts'
import { instanceConfigShape } from './instance-config-shape.ts'
import { listenerRow, listenerRowShape } from './listeners.ts'
import { count } from './shapes.ts'

const numbers = z.record(z.string(), z.number())
/** Read once: the log and the store are given to the instance. */
const keysFixedAtStart = /^log\.|^durability$/
const logLevel = z.enum(logLevels as [LogLevel, ...LogLevel[]], `expected one of ${logLevels.join(', ')}`)

export const instanceVerbs = [
  controlVerb({
    name: 'instance.show',
    summary: 'Shows the instance: its phase, its listeners and how much it holds.',
    isReading: true,
    params: z.strictObject({}),
    result: z.strictObject({
      name: z.string(),
      phase: z.string(),
      uptimeSeconds: count,
      logLevel,
      listeners: z.array(listenerRowShape),
      connections: count,
      clients: count,
      sessions: count,
      subscriptions: count,
      sharedSubscriptions: count,
      retainedMessages: count,
      retainedBytes: count,
      queuedMessages: count,
      queuedBytes: count,
      problem: z.string().nullable().meta({ description: 'Why it cannot do all of its work; null while all is well.' }),
      store: z
        .strictObject({
          pendingBytes: count,
          fileBytes: count.nullable(),
          freeBytes: count.nullable().meta({ description: 'On the file system; null when that is not known.' }),
          refused: count.meta({
            description:
              'Messages, and clients that asked for a kept Session, which it could not take since the start.',
          }),
          recovery: z
            .string()
            .nullable()
            .meta({ description: 'What became of a store that was damaged at the start; null for a whole one.' }),
          damage: z
            .string()
            .nullable()
            .meta({ description: 'That records turned out to be damaged since the start; null while none did.' }),
          setAside: z
            .string()
            .nullable()
            .meta({ description: 'That files which were set aside lie beside the store; null while none do.' }),
        })
        .nullable()
        .meta({ description: 'null where nothing is kept.' }),
    }),
    async run({ instance, aside }) {
      const { broker, store } = instance
      const setAside = store?.file == null ? null : await aside.list(store.file)
      const { sessions, subscriptions, retainedMessages, retainedBytes, queuedMessages, queuedBytes } =
        readGauges(broker)
      return {
        name: instance.name,
        phase: instance.phase,
        uptimeSeconds: instance.uptimeSeconds,
        logLevel: broker.log.level,
        listeners: instance.listeners.map((listener) => listenerRow(instance, listener)),
        connections: broker.connections.size,
        clients: broker.sessions.attachedCount,
        sessions,
        subscriptions,
        sharedSubscriptions: broker.router.sharedSubscriptionCount,
        retainedMessages,
        retainedBytes,
        queuedMessages,
        queuedBytes,
        problem: instance.problem,
        store:
          store === null
            ? null
            : {
                pendingBytes: store.pendingBytes,
                fileBytes: store.file?.fileBytes ?? null,
                freeBytes: store.file?.freeBytes ?? null,
                refused: broker.counters.refusedByStore,
                recovery: instance.recovery,
                damage: instance.damage,
                setAside: describeAside(instance.name, setAside ?? []),
              },
      }
    },
  }),
  controlVerb({
    name: 'instance.metrics',
    summary: 'Gives all numbers of the instance: what only grows, what there is now, and both for each listener.',
    isReading: true,
    params: z.strictObject({}),
    result: z.strictObject({
      totals: numbers,
      gauges: numbers,
      listeners: z.array(z.strictObject({ name: z.string(), totals: numbers, gauges: numbers })),
    }),
    run({ instance }) {
      const { broker } = instance
      return {
        totals: readTotals(broker),
        gauges: {
          ...readGauges(broker),
          connections: broker.connections.size,
          clients: broker.sessions.attachedCount,
          sharedSubscriptions: broker.router.sharedSubscriptionCount,
          uptimeSeconds: instance.uptimeSeconds,
          ...storeGauges(instance),
        },
        listeners: instance.listeners.map(({ name, counters, connections }) => ({
          name,
          totals: { ...counters },
          gauges: { connections },
        })),
      }
    },
  }),
  controlVerb({
    name: 'instance.loglevel',
    summary: 'Changes how much is logged, until the next start or until another level is configured.',
    isReading: false,
    params: z.strictObject({ level: logLevel }),
    result: z.strictObject({ level: logLevel }),
    run({ instance: { broker } }, { level }) {
      broker.log.setLevel(level)
      return { level: broker.log.level }
    },
  }),
  controlVerb({
    name: 'instance.reload',
    summary: 'Takes a whole new configuration, or nothing of it.',
    isReading: false,
    isInternal: true,
    params: z.strictObject({ config: instanceConfigShape }),
    result: z.strictObject({
      // Keys as `limits.queueMessages`: whose new value holds from now on, and whose only counts from the next start.
      hot: z.array(z.string()),
      restart: z.array(z.string()),
      started: z.array(z.string().regex(namePattern)),
      stopped: z.array(z.string().regex(namePattern)),
    }),
    async run({ instance }, { config }) {
      const wanted = config as unknown as InstanceConfig
      const { before, started, stopped } = await instance.reload(wanted)
      const changed = changedKeys(before, wanted)
      const isFixed = (key: string) => keysFixedAtStart.test(key)
      return { hot: changed.filter((key) => !isFixed(key)), restart: changed.filter(isFixed), started, stopped }
    },
  }),
]

function describeAside(name: string, files: readonly SetAsideFile[]): string | null {
  if (files.length === 0) return null
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  return `files that were set aside: ${files.length}, with ${bytes} bytes; atoll store stat -i ${name} names them`
}

/** Nothing where nothing is kept. */
function storeGauges({ store, problem }: Instance): Record<string, number> {
  if (store === null) return {}
  const gauges: Record<string, number> = {
    storeProblem: problem === null ? 0 : 1,
    storeDamaged: store.isDamaged ? 1 : 0,
    storePendingBytes: store.pendingBytes,
  }
  if (store.file !== null) gauges.storeFileBytes = store.file.fileBytes
  if (store.file?.freeBytes != null) gauges.storeFreeBytes = store.file.freeBytes
  return gauges
}
