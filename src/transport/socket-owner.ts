// Which process holds a socket, from /proc: for messages to people only, never for a decision. Best effort: null on
// other systems, in another network namespace, or without the right to look into the process.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename } from 'node:path'

export interface SocketOwner {
  pid: number
  /** Name of the command, control characters replaced. */
  command: string
}

const processLimit = 50_000
const candidateLimit = 64

/** ` by process 4711 (mosquitto)`, or nothing. */
export function describeOwner(owner: SocketOwner | null): string {
  return owner === null ? '' : ` by process ${owner.pid} (${owner.command})`
}

/** Who listens on a UNIX socket that was bound under a path for which `isBound` answers true. */
export function findUnixSocketOwner(isBound: (path: string) => boolean): SocketOwner | null {
  const inodes: string[] = []
  for (const line of linesOf('/proc/net/unix')) {
    const socket = unixLine(line)
    if (socket?.isListening && isBound(socket.path)) inodes.push(socket.inode)
  }
  return ownerOf(inodes)
}

/** Who listens on a TCP port at `host` (an IP address, a name or `*`) or at all addresses of the machine. */
export function findTcpPortOwner(host: string, port: number): SocketOwner | null {
  const inodes: string[] = []
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0')
  const octets = host.split('.').map(Number)
  // The kernel prints an IPv4 address as one number in the byte order of the machine, and these are little-endian ones.
  const hexHost = octets.length === 4 ? Buffer.from(octets.reverse()).toString('hex').toUpperCase() : null
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of linesOf(file)) {
      const fields = line.trim().split(/\s+/)
      const [address, localPort] = (fields[1] ?? '').split(':')
      if (localPort !== hexPort || fields[3] !== '0A') continue
      if (
        hexHost !== null &&
        address.length === 8 &&
        address !== hexHost &&
        !/^0+$/.test(address) &&
        !/^0+$/.test(hexHost)
      )
        continue
      inodes.push(fields[9])
    }
  }
  return ownerOf(inodes)
}

/** Path or `@name` under which the UNIX socket behind one of our own descriptors is bound. */
export function unixPathOfDescriptor(descriptor: number): string | null {
  const inode = inodeOf(`/proc/self/fd/${descriptor}`)
  if (inode === null) return null
  for (const line of linesOf('/proc/net/unix')) {
    const socket = unixLine(line)
    if (socket?.inode === inode) return socket.path
  }
  return null
}

function unixLine(line: string): { inode: string; path: string; isListening: boolean } | null {
  // Num RefCount Protocol Flags Type St Inode Path; the path may hold blanks. The flag 0x10000 is a listening socket.
  const match = /^[0-9a-f]+: \S+ \S+ (\S+) \S+ \S+ +(\d+) (.+)$/.exec(line)
  return match === null ? null : { inode: match[2], path: match[3], isListening: match[1] === '00010000' }
}

function ownerOf(inodes: string[]): SocketOwner | null {
  if (inodes.length === 0) return null
  const wanted = new Set(inodes.slice(0, candidateLimit))
  for (const name of namesIn('/proc').slice(0, processLimit)) {
    if (!/^\d+$/.test(name)) continue
    for (const descriptor of namesIn(`/proc/${name}/fd`)) {
      const inode = inodeOf(`/proc/${name}/fd/${descriptor}`)
      if (inode !== null && wanted.has(inode)) return { pid: Number(name), command: commandOf(name) }
    }
  }
  return null
}

function commandOf(pid: string): string {
  // Its `comm` is the name of its first thread, which newer Node.js calls MainThread.
  const [program = ''] = (linesOf(`/proc/${pid}/cmdline`)[0] ?? '').split('\0')
  const text = basename(program).slice(0, 64)
  return text === '' ? 'unknown command' : text.replace(/[^\x20-\x7e]/g, '?')
}

function inodeOf(link: string): string | null {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(link))?.[1] ?? null
  } catch {
    return null
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch {
    return []
  }
}
