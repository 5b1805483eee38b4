// Gives the configuration the transport's grammar of addresses; the two may not know each other.
import type { AddressGrammar } from '../config/check-listeners.ts'
import { formatAddress, isLoopback, parseAddress } from '../transport/address.ts'

export function addressGrammar(platform: NodeJS.Platform): AddressGrammar {
  return {
    parse: (text, options) => parseAddress(text, { ...options, platform, role: 'listener' }),
    format: formatAddress,
    isLoopback,
  }
}
