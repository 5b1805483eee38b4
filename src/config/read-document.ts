// One file of a configuration as a tree of values. Knows no key.
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { dirname, extname } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import { ConfigError } from './config-error.ts'
import { type ConfigNode, documentLimitBytes, type MapNode } from './config-node.ts'
import { readToml } from './read-toml.ts'
import { readYaml } from './read-yaml.ts'

/**
 * @param findings receives duplicate keys, which do not hide what else is wrong
 * @throws ConfigError when the text cannot be understood
 */
export function readDocument(
  file: string,
  findings: OperatorError[],
  origin = 'name the configuration file with -c FILE',
): MapNode {
  const text = readText(file, origin)
  const kind = extname(file).toLowerCase()
  let root: ConfigNode | null = null
  const found: OperatorError[] = []
  try {
    root = (kind === '.toml' ? readToml : readYaml)(text, file, dirname(file), found)
  } catch (error) {
    // Both parsers call themselves for each level of nesting.
    if (!(error instanceof RangeError)) throw error
    found.push(new OperatorError('syntax', 'nested too deeply for a configuration', { place: { file } }))
  }
  if (root === null || found.some(({ code }) => code !== 'duplicate-key')) throw new ConfigError(found)
  findings.push(...found)
  if (root.kind === 'map') return root
  throw new ConfigError([
    new OperatorError('syntax', 'the file is no mapping of keys to values', {
      place: root.place,
      fix: 'see docs/configuration.md for an example',
    }),
  ])
}

/** @throws ConfigError */
function readText(file: string, origin: string): string {
  const fail = (code: string, message: string, fix?: string, cause?: unknown): never => {
    throw new ConfigError([new OperatorError(code, message, { place: { file }, fix, cause })])
  }
  let bytes: Buffer
  try {
    const descriptor = openSync(file, 'r')
    try {
      const { size } = fstatSync(descriptor)
      if (size > documentLimitBytes)
        return fail('file-too-large', `a configuration has at most ${documentLimitBytes} bytes`)
      bytes = readFileSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') return fail('file-missing', 'there is no such file', origin, error)
    if (code === 'EACCES') return fail('file-unreadable', 'this account may not read the file', undefined, error)
    if (code === 'EISDIR') return fail('file-unreadable', 'this is a directory', 'name a file in it', error)
    return fail('file-unreadable', `cannot be read: ${(error as Error).message}`, undefined, error)
  }
  if (bytes.length > documentLimitBytes)
    return fail('file-too-large', `a configuration has at most ${documentLimitBytes} bytes`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    return fail('syntax', 'the file is not UTF-8 text', undefined, error)
  }
  // Nothing at all is more likely half a write than a wish for the defaults.
  if (text.trim() === '') fail('file-empty', 'the file is empty', 'write at least a comment, or remove the file')
  return text
}
