// `atoll store …`: what the file of an instance's store holds, and whether it is whole.
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { SetAsideFile } from '../instance/stored-data.ts'
import { type StoredKind, storedKinds } from '../instance/stored-row.ts'
import { escapeText } from '../observe/log.ts'
import type { AdminClient } from './admin-client.ts'
import { printJson, printLine } from './admin-command.ts'
import { exitCodes } from './exit-codes.ts'
import { addInstanceCommand } from './instance-option.ts'
import { printJsonLines } from './print-json-lines.ts'
import { printRow } from './print-row.ts'
import { createProgressLine } from './progress.ts'
import { findStore, type StoreFlags, whileUnused } from './store-place.ts'
import { wholeNumber } from './whole-number.ts'

/** What a survey tells; the rest is known only of a store that is open. */
interface Survey {
  counts: Record<string, number>
  fileBytes: number
  freePages: number
  pages: number
  pageBytes: number
  findings: readonly string[]
  durability?: string
  pendingBytes?: number
  problem?: string | null
  recovery?: object | null
  /** Not of a file that was named; null when the disk does not say. */
  setAside?: readonly SetAsideFile[] | null
}

interface TaskState {
  task: number
  share: number
  isDone: boolean
  result: unknown
}

interface DumpFlags extends StoreFlags {
  kind?: StoredKind
  limit: number
}

const pageRows = 1000
const recordsLimit = 9_999_999_999

export function registerStore(program: Command): void {
  const store = program.command('store').description('look at what an instance keeps on disk, while it runs or not')
  addStoreCommand(store, 'stat', 'how much it holds, its size and its state').action(stat)
  addStoreCommand(store, 'verify', 'read all of it; exit code 1 and what was found when it is damaged').action(verify)
  addStoreCommand(store, 'dump', 'print the records as JSON, one in each line; payloads are Base64')
    .addOption(new Option('--kind <kind>', 'only records of this kind').choices(storedKinds))
    .option('--limit <records>', 'print at most so many; 0 for all', wholeNumber(0, recordsLimit), 0)
    .action(dump)
}

function addStoreCommand(group: Command, usage: string, description: string): Command {
  return addStoreOptions(addInstanceCommand(group, usage, description)).option(
    '--file <file>',
    'look at this backup or store that nobody has open, not at an instance',
  )
}

export function addStoreOptions(command: Command): Command {
  return command.option('-c, --config <file>', 'configuration of an instance that does not run')
}

async function stat(flags: StoreFlags): Promise<void> {
  const survey = await readSurvey(flags)
  if (flags.json) printJson(survey)
  else {
    const { counts, findings, setAside, ...rest } = survey
    printRow({ ...counts, ...rest, findings: findings.length }, flags)
    for (const { file, bytes, sinceMs } of setAside ?? []) {
      printLine(`set aside: ${escapeText(file)}, ${bytes} bytes, since ${new Date(sinceMs).toISOString()}`)
    }
  }
}

async function verify(flags: StoreFlags): Promise<void> {
  const survey = await readSurvey(flags)
  const isSound = survey.findings.length === 0
  if (flags.json) printJson({ ok: isSound, ...survey })
  else if (isSound) {
    const records = Object.values(survey.counts).reduce((sum, count) => sum + count, 0)
    printLine(`ok: ${records} records in ${survey.pages} pages`)
  } else for (const finding of survey.findings) printLine(escapeText(finding))
  process.exitCode = isSound ? exitCodes.ok : exitCodes.failure
}

async function readSurvey(flags: StoreFlags): Promise<Survey> {
  const progress = createProgressLine('reading')
  try {
    if (flags.file !== undefined) {
      const { surveyData } = await import('../instance/stored-data.ts')
      return await surveyData(resolve(flags.file), progress.show)
    }
    const place = await findStore(flags)
    if (place.kind === 'running') return await runTask<Survey>(place, 'store.verify', {}, progress.show)
    const { surveyFolder } = await import('../instance/stored-data.ts')
    return await whileUnused(place.dataDir, 'atoll store', (file) => surveyFolder(file, progress.show))
  } finally {
    progress.end()
  }
}

/** Asks for a task until it is done, or cancels it when the signal is aborted. @throws OperatorError; the reason of the signal */
export async function runTask<Result>(
  { admin, name }: { admin: AdminClient; name: string },
  operation: string,
  params: Record<string, unknown>,
  onProgress: (share: number) => void,
  signal?: AbortSignal,
): Promise<Result> {
  const interrupted = new Promise<null>((resolve) => signal?.addEventListener('abort', () => resolve(null)))
  let state = await admin.call<TaskState>(operation, { instance: name, params })
  while (!state.isDone) {
    onProgress(state.share)
    const which = { instance: name, params: { task: state.task } }
    if (signal?.aborted) {
      const { isCancelled } = await admin.call<{ isCancelled: boolean }>('store.cancel', which)
      if (isCancelled) throw signal.reason
    }
    const asked = admin.call<TaskState>('store.task', which)
    state = (await (signal?.aborted ? asked : Promise.race([asked, interrupted]))) ?? state
  }
  return state.result as Result
}

async function dump(flags: DumpFlags): Promise<void> {
  if (flags.file !== undefined) return dumpFile(resolve(flags.file), flags)
  const place = await findStore(flags)
  if (place.kind === 'running') return printJsonLines(pagesOf(place, flags), flags.limit)
  await whileUnused(place.dataDir, 'atoll store dump', (file) => dumpFile(file, flags))
}

async function dumpFile(file: string, flags: DumpFlags): Promise<void> {
  const { storedRows } = await import('../instance/stored-data.ts')
  await printJsonLines(storedRows(file, flags.kind ?? null), flags.limit)
}

async function* pagesOf({ admin, name }: { admin: AdminClient; name: string }, { kind, limit }: DumpFlags) {
  let cursor: string | null = null
  do {
    const params: Record<string, unknown> = { kind, limit: limit === 0 ? pageRows : Math.min(limit, pageRows) }
    if (cursor !== null) params.cursor = cursor
    const page: { items: object[]; cursor: string | null } = await admin.call('store.dump', { instance: name, params })
    yield* page.items
    cursor = page.cursor
  } while (cursor !== null)
}
