// The desired state of a whole fleet after parsing, templates, merging and filling in defaults: what the supervisor reads.
import type { InstanceConfig, LogConfig } from './instance-config.ts'

/** Where an instance runs: a process of its own, a process shared with others of its pool, or the daemon itself. */
export type Isolation = 'process' | 'shared' | 'inline'

/** always: with the fleet; on-demand: at the first connection to one of its listeners; manual: only when told to. */
export type StartPolicy = 'always' | 'on-demand' | 'manual'

export interface RestartPolicy {
  /** Waits this long before the first restart, twice as long before each further one. */
  backoffSeconds: number
  backoffLimitSeconds: number
  /** More than `burst` crashes within `burstSeconds`: failed, until somebody starts it by hand. */
  burst: number
  burstSeconds: number
}

export interface FleetMember {
  config: InstanceConfig
  isolation: Isolation
  /** Instances of one pool share host processes. */
  pool: string
  /** Instances per host process of the pool. */
  poolSize: number
  start: StartPolicy
  /** Stops an on-demand instance after so long without a connection; 0 for never. */
  stopWhenIdleSeconds: number
  /** Names of instances that are started before this one. */
  after: string[]
  restart: RestartPolicy
  /** For `process`: null leaves the daemon's own. */
  user: string | null
  group: string | null
  nice: number
  /** Limit of the JavaScript heap in bytes, 0 for Node's own. */
  heapBytes: number
  /** The instance's own folders, absolute. */
  dataDir: string
  logDir: string
  /** Name of the template it came from; null for none. */
  template: string | null
  /** File (absolute) in which it is described; null for one made by the defaults alone. */
  file: string | null
}

export interface AdminConfig {
  /** `unix:///…/admin.sock`. */
  listen: string
  mode: number
}

export interface FleetConfig {
  admin: AdminConfig
  /** Of the daemon itself, unless its only instance runs in it: see daemon-log.ts. */
  log: LogConfig
  runDir: string
  dataDir: string
  logDir: string
  members: FleetMember[]
  /** Every file that took part, in order. */
  files: string[]
  /** The longest of all instances; 0 without any. */
  gracePeriodSeconds: number
}

export function longestGraceSeconds(members: readonly FleetMember[]): number {
  return members.reduce((longest, { config }) => Math.max(longest, config.gracePeriodSeconds), 0)
}
