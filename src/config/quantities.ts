// Durations and sizes with their units, read and written as people do: `30s`, `2h`, `64KiB`. Knows no keys.

/** What is wrong with one value, said so that it can be mended. */
export class ValueError extends Error {
  readonly code: string
  readonly fix: string | null

  constructor(code: string, message: string, fix: string | null = null) {
    super(message)
    this.name = 'ValueError'
    this.code = code
    this.fix = fix
  }
}

const durationUnits = new Map([
  ['s', 1],
  ['m', 60],
  ['h', 3600],
  ['d', 86_400],
])

const sizeUnits = new Map([
  ['B', 1],
  ['kB', 1000],
  ['KB', 1000],
  ['KiB', 1024],
  ['MB', 1000 ** 2],
  ['MiB', 1024 ** 2],
  ['GB', 1000 ** 3],
  ['GiB', 1024 ** 3],
])

/** Patterns for editors: the same texts as below are accepted. */
export const durationPattern = '^[0-9]+ *[smhd]?$'
export const sizePattern = '^[0-9]+ *(B|kB|KB|KiB|MB|MiB|GB|GiB)?$'

/**
 * @returns whole seconds
 * @throws ValueError
 */
export function parseDuration(value: number | string): number {
  return parseQuantity(value, durationUnits, 'seconds', '30s, 10m, 2h or 1d')
}

/**
 * @returns whole bytes
 * @throws ValueError
 */
export function parseSize(value: number | string): number {
  return parseQuantity(value, sizeUnits, 'bytes', '64KiB, 1MB or 256MiB')
}

/** The shortest exact text of a duration: `90s`, `2h`. */
export function formatDuration(seconds: number): string {
  return formatQuantity(seconds, ['d', 'h', 'm'], durationUnits, 's')
}

/** The shortest exact text of a size: `1500B`, `256MiB`. */
export function formatSize(bytes: number): string {
  return formatQuantity(bytes, ['GiB', 'MiB', 'KiB'], sizeUnits, 'B')
}

function parseQuantity(
  value: number | string,
  units: ReadonlyMap<string, number>,
  plainUnit: string,
  examples: string,
): number {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new ValueError('out-of-range', `${value} is not a whole number of ${plainUnit}`, `write ${examples}`)
    }
    return value
  }
  const match = /^([0-9]{1,15}) *([A-Za-zµ]{0,20})$/.exec(value.trim())
  if (match === null) {
    throw new ValueError(
      'wrong-unit',
      `${quote(value)} is not a whole number with a unit`,
      `write ${examples}, or plain ${plainUnit}`,
    )
  }
  const [, digits, unit] = match
  const factor = unit === '' ? 1 : units.get(unit!)
  if (factor === undefined) {
    throw new ValueError('wrong-unit', `unknown unit ${quote(unit!)}`, `use ${[...units.keys()].join(', ')}`)
  }
  const result = Number(digits) * factor
  if (!Number.isSafeInteger(result)) throw new ValueError('out-of-range', `${quote(value)} is too large`)
  return result
}

function formatQuantity(
  value: number,
  descending: readonly string[],
  units: ReadonlyMap<string, number>,
  base: string,
): string {
  for (const unit of descending) {
    const factor = units.get(unit)!
    if (value !== 0 && value % factor === 0) return `${value / factor}${unit}`
  }
  return `${value}${base}`
}

/** A value from a file or a command as it is shown in a message: in quotes, escaped, cut at 60 characters. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
}
