// Whether two addresses are one place to listen.
import type { ListenerAddress } from './check-listeners.ts'

/** Whether two listeners cannot be open at once. Port 0 is a port of its own each time. */
export function isSamePlace(left: ListenerAddress, right: ListenerAddress): boolean {
  if (left.kind === 'tcp' && right.kind === 'tcp') {
    if (left.port === 0 || left.port !== right.port) return false
    return (
      hostsOf(left.host).some((host) => hostsOf(right.host).includes(host)) ||
      covers(left, right) ||
      covers(right, left)
    )
  }
  if (left.kind === 'unix' && right.kind === 'unix') return left.path === right.path
  if (left.kind === 'abstract' && right.kind === 'abstract') return left.name === right.name
  return left.kind === 'fd' && right.kind === 'fd' && left.descriptor === right.descriptor
}

/** `*` and `::` take every address, `0.0.0.0` those that are not IPv6. */
function covers(wide: { host: string }, narrow: { host: string }): boolean {
  if (wide.host === '*' || hostsOf(wide.host).includes('::')) return true
  return wide.host === '0.0.0.0' && !narrow.host.includes(':')
}

function hostsOf(host: string): readonly string[] {
  if (host === 'localhost') return ['localhost', '127.0.0.1', '::1']
  // One IPv6 address has many spellings.
  return [
    host.includes(':') && URL.canParse(`http://[${host}]`) ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host,
  ]
}
