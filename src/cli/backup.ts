// `atoll backup` and `atoll restore`: all that an instance keeps on disk, in one file.
import { existsSync, rmSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { createSystemClock } from '../base/clock.ts'
import { OperatorError } from '../base/errors.ts'
import type { SurveyOptions } from '../instance/stored-data.ts'
import { escapeText } from '../observe/log.ts'
import { printJson, printLine } from './admin-command.ts'
import { counted } from './counted.ts'
import { addInstanceCommand } from './instance-option.ts'
import { interruptible } from './interruptible.ts'
import { createProgressLine } from './progress.ts'
import { addStoreOptions, runTask } from './store.ts'
import { findStore, makeDataDirectory, type StoreFlags, whileUnused, withLock } from './store-place.ts'

interface Copied {
  counts: Record<string, number>
  fileBytes: number
}

export function registerBackup(program: Command): void {
  addStoreOptions(
    addInstanceCommand(
      program,
      'backup <file>',
      'write all that an instance keeps on disk to a new file, whether it runs or not',
    ),
  ).action(backup)
}

export function registerRestore(program: Command): void {
  addStoreOptions(
    addInstanceCommand(program, 'restore <file>', 'put a backup in the place of what a stopped instance keeps on disk'),
  )
    .option('-y, --yes', 'set aside what the instance has now')
    .action(restore)
}

export async function backup(file: string, flags: StoreFlags): Promise<void> {
  const target = resolve(file)
  const place = await findStore(flags)
  const progress = createProgressLine('backup')
  try {
    const { counts, fileBytes } = await interruptible('the backup', (signal) =>
      place.kind === 'running'
        ? runTask<Copied>(place, 'store.backup', { file: target }, progress.show, signal)
        : backupFolder(place.dataDir, target, { onProgress: progress.show, signal }),
    )
    progress.end()
    if (flags.json) printJson({ file: target, fileBytes, counts })
    else printLine(`${place.name} backed up to ${escapeText(target)}: ${describe(counts)}, ${fileBytes} bytes`)
  } finally {
    progress.end()
  }
}

async function backupFolder(dataDir: string, target: string, options: SurveyOptions): Promise<Copied> {
  const { backupData } = await import('../instance/stored-data.ts')
  try {
    return await whileUnused(dataDir, 'atoll backup', (file) => backupData(file, target, options))
  } catch (error) {
    // It may be of two moments.
    if (error instanceof OperatorError && error.code === 'store-changed') rmSync(target, { force: true })
    throw error
  }
}

async function restore(file: string, flags: StoreFlags & { yes?: true }): Promise<void> {
  const source = resolve(file)
  const place = await findStore(flags)
  const { name } = place
  if (place.kind === 'running') {
    throw new OperatorError('instance-running', `the instance ${name} runs, and would write over what is restored`, {
      fix: `stop it first: atoll instance stop ${name}`,
    })
  }
  const { restoreData, storedFile } = await import('../instance/stored-data.ts')
  const { dataDir, account } = place
  // Before anybody is asked, and a folder made for it.
  if (!existsSync(source)) throw new OperatorError('no-such-file', 'there is no such file', { place: { file: source } })
  const { confirm } = await import('./confirm.ts')
  await confirm(`replace the data of ${name}`, (flags.yes ?? false) || !existsSync(storedFile(dataDir)))
  await makeDataDirectory(dataDir, account)
  const progress = createProgressLine('restore')
  try {
    const { survey, setAside } = await withLock(dataDir, 'atoll restore', () =>
      restoreData(source, dataDir, createSystemClock(), progress.show),
    )
    progress.end()
    if (flags.json) printJson({ instance: name, fileBytes: survey.fileBytes, counts: survey.counts, setAside })
    else {
      printLine(`${name} restored: ${describe(survey.counts)}`)
      if (setAside !== null) printLine(`what it had is kept in ${escapeText(setAside)}`)
    }
  } finally {
    progress.end()
  }
}

function describe({ sessions, messages, retained }: Record<string, number>): string {
  return `${counted(sessions, 'session')}, ${counted(messages, 'message')}, ${retained} retained`
}
