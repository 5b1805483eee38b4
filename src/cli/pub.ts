// `atoll pub`: publishes what its arguments, a file or the standard input say. Knows no broker but the one it is told.
import { readFile, stat } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Command } from 'commander'
import { OperatorError } from '../base/errors.ts'
import { ClientClosedError } from '../client/client-closed.ts'
import { connectClient, type MqttClient, type PublishOptions } from '../client/mqtt-client.ts'
import { checkPublish } from '../client/outgoing-checks.ts'
import type { Qos } from '../codec/packet-types.ts'
import type { Properties } from '../codec/properties.ts'
import { describeReasonCode } from '../codec/reason-codes.ts'
import { exitCodes } from './exit-codes.ts'
import { printNote, printPacket, runMqttCommand } from './mqtt-command.ts'
import {
  addMqttOptions,
  collectPair,
  type MqttFlags,
  parseQos,
  positiveNumber,
  readMqttFlags,
  serverWithEverything,
} from './mqtt-options.ts'
import { largestMessageBytes, readWhole, splitLines } from './split-lines.ts'
import { readArguments } from './usage-error.ts'
import { wholeNumber } from './whole-number.ts'

interface PubFlags extends MqttFlags {
  topic: string
  message?: string
  file?: string
  stdinLine?: boolean
  stdinFile?: boolean
  nullMessage?: boolean
  qos: Qos
  retain?: boolean
  repeat?: number
  repeatDelay?: number
  userProperty?: [string, string][]
  contentType?: string
  responseTopic?: string
  correlationData?: string
  expiry?: number
}

/** Messages of QoS 1 and 2 that are under way at a time when lines are published. */
const linesInFlight = 100

export function registerPub(program: Command): void {
  // Else the program takes -V for itself.
  program.enablePositionalOptions()
  addMqttOptions(program.command('pub').description('publish messages'))
    .requiredOption('-t, --topic <topic>', 'topic to publish to')
    .option('-m, --message <text>', 'publish this text')
    .option('-f, --file <path>', 'publish the contents of a file')
    .option('-l, --stdin-line', 'publish every line of the standard input as a message')
    .option('-s, --stdin-file', 'publish the whole standard input as one message')
    .option('-n, --null-message', 'publish an empty message')
    .option('-q, --qos <qos>', 'QoS of the messages', parseQos, 0)
    .option('-r, --retain', 'the message is retained')
    .option('--repeat <count>', 'publish the message so many times', wholeNumber(1, 0xffff_ffff))
    .option('--repeat-delay <seconds>', 'time between two of them', positiveNumber)
    .option('--user-property <name=value>', 'user property of the messages; may come several times', collectPair)
    .option('--content-type <text>', 'content type of the messages')
    .option('--response-topic <topic>', 'where an answer is expected')
    .option('--correlation-data <text>', 'what the answer shall carry')
    .option('--expiry <seconds>', 'message expiry interval', wholeNumber(0, 0xffff_ffff))
    .action(async (flags: PubFlags, command: Command) => {
      checkSource(flags, command)
      await runMqttCommand(flags.quiet ?? false, (interrupted) => publishAll(flags, interrupted))
    })
}

function checkSource(flags: PubFlags, command: Command): void {
  const sources = [flags.message, flags.file, flags.stdinLine, flags.stdinFile, flags.nullMessage]
  if (sources.filter((source) => source !== undefined).length !== 1) {
    command.error('error: give one of -m, -f, -l, -s and -n: what shall be published?')
  }
  if (flags.stdinLine && (flags.repeat !== undefined || flags.repeatDelay !== undefined)) {
    command.error('error: --repeat and --repeat-delay do not go with -l')
  }
}

async function publishAll(flags: PubFlags, interrupted: AbortSignal): Promise<number> {
  const { client: clientOptions, properties, options } = readArguments(() => readPubFlags(flags))
  try {
    // Read first: a missing file is no reason to bother the server.
    const payload = flags.stdinLine ? null : await readPayload(flags, interrupted)
    const client = await connectClient({
      ...clientOptions,
      signal: interrupted,
      onPacket: flags.debug ? printPacket : undefined,
    })
    const isAccepted = await publishAndLeave(client, flags, payload, options, interrupted, properties.disconnect)
    if (!interrupted.aborted) return isAccepted ? exitCodes.ok : exitCodes.failure
  } catch (error) {
    if (!interrupted.aborted) throw error
  }
  return exitCodes.interrupted
}

/** What can be known of a mistake before the server is bothered. @throws OperatorError */
function readPubFlags(flags: PubFlags) {
  const { client, properties } = readMqttFlags(flags, process.env, 'pub')
  const { topic, qos, retain = false } = flags
  const own = { ...properties.publish, ...propertiesOf(flags, properties.publish) }
  const options: PublishOptions = { qos, retain, properties: Object.keys(own).length === 0 ? undefined : own }
  const empty = { type: 'publish' as const, payload: Buffer.alloc(0), duplicate: false, packetId: 0 }
  checkPublish(
    { ...empty, topic, qos, retain, properties: options.properties },
    client.level ?? 5,
    serverWithEverything,
  )
  return { client, properties, options }
}

async function publishAndLeave(
  client: MqttClient,
  flags: PubFlags,
  payload: Buffer | null,
  options: PublishOptions,
  interrupted: AbortSignal,
  disconnectProperties: Properties | undefined,
): Promise<boolean> {
  const leave = () => client.disconnect(0, disconnectProperties)
  interrupted.addEventListener('abort', leave)
  if (interrupted.aborted) void leave()
  // Aborted when the connection is over: whoever waits for something else need not go on.
  const over = new AbortController()
  void client.closed.then(() => over.abort())
  try {
    return payload === null
      ? await publishLines(client, flags, options, over.signal)
      : await publishRepeatedly(client, flags, payload, options, over.signal)
  } finally {
    await leave()
  }
}

function propertiesOf(flags: PubFlags, given: Properties | undefined): Properties {
  const properties: Properties = {}
  if (flags.userProperty !== undefined) {
    properties.userProperties = [...(given?.userProperties ?? []), ...flags.userProperty]
  }
  if (flags.contentType !== undefined) properties.contentType = flags.contentType
  if (flags.responseTopic !== undefined) properties.responseTopic = flags.responseTopic
  if (flags.correlationData !== undefined) properties.correlationData = Buffer.from(flags.correlationData)
  if (flags.expiry !== undefined) properties.messageExpiryInterval = flags.expiry
  return properties
}

async function readPayload(flags: PubFlags, interrupted: AbortSignal): Promise<Buffer> {
  if (flags.message !== undefined) return Buffer.from(flags.message)
  if (flags.stdinFile) {
    interrupted.addEventListener('abort', () => process.stdin.destroy())
    return readWhole(process.stdin)
  }
  if (flags.file === undefined) return Buffer.alloc(0)
  try {
    const { size } = await stat(flags.file)
    if (size > largestMessageBytes) {
      throw new OperatorError(
        'message-too-large',
        `the file has ${size} bytes, and 256 MiB is the limit of a message`,
        {
          place: { file: flags.file },
          fix: 'publish it in parts',
        },
      )
    }
    return await readFile(flags.file)
  } catch (error) {
    if (error instanceof OperatorError) throw error
    const message = `the file cannot be read: ${(error as Error).message}`
    throw new OperatorError('file-unreadable', message, { place: { file: flags.file }, cause: error })
  }
}

/** @returns whether the server took every message */
async function publishRepeatedly(
  client: MqttClient,
  flags: PubFlags,
  payload: Buffer,
  options: PublishOptions,
  over: AbortSignal,
): Promise<boolean> {
  let isAccepted = true
  for (let count = flags.repeat ?? 1; count > 0; count--) {
    isAccepted = (await publishOne(client, flags, payload, options)) && isAccepted
    // Cut short when the connection is over; the next message then says why.
    if (count > 1 && flags.repeatDelay !== undefined)
      await delay(flags.repeatDelay * 1000, null, { signal: over }).catch(() => {})
  }
  return isAccepted
}

/** @returns whether the server took every message */
async function publishLines(
  client: MqttClient,
  flags: PubFlags,
  options: PublishOptions,
  over: AbortSignal,
): Promise<boolean> {
  let isAccepted = true
  const failures: unknown[] = []
  const pending = new Set<Promise<void>>()
  over.addEventListener('abort', () => process.stdin.destroy())
  try {
    for await (const line of splitLines(process.stdin)) {
      const task = publishOne(client, flags, line, options)
        .then((isTaken) => {
          isAccepted &&= isTaken
        })
        .catch((error: unknown) => {
          failures.push(error)
        })
        .finally(() => pending.delete(task))
      pending.add(task)
      if (flags.qos === 0) await task
      else if (pending.size >= linesInFlight) await Promise.race(pending)
      if (failures.length > 0) break
    }
  } catch (error) {
    // A standard input that we have closed ourselves ends with an error that says nothing.
    if (!over.aborted || error instanceof OperatorError) throw error
  }
  await Promise.all(pending)
  if (failures.length > 0) throw failures[0]
  if (over.aborted) throw new ClientClosedError(await client.closed)
  return isAccepted
}

async function publishOne(
  client: MqttClient,
  flags: PubFlags,
  payload: Buffer,
  options: PublishOptions,
): Promise<boolean> {
  const { reasonCode, reasonString } = await client.publish(flags.topic, payload, options)
  if (reasonCode < 0x80) return true
  if (!flags.quiet) {
    const detail = reasonString === null ? '' : `: ${reasonString}`
    printNote(`the server refused the message: ${describeReasonCode(reasonCode)}${detail}`)
  }
  return false
}
