// Addresses of listeners and clients: text to value and back, and what is wrong with the text. Opens nothing, looks at
// no file and knows nothing of MQTT.
import { isIPv4, isIPv6 } from 'node:net'
import { posix } from 'node:path'
import { OperatorError, type Place } from '../base/errors.ts'

/**
 * Where a listener listens or a client connects.
 * - `tcp`: `host` without brackets; `*` is every address of the machine, IPv4 and IPv6; `port` 0 lets the system choose
 * - `unix`: absolute path of a socket file
 * - `abstract`: name without the leading NUL, Linux only. Node 20 pads it with NULs to the whole length of the kernel's
 *   field, newer Node uses the exact length: the two do not meet, nor does a C client meet Node 20. It has no
 *   permissions: whoever is in the same network namespace may connect
 * - `fd`: number of an inherited descriptor, or its name in LISTEN_FDNAMES
 */
export type Address =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'abstract'; readonly name: string }
  | { readonly kind: 'fd'; readonly descriptor: number | string }

export interface AddressOptions {
  platform: NodeJS.Platform
  /** `client` also takes `mqtt://`, but neither `fd:`, nor `*`, nor port 0. */
  role: 'listener' | 'client'
  /** A port given apart from the address: `local:/path` with 0, or a bare IP address or host name. */
  port?: number | string
  /** Where the address was written, for the error. */
  place?: Place
}

const defaultTcpPort = 1883
const shownAddressLimitChars = 200
const unusable = /[\u0000-\u001f\u007f]|\p{Surrogate}/u
const hostName = /^(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?$/
const descriptorName = /^[\x21-\x39\x3b-\x7e]{1,255}$/
const notYet = ['tls', 'mqtts', 'ssl', 'ws', 'wss', 'ws+unix', 'wss+unix', 'tls+unix']

/** Longest path of a socket file in bytes; Node cuts a longer one silently. */
export function unixPathLimitBytes(platform: NodeJS.Platform): number {
  return platform === 'linux' ? 107 : 103
}

/**
 * Reads `tcp://host:port`, `mqtt://host:port` (clients), `unix:///path`, `unix:/path`, `unix:@abstract`, `fd:3`,
 * `fd:name` and `local:/path`.
 * @throws OperatorError `address-unsupported`, `address-invalid` or `socket-path-too-long`
 */
export function parseAddress(text: string, options: AddressOptions): Address {
  const fail = (problem: string, fix: string, code = 'address-invalid'): never => {
    throw new OperatorError(code, `the address ${shown(text)} ${problem}`, { place: options.place, fix })
  }
  if (unusable.test(text)) fail('contains a character that no address may have', 'take out control characters')
  const colon = text.indexOf(':')
  const scheme = /^[A-Za-z][A-Za-z0-9+.-]*:/.test(text) ? text.slice(0, colon).toLowerCase() : ''
  const rest = text.slice(scheme === '' ? 0 : colon + 1)
  if (notYet.includes(scheme) && rest.startsWith('//')) {
    fail(
      `uses ${scheme}://, which this version cannot yet`,
      'use tcp:// or unix://, with a TLS or WebSocket proxy in front where one is needed',
      'address-unsupported',
    )
  }
  const port = options.port === undefined ? null : parsePort(String(options.port))
  if (port === undefined) fail(`has the port ${shown(String(options.port))}`, 'give a port from 0 to 65535')

  if (scheme === 'tcp' || (scheme === 'mqtt' && options.role === 'client')) {
    if (!rest.startsWith('//')) fail('has no //', `write ${scheme}://host:port`)
    return parseTcp(rest.slice(2), port ?? null, options.role, fail)
  }
  if (scheme === 'mqtt') fail('uses mqtt://', 'write tcp:// for a listener')
  if (scheme === 'unix' || scheme === 'local') {
    if (port) fail('is a UNIX socket and takes no port', 'leave the port out, or give 0')
    return parseUnix(rest, options, fail)
  }
  if (scheme === 'fd') {
    if (port) fail('is an inherited descriptor and takes no port', 'leave the port out')
    return parseDescriptor(rest, options.role, fail)
  }
  if (text.startsWith('/')) fail('has no scheme', `write unix://${text}`)
  if (options.port !== undefined && (text === '*' || isIPv4(text) || isIPv6(text) || hostName.test(text))) {
    return parseTcp(isIPv6(text) ? `[${text}]` : text, port ?? null, options.role, fail)
  }
  if (text.includes('://')) fail(`has the unknown scheme ${shown(scheme)}`, `use ${schemesOf(options.role)}`)
  return fail('has no known scheme', `use ${schemesOf(options.role)}`)
}

type Fail = (problem: string, fix: string, code?: string) => never

function parseTcp(authority: string, portApart: number | null, role: 'listener' | 'client', fail: Fail): Address {
  const plain = authority.endsWith('/') ? authority.slice(0, -1) : authority
  if (plain.includes('@')) fail('holds a user name', 'give the user name and password by their own settings')
  if (/[/?#]/.test(plain)) fail('has something after the port', 'write tcp://host:port')
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(plain)
  if (match === null)
    return fail('is not host:port', 'write tcp://host:port, an IPv6 address in brackets: tcp://[::1]:1883')
  const [, bracketed, bare, portText] = match
  const host = (bracketed ?? bare ?? '').toLowerCase()
  if (bracketed !== undefined && !isIPv6(host))
    fail('has brackets around what is no IPv6 address', 'write tcp://[::1]:1883')
  if (bracketed === undefined && host === '')
    fail('names no host', 'write tcp://*:1883 for every address of the machine')
  if (bracketed === undefined && host !== '*' && !isIPv4(host)) {
    // A name of digits and dots only is a mistyped IPv4 address; asking the name service about it helps nobody.
    if (!hostName.test(host) || host.length > 253 || /^[\d.]+$/.test(host)) {
      fail(`has the bad host ${shown(host)}`, 'give an IPv4 address, an IPv6 address in brackets, a host name or *')
    }
  }
  const written = portText === undefined ? null : parsePort(portText)
  if (written === undefined) return fail(`has the port ${shown(portText ?? '')}`, 'give a port from 0 to 65535')
  if (written !== null && portApart !== null && written !== portApart) {
    fail(`names port ${written}, but port ${portApart} is given beside it`, 'give the port once')
  }
  const port = written ?? portApart ?? defaultTcpPort
  if (role === 'client' && host === '*') fail('names no host to connect to', 'write tcp://127.0.0.1:1883')
  if (role === 'client' && port === 0) fail('names no port to connect to', 'give a port from 1 to 65535')
  return { kind: 'tcp', host, port }
}

function parseUnix(rest: string, options: AddressOptions, fail: Fail): Address {
  if (rest.startsWith('@')) {
    const name = rest.slice(1)
    if (options.platform !== 'linux') fail('is an abstract socket, which only Linux has', 'use unix:///path')
    if (name === '') fail('has an empty name', 'write unix:@name')
    const bytes = Buffer.byteLength(name)
    // The leading NUL takes one byte of the field.
    if (bytes > 106)
      fail(`has a name of ${bytes} bytes, and 106 is the limit`, 'choose a shorter name', 'socket-path-too-long')
    return { kind: 'abstract', name }
  }
  const path = rest.startsWith('//') ? rest.slice(2) : rest
  if (!path.startsWith('/')) fail('has no absolute path', 'write unix:///path/to/name.sock, with three slashes')
  if (path.split('/').includes('..')) fail('has a path with ..', 'write the path without ..')
  if (path.endsWith('/') || path.endsWith('/.')) fail('names a directory', 'add the name of the socket file')
  const normal = posix.normalize(path).replace(/^\/\//, '/')
  const bytes = Buffer.byteLength(normal)
  const limit = unixPathLimitBytes(options.platform)
  if (bytes > limit) {
    fail(
      `has a path of ${bytes} bytes, and ${limit} is the limit of this platform`,
      `choose a shorter directory, such as ${options.platform === 'linux' ? '/run/atoll' : '/tmp/atoll'}`,
      'socket-path-too-long',
    )
  }
  return { kind: 'unix', path: normal }
}

function parseDescriptor(rest: string, role: 'listener' | 'client', fail: Fail): Address {
  if (role === 'client') fail('is an inherited descriptor', 'a client connects to tcp:// or unix://')
  if (rest.startsWith('//')) fail('has slashes after fd:', 'write fd:3 or fd:name')
  if (/^\d+$/.test(rest)) {
    const descriptor = Number(rest)
    if (descriptor < 3 || descriptor > 65535) fail('is no inherited descriptor', 'inherited descriptors begin at fd:3')
    return { kind: 'fd', descriptor }
  }
  if (!descriptorName.test(rest)) fail('has a bad descriptor', 'write fd:3, or fd: and a name of LISTEN_FDNAMES')
  return { kind: 'fd', descriptor: rest }
}

/** The normalised text of an address; `parseAddress` gives back an equal value. */
export function formatAddress(address: Address): string {
  switch (address.kind) {
    case 'tcp':
      return `tcp://${formatHostPort(address.host, address.port)}`
    case 'unix':
      return `unix://${address.path}`
    case 'abstract':
      return `unix:@${address.name}`
    case 'fd':
      return `fd:${address.descriptor}`
  }
}

/** `127.0.0.1:1883`, `[::1]:1883`. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/**
 * Whether only this machine can reach the address: a UNIX socket, 127.0.0.0/8, ::1 or localhost. False for an inherited
 * descriptor: until it is opened nobody knows what it is; ask again with the address that the started listener reports.
 */
export function isLoopback(address: Address): boolean {
  if (address.kind !== 'tcp') return address.kind !== 'fd'
  if (isIPv4(address.host)) return address.host.startsWith('127.')
  if (!isIPv6(address.host)) return address.host === 'localhost'
  const short = new URL(`http://[${address.host.replace(/%.*$/, '')}]`).hostname
  return short === '[::1]' || /^\[::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}\]$/.test(short)
}

function parsePort(text: string): number | undefined {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65535) return undefined
  return Number(text)
}

function schemesOf(role: 'listener' | 'client'): string {
  return role === 'listener'
    ? 'tcp://host:port, unix:///path, unix:@name or fd:3'
    : 'mqtt://host:port, tcp://host:port or unix:///path'
}

function shown(text: string): string {
  // A password may stand before the @ of a URL, and errors end up in logs.
  const open = text.replace(/:\/\/.*@/s, '://…@')
  return JSON.stringify(open.length > shownAddressLimitChars ? `${open.slice(0, shownAddressLimitChars)}…` : open)
}
