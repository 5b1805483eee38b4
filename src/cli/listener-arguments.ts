// The words behind `atoll listener start`: an address, `key=value` as VerneMQ writes it, or the name of a listener that was stopped.
import { OperatorError } from '../base/errors.ts'
import { closestName } from '../config/closest-name.ts'
import { type KeyTable, listenerKeys } from '../config/keys.ts'
import { ValueError } from '../config/quantities.ts'

/** @returns parameters of `listeners.start`. @throws OperatorError naming the word */
export function readListenerWords(words: readonly string[]): Record<string, unknown> {
  const params = new Map<string, unknown>()
  for (const word of words) {
    const [, key, value] = /^([A-Za-z]+)=(.*)$/s.exec(word) ?? []
    if (key === undefined) put(params, word.includes(':') ? 'address' : 'name', word)
    else put(params, key, key === 'name' ? value : readKey(key, value))
  }
  return Object.fromEntries(params)
}

/** @throws OperatorError */
function readKey(key: string, text: string): unknown {
  if (Object.hasOwn(listenerKeys, key)) return readValue(key, text)
  const meant = closestName(key, Object.keys(listenerKeys))
  throw new OperatorError('unknown-key', `${JSON.stringify(key)} is no key of a listener`, {
    fix: meant === null ? 'see atoll listener start --help' : `did you mean ${meant}?`,
  })
}

/** As a file would hold it, and checked as there. @throws OperatorError */
function readValue(key: string, text: string): unknown {
  const { kind } = (listenerKeys as KeyTable)[key]
  const value = kind.fromText(text)
  const place = { key }
  const parsed = kind.input.safeParse(value)
  if (!parsed.success) throw new OperatorError('wrong-type', parsed.error.issues[0].message, { place })
  try {
    kind.read(parsed.data)
  } catch (error) {
    if (!(error instanceof ValueError)) throw error
    throw new OperatorError(error.code, error.message, { place, fix: error.fix ?? undefined })
  }
  return value
}

function put(params: Map<string, unknown>, key: string, value: unknown): void {
  if (params.has(key)) throw new OperatorError('usage', `the ${key} is given twice`)
  params.set(key, value)
}
