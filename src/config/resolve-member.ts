// One member of a fleet: its instance, and how the fleet runs it, with everything checked that needs more than one key.
import { join, resolve } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import type { AddressGrammar } from './check-listeners.ts'
import { type ConfigNode, childOf, isSaid, type MapNode, placeOf } from './config-node.ts'
import type { FleetMember } from './fleet-config.ts'
import type { JudgedNodes } from './judged-nodes.ts'
import { memberKeys, processLimitKeys, restartKeys } from './keys.ts'
import type { MemberSource } from './member-sources.ts'
import { resolveInstance } from './resolve-instance.ts'

export interface MemberSurroundings {
  /** Whether it is the only one. */
  readonly isAlone: boolean
  /** The folders of the top level. */
  readonly dataDir: string
  readonly logDir: string
  readonly grammar: AddressGrammar
  /** Shared by the members of one fleet. */
  readonly judged: JudgedNodes
}

/** Keys that say nothing unless another key has one certain value. */
export const dependentKeys: readonly { path: readonly string[]; on: 'isolation' | 'start'; value: string }[] = [
  { path: ['pool'], on: 'isolation', value: 'shared' },
  { path: ['poolSize'], on: 'isolation', value: 'shared' },
  { path: ['user'], on: 'isolation', value: 'process' },
  { path: ['group'], on: 'isolation', value: 'process' },
  { path: ['nice'], on: 'isolation', value: 'process' },
  { path: ['limits', 'heap'], on: 'isolation', value: 'process' },
  { path: ['stopWhenIdle'], on: 'start', value: 'on-demand' },
]

/**
 * @param root everything that is said about the member, variables replaced
 * @param layers what `root` was merged from, the last word last
 * @param findings empty so far: what is wrong with the keys one by one
 * @returns null when anything is wrong
 */
export function resolveMember(
  source: MemberSource,
  root: MapNode,
  layers: readonly ConfigNode[],
  surroundings: MemberSurroundings,
  findings: OperatorError[],
): FleetMember | null {
  const { judged, grammar } = surroundings
  const config = resolveInstance(source.name, root, grammar, findings, judged)
  if (config === null) return null
  const values = judged.keys(root, memberKeys)
  const restart = judged.section(root, 'restart', restartKeys)
  const isolation = values.isolation ?? (surroundings.isAlone ? 'inline' : 'process')
  checkDependentKeys(root, layers, { isolation, start: values.start }, findings)
  if (restart.backoffLimitSeconds < restart.backoffSeconds) {
    const key = childOf(childOf(root, 'restart'), 'backoffLimit') === null ? 'backoff' : 'backoffLimit'
    findings.push(
      new OperatorError('wrong-value', 'backoffLimit is shorter than backoff', {
        place: placeOf(root, ['restart', key]),
        fix: 'make backoffLimit at least as long',
      }),
    )
  }
  if (findings.length > 0) return null

  const folder = (key: 'dataDir' | 'logDir'): string => {
    const node = childOf(root, key)
    if (node?.kind === 'scalar' && typeof node.value === 'string') return resolve(node.baseDirectory, node.value)
    return join(surroundings[key], source.name)
  }
  return {
    config,
    ...values,
    isolation,
    restart,
    ...judged.section(root, 'limits', processLimitKeys),
    dataDir: folder('dataDir'),
    logDir: folder('logDir'),
    template: source.template?.name ?? null,
    file: source.file,
  }
}

/** A key without effect is refused, unless what it depends on was changed after it was said: that is overriding. */
function checkDependentKeys(
  root: ConfigNode,
  layers: readonly ConfigNode[],
  actual: Readonly<Record<'isolation' | 'start', string>>,
  findings: OperatorError[],
): void {
  for (const { path, on, value } of dependentKeys) {
    // What no layer says is not in the sum of all.
    if (actual[on] === value || !isThere(root, path)) continue
    const saidLast = (steps: readonly string[]) => layers.findLastIndex((layer) => isSaid(layer, steps))
    const said = saidLast(path)
    if (said < 0 || said < saidLast([on])) continue
    const message = `has no effect while ${on} is ${actual[on]}`
    const fix = `set ${on}: ${value}, or take it out`
    findings.push(new OperatorError('not-applicable', message, { place: placeOf(root, path), fix }))
  }
}

function isThere(root: ConfigNode, path: readonly string[]): boolean {
  return path.reduce<ConfigNode | null>(childOf, root) !== null
}
