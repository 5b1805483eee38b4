// The kinds of value that a configuration key can have: what is accepted, how it is read, how it is shown. Knows no key.
import * as z from 'zod'
import { closestName } from './closest-name.ts'
import {
  durationPattern,
  formatDuration,
  formatSize,
  parseDuration,
  parseSize,
  quote,
  sizePattern,
  ValueError,
} from './quantities.ts'

/** `Input` is what a file may hold, `Output` what the broker reads. */
export interface Kind<Input, Output> {
  /** For the reference page: `duration`, `whole number, 1 to 65535`. */
  title: string
  /** The types accepted, for validation and for editors. */
  input: z.ZodType
  /** @throws ValueError */
  read(value: Input): Output
  /** The opposite of `read`, in the form that people write. */
  show(output: Output): Input
  /** The value of an environment variable or of `--set`, as a file would hold it. */
  fromText(text: string): unknown
}

/** One configuration key: its name stands in the table of keys, `field` is where the broker finds the value. */
export interface Key<Field extends string, Input, Output> {
  field: Field
  kind: Kind<Input, Output>
  /** As people write it; undefined for a key that must be given. */
  default: Input | undefined
  description: string
  takesEffect: TakesEffect
}

/** When a new value counts: at once, or when the instance, or the whole daemon, starts the next time. */
export type TakesEffect = 'at once' | 'restart' | 'restart of the daemon'

export function key<Field extends string, Input, Output>(
  field: Field,
  kind: Kind<Input, Output>,
  defaultValue: NoInfer<Input> | undefined,
  description: string,
  takesEffect: TakesEffect = 'at once',
): Key<Field, Input, Output> {
  return { field, kind, default: defaultValue, description, takesEffect }
}

/** Whole number from `minimum` to `maximum`. */
export function count(minimum: number, maximum: number): Kind<number, number> {
  return {
    title: `whole number, ${minimum} to ${maximum}`,
    input: z.number({ error: 'expected a whole number' }).meta({ type: 'integer', minimum, maximum }),
    read: (value) => inRange(value, minimum, maximum, String),
    show: (output) => output,
    fromText: numberFromText,
  }
}

/** Seconds, written with or without a unit. */
export function duration(minimumSeconds: number, maximumSeconds: number): Kind<number | string, number> {
  return {
    title: `duration, ${formatDuration(minimumSeconds)} to ${formatDuration(maximumSeconds)}`,
    input: z.union([z.number().meta({ type: 'integer' }), z.string().meta({ pattern: durationPattern })], {
      error: 'expected a duration such as 30s, 10m, 2h or 1d',
    }),
    read: (value) => inRange(parseDuration(value), minimumSeconds, maximumSeconds, formatDuration),
    show: formatDuration,
    fromText: numberFromText,
  }
}

/** Bytes, written with or without a unit. */
export function size(minimumBytes: number, maximumBytes: number): Kind<number | string, number> {
  return {
    title: `size, ${formatSize(minimumBytes)} to ${formatSize(maximumBytes)}`,
    input: z.union([z.number().meta({ type: 'integer' }), z.string().meta({ pattern: sizePattern })], {
      error: 'expected a size such as 64KiB, 1MB or 256MiB',
    }),
    read: (value) => inRange(parseSize(value), minimumBytes, maximumBytes, formatSize),
    show: formatSize,
    fromText: numberFromText,
  }
}

/** Bytes, or 0 for none. */
export function sizeOrZero(minimumBytes: number, maximumBytes: number): Kind<number | string, number> {
  const kind = size(minimumBytes, maximumBytes)
  return { ...kind, title: `${kind.title}, or 0`, read: (value) => (parseSize(value) === 0 ? 0 : kind.read(value)) }
}

export function flag(): Kind<boolean, boolean> {
  return {
    title: 'true or false',
    input: z.boolean({ error: 'expected true or false' }),
    read: (value) => value,
    show: (output) => output,
    fromText: (text) => (text === 'true' ? true : text === 'false' ? false : text),
  }
}

/** One of a few words. */
export function choice<const Word extends string>(words: readonly Word[]): Kind<Word, Word> {
  return {
    title: words.map((word) => `\`${word}\``).join(', '),
    input: z.string({ error: `expected one of ${words.join(', ')}` }).meta({ enum: [...words] }),
    read: (value) => oneOf(value, words),
    show: (output) => output,
    fromText: (text) => text,
  }
}

/** One of a few whole numbers. */
export function level<const Level extends number>(levels: readonly Level[]): Kind<Level, Level> {
  return {
    title: levels.join(', '),
    input: z.number({ error: `expected one of ${levels.join(', ')}` }).meta({ enum: [...levels] }),
    read(value) {
      if (levels.includes(value)) return value
      throw new ValueError('out-of-range', `${value} is not one of ${levels.join(', ')}`)
    },
    show: (output) => output,
    fromText: numberFromText,
  }
}

/** Text that is not empty; `check` throws a ValueError for what is not allowed in it. */
export function text(
  title: string,
  check: (value: string) => void = () => {},
  mayBeEmpty = false,
): Kind<string, string> {
  return {
    title,
    input: z.string({ error: 'expected text' }),
    read(value) {
      if (value === '' && !mayBeEmpty) throw new ValueError('wrong-value', 'must not be empty')
      if (value.includes('\0')) throw new ValueError('wrong-value', 'must not hold the character U+0000')
      check(value)
      return value
    },
    show: (output) => output,
    fromText: (value) => value,
  }
}

/** Name or number of an account or a group of the operating system. */
export function account(): Kind<string | number, string> {
  return {
    title: 'name or number',
    input: z.union([z.string(), z.number().meta({ type: 'integer', minimum: 0 })], {
      error: 'expected a name or a number',
    }),
    read(value) {
      const name = String(value)
      if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?$/.test(name)) {
        throw new ValueError('wrong-value', `${quote(name)} is not the name or number of an account or group`)
      }
      return name
    },
    show: (output) => output,
    fromText: (value) => value,
  }
}

/** Permission bits in octal digits. A bare number is refused: YAML takes 0660 for six hundred and sixty. */
export function permissions(): Kind<string, number> {
  return {
    title: 'octal digits in quotes',
    input: z.string({ error: 'expected octal digits in quotes, such as "0660"' }).meta({ pattern: '^0?[0-7]{3}$' }),
    read(value) {
      if (!/^0?[0-7]{3}$/.test(value)) {
        throw new ValueError('wrong-value', `${quote(value)} is not three octal digits`, 'write "0660" or "0600"')
      }
      return Number.parseInt(value, 8)
    },
    show: (output) => `0${output.toString(8).padStart(3, '0')}`,
    fromText: (value) => value,
  }
}

/** A list of words that must not be empty; a number that reads like a word is taken for it. */
export function listOf<const Word extends string>(words: readonly Word[]): Kind<readonly (string | number)[], Word[]> {
  return {
    title: `list of ${words.map((word) => `\`"${word}"\``).join(', ')}`,
    input: z.array(z.union([z.string(), z.number()], { error: `expected one of ${words.join(', ')}` }), {
      error: `expected a list of ${words.join(', ')}`,
    }),
    read(value) {
      if (value.length === 0) throw new ValueError('wrong-value', 'the list is empty', `use ${words.join(', ')}`)
      if (value.length > words.length) throw new ValueError('wrong-value', 'the list names something twice')
      return [...new Set(value.map((item) => oneOf(String(item), words)))]
    },
    show: (output) => output,
    fromText: (value) => value.split(',').map((item) => item.trim()),
  }
}

/** A list of names that people have chosen, as of instances; one name needs no list. */
export function namesOf(what: string, pattern: RegExp, limit: number): Kind<readonly string[] | string, string[]> {
  const name = z.string({ error: `expected the name of ${what}` })
  return {
    title: 'list of names',
    input: z.union([name, z.array(name)], { error: `expected a list of names of ${what}` }),
    read(value) {
      const names = typeof value === 'string' ? [value] : value
      if (names.length > limit) throw new ValueError('out-of-range', `more than ${limit} names`)
      const wrong = names.find((one) => !pattern.test(one))
      if (wrong !== undefined) throw new ValueError('wrong-name', `${quote(wrong)} is no name of ${what}`)
      return [...new Set(names)]
    },
    show: (output) => output,
    fromText: (value) => (value === '' ? [] : value.split(',').map((item) => item.trim())),
  }
}

/** Also `null`, and in an environment variable or `--set` the empty text. */
export function nullable<Input, Output>(kind: Kind<Input, Output>): Kind<Input | null, Output | null> {
  return {
    title: kind.title,
    input: kind.input.nullable(),
    read: (value) => (value === null ? null : kind.read(value)),
    show: (output) => (output === null ? null : kind.show(output)),
    fromText: (value) => (value === '' ? null : kind.fromText(value)),
  }
}

function inRange(value: number, minimum: number, maximum: number, show: (value: number) => string): number {
  if (!Number.isSafeInteger(value)) throw new ValueError('wrong-type', `${value} is not a whole number`)
  if (value < minimum || value > maximum) {
    throw new ValueError('out-of-range', `${show(value)} is not in the range ${show(minimum)} to ${show(maximum)}`)
  }
  return value
}

function oneOf<Word extends string>(value: string, words: readonly Word[]): Word {
  const found = words.find((word) => word === value)
  if (found !== undefined) return found
  const near = closestName(value, words)
  throw new ValueError(
    'wrong-value',
    `${quote(value)} is not one of ${words.join(', ')}`,
    near === null ? null : `did you mean ${near}?`,
  )
}

/** A number where the text is one; else the text, which is then refused or read with its unit. */
function numberFromText(text: string): number | string {
  return /^-?[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : text
}
