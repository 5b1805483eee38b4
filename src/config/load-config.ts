// Finds and reads the configuration file, lays environment and command line over it, and answers with one instance or
// with everything that is wrong. Reads no other file and starts nothing.
import { closeSync, existsSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { dirname, extname, join, resolve } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import type { AddressGrammar } from './check-listeners.ts'
import { ConfigError } from './config-error.ts'
import {
  type ConfigNode,
  childOf,
  documentLimitBytes,
  emptyMap,
  type MapNode,
  mergeNodes,
  withValue,
} from './config-node.ts'
import { type DefaultPaths, defaultPaths } from './default-paths.ts'
import { documentSchema } from './document-schema.ts'
import { findFaults } from './find-faults.ts'
import type { InstanceConfig } from './instance-config.ts'
import { applyEnvironment, applyListen, applySettings } from './overrides.ts'
import { readToml } from './read-toml.ts'
import { readYaml } from './read-yaml.ts'
import { resolveInstance } from './resolve-instance.ts'

export interface LoadOptions {
  /** The file of the command line; null for ATOLL_CONFIG, then the default places. */
  file: string | null
  environment: Readonly<Record<string, string | undefined>>
  /** Addresses that replace all listeners. */
  listen: readonly string[]
  /** `key.path=value`, the last word. */
  settings: readonly string[]
  workingDirectory: string
  /** Account of the process: root has other default paths. */
  uid: number
  grammar: AddressGrammar
}

export interface ConfigPaths {
  runDir: string
  dataDir: string
  logDir: string
}

export interface LoadedConfig {
  config: InstanceConfig
  paths: ConfigPaths
  /** Whether `runDir` is the default of the account, and nobody's choice. */
  isDefaultRunDir: boolean
  /** Absolute path; null when there is no file. */
  file: string | null
  /** What took part after the built-in defaults, in order of precedence: the file, variables, options. */
  sources: string[]
}

const fileNames = ['atoll.yaml', 'atoll.yml', 'atoll.toml', 'atoll.json']

/** @throws ConfigError with every finding */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const findings: OperatorError[] = []
  const defaults = defaultPaths(options.uid, options.environment)
  const file = findFile(options, defaults)
  const document = file === null ? emptyMap(options.workingDirectory) : readDocument(file, findings)
  // A missing key may still come from another layer: only the sum of all layers shows.
  findings.push(...findFaults(documentSchema, document).filter(({ code }) => code !== 'missing-key'))

  const { name, root: fromFile } = selectInstance(document, findings)
  const { root: withVariables, applied } = applyEnvironment(
    fromFile,
    options.environment,
    options.workingDirectory,
    findings,
  )
  const withListen = applyListen(withVariables, options.listen, options.workingDirectory)
  const merged = applySettings(withListen, options.settings, options.workingDirectory, findings)

  const directory = (key: 'runDir' | 'dataDir' | 'logDir'): string => {
    const node = childOf(merged, key)
    if (node?.kind === 'scalar' && typeof node.value === 'string') return resolve(node.baseDirectory, node.value)
    if (defaults !== null) return defaults[key]
    findings.push(
      new OperatorError('no-home', `neither HOME nor the XDG variables say where ${key} is`, {
        place: { key },
        fix: `set ${key} in the configuration, or HOME in the environment`,
      }),
    )
    return options.workingDirectory
  }
  const paths: ConfigPaths = { runDir: directory('runDir'), dataDir: directory('dataDir'), logDir: directory('logDir') }

  const root =
    options.listen.length > 0 ? merged : withDefaultListeners(merged, fromFile, `${paths.runDir}/${name}.sock`)
  findings.push(...findFaults(documentSchema, root))
  const config = resolveInstance(name, root, options.grammar, findings)
  if (config === null) throw new ConfigError(findings)
  const sources = [
    ...(file === null ? [] : [file]),
    ...applied,
    ...(options.listen.length > 0 ? ['--listen'] : []),
    ...(options.settings.length > 0 ? ['--set'] : []),
  ]
  return { config, paths, isDefaultRunDir: childOf(merged, 'runDir') === null, file, sources }
}

/** @throws ConfigError */
function findFile(options: LoadOptions, defaults: DefaultPaths | null): string | null {
  const named = options.file ?? options.environment.ATOLL_CONFIG
  if (named !== undefined && named !== '') return resolve(options.workingDirectory, named)
  if (defaults === null) return null
  const present = fileNames.map((name) => join(defaults.configDirectory, name)).filter((path) => existsSync(path))
  if (present.length > 1) {
    throw new ConfigError([
      new OperatorError('ambiguous-file', `there are two configuration files, ${present[0]} and ${present[1]}`, {
        fix: 'remove one, or name one with -c',
      }),
    ])
  }
  return present[0] ?? null
}

/**
 * @param findings receives duplicate keys, which do not hide what else is wrong
 * @throws ConfigError when the text cannot be understood
 */
function readDocument(file: string, findings: OperatorError[]): MapNode {
  const text = readText(file)
  const kind = extname(file).toLowerCase()
  let root: ConfigNode | null = null
  try {
    root = (kind === '.toml' ? readToml : readYaml)(text, file, dirname(file), findings)
  } catch (error) {
    // Both parsers call themselves for each level of nesting.
    if (!(error instanceof RangeError)) throw error
    findings.push(new OperatorError('syntax', 'nested too deeply for a configuration', { place: { file } }))
  }
  if (root === null || findings.some(({ code }) => code !== 'duplicate-key')) throw new ConfigError(findings)
  if (root.kind === 'map') return root
  throw new ConfigError([
    new OperatorError('syntax', 'the file is no mapping of keys to values', {
      place: root.place,
      fix: 'see docs/configuration.md for an example',
    }),
  ])
}

/** @throws ConfigError */
function readText(file: string): string {
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
    if (code === 'ENOENT')
      return fail('file-missing', 'there is no such file', 'name the configuration file with -c FILE', error)
    if (code === 'EACCES') return fail('file-unreadable', 'this account may not read the file', undefined, error)
    if (code === 'EISDIR')
      return fail('file-unreadable', 'this is a directory', 'name the file in it with -c FILE', error)
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

/** The one instance of a file, with what the file says for every instance merged under it. */
function selectInstance(document: MapNode, findings: OperatorError[]): { name: string; root: MapNode } {
  const asMap = (node: ConfigNode | null): MapNode | null => (node?.kind === 'map' ? node : null)
  const shared = new Map([...document.entries].filter(([key]) => key !== 'instances' && key !== 'defaults'))
  let root: MapNode = { ...document, entries: shared }
  const defaults = asMap(childOf(document, 'defaults'))
  if (defaults !== null) root = mergeNodes(root, defaults) as MapNode

  const instances = childOf(document, 'instances')
  if (instances === null) {
    // Without instances the top level is the instance, and wins over `defaults`.
    return { name: 'default', root: mergeNodes(root, { ...document, entries: shared }) as MapNode }
  }
  const [first, second] = instances.kind === 'map' ? [...instances.entries] : []
  if (first === undefined) {
    if (instances.kind === 'map' || (instances.kind === 'scalar' && instances.value === null)) {
      findings.push(
        new OperatorError('wrong-value', 'describes no instance', {
          place: instances.place,
          fix: 'name one, or leave instances out',
        }),
      )
    }
    return { name: 'default', root }
  }
  if (second !== undefined) {
    findings.push(
      new OperatorError('not-in-this-version', 'this version runs one instance, and here is another', {
        place: second[1].keyPlace,
        fix: 'give each instance a file of its own and start each with atoll start -c FILE',
      }),
    )
  }
  const stray = document.entries.get('listeners')
  if (stray !== undefined) {
    findings.push(
      new OperatorError('wrong-place', 'listeners belong to one instance', {
        place: stray.keyPlace,
        fix: `move them under instances.${first[0]}`,
      }),
    )
  }
  const own = asMap(first[1].value)
  return { name: first[0], root: own === null ? root : (mergeNodes(root, own) as MapNode) }
}

/** Where the file names no listeners: one on the loopback address and one socket in the run directory. */
function withDefaultListeners(root: MapNode, fromFile: MapNode, socketPath: string): MapNode {
  if (childOf(fromFile, 'listeners') !== null) return root
  const { baseDirectory } = root
  let listeners = emptyMap(baseDirectory, { key: 'listeners' })
  for (const [name, address] of [
    ['tcp', 'tcp://127.0.0.1:1883'],
    ['local', `unix://${socketPath}`],
  ] as const) {
    const place = { key: `listeners.${name}.address` }
    listeners = withValue(listeners, [name, 'address'], { kind: 'scalar', value: address, place, baseDirectory })
  }
  const over = childOf(root, 'listeners')
  return withValue(root, ['listeners'], over === null ? listeners : mergeNodes(listeners, over))
}
