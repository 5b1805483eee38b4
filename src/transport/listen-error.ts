// What an operator is told when a TCP address or an inherited descriptor cannot be listened on.
import { OperatorError } from '../base/errors.ts'
import { type Address, formatAddress } from './address.ts'
import { describeOwner, findTcpPortOwner, findUnixSocketOwner } from './socket-owner.ts'

/**
 * @returns `port-in-use`, `socket-in-use`, `port-not-permitted`, `address-not-available`, `host-not-found` or
 *   `listen-failed`
 */
export function describeListenError(error: NodeJS.ErrnoException, address: Address, key: string): OperatorError {
  const shown = formatAddress(address)
  const tell = (code: string, message: string, fix?: string) =>
    new OperatorError(code, message, { place: { key }, fix, cause: error })
  if (address.kind === 'tcp') {
    const { host, port } = address
    switch (error.code) {
      case 'EADDRINUSE':
        return tell(
          'port-in-use',
          `${shown} is in use${describeOwner(findTcpPortOwner(host, port))}`,
          'stop that process, or choose another port',
        )
      case 'EACCES':
        return tell(
          'port-not-permitted',
          `the system does not permit listening on ${shown}`,
          port < 1024
            ? 'ports under 1024 need root or CAP_NET_BIND_SERVICE; choose a higher port, or use socket activation'
            : 'look at the security policy of the system, or choose another port',
        )
      case 'EADDRNOTAVAIL':
      case 'EAFNOSUPPORT':
        return tell(
          'address-not-available',
          `this machine has no address ${host}`,
          'give an address of this machine, or * for all of them',
        )
      case 'ENOTFOUND':
      case 'EAI_AGAIN':
        return tell(
          'host-not-found',
          `the host name ${host} cannot be resolved (${error.code})`,
          'give an IP address of this machine, or mend the name service',
        )
    }
  }
  if (address.kind === 'abstract' && error.code === 'EADDRINUSE') {
    // The kernel shows the NULs with which Node 20 pads the name as more @.
    const owner = findUnixSocketOwner((bound) => bound.replace(/@+$/, '') === `@${address.name}`.replace(/@+$/, ''))
    return tell(
      'socket-in-use',
      `the socket ${shown} is in use${describeOwner(owner)}`,
      'stop the other process, or choose another name',
    )
  }
  if (address.kind === 'fd') {
    return tell(
      'listen-failed',
      `cannot listen on the inherited descriptor ${shown}: ${error.message}`,
      'hand over a stream socket that is bound; it can be used once only',
    )
  }
  return tell('listen-failed', `cannot listen on ${shown}: ${error.message}`)
}
