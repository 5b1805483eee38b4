// Opens the Network Connection of a client, and says in words why it could not be opened. Knows no MQTT.
import { connect, type Socket } from 'node:net'
import { OperatorError } from '../base/errors.ts'
import { type Address, formatAddress } from '../transport/address.ts'

/** @throws OperatorError `cannot-connect`, `connect-timeout` or `connect-aborted` */
export async function openSocket(address: Address, timeoutMs: number, signal?: AbortSignal): Promise<Socket> {
  if (signal?.aborted) throw connectAborted(address)
  const socket =
    address.kind === 'tcp'
      ? connect({ host: address.host, port: address.port, noDelay: true })
      : connect({ path: socketPath(address) })
  return new Promise((resolve, reject) => {
    const finish = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', aborted)
      socket.off('error', failed)
    }
    const giveUp = (error: OperatorError) => {
      finish()
      // A connection under way may still fail; nobody wants to hear of it.
      socket.on('error', () => {})
      socket.destroy()
      reject(error)
    }
    const failed = (error: NodeJS.ErrnoException) => giveUp(cannotConnect(address, error))
    const aborted = () => giveUp(connectAborted(address))
    const timer = setTimeout(() => {
      const text = `${formatAddress(address)} did not answer within ${timeoutMs / 1000} s`
      const fix = 'check the address, and any firewall on the way'
      giveUp(new OperatorError('connect-timeout', text, { fix }))
    }, timeoutMs)
    signal?.addEventListener('abort', aborted)
    socket.once('error', failed)
    socket.once('connect', () => {
      finish()
      resolve(socket)
    })
  })
}

export function connectAborted(address: Address): OperatorError {
  return new OperatorError('connect-aborted', `connecting to ${formatAddress(address)} was given up`)
}

function socketPath(address: Address): string {
  if (address.kind === 'unix') return address.path
  if (address.kind === 'abstract') return `\0${address.name}`
  throw new OperatorError('address-invalid', `${formatAddress(address)} is nothing to connect to`, {
    fix: 'give tcp://host:port or unix:///path',
  })
}

function cannotConnect(address: Address, error: NodeJS.ErrnoException): OperatorError {
  const [why, fix] = explain(address, error)
  return new OperatorError('cannot-connect', `cannot connect to ${formatAddress(address)}: ${why}`, {
    fix,
    cause: error,
  })
}

function explain(address: Address, error: NodeJS.ErrnoException): [why: string, fix: string] {
  const isFile = address.kind === 'unix'
  switch (error.code) {
    case 'ECONNREFUSED':
      return isFile
        ? ['the file is there, but nobody listens on it', 'start the broker']
        : ['connection refused, nobody listens there', 'start the broker, or give its address']
    case 'ENOENT':
      return ['there is no such socket file', 'start the broker, or give the path of its socket']
    case 'EACCES':
    case 'EPERM':
      return isFile
        ? ['permission denied', 'join the group of the socket file, or have its mode changed']
        : ['permission denied', 'check the address']
    case 'ENOTSOCK':
      return ['the file is not a socket', 'give the path of the socket of the broker']
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return ['the host name is not known', 'check its spelling, or give an IP address']
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return ['the host does not answer', 'check the address, and any firewall on the way']
    default:
      return [error.message, 'check the address']
  }
}
