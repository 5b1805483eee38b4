// `atoll check`: says everything that is wrong with a configuration and the files that it names, and starts nothing.
import type { Command } from 'commander'
import { OperatorError } from '../base/errors.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import type { LoadedFleet } from '../config/load-fleet.ts'
import { FaultyFleetError, type NamedThings } from '../config/named-things.ts'
import type { FleetStatus } from '../fleet/fleet.ts'
import { addConfigOptions } from './config-options.ts'
import { counted } from './counted.ts'
import { exitCodes } from './exit-codes.ts'
import type { ConfigOptions } from './read-config.ts'
import { describeLine, findingsOf } from './report-error.ts'

interface CheckOptions extends ConfigOptions {
  json?: true
  host?: true
}

/** What somebody has at this moment: no fault of the configuration. */
const codesWhileRunning = ['port-in-use', 'socket-in-use']
const statusTimeLimitMs = 2000

export function registerCheck(program: Command): void {
  addConfigOptions(program.command('check'))
    .description('check a configuration: one line per finding on the standard error, and exit code 2')
    .option('--host', 'ask this host too: ports, folders, open files and memory')
    .option('--json', 'print the result as JSON on the standard output')
    .action(check)
}

async function check(options: CheckOptions): Promise<void> {
  const { readFleet } = await import('./read-config.ts')
  let members: readonly FleetMember[] = []
  let findings: readonly OperatorError[] = []
  let warnings: readonly OperatorError[] = []
  try {
    const loaded = readFleet(options)
    members = loaded.fleet.members
    findings = await checkFiles(members.map(({ config }) => config.auth))
    const ofHost = options.host ? await askHost(loaded) : { errors: await askAccounts(loaded), warnings: [] }
    findings = [...findings, ...ofHost.errors]
    warnings = ofHost.warnings
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    findings = [...findingsOf(error), ...(error instanceof FaultyFleetError ? await checkNamed(error.named) : [])]
  }
  const isOk = findings.length === 0
  const listeners = members.reduce((sum, { config }) => sum + config.listeners.length, 0)
  if (options.json) {
    const result = {
      ok: isOk,
      ...(isOk ? { instances: members.length, listeners } : {}),
      findings: findings.map(plainFinding),
      ...(options.host ? { warnings: warnings.map(plainFinding) } : {}),
    }
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  } else {
    for (const finding of findings) process.stderr.write(`${describeLine(finding)}\n`)
    for (const warning of warnings) process.stderr.write(`warning: ${describeLine(warning)}\n`)
    if (isOk) process.stdout.write(`ok: ${counted(members.length, 'instance')}, ${counted(listeners, 'listener')}\n`)
  }
  process.exitCode = isOk ? exitCodes.ok : exitCodes.configuration
}

/** The password and ACL files, each once, however many instances share it. */
async function checkFiles(ofInstances: NamedThings['files']): Promise<OperatorError[]> {
  const { checkAuthFiles } = await import('../instance/check-auth-files.ts')
  const passwords = new Set<string | null>([null])
  const acls = new Set<string | null>([null])
  const findings: OperatorError[] = []
  for (const auth of ofInstances) {
    const isKnown = { passwords: passwords.has(auth.passwords), acl: acls.has(auth.acl) }
    passwords.add(auth.passwords)
    acls.add(auth.acl)
    findings.push(
      ...checkAuthFiles({
        passwords: isKnown.passwords ? null : auth.passwords,
        acl: isKnown.acl ? null : auth.acl,
      }),
    )
  }
  return findings
}

/** A faulty configuration names files and accounts too: whoever mends it wants to know all at once. */
async function checkNamed({ files, accounts }: NamedThings): Promise<OperatorError[]> {
  const { findUnknown } = await import('../fleet/account-check.ts')
  return [...(await checkFiles(files)), ...(await findUnknown(accounts, process.platform))]
}

async function askAccounts(loaded: LoadedFleet): Promise<OperatorError[]> {
  const { findUnknownAccounts } = await import('../fleet/account-check.ts')
  return findUnknownAccounts(loaded, process.platform)
}

async function askHost(loaded: LoadedFleet): Promise<{ errors: OperatorError[]; warnings: OperatorError[] }> {
  const { checkHost, readHostFacts } = await import('../fleet/host-check.ts')
  const held = await askRunningDaemon(loaded.fleet.admin.listen)
  const found = await checkHost(loaded, readHostFacts(), process.platform, held)
  const isError = ({ severity, error }: (typeof found)[number]) =>
    severity === 'error' && !codesWhileRunning.includes(error.code)
  return {
    errors: found.filter(isError).map(({ error }) => error),
    warnings: found.filter((one) => !isError(one)).map(({ error }) => error),
  }
}

/** @returns what the daemon of this configuration has already, if one runs and tells us */
async function askRunningDaemon(listen: string): Promise<string[]> {
  const { AdminClient } = await import('./admin-client.ts')
  try {
    const admin = new AdminClient(listen.slice('unix://'.length), statusTimeLimitMs)
    const { members } = await admin.call<FleetStatus>('fleet.status')
    const open = members.flatMap(({ listeners }) => listeners.filter(({ phase }) => phase === 'listening'))
    return [listen, ...open.map(({ address }) => address)]
  } catch (error) {
    if (error instanceof OperatorError) return []
    throw error
  }
}

function plainFinding({ code, message, fix, place }: OperatorError): object {
  return { code, message, fix, ...place }
}
