// Log lines, as text for people or JSON for machines. What came from a peer is always escaped: one call is one line.
import type { Clock } from '../base/clock.ts'

export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace'

export type LogFields = Record<string, string | number | boolean | null | undefined>

export interface Log {
  readonly level: LogLevel
  /** Of this log and of all that `with` has made of it or that it was made of. */
  setLevel(level: LogLevel): void
  isEnabled(level: LogLevel): boolean
  error(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  debug(message: string, fields?: LogFields): void
  trace(message: string, fields?: LogFields): void
  /** A log that adds `fields` to every line. */
  with(fields: LogFields): Log
}

export const logLevels: readonly LogLevel[] = ['error', 'warn', 'info', 'debug', 'trace']

/** @param writeLine receives whole lines without the final newline */
export function createLog(
  level: LogLevel,
  format: 'text' | 'json',
  clock: Clock,
  writeLine: (line: string) => void,
  fields: LogFields = {},
): Log {
  return createLogOf({ level, format, clock, writeLine }, fields)
}

/** What a log shares with those that `with` makes of it. */
interface LogBase {
  level: LogLevel
  readonly format: 'text' | 'json'
  readonly clock: Clock
  readonly writeLine: (line: string) => void
}

function createLogOf(base: LogBase, fields: LogFields): Log {
  const { format, clock, writeLine } = base
  const isEnabled = (wanted: LogLevel) => logLevels.indexOf(wanted) <= logLevels.indexOf(base.level)
  const write = (lineLevel: LogLevel, message: string, extra: LogFields = {}) => {
    if (!isEnabled(lineLevel)) return
    const time = new Date(clock.wallMs()).toISOString()
    const all = { ...fields, ...extra }
    writeLine(
      format === 'json'
        ? escapeControls(JSON.stringify({ time, level: lineLevel, ...all, message }))
        : `${time} ${lineLevel.padEnd(5)} ${escapeText(message)}${textFields(all)}`,
    )
  }
  return {
    get level() {
      return base.level
    },
    setLevel(level) {
      base.level = level
    },
    isEnabled,
    error: (message, extra) => write('error', message, extra),
    warn: (message, extra) => write('warn', message, extra),
    info: (message, extra) => write('info', message, extra),
    debug: (message, extra) => write('debug', message, extra),
    trace: (message, extra) => write('trace', message, extra),
    with: (extra) => createLogOf(base, { ...fields, ...extra }),
  }
}

/** A log that writes nothing: what an embedded broker uses unless told otherwise. */
export function createSilentLog(): Log {
  const nothing = () => {}
  const log: Log = {
    level: 'error',
    setLevel: nothing,
    isEnabled: () => false,
    error: nothing,
    warn: nothing,
    info: nothing,
    debug: nothing,
    trace: nothing,
    with: () => log,
  }
  return log
}

function textFields(fields: LogFields): string {
  let text = ''
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || value === null) continue
    const shown = typeof value === 'string' ? escapeText(value) : String(value)
    text += ` ${key}=${shown === '' || /[\s"=]/.test(shown) ? `"${shown.replaceAll('"', '\\"')}"` : shown}`
  }
  return text
}

/** JSON leaves some control characters as they are, and a terminal obeys them. */
function escapeControls(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Control characters, escape sequences and line separators as \u00XX, so that nobody can forge a line or drive a terminal. */
export function escapeText(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\\]/g, (character) =>
    character === '\\' ? '\\\\' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
