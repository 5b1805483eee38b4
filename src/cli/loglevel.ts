// `atoll loglevel` and `atoll instance loglevel`: how much is logged, while everything runs.
import type { Command } from 'commander'
import { closestName } from '../config/closest-name.ts'
import type { MemberStatus } from '../fleet/fleet.ts'
import { type LogLevel, logLevels } from '../observe/log.ts'
import { type AdminFlags, addAdminOptions, openAdmin, printJson, printLine } from './admin-command.ts'
import { oneByOne } from './one-by-one.ts'
import { UsageError } from './usage-error.ts'

interface Answer {
  level: LogLevel
}

const lasts = 'until the next start, or until another level is configured'

export function registerLogLevel(program: Command): void {
  addAdminOptions(program.command('loglevel <level>'))
    .description(`change how much the daemon itself logs (${logLevels.join(', ')}), ${lasts}`)
    .action(async (word: string, flags: AdminFlags) => {
      const params = { level: readLevel(word) }
      const { level } = await openAdmin(flags).call<Answer>('fleet.loglevel', { params })
      if (flags.json) printJson({ level })
      else printLine(`the daemon logs at ${level}`)
    })
}

export const instanceLogLevelDescription = `change how much instances log (${logLevels.join(', ')}), ${lasts}; names may hold * and ?`

/**
 * @param words names and, last, the level
 * @param choose the instances that the names, or `--all`, mean
 */
export async function setInstanceLogLevel(
  words: readonly string[],
  flags: AdminFlags,
  choose: (names: readonly string[]) => Promise<MemberStatus[]>,
): Promise<void> {
  const params = { level: readLevel(words.at(-1)!) }
  const admin = openAdmin(flags)
  const names = (await choose(words.slice(0, -1))).map(({ name }) => name)
  const act = async (name: string) => {
    const { level } = await admin.call<Answer>('instance.loglevel', { instance: name, params })
    return { name, level }
  }
  await oneByOne(names, flags, act, (name, { level }) => `${name} logs at ${level}`)
}

/** @throws UsageError */
function readLevel(word: string): LogLevel {
  const level = logLevels.find((one) => one === word)
  if (level !== undefined) return level
  const near = closestName(word, logLevels)
  const fix = near === null ? `give one of ${logLevels.join(', ')}` : `did you mean ${near}?`
  throw new UsageError(`${JSON.stringify(word)} is no level of the log`, fix)
}
