// Gives the configuration the transport's grammar of addresses; the two may not know each other.
import type { AddressGrammar } from '../config/check-listeners.ts'
import { formatAddress, isLoopback, parseAddress, unixPathLimitBytes } from '../transport/address.ts'

/** What unix-socket.ts adds to the folder of a socket before the socket gets its name: `/.atoll-XXXXXX/` and a name of 12. */
const privateNameBytes = 27

export function addressGrammar(platform: NodeJS.Platform): AddressGrammar {
  return {
    parse: (text, options) => parseAddress(text, { ...options, platform, role: 'listener' }),
    format: formatAddress,
    isLoopback,
    socketFolderLimitBytes: unixPathLimitBytes(platform) - privateNameBytes,
  }
}
