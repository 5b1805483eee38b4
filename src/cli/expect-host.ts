// What a daemon asks of its host before it starts a fleet: everything that is missing at once, or nothing is started. What
// another program has in its hands is the trouble of those instances only that want it too.
import { setTimeout as wait } from 'node:timers/promises'
import { describeOperatorError, type OperatorError } from '../base/errors.ts'
import type { LoadedFleet } from '../config/load-fleet.ts'
import { checkHost, HostError, readHostFacts } from '../fleet/host-check.ts'
import type { Log } from '../observe/log.ts'

/** The processes of a daemon that was killed let go of their places by themselves, and as soon as they notice. */
const letGoMs = [100, 200, 400]
const passingCodes = ['port-in-use', 'socket-in-use']

/**
 * The daemon has its admin socket already. What may go wrong under load is logged. Of several instances each finds out by
 * itself that its port or socket is in use.
 * @throws HostError with every finding
 */
export async function expectHost(loaded: LoadedFleet, platform: NodeJS.Platform, log: Log): Promise<void> {
  const facts = readHostFacts()
  const look = () => checkHost(loaded, facts, platform, [loaded.fleet.admin.listen])
  let findings = await look()
  const mayPass = () => findings.some(({ error }) => passingCodes.includes(error.code))
  for (const delayMs of letGoMs) {
    if (!mayPass()) break
    await wait(delayMs)
    findings = await look()
  }
  const isAlone = loaded.fleet.members.length === 1
  const errors: OperatorError[] = []
  for (const { severity, error } of findings) {
    if (severity === 'error') {
      if (isAlone || !passingCodes.includes(error.code)) errors.push(error)
    } else log.warn(describeOperatorError(error))
  }
  const [first, ...others] = errors
  if (first !== undefined) throw new HostError([first, ...others])
}
