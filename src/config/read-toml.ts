// TOML to a tree of values with places. Knows no keys.
import { type AST, ParseError, parseTOML } from 'toml-eslint-parser'
import { OperatorError, type Place } from '../base/errors.ts'
import { type ConfigNode, documentLimitDepth, emptyMap, type MapEntry, type MapNode } from './config-node.ts'

interface OpenMap extends MapNode {
  readonly entries: Map<string, MapEntry>
}

/**
 * @param findings receives the first syntax error: the parser stops there, and duplicate keys are syntax errors in TOML
 */
export function readToml(text: string, file: string, baseDirectory: string, findings: OperatorError[]): ConfigNode {
  const placeAt = (node: { loc: AST.SourceLocation }, path: readonly string[]): Place => ({
    file,
    line: node.loc.start.line,
    column: node.loc.start.column + 1,
    ...(path.length > 0 ? { key: path.join('.') } : {}),
  })
  const root: OpenMap = { kind: 'map', entries: new Map(), place: { file, line: 1, column: 1 }, baseDirectory }
  let program: AST.TOMLProgram
  try {
    program = parseTOML(text, { tomlVersion: '1.0' })
  } catch (error) {
    if (!(error instanceof ParseError)) throw error
    findings.push(
      new OperatorError('syntax', error.message.replace(/\.$/, ''), {
        place: { file, line: error.lineNumber, column: error.column + 1 },
      }),
    )
    return root
  }

  /** The map that `names` lead to from `from`; an array of tables stands for its last one. */
  const openMap = (
    from: OpenMap,
    keys: readonly (AST.TOMLBare | AST.TOMLQuoted)[],
    path: string[],
    isArray: boolean,
  ): OpenMap => {
    let map = from
    for (const [index, key] of keys.entries()) {
      path.push(nameOf(key))
      if (path.length > documentLimitDepth) throw tooDeep(placeAt(key, path))
      const place = placeAt(key, path)
      const fresh: OpenMap = { ...emptyMap(baseDirectory, place), entries: new Map() }
      const found = map.entries.get(nameOf(key))
      const wantsItem = isArray && index === keys.length - 1
      if (found === undefined) {
        const value: ConfigNode = wantsItem ? { kind: 'list', items: [fresh], place, baseDirectory } : fresh
        map.entries.set(nameOf(key), { keyPlace: place, value })
        map = fresh
      } else if (found.value.kind === 'list') {
        if (wantsItem) {
          const items = [...found.value.items, fresh]
          map.entries.set(nameOf(key), { keyPlace: found.keyPlace, value: { ...found.value, items } })
          map = fresh
        } else map = found.value.items.at(-1) as OpenMap
      } else map = found.value as OpenMap
    }
    return map
  }

  const addPair = (map: OpenMap, pair: AST.TOMLKeyValue, path: readonly string[]): void => {
    const keyPath = [...path]
    const keys = pair.key.keys
    const target = openMap(map, keys.slice(0, -1), keyPath, false)
    const last = keys[keys.length - 1]!
    keyPath.push(nameOf(last))
    target.entries.set(nameOf(last), { keyPlace: placeAt(last, keyPath), value: convert(pair.value, keyPath) })
  }

  const convert = (node: AST.TOMLContentNode, path: readonly string[]): ConfigNode => {
    const place = placeAt(node, path)
    if (path.length > documentLimitDepth) throw tooDeep(place)
    if (node.type === 'TOMLArray') {
      const items = node.elements.map((item, index) => convert(item, [...path, String(index)]))
      return { kind: 'list', items, place, baseDirectory }
    }
    if (node.type === 'TOMLInlineTable') {
      const map: OpenMap = { kind: 'map', entries: new Map(), place, baseDirectory }
      for (const pair of node.body) addPair(map, pair, path)
      return map
    }
    const value = node.value instanceof Date ? (node as AST.TOMLDateTimeValue).datetime : node.value
    return { kind: 'scalar', value, place, baseDirectory }
  }

  try {
    for (const item of program.body[0].body) {
      if (item.type === 'TOMLKeyValue') addPair(root, item, [])
      else {
        const path: string[] = []
        const map = openMap(root, item.key.keys, path, item.kind === 'array')
        for (const pair of item.body) addPair(map, pair, path)
      }
    }
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    findings.push(error)
  }
  return root
}

function nameOf(key: AST.TOMLBare | AST.TOMLQuoted): string {
  return key.type === 'TOMLBare' ? key.name : key.value
}

function tooDeep(place: Place): OperatorError {
  return new OperatorError('syntax', 'nested too deeply for a configuration', { place })
}
