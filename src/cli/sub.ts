// `atoll sub`: prints the messages of its subscriptions until it is told to stop, and connects again when the connection
// is lost. Knows no broker but the one it is told.
import { setTimeout as delay } from 'node:timers/promises'
import { type Command, InvalidArgumentError } from 'commander'
import { OperatorError } from '../base/errors.ts'
import { ClientClosedError, type CloseReason } from '../client/client-closed.ts'
import { ConnectRefusedError } from '../client/connect-refused.ts'
import { connectClient, type MqttClient } from '../client/mqtt-client.ts'
import { checkFilters, checkProperties, checkSubscribe } from '../client/outgoing-checks.ts'
import { PacketType, type Qos } from '../codec/packet-types.ts'
import type { PublishPacket, SubscriptionRequest } from '../codec/packets.ts'
import type { Properties } from '../codec/properties.ts'
import { describeReasonCode, ReasonCode } from '../codec/reason-codes.ts'
import { isValidTopicFilter, matchesFilter } from '../topic/topic-filter.ts'
import { exitCodes } from './exit-codes.ts'
import { type MessageFormat, parseMessageFormat } from './message-format.ts'
import { messageAsJson } from './message-json.ts'
import { printError, printNote, printPacket, runMqttCommand, timedOutExitCode } from './mqtt-command.ts'
import {
  addMqttOptions,
  collect,
  type MqttFlags,
  parseQos,
  positiveNumber,
  readMqttFlags,
  serverWithEverything,
} from './mqtt-options.ts'
import { readArguments } from './usage-error.ts'
import { wholeNumber } from './whole-number.ts'

interface SubFlags extends MqttFlags {
  topic?: string[]
  filterOut?: string[]
  unsubscribe?: string[]
  qos: Qos
  count?: number
  timeout?: number
  exitAfterSub?: boolean
  verbose?: boolean
  format?: string
  json?: boolean
  /** False with `-N`. */
  newline: boolean
  /** False with `-R`. */
  retained: boolean
  retainedOnly?: boolean
  retainAsPublished?: boolean
  retainHandling: 0 | 1 | 2
  /** False with `--no-local`. */
  local: boolean
  subscriptionIdentifier?: number
  reconnect: boolean
}

const longestRetrySeconds = 30
/** Reasons of a server that may well take the client again in a moment. */
const passingReasons = new Set<number>([
  ReasonCode.unspecifiedError,
  ReasonCode.implementationSpecificError,
  ReasonCode.serverUnavailable,
  ReasonCode.serverBusy,
  ReasonCode.serverShuttingDown,
  ReasonCode.keepAliveTimeout,
  ReasonCode.messageRateTooHigh,
  ReasonCode.quotaExceeded,
  ReasonCode.administrativeAction,
  ReasonCode.connectionRateExceeded,
  ReasonCode.maximumConnectTime,
])

export function registerSub(program: Command): void {
  // Else the program takes -V for itself.
  program.enablePositionalOptions()
  addMqttOptions(program.command('sub').description('print the messages of subscriptions'))
    .option('-t, --topic <filter>', 'topic filter to subscribe to; may come several times', collect)
    .option('-T, --filter-out <filter>', 'print no messages of this filter; may come several times', collect)
    .option('-U, --unsubscribe <filter>', 'unsubscribe from this filter; may come several times', collect)
    .option('-q, --qos <qos>', 'QoS of the subscriptions', parseQos, 0)
    .option('-C, --count <messages>', 'exit after so many messages', wholeNumber(1, 0xffff_ffff))
    .option('-W, --timeout <seconds>', `exit with code ${timedOutExitCode} after this time`, positiveNumber)
    .option('-E, --exit-after-sub', 'exit when the server has taken the subscriptions')
    .option('-v, --verbose', 'print the topic before the payload')
    .option('-F, --format <format>', 'print each message in this format')
    .option('--json', 'print each message as one line of JSON')
    .option('-N, --no-newline', 'print no end of line after a message')
    .option('-R, --no-retained', 'print no retained messages')
    .option('--retained-only', 'print retained messages only, and exit at the first other one')
    .option('--retain-as-published', 'messages keep the RETAIN flag of their publisher (MQTT 5)')
    .option(
      '--retain-handling <when>',
      'send retained messages: 0 always, 1 to new subscriptions, 2 never (MQTT 5)',
      retainHandling,
      0,
    )
    .option('--no-local', 'no messages of this very client (MQTT 5)')
    .option(
      '--subscription-identifier <number>',
      'number that comes with each message (MQTT 5)',
      wholeNumber(1, 268_435_455),
    )
    .option('--no-reconnect', 'exit when the connection is lost')
    .action(async (flags: SubFlags, command: Command) => {
      if (flags.topic === undefined && flags.unsubscribe === undefined) {
        command.error('error: give -t: what shall be subscribed to?')
      }
      if ([flags.json, flags.verbose, flags.format].filter((form) => form !== undefined).length > 1) {
        command.error('error: -v, -F and --json exclude each other')
      }
      await runMqttCommand(flags.quiet ?? false, async (interrupted) =>
        readArguments(() => new Subscriber(flags, interrupted)).run(),
      )
    })
}

function retainHandling(text: string): 0 | 1 | 2 {
  if (text === '0' || text === '1' || text === '2') return Number(text) as 0 | 1 | 2
  throw new InvalidArgumentError('Give 0, 1 or 2.')
}

class Subscriber {
  readonly #flags: SubFlags
  readonly #write: MessageFormat | null
  readonly #mqtt: ReturnType<typeof readMqttFlags>
  /** Aborted when the command is over, whatever the cause. */
  readonly #over = new AbortController()
  #exitCode: number = exitCodes.ok
  #messageCount = 0

  constructor(flags: SubFlags, interrupted: AbortSignal) {
    this.#flags = flags
    this.#write = formatOf(flags)
    this.#mqtt = readMqttFlags(flags, process.env, 'sub')
    for (const filter of flags.filterOut ?? []) {
      if (!isValidTopicFilter(filter)) {
        throw new OperatorError('filter-invalid', `${JSON.stringify(filter)} is no topic filter`, {
          place: { key: '-T' },
        })
      }
    }
    this.#checkRequests()
    interrupted.addEventListener('abort', () => this.#finish(exitCodes.ok))
    // Whoever read our output has gone; the program's own listener keeps that from being an error.
    process.stdout.once('error', () => this.#finish(exitCodes.ok))
  }

  /** @throws OperatorError for what is wrong whatever the server is able to */
  #checkRequests(): void {
    const { topic, unsubscribe } = this.#flags
    const { client, properties } = this.#mqtt
    const { level = 5 } = client
    if (topic !== undefined) {
      const requests = topic.map((filter) => this.#request(filter))
      checkSubscribe(requests, this.#subscribeProperties(), level, serverWithEverything)
    }
    if (unsubscribe !== undefined) checkFilters(unsubscribe)
    checkProperties(properties.unsubscribe, PacketType.unsubscribe, level)
  }

  async run(): Promise<number> {
    const { timeout } = this.#flags
    const timer = setTimeout(
      () => {
        if (!this.#flags.quiet) printNote(`no end within ${timeout} s`)
        this.#finish(timedOutExitCode)
      },
      (timeout ?? 0) * 1000,
    )
    if (timeout === undefined) clearTimeout(timer)
    try {
      await this.#stayConnected()
    } catch (error) {
      if (!this.#over.signal.aborted) throw error
    } finally {
      clearTimeout(timer)
    }
    return this.#exitCode
  }

  #finish(exitCode: number): void {
    if (this.#over.signal.aborted) return
    this.#exitCode = exitCode
    this.#over.abort()
  }

  async #stayConnected(): Promise<void> {
    let client = await this.#connect()
    for (;;) {
      const reason = await client.closed
      if (this.#over.signal.aborted) return
      if (!this.#flags.reconnect || !isPassing(reason)) throw new ClientClosedError(reason)
      if (!this.#flags.quiet) printNote(`${reason.message}; connecting again`)
      client = await this.#connectAgain()
    }
  }

  async #connectAgain(): Promise<MqttClient> {
    for (let waitSeconds = 1; ; waitSeconds = Math.min(waitSeconds * 2, longestRetrySeconds)) {
      await delay(waitSeconds * 1000, undefined, { signal: this.#over.signal })
      try {
        return await this.#connect()
      } catch (error) {
        if (this.#over.signal.aborted) throw error
        if (error instanceof ClientClosedError ? !isPassing(error.reason) : !isPassingRefusal(error)) throw error
        if (!this.#flags.quiet && error instanceof OperatorError) printError(error)
      }
    }
  }

  async #connect(): Promise<MqttClient> {
    const { topic = [], unsubscribe = [], debug, exitAfterSub } = this.#flags
    const { client: options, properties } = this.#mqtt
    const { signal } = this.#over
    const client = await connectClient({
      ...options,
      signal,
      onMessage: (message) => this.#take(message),
      onPacket: debug ? printPacket : undefined,
    })
    // Not at once: the last message is acknowledged first.
    const leave = () => setImmediate(() => client.disconnect(0, properties.disconnect))
    signal.addEventListener('abort', leave)
    void client.closed.then(() => signal.removeEventListener('abort', leave))
    if (signal.aborted) leave()
    try {
      if (topic.length > 0) {
        const answer = await client.subscribe(
          topic.map((filter) => this.#request(filter)),
          this.#subscribeProperties(),
        )
        this.#checkAnswer('subscribe to', topic, answer.reasonCodes)
      }
      if (unsubscribe.length > 0) {
        const answer = await client.unsubscribe(unsubscribe, properties.unsubscribe)
        this.#checkAnswer('unsubscribe from', unsubscribe, answer.reasonCodes)
      }
    } catch (error) {
      await client.disconnect()
      throw error
    }
    if (exitAfterSub || topic.length === 0) this.#finish(exitCodes.ok)
    return client
  }

  #request(filter: string): SubscriptionRequest {
    const { qos, local, retainAsPublished = false, retainHandling: handling } = this.#flags
    return { filter, qos, noLocal: !local, retainAsPublished, retainHandling: handling }
  }

  #subscribeProperties(): Properties | undefined {
    const { subscriptionIdentifier } = this.#flags
    const given = this.#mqtt.properties.subscribe
    return subscriptionIdentifier === undefined
      ? given
      : { ...given, subscriptionIdentifiers: [subscriptionIdentifier] }
  }

  #checkAnswer(what: string, filters: readonly string[], reasonCodes: readonly number[]): void {
    let refusedCount = 0
    for (const [index, code] of reasonCodes.entries()) {
      if (code < 0x80) continue
      refusedCount++
      const filter = JSON.stringify(filters[index])
      if (!this.#flags.quiet) printNote(`the server does not let us ${what} ${filter}: ${describeReasonCode(code)}`)
    }
    if (refusedCount < filters.length) return
    throw new OperatorError('subscriptions-refused', `the server refused everything that we wanted to ${what}`)
  }

  #take(message: PublishPacket): void | Promise<void> {
    const { filterOut = [], retained, retainedOnly, count } = this.#flags
    if (this.#over.signal.aborted) return
    if (retainedOnly && !message.retain) {
      this.#finish(exitCodes.ok)
      return
    }
    if ((!retained && message.retain) || filterOut.some((filter) => matchesFilter(filter, message.topic))) return
    const written = this.#print(message)
    if (++this.#messageCount === count) this.#finish(exitCodes.ok)
    return written
  }

  #print(message: PublishPacket): void | Promise<void> {
    let bytes: Buffer | null
    try {
      bytes = this.#write === null ? plain(message, this.#flags.verbose ?? false) : this.#write(message, new Date())
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error
      if (!this.#flags.quiet) printError(error)
      return
    }
    if (bytes === null) return
    const { stdout } = process
    if (stdout.write(this.#flags.newline ? Buffer.concat([bytes, lineFeed]) : bytes)) return
    return new Promise((resolve) => {
      const done = () => {
        stdout.off('drain', done).off('close', done).off('error', done)
        resolve()
      }
      stdout.on('drain', done).on('close', done).on('error', done)
    })
  }
}

const lineFeed = Buffer.from('\n')

function formatOf(flags: SubFlags): MessageFormat | null {
  if (flags.json) return (message, at) => Buffer.from(messageAsJson(message, at))
  return flags.format === undefined ? null : parseMessageFormat(flags.format)
}

/** As Mosquitto's client does it: an empty payload prints nothing, and `(null)` after its topic. */
function plain({ topic, payload }: PublishPacket, isVerbose: boolean): Buffer | null {
  if (!isVerbose) return payload.length === 0 ? null : payload
  return payload.length === 0 ? Buffer.from(`${topic} (null)`) : Buffer.concat([Buffer.from(`${topic} `), payload])
}

function isPassing({ cause, reasonCode }: CloseReason): boolean {
  if (cause === 'server-disconnected') return reasonCode === 0 || passingReasons.has(reasonCode)
  return cause === 'connection-lost' || cause === 'keep-alive-timeout'
}

function isPassingRefusal(error: unknown): boolean {
  if (error instanceof ConnectRefusedError) return passingReasons.has(error.reasonCode)
  return error instanceof OperatorError && (error.code === 'cannot-connect' || error.code === 'connect-timeout')
}
