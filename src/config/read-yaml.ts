// YAML (and JSON, which is YAML too) to a tree of values with places. Knows no keys.
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { OperatorError, type Place } from '../base/errors.ts'
import { type ConfigNode, documentLimitDepth, documentLimitNodes, emptyMap, type MapEntry } from './config-node.ts'

/**
 * @returns the tree; a document without content is an empty map
 * @param findings receives every syntax error; the tree is incomplete when there are any
 */
export function readYaml(text: string, file: string, baseDirectory: string, findings: OperatorError[]): ConfigNode {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true, uniqueKeys: true })
  const placeAt = (offset: number, path: readonly string[]): Place => {
    const { line, col } = lines.linePos(offset)
    return {
      file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      ...(path.length > 0 ? { key: path.join('.') } : {}),
    }
  }
  for (const problem of [...document.errors, ...document.warnings]) {
    findings.push(
      new OperatorError(problem.code === 'DUPLICATE_KEY' ? 'duplicate-key' : 'syntax', messageOf(problem), {
        place: placeAt(problem.pos[0], []),
      }),
    )
  }
  let nodes = 0
  const open = new Set<Node>()

  const convert = (node: unknown, path: readonly string[], fallbackOffset: number): ConfigNode => {
    const source = node as Node | null
    const offset = source?.range?.[0] ?? fallbackOffset
    const place = placeAt(offset, path)
    const nothing: ConfigNode = { kind: 'scalar', value: null, place, baseDirectory }
    nodes += 1
    if (nodes > documentLimitNodes || path.length > documentLimitDepth) {
      if (nodes !== Number.POSITIVE_INFINITY) {
        findings.push(
          new OperatorError('syntax', 'too many values, or nested too deeply, for a configuration', {
            place: placeAt(offset, []),
          }),
        )
      }
      nodes = Number.POSITIVE_INFINITY
      return nothing
    }
    if (isScalar(source)) {
      const { value } = source
      const known =
        value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
      return { ...nothing, value: known ? value : String(source.source ?? value) }
    }
    if (isAlias(source)) {
      const target = source.resolve(document)
      if (target === undefined || open.has(target)) {
        findings.push(new OperatorError('syntax', `the alias *${source.source} has no value of its own`, { place }))
        return nothing
      }
      return convert(target, path, offset)
    }
    if (isSeq(source)) {
      open.add(source)
      const items = source.items.map((item, index) => convert(item, [...path, String(index)], offset))
      open.delete(source)
      return { kind: 'list', items, place, baseDirectory }
    }
    if (!isMap(source)) return nothing
    open.add(source)
    const entries = new Map<string, MapEntry>()
    for (const pair of source.items) {
      const keyOffset = (pair.key as Node | null)?.range?.[0] ?? offset
      if (!isScalar(pair.key)) {
        findings.push(new OperatorError('syntax', 'a key must be a plain name', { place: placeAt(keyOffset, path) }))
        continue
      }
      const name = pair.key.source ?? String(pair.key.value)
      const keyPath = [...path, name]
      entries.set(name, { keyPlace: placeAt(keyOffset, keyPath), value: convert(pair.value, keyPath, keyOffset) })
    }
    open.delete(source)
    return { kind: 'map', entries, place, baseDirectory }
  }

  const root = convert(document.contents, [], 0)
  return root.kind === 'scalar' && root.value === null ? emptyMap(baseDirectory, root.place) : root
}

function messageOf(problem: { code: string; message: string }): string {
  if (problem.code === 'DUPLICATE_KEY') return 'this key stands here twice'
  if (problem.code === 'MULTIPLE_DOCS') return 'the file holds more than one document'
  if (problem.code === 'RESOURCE_EXHAUSTION' || /call stack/i.test(problem.message)) {
    return 'nested too deeply for a configuration'
  }
  return problem.message.replace(/\s+/g, ' ').trim()
}
