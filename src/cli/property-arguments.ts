// `-D command name value …` as Mosquitto's clients take it: properties of MQTT 5 for each kind of packet.
import { OperatorError } from '../base/errors.ts'
import { type Properties, type PropertyRow, propertyRows } from '../codec/properties.ts'

const commands = ['connect', 'publish', 'subscribe', 'unsubscribe', 'disconnect', 'will'] as const

export type PropertiesByCommand = { [Command in (typeof commands)[number]]?: Properties }

const rowsByName = new Map<string, PropertyRow>()
for (const row of propertyRows) {
  const singular = row.name.replace(/ies$/, 'y').replace(/ers$/, 'er')
  rowsByName.set(
    singular.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    row,
  )
}

/**
 * @param words of all `-D` options one after the other: every property has three words, a user property four
 * @throws OperatorError; whether a property may stand in that packet is for the client to say
 */
export function parsePropertyArguments(words: readonly string[]): PropertiesByCommand {
  const all: PropertiesByCommand = {}
  let at = 0
  while (at < words.length) {
    const command = commands.find((known) => known === words[at].toLowerCase())
    if (command === undefined)
      throw bad(`${JSON.stringify(words[at])} takes no properties`, `name one of ${commands.join(', ')}`)
    const name = words[at + 1] ?? ''
    const row = rowsByName.get(name)
    if (row === undefined) {
      throw bad(`there is no property ${JSON.stringify(name)}`, `name one of ${[...rowsByName.keys()].join(', ')}`)
    }
    const count = row.type === 'pair' ? 4 : 3
    if (at + count > words.length) {
      throw bad(
        `${command} ${name} is cut short`,
        `write -D ${command} ${name} ${count === 4 ? 'name value' : 'value'}`,
      )
    }
    all[command] ??= {}
    addProperty(all[command], row, words.slice(at + 2, at + count))
    at += count
  }
  return all
}

function addProperty(properties: Properties, row: PropertyRow, [first, second]: string[]): void {
  switch (row.type) {
    case 'pair':
      properties.userProperties ??= []
      properties.userProperties.push([first, second])
      return
    case 'string':
      Object.assign(properties, { [row.name]: first })
      return
    case 'binary':
      Object.assign(properties, { [row.name]: Buffer.from(first) })
      return
  }
  if (!/^\d{1,10}$/.test(first)) throw bad(`${JSON.stringify(first)} is no number`, `give ${row.name} a whole number`)
  const isList = row.name === 'subscriptionIdentifiers'
  Object.assign(properties, { [row.name]: isList ? [Number(first)] : Number(first) })
}

function bad(message: string, fix: string): OperatorError {
  return new OperatorError('property-invalid', message, { place: { key: '-D' }, fix })
}
