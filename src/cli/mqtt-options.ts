// The options that `atoll pub` and `atoll sub` share, named as Mosquitto's clients name them: where and as whom to connect.
import { randomBytes } from 'node:crypto'
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { OperatorError } from '../base/errors.ts'
import { type ClientOptions, checkClientOptions } from '../client/mqtt-client.ts'
import { checkProperties } from '../client/outgoing-checks.ts'
import { PacketType, type ProtocolLevel, type Qos } from '../codec/packet-types.ts'
import type { WillPacket } from '../codec/packets.ts'
import type { Properties } from '../codec/properties.ts'
import { type Address, parseAddress } from '../transport/address.ts'
import { type PropertiesByCommand, parsePropertyArguments } from './property-arguments.ts'
import { UsageError } from './usage-error.ts'
import { wholeNumber } from './whole-number.ts'

const defaultAddress = 'tcp://127.0.0.1:1883'
const defaultPort = 1883
const neverExpiresSeconds = 0xffff_ffff

export interface MqttFlags {
  address?: string
  host?: string
  port?: number
  unix?: string
  id?: string
  idPrefix?: string
  username?: string
  password?: string
  protocolVersion?: ProtocolLevel
  keepalive: number
  /** False with `--no-clean`. */
  clean: boolean
  sessionExpiry?: number
  willTopic?: string
  willPayload?: string
  willQos?: Qos
  willRetain?: boolean
  property?: string[]
  connectTimeout: number
  debug?: boolean
  quiet?: boolean
}

/** Adds the options; `-h` is the host here, so that the help is `--help` alone. */
export function addMqttOptions(command: Command): Command {
  return command
    .helpOption('--help', 'print this help')
    .option(
      '-A, --address <url>',
      'tcp://host:port, unix:///path or unix:@name (default: $ATOLL_ADDRESS, or tcp://127.0.0.1:1883)',
    )
    .option('-h, --host <host>', 'host to connect to')
    .option('-p, --port <port>', 'port to connect to (default: 1883)', wholeNumber(1, 65535))
    .option('--unix <path>', 'UNIX socket to connect to')
    .option('-i, --id <id>', 'client identifier')
    .addOption(new Option('-I, --id-prefix <prefix>', 'client identifier is this and the process id').conflicts('id'))
    .option('-u, --username <name>', 'user name')
    .option('-P, --password <password>', 'password')
    .option('-V, --protocol-version <version>', 'MQTT version: 3.1, 3.1.1 or 5 (default: 5)', protocolLevel)
    .option('-k, --keepalive <seconds>', 'keep alive', wholeNumber(0, 65535), 60)
    .option('-c, --no-clean', 'keep the session when disconnected, and use the one that is there')
    .option('-x, --session-expiry <seconds>', 'how long the session is kept; -1 for ever (MQTT 5)', sessionExpiry)
    .option('--will-topic <topic>', 'topic of the Will Message')
    .option('--will-payload <text>', 'payload of the Will Message')
    .option('--will-qos <qos>', 'QoS of the Will Message', parseQos)
    .option('--will-retain', 'the Will Message is retained')
    .option(
      '-D, --property <words...>',
      'property of a packet, as: publish user-property name value, or: connect receive-maximum 10 (MQTT 5)',
    )
    .option('--connect-timeout <seconds>', 'longest time until connected', positiveNumber, 10)
    .option('-d, --debug', 'print every packet on the standard error')
    .option('--quiet', 'print no errors')
}

/** Of a server that has all features: what it refuses is wrong wherever it is sent. */
export const serverWithEverything: Properties = { topicAliasMaximum: 0xffff }

/** What the options say, checked; `properties` are those of `-D` for every other packet. */
export function readMqttFlags(
  flags: MqttFlags,
  environment: NodeJS.ProcessEnv,
  name: string,
): { client: ClientOptions; properties: PropertiesByCommand } {
  const properties = parsePropertyArguments(flags.property ?? [])
  const level = flags.protocolVersion ?? 5
  if (!flags.clean && flags.id === undefined) {
    throw new OperatorError('id-missing', 'without -i nobody finds the session that --no-clean keeps', {
      fix: 'give a client identifier with -i',
    })
  }
  if (level === 5) {
    const sessionExpiryInterval = flags.sessionExpiry ?? (flags.clean ? undefined : neverExpiresSeconds)
    if (sessionExpiryInterval !== undefined) properties.connect = { sessionExpiryInterval, ...properties.connect }
  } else if (flags.sessionExpiry !== undefined || flags.property !== undefined) {
    throw new OperatorError('needs-mqtt-5', 'properties and the session expiry need MQTT 5', { fix: 'leave -V out' })
  }
  const client: ClientOptions = {
    address: readAddress(flags, environment),
    level,
    clientId: clientIdOf(flags, name),
    cleanStart: flags.clean,
    keepAliveSeconds: flags.keepalive,
    username: flags.username ?? null,
    password: flags.password === undefined ? null : Buffer.from(flags.password),
    will: readWill(flags, properties),
    properties: properties.connect,
    connectTimeoutSeconds: flags.connectTimeout,
  }
  checkClientOptions(client)
  checkProperties(properties.disconnect, PacketType.disconnect, level)
  return { client, properties }
}

function clientIdOf(flags: MqttFlags, name: string): string {
  if (flags.id !== undefined) return flags.id
  if (flags.idPrefix !== undefined) return `${flags.idPrefix}${process.pid}`
  // 18 characters; MQTT 3.1 allows 23.
  return `atoll-${name}-${randomBytes(4).toString('hex')}`
}

function readAddress(flags: MqttFlags, environment: NodeJS.ProcessEnv): Address {
  const { platform } = process
  const { address, host, port, unix } = flags
  const ways = [address !== undefined, host !== undefined || port !== undefined, unix !== undefined]
  if (ways.filter(Boolean).length > 1) {
    throw new OperatorError('address-twice', 'more than one address is given', {
      fix: 'give one of -A, --unix, or -h and -p',
    })
  }
  if (unix === '') throw new UsageError('--unix: names no socket', 'give a path, or @name for an abstract socket')
  if (unix !== undefined) {
    return parseAddress(unix.startsWith('@') ? `unix:${unix}` : `unix://${resolve(unix)}`, { platform, role: 'client' })
  }
  if (host !== undefined || port !== undefined) {
    return parseAddress(host ?? '127.0.0.1', { platform, role: 'client', port: port ?? defaultPort })
  }
  if (address !== undefined) return parseAddress(address, { platform, role: 'client', place: { key: '--address' } })
  const fromEnvironment = environment.ATOLL_ADDRESS
  if (fromEnvironment === undefined || fromEnvironment === '') {
    return parseAddress(defaultAddress, { platform, role: 'client' })
  }
  return parseAddress(fromEnvironment, { platform, role: 'client', place: { key: 'ATOLL_ADDRESS' } })
}

function readWill(flags: MqttFlags, properties: PropertiesByCommand): WillPacket | null {
  const { willTopic, willPayload, willQos, willRetain } = flags
  if (willTopic === undefined) {
    if (willPayload !== undefined || willQos !== undefined || willRetain || properties.will !== undefined) {
      throw new OperatorError('will-topic-missing', 'a Will Message without a topic', { fix: 'give --will-topic' })
    }
    return null
  }
  return {
    topic: willTopic,
    payload: Buffer.from(willPayload ?? ''),
    qos: willQos ?? 0,
    retain: willRetain ?? false,
    properties: properties.will ?? {},
  }
}

export function positiveNumber(text: string): number {
  const value = Number(text)
  // setTimeout takes no more than 2^31 milliseconds.
  if (!/^\d+(\.\d+)?$/.test(text) || value <= 0 || value > 2_000_000) {
    throw new InvalidArgumentError('Give a number of seconds above 0 and not above 2000000.')
  }
  return value
}

export function parseQos(text: string): Qos {
  if (text === '0' || text === '1' || text === '2') return Number(text) as Qos
  throw new InvalidArgumentError('Give 0, 1 or 2.')
}

/** For an option that may come several times. */
export function collect(text: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), text]
}

/** For `--user-property name=value`, which may come several times. */
export function collectPair(text: string, earlier: [string, string][] | undefined): [string, string][] {
  const at = text.indexOf('=')
  if (at <= 0) throw new InvalidArgumentError('Give name=value.')
  return [...(earlier ?? []), [text.slice(0, at), text.slice(at + 1)]]
}

function sessionExpiry(text: string): number {
  return text === '-1' || text === '∞' ? neverExpiresSeconds : wholeNumber(0, neverExpiresSeconds)(text)
}

function protocolLevel(text: string): ProtocolLevel {
  switch (
    text
      .toLowerCase()
      .replace(/^mqttv/, '')
      .replaceAll('.', '')
  ) {
    case '31':
      return 3
    case '311':
      return 4
    case '5':
    case '50':
      return 5
    default:
      throw new InvalidArgumentError('Give 3.1, 3.1.1 or 5.')
  }
}
