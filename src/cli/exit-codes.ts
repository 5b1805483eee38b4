// What the exit codes of `atoll` mean; docs/command-line.md has the same table.

export const exitCodes = {
  ok: 0,
  /** Something went wrong while running. */
  failure: 1,
  /** The configuration, or a file that it names, has to be mended first. */
  configuration: 2,
  /** Another process has the address or the socket. */
  alreadyRunning: 3,
  /** No daemon answers at the admin socket, or the instance does not run. */
  notRunning: 4,
  /** There is no such instance, listener, client … */
  notFound: 5,
  /** The command line itself is wrong. */
  usage: 64,
  /** A second SIGINT while stopping, or Ctrl-C at a prompt or during a backup. */
  interrupted: 130,
  /** SIGTERM during a backup. */
  terminated: 143,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]
