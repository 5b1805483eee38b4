// Verbs of the store of the instance: what is on its disk. What reads the whole file is a task that is asked for until it is done.
import { isAbsolute } from 'node:path'
import * as z from 'zod'
import { OperatorError } from '../../base/errors.ts'
import type { Store } from '../../storage/store.ts'
import type { StoreFile } from '../../storage/store-file.ts'
import { controlVerb } from '../control-verb.ts'
import type { Instance } from '../instance.ts'
import { keyOfKind, type StoredRow, storedKindOf, storedKinds, storedRow } from '../stored-row.ts'
import { count, wholeNumber } from './shapes.ts'

/** Of one page; a row whose payload alone is larger comes without it. */
const pageLimitBytes = 2 * 1024 * 1024
const rowLimitBytes = 4 * 1024 * 1024
/** Records of other kinds are never walked over, so that a page costs what it shows. */
const pageRows = 1000

const taskShape = z.strictObject({
  task: count.meta({ description: 'For store.task.' }),
  share: z.number().meta({ description: 'How much is done, from 0 to 1, as far as it is known.' }),
  isDone: z.boolean(),
  result: z.record(z.string(), z.unknown()).nullable().meta({ description: 'null until it is done.' }),
})

export const storeVerbs = [
  controlVerb({
    name: 'store.verify',
    summary: 'Reads the whole store: how much it holds, and whether it is whole. A task: see store.task.',
    isReading: false,
    params: z.strictObject({}),
    result: taskShape,
    run({ instance, tasks, aside }) {
      const { store, file } = expectStore(instance)
      return tasks.begin(async (onProgress, cancelled) => {
        const { surveyStore } = await import('../../storage/survey-store.ts')
        const survey = await file.hold((closed) =>
          surveyStore(file.path, { signal: AbortSignal.any([closed, cancelled]), onProgress }),
        )
        if (survey.findings.length > 0) instance.foundDamaged(survey.findings)
        const setAside = await aside.list(file)
        const { durability, pendingBytes, problem, recovery } = store
        return { ...survey, durability, pendingBytes, problem, recovery, setAside }
      })
    },
  }),
  controlVerb({
    name: 'store.backup',
    summary:
      'Writes all that is stored at one moment to a new file, while the instance goes on. A task: see store.task.',
    isReading: false,
    params: z.strictObject({
      file: z
        .string()
        .max(4096)
        .refine((path) => isAbsolute(path) && !path.includes('\0'), 'expected an absolute path')
        .meta({ description: 'Absolute path of a file that does not exist; the process of the instance writes it.' }),
    }),
    result: taskShape,
    run({ instance, tasks }, { file: target }) {
      const { file } = expectStore(instance)
      return tasks.begin(async (onProgress, signal) => {
        // Not loaded where nothing is stored.
        const { backupStore } = await import('../../storage/backup-store.ts')
        const onDamaged = (findings: readonly string[]) => instance.foundDamaged(findings)
        return { file: target, ...(await backupStore(file, target, { signal, onProgress, onDamaged })) }
      })
    },
  }),
  controlVerb({
    name: 'store.task',
    summary:
      'How far a task has come, or what came of it; waits up to a second for its end. A caller who leaves without the answer cancels it.',
    isReading: false,
    isFollowUp: true,
    params: z.strictObject({ task: count }),
    result: taskShape,
    run: ({ tasks }, { task }) => tasks.ask(task),
  }),
  controlVerb({
    name: 'store.cancel',
    summary: 'Ends a task early; of a backup nothing is left then.',
    isReading: false,
    params: z.strictObject({ task: count }),
    result: z.strictObject({
      isCancelled: z.boolean().meta({ description: 'false when it had ended before.' }),
    }),
    run: async ({ tasks }, { task }) => ({ isCancelled: await tasks.cancel(task) }),
  }),
  controlVerb({
    name: 'store.dump',
    summary: 'Shows what is stored, record by record. Each page is of the moment when it is read.',
    isReading: false,
    params: z.strictObject({
      kind: z.enum(storedKinds, `expected one of ${storedKinds.join(', ')}`).optional(),
      limit: wholeNumber(1, pageRows).default(100),
      cursor: z.base64url('expected the cursor of a page before').max(4096).optional(),
    }),
    result: z.strictObject({
      items: z.array(z.record(z.string(), z.unknown())),
      cursor: z.string().nullable().meta({ description: 'For the next page; null after the last.' }),
    }),
    run({ instance }, { kind, limit, cursor }) {
      const { file } = expectStore(instance)
      const start = kind === undefined ? Buffer.of(0) : Buffer.of(keyOfKind(kind))
      const after = cursor === undefined ? start : Buffer.from(cursor, 'base64url')
      const items: StoredRow[] = []
      let bytes = 0
      for (const { key, value } of file.recordsAfter(after)) {
        if (kind !== undefined && storedKindOf(key) !== kind) break
        const row = storedRow(key, value)
        if (row === null) continue
        items.push(value.length > rowLimitBytes ? { ...row, [row.kind === 'session' ? 'will' : 'payload']: null } : row)
        bytes += Math.min(value.length, rowLimitBytes)
        if (items.length >= limit || bytes >= pageLimitBytes) return { items, cursor: key.toString('base64url') }
      }
      return { items, cursor: null }
    },
  }),
]

function expectStore({ name, store }: Instance): { store: Store; file: StoreFile } {
  if (store?.file != null) return { store, file: store.file }
  throw new OperatorError('no-such-store', `the instance ${name} keeps nothing on disk`, {
    place: { key: 'durability' },
    fix: 'set durability: fsync, or os',
  })
}
