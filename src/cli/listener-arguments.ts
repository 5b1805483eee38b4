// The words behind `atoll listener start`: an address, `key=value` as VerneMQ writes it, or the name of a listener that was stopped.
import { OperatorError } from '../base/errors.ts'
import { closestName } from '../config/closest-name.ts'
import { listenerKeys } from '../config/keys.ts'

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
  if (Object.hasOwn(listenerKeys, key)) return listenerKeys[key as keyof typeof listenerKeys].kind.fromText(text)
  const meant = closestName(key, Object.keys(listenerKeys))
  throw new OperatorError('unknown-key', `${JSON.stringify(key)} is no key of a listener`, {
    fix: meant === null ? 'see atoll listener start --help' : `did you mean ${meant}?`,
  })
}

function put(params: Map<string, unknown>, key: string, value: unknown): void {
  if (params.has(key)) throw new OperatorError('usage', `the ${key} is given twice`)
  params.set(key, value)
}
