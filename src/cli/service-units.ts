// The texts of the units by which systemd runs a fleet: one service, and a socket for each listener that systemd is to open.
// Knows nothing of files and commands.
import { dirname } from 'node:path'
import type { Address } from '../transport/address.ts'

export interface ServicePlan {
  /** The command of the daemon, word by word; the first is an absolute path. */
  command: readonly string[]
  /** Absolute path of the configuration. */
  configFile: string
  user: string
  group: string
  /** The longest that an orderly stop of the fleet may take. */
  gracePeriodSeconds: number
  sockets: readonly SocketPlan[]
}

export interface SocketPlan {
  /** A listener takes the socket with `fd:NAME`. */
  name: string
  address: Exclude<Address, { kind: 'fd' }>
}

export interface Unit {
  fileName: string
  text: string
}

const serviceName = 'atoll.service'
/** Host processes are told of the end after the grace period, and the daemon after them. */
const stopMarginSeconds = 20
const watchdogSeconds = 60

export function socketUnitName(name: string): string {
  return `atoll@${name}.socket`
}

/** The service first, then its sockets. */
export function serviceUnits(plan: ServicePlan): Unit[] {
  const { sockets } = plan
  return [
    { fileName: serviceName, text: serviceText(plan) },
    ...sockets.map((socket) => ({ fileName: socketUnitName(socket.name), text: socketText(socket, plan) })),
  ]
}

function serviceText({ command, configFile, user, group, gracePeriodSeconds, sockets }: ServicePlan): string {
  // Instances with an account of their own need a daemon that may change to it, and reach their folders in the common ones.
  const capabilities = user === 'root' ? [] : ['CapabilityBoundingSet=', 'AmbientCapabilities=']
  return lines(
    '[Unit]',
    'Description=AtollMQ, the MQTT brokers of this host',
    'Wants=network-online.target',
    'After=network-online.target',
    '',
    '[Service]',
    'Type=notify',
    '# systemd-notify, a process of its own, says that the daemon is ready.',
    'NotifyAccess=all',
    `ExecStart=${[...command, 'start', '-c', configFile].map(commandWord).join(' ')}`,
    'ExecReload=/bin/kill -HUP $MAINPID',
    ...sockets.map(({ name }) => `Sockets=${socketUnitName(name)}`),
    `User=${user}`,
    `Group=${group}`,
    'Restart=on-failure',
    'RestartSec=1',
    '# A configuration that has to be mended, and a wrong command line: starting again does not help.',
    'RestartPreventExitStatus=2 64',
    '# The daemon stops its instances in order; what is left then is killed.',
    'KillMode=mixed',
    `TimeoutStopSec=${gracePeriodSeconds + stopMarginSeconds}`,
    '# Without a sign of life: a start says every few seconds that it goes on, however long the stores take to be read again.',
    'TimeoutStartSec=300',
    `WatchdogSec=${watchdogSeconds}`,
    '',
    '# /run/atoll, /var/lib/atoll and /var/log/atoll, unless the configuration names other folders.',
    'RuntimeDirectory=atoll',
    'RuntimeDirectoryMode=0755',
    '# Sockets of socket units lie there while the service does not run.',
    'RuntimeDirectoryPreserve=yes',
    'StateDirectory=atoll',
    `StateDirectoryMode=${user === 'root' ? '0711' : '0700'}`,
    'LogsDirectory=atoll',
    `LogsDirectoryMode=${user === 'root' ? '0751' : '0750'}`,
    'Environment=XDG_RUNTIME_DIR=/run XDG_DATA_HOME=/var/lib XDG_STATE_HOME=/var/log',
    'UMask=0027',
    '',
    '# No PrivateTmp: sockets in /tmp are for others. No MemoryDenyWriteExecute: JavaScript is compiled while it runs.',
    'NoNewPrivileges=yes',
    ...capabilities,
    'ProtectSystem=full',
    '# What commands add with --save is kept beside the configuration.',
    `ReadWritePaths=${word(`-${dirname(configFile)}`)}`,
    'ProtectHome=read-only',
    'PrivateDevices=yes',
    'ProtectClock=yes',
    'ProtectControlGroups=yes',
    'ProtectHostname=yes',
    'ProtectKernelLogs=yes',
    'ProtectKernelModules=yes',
    'ProtectKernelTunables=yes',
    'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
    'RestrictNamespaces=yes',
    'RestrictSUIDSGID=yes',
    'LockPersonality=yes',
    'SystemCallArchitectures=native',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
  )
}

function socketText({ name, address }: SocketPlan, { user, group }: ServicePlan): string {
  const owner = address.kind === 'unix' ? [`SocketUser=${user}`, `SocketGroup=${group}`, 'SocketMode=0660'] : []
  return lines(
    '[Unit]',
    `Description=MQTT socket ${name} of AtollMQ, opened before the brokers start`,
    '',
    '[Socket]',
    `ListenStream=${listenStream(address)}`,
    ...owner,
    `FileDescriptorName=${name}`,
    `Service=${serviceName}`,
    '',
    '[Install]',
    'WantedBy=sockets.target',
  )
}

function listenStream(address: SocketPlan['address']): string {
  switch (address.kind) {
    case 'tcp':
      if (address.host === '*' || address.host === '::') return String(address.port)
      return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
    case 'unix':
      return literal(address.path)
    case 'abstract':
      return `@${literal(address.name)}`
  }
}

/** systemd expands variables in commands alone. */
function commandWord(text: string): string {
  return word(text.replaceAll('$', '$$$$'))
}

/** One word of several: systemd expands `%`, and parts words at spaces. */
function word(text: string): string {
  const plain = literal(text)
  if (!/[\s"'\\;]/.test(plain)) return plain
  return `"${plain.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

function literal(text: string): string {
  return text.replaceAll('%', '%%')
}

function lines(...all: string[]): string {
  return `${all.join('\n')}\n`
}
