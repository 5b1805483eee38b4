// What the tests of this folder share: files in a folder of their own, and a small grammar of addresses.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { OperatorError } from '../base/errors.ts'
import type { AddressGrammar, ListenerAddress } from './check-listeners.ts'
import { ConfigError } from './config-error.ts'
import type { InstanceConfig } from './instance-config.ts'
import { type LoadedFleet, type LoadOptions, loadFleet } from './load-fleet.ts'

export const grammar: AddressGrammar = {
  parse(text, { port, place }): ListenerAddress {
    if (text.startsWith('fd:')) return { kind: 'fd', descriptor: Number(text.slice(3)) }
    const tcp = /^(?:tcp:\/\/)?([a-z0-9.*]+|\[[0-9a-f:]+\])(?::(\d+))?$/.exec(text)
    if (tcp !== null) return { kind: 'tcp', host: tcp[1]!.replace(/[[\]]/g, ''), port: port ?? Number(tcp[2] ?? 1883) }
    const unix = /^(?:unix:\/\/|local:)(\/.+)$/.exec(text)
    if (unix !== null) return { kind: 'unix', path: unix[1]! }
    if (text.startsWith('unix:@')) return { kind: 'abstract', name: text.slice(6) }
    throw new OperatorError('address-invalid', `the address ${JSON.stringify(text)} is not known`, { place })
  },
  format(address) {
    if (address.kind === 'tcp')
      return `tcp://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`
    if (address.kind === 'unix') return `unix://${address.path}`
    return address.kind === 'abstract' ? `unix:@${address.name}` : `fd:${address.descriptor}`
  },
  isLoopback: (address) =>
    address.kind !== 'fd' && (address.kind !== 'tcp' || /^(127\.|::1$|localhost$)/.test(address.host)),
  socketFolderLimitBytes: 80,
}

const folder = mkdtempSync(join(tmpdir(), 'atoll-config-'))
after(() => rmSync(folder, { recursive: true, force: true }))
let files = 0

export function fileWith(text: string | Buffer, extension = 'yaml'): string {
  const file = join(folder, `${files++}.${extension}`)
  writeFileSync(file, text)
  return file
}

/** What a file of one instance is loaded to. */
interface LoadedInstance extends Pick<LoadedFleet, 'isDefaultRunDir' | 'file' | 'sources'> {
  config: InstanceConfig
  paths: { runDir: string; dataDir: string; logDir: string }
}

/** Loads `text` as a file, or no file for null: the one instance that it describes. */
export function load(text: string | null, extension = 'yaml', options: Partial<LoadOptions> = {}): LoadedInstance {
  const { fleet, isDefaultRunDir, file, sources } = loadAll(text, extension, options)
  const { runDir, dataDir, logDir, members } = fleet
  if (members.length !== 1) throw new Error(`${members.length} instances`)
  return { config: members[0]!.config, paths: { runDir, dataDir, logDir }, isDefaultRunDir, file, sources }
}

/** Loads `text` as a file, or no file for null. */
export function loadAll(text: string | null, extension = 'yaml', options: Partial<LoadOptions> = {}): LoadedFleet {
  return loadFleet(loadOptions(text, extension, options))
}

function loadOptions(text: string | null, extension: string, options: Partial<LoadOptions>): LoadOptions {
  return {
    file: text === null ? null : fileWith(text, extension),
    environment: { HOME: '/home/user' },
    listen: [],
    settings: [],
    workingDirectory: '/srv',
    uid: 1000,
    grammar,
    ...options,
  }
}

/** The findings of a file that must be refused, as `line:column key code`. */
export function faults(text: string | null, extension = 'yaml', options: Partial<LoadOptions> = {}): string[] {
  return findings(text, extension, options).map(({ place, code }) =>
    [place?.line === undefined ? (place?.file ?? '') : `${place.line}:${place.column}`, place?.key ?? '-', code].join(
      ' ',
    ),
  )
}

export function findings(
  text: string | null,
  extension = 'yaml',
  options: Partial<LoadOptions> = {},
): readonly OperatorError[] {
  try {
    loadAll(text, extension, options)
  } catch (error) {
    if (error instanceof ConfigError) return error.findings
    throw error
  }
  throw new Error('the configuration was accepted')
}
