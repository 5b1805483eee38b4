// How the daemon itself logs: as `log` of the top level says. Where that is silent, its form and files are those that `defaults`
// give all instances; how much it says is not, since instances that shall be quiet are no reason to hide what becomes of them.
import { childOf, emptyMap, type MapNode, mergeNodes, plainValue } from './config-node.ts'
import { sectionSchemas } from './document-schema.ts'
import type { FleetConfig } from './fleet-config.ts'
import type { LogConfig } from './instance-config.ts'
import { logKeys } from './keys.ts'
import { without } from './member-layers.ts'
import { sectionValues } from './section-values.ts'

/**
 * @param top the top level, environment and command line laid over it. What is wrong there is found where instances are judged;
 * the defaults stand in for it
 */
export function resolveDaemonLog(top: MapNode): LogConfig {
  const ofInstances = childOf(childOf(top, 'defaults'), 'log')
  const under = ofInstances?.kind === 'map' ? without(ofInstances, ['level']) : emptyMap(top.baseDirectory)
  const own = childOf(top, 'log')
  const said = plainValue(own === null ? under : mergeNodes(under, own))
  const parsed = sectionSchemas.log.safeParse(said)
  return sectionValues(logKeys, parsed.success ? parsed.data : sectionSchemas.log.parse({}))
}

/** Whether the fleet is one broker in the daemon itself: then its log is the daemon's, and there is no other. */
export function isOneBroker({ members }: Pick<FleetConfig, 'members'>): boolean {
  return members.length === 1 && members[0].isolation === 'inline'
}

/** The settings of the log that the daemon writes. */
export function daemonLogOf(fleet: FleetConfig): LogConfig {
  return isOneBroker(fleet) ? fleet.members[0].config.log : fleet.log
}
