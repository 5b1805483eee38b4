// The keys that belong to the fleet and to no instance: its folders and its admin socket.
import { join, resolve } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import type { AddressGrammar } from './check-listeners.ts'
import { childOf, type MapNode, placeOf, plainValue } from './config-node.ts'
import type { DefaultPaths } from './default-paths.ts'
import { adminSchema, fleetKeysSchema } from './document-schema.ts'
import { findFaults } from './find-faults.ts'
import type { FleetConfig } from './fleet-config.ts'
import { adminKeys } from './keys.ts'
import { sectionValues } from './section-values.ts'

/**
 * @param top the top level, environment and command line laid over it
 * @param defaults null when the account has no home
 */
export function resolveFleetKeys(
  top: MapNode,
  defaults: DefaultPaths | null,
  workingDirectory: string,
  grammar: AddressGrammar,
  findings: OperatorError[],
): Pick<FleetConfig, 'admin' | 'runDir' | 'dataDir' | 'logDir'> {
  const directory = (key: 'runDir' | 'dataDir' | 'logDir'): string => {
    const node = childOf(top, key)
    if (node?.kind === 'scalar' && typeof node.value === 'string') return resolve(node.baseDirectory, node.value)
    if (defaults !== null) return defaults[key]
    findings.push(
      new OperatorError('no-home', `neither HOME nor the XDG variables say where ${key} is`, {
        place: { key },
        fix: `set ${key} in the configuration, or HOME in the environment`,
      }),
    )
    return workingDirectory
  }
  const directories = { runDir: directory('runDir'), dataDir: directory('dataDir'), logDir: directory('logDir') }
  const faults = findFaults(fleetKeysSchema, top)
  findings.push(...faults)
  const admin = childOf(top, 'admin')
  const { listen, mode } = sectionValues(
    adminKeys,
    adminSchema.parse((faults.length > 0 || admin === null ? null : plainValue(admin)) ?? {}),
  )
  let address = `unix://${join(directories.runDir, 'admin.sock')}`
  if (listen !== null) {
    const place = placeOf(top, ['admin', 'listen'])
    try {
      const parsed = grammar.parse(listen, { place })
      address = grammar.format(parsed)
      if (parsed.kind !== 'unix') {
        const message = `${address} is no socket file, and this version manages a fleet through one`
        findings.push(new OperatorError('address-unsupported', message, { place, fix: 'write unix:///path' }))
      }
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error
      findings.push(error)
    }
  }
  return { ...directories, admin: { listen: address, mode } }
}
