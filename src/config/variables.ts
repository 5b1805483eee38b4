// Variables in the texts of an instance: `${name}`, `${port}`, `${20000+index}`. Knows no key and no file.
import { closestName } from './closest-name.ts'
import type { ConfigNode } from './config-node.ts'
import { quote, ValueError } from './quantities.ts'

export type VariableValue = string | number | boolean

/** Names to values, with `name` and `index` among them. */
export type Scope = ReadonlyMap<string, VariableValue>

export const variableNamePattern = /^[A-Za-z][A-Za-z0-9_]*$/

/** Names of entries below `instances`: a name, or with `count` one with `${index}` in it. */
export const entryNamePattern = /^(?:[A-Za-z0-9]|\$\{[^{}]*\})(?:[A-Za-z0-9_-]|\$\{[^{}]*\})*$/

type Token = number | string

/** A piece of text, or the tokens between `${` and `}`. */
type Part = { readonly text: string } | { readonly expression: string; readonly tokens: readonly Token[] }

const opening = '${'
const textLimitChars = 4096

export function hasVariables(text: string): boolean {
  return text.includes(opening)
}

/**
 * Replaces every `${…}` of a text; `$${` stands for `${` itself. A text that is nothing but one variable becomes its value,
 * whatever its type.
 * @throws ValueError
 */
export function expandText(text: string, scope: Scope): VariableValue {
  const parts = parseText(text)
  const values = parts.map((part) => ('text' in part ? part.text : evaluate(part.tokens, part.expression, scope)))
  if (values.length === 1) return values[0]!
  const expanded = values.join('')
  if (expanded.length > textLimitChars) {
    throw new ValueError('out-of-range', `with its variables the text is longer than ${textLimitChars} characters`)
  }
  return expanded
}

/**
 * The variables that a text names.
 * @throws ValueError
 */
export function variablesIn(text: string): string[] {
  return parseText(text).flatMap((part) => ('text' in part ? [] : part.tokens.filter(isVariable)))
}

/**
 * A copy of a tree with all variables replaced; what has none is shared, and keys are left alone.
 * @param onError receives what is wrong with one text
 */
export function expandNode(
  node: ConfigNode,
  scope: Scope,
  onError: (node: ConfigNode, error: ValueError) => void,
): ConfigNode {
  if (node.kind === 'scalar') {
    if (typeof node.value !== 'string' || !hasVariables(node.value)) return node
    try {
      return { ...node, value: expandText(node.value, scope) }
    } catch (error) {
      if (!(error instanceof ValueError)) throw error
      onError(node, error)
      return node
    }
  }
  if (node.kind === 'list') {
    const items = node.items.map((item) => expandNode(item, scope, onError))
    return items.every((item, index) => item === node.items[index]) ? node : { ...node, items }
  }
  let entries: Map<string, { keyPlace: ConfigNode['place']; value: ConfigNode }> | null = null
  for (const [name, entry] of node.entries) {
    const value = expandNode(entry.value, scope, onError)
    if (value === entry.value) continue
    entries ??= new Map(node.entries)
    entries.set(name, { ...entry, value })
  }
  return entries === null ? node : { ...node, entries }
}

/** Whether a value waits to be expanded, and can be judged only then. */
export function isExpandable(node: ConfigNode | null): boolean {
  if (node?.kind === 'list') return node.items.some(isExpandable)
  return node?.kind === 'scalar' && typeof node.value === 'string' && hasVariables(node.value)
}

function parseText(text: string): Part[] {
  const parts: Part[] = []
  let plain = ''
  for (let at = 0; at < text.length; ) {
    const next = text.indexOf(opening, at)
    if (next < 0) {
      plain += text.slice(at)
      break
    }
    if (next > at && text[next - 1] === '$') {
      plain += text.slice(at, next - 1) + opening
      at = next + opening.length
      continue
    }
    plain += text.slice(at, next)
    const end = text.indexOf('}', next)
    if (end < 0) {
      throw new ValueError('wrong-expression', `${quote(text.slice(next))} has no }`, 'write $${ for the characters ${')
    }
    if (plain !== '') parts.push({ text: plain })
    plain = ''
    const expression = text.slice(next + opening.length, end)
    parts.push({ expression, tokens: tokensOf(expression) })
    at = end + 1
  }
  if (plain !== '' || parts.length === 0) parts.push({ text: plain })
  return parts
}

/** Numbers and names in turn with `+`, `-` and `*`. */
function tokensOf(expression: string): Token[] {
  const tokens: Token[] = []
  const pattern = /\s*(?:([0-9]{1,15})|([A-Za-z][A-Za-z0-9_]*)|([-+*]))\s*/y
  while (pattern.lastIndex < expression.length) {
    const match = pattern.exec(expression)
    const isOperator = match?.[3] !== undefined
    if (match === null || isOperator !== (tokens.length % 2 === 1)) throw wrongExpression(expression)
    tokens.push(match[1] === undefined ? (match[2] ?? match[3])! : Number(match[1]))
  }
  if (tokens.length % 2 === 0) throw wrongExpression(expression)
  return tokens
}

function wrongExpression(expression: string): ValueError {
  return new ValueError(
    'wrong-expression',
    `${quote(`\${${expression}}`)} is no variable and no sum`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is what people write
    'write ${port}, ${20000+index} or ${port+10*index}',
  )
}

function isVariable(token: Token): token is string {
  return typeof token === 'string' && variableNamePattern.test(token)
}

function evaluate(tokens: readonly Token[], expression: string, scope: Scope): VariableValue {
  const resolved = (token: Token): VariableValue => {
    if (typeof token === 'number') return token
    const value = scope.get(token)
    if (value !== undefined) return value
    const near = closestName(token, scope.keys())
    const known = [...scope.keys()].slice(0, 20).join(', ')
    throw new ValueError(
      'unknown-variable',
      `there is no variable ${quote(token)} here`,
      near === null ? `there are ${known}; write $$\${ for the characters \${` : `did you mean ${near}?`,
    )
  }
  const numberOf = (token: Token): number => {
    const value = resolved(token)
    if (typeof value === 'number' && Number.isSafeInteger(value)) return value
    throw new ValueError(
      'wrong-expression',
      `${quote(String(token))} is ${quote(String(value))}, and ${quote(`\${${expression}}`)} reckons with whole numbers`,
    )
  }
  if (tokens.length === 1) return resolved(tokens[0]!)
  let sum = 0
  let sign = 1
  let product = numberOf(tokens[0]!)
  for (let at = 1; at < tokens.length; at += 2) {
    const operand = numberOf(tokens[at + 1]!)
    if (tokens[at] === '*') product *= operand
    else {
      sum += sign * product
      sign = tokens[at] === '-' ? -1 : 1
      product = operand
    }
  }
  sum += sign * product
  if (Number.isSafeInteger(sum)) return sum
  throw new ValueError('out-of-range', `${quote(`\${${expression}}`)} is too large`)
}
