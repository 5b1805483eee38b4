// The other end of a connection, as the transport found it and everything above shows it.

/** Who is at the other end. `label` is how it is shown everywhere: logs, command line, hooks, events. */
export interface Peer {
  readonly transport: 'tcp' | 'unix' | 'memory'
  /** Remote IP address for tcp, path of the socket for unix, a name for memory. */
  readonly address: string
  /** tcp only. */
  readonly port: number | null
  /** unix only, where the platform can tell. */
  readonly pid: number | null
  readonly uid: number | null
  readonly gid: number | null
  /** `127.0.0.1:50312`, `unix:/run/atoll/a.sock`, `unix:/run/atoll/a.sock pid=12 uid=0 gid=0`, `memory:app`. */
  readonly label: string
}
