// An instance with one TCP and one UNIX listener, and its control, whose answers are held against their shapes.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Clock, createSystemClock } from '../base/clock.ts'
import type { Qos } from '../codec/packet-types.ts'
import type { InstanceConfig } from '../config/instance-config.ts'
import type { InstanceInput } from '../config/keys.ts'
import { instanceFromInput } from '../config/resolve-instance.ts'
import { createLog } from '../observe/log.ts'
import { type Address, parseAddress } from '../transport/address.ts'
import { addressGrammar } from './address-grammar.ts'
import { createControl } from './control.ts'
import { controlVerbs } from './control-verbs.ts'
import { createInstance, type Instance } from './instance.ts'

/** What a verb has answered; each test knows what to expect. */
// biome-ignore lint/suspicious/noExplicitAny: plain JSON of many shapes
type Answer = any

/** What SUBSCRIBE says about one filter. */
export function request(filter: string, qos: Qos) {
  return { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
}

export interface ControlledInstance {
  instance: Instance
  directory: string
  logLines: string[]
  /** Also sees to it that the answer is plain JSON of the shape that the verb declares. */
  call(verb: string, params?: unknown): Promise<Answer>
  /** Follows the cursors to the end. */
  callAll(verb: string, params: { cursor?: string } & Record<string, unknown>): Promise<Answer[]>
  /** Where a client reaches the listener. */
  addressOf(listener: string): Address
  configure(input: InstanceInput): InstanceConfig
}

export async function startControlled(
  t: TestContext,
  input: Omit<InstanceInput, 'listeners'> = {},
  clock: Clock = createSystemClock(),
): Promise<ControlledInstance> {
  const directory = mkdtempSync(join(tmpdir(), 'atoll-control-'))
  const { platform } = process
  const configure = (given: InstanceInput) =>
    instanceFromInput(given, { name: 'plant-a', workingDirectory: directory, grammar: addressGrammar(platform) })
  const listeners = { tcp: 'tcp://127.0.0.1:0', local: `unix://${directory}/local.sock` }
  const logLines: string[] = []
  const log = createLog('info', 'text', clock, (line) => void logLines.push(line))
  const instance = createInstance(configure({ ...input, listeners, gracePeriod: 0 }), {
    clock,
    log,
    platform,
    runDir: null,
    environment: {},
    pid: process.pid,
    dataDir: null,
  })
  await instance.start()
  t.after(async () => {
    await instance.stop()
    rmSync(directory, { recursive: true, force: true })
  })
  const control = createControl(instance)
  const call = async (verb: string, params?: unknown): Promise<Answer> => {
    const answer = await control.call(verb, params)
    assert.deepEqual(answer, JSON.parse(JSON.stringify(answer)))
    controlVerbs.find(({ name }) => name === verb)!.result.parse(answer)
    return answer
  }
  return {
    instance,
    directory,
    logLines,
    call,
    async callAll(verb, params) {
      const items: Answer[] = []
      let { cursor } = params
      do {
        const page = await call(verb, { ...params, cursor })
        items.push(...page.items)
        cursor = page.cursor ?? undefined
      } while (cursor !== undefined)
      return items
    },
    addressOf: (listener) => parseAddress(instance.listener(listener)!.address, { platform, role: 'client' }),
    configure,
  }
}
