// Whether the account under which an instance is to run may do there what the instance has to: own its data and log, read
// its users and rights, make its sockets. Looks only. For a daemon that is root; knows no instance that runs.
import { spawn } from 'node:child_process'
import { existsSync, lstatSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { OperatorError } from '../base/errors.ts'
import type { FleetMember } from '../config/fleet-config.ts'
import type { MemberAccount } from './member-account.ts'

const entriesLimit = 10_000
const askTimeLimitMs = 5000
/** Takes pairs of a right and a path, and prints for each whether the account may do that. */
const script =
  'while [ $# -gt 0 ]; do case $1 in r) test -r "$2";; w) test -w "$2" && test -x "$2";; *) test -x "$2";; esac ' +
  '&& printf 1 || printf 0; shift 2; done'

/** @returns a finding, with the key as its place, for each thing that keeps the instance from its work */
export async function findRightsFaults(
  member: FleetMember,
  { uid, gid }: MemberAccount,
  runDir: string,
): Promise<OperatorError[]> {
  if (uid === null || uid === 0) return []
  const { config, dataDir, logDir, start } = member
  const { name, listeners, auth } = config
  const account = { uid, gid: gid ?? uid }
  const faults: OperatorError[] = []
  const asked: { right: 'r' | 'w' | 'x'; path: string; fault: OperatorError }[] = []
  const ask = (right: 'r' | 'w' | 'x', path: string, code: string, key: string, what: string, fix: string) => {
    const message = `the account ${member.user} may not ${what}`
    asked.push({ right, path, fault: new OperatorError(code, message, { place: { key }, fix }) })
  }

  for (const [key, folder] of [
    ['dataDir', dataDir],
    ['logDir', logDir],
  ] as const) {
    const foreign = findForeign(folder, uid)
    if (foreign !== null) {
      const message = `${foreign} does not belong to the account ${member.user}, under which ${name} is to run`
      const folders = [dataDir, logDir].filter((one) => existsSync(one)).map(quoted)
      const chown = `chown -R ${account.uid}:${account.gid} ${folders.join(' ')}`
      const fix = `atoll instance stop ${name}, then ${chown}, then apply the configuration and start it`
      faults.push(new OperatorError('not-owned', message, { place: { key }, fix }))
    }
    const near = nearestFolder(dirname(folder))
    ask('x', near, 'not-permitted', key, `enter ${near}, where ${folder} is`, `chmod o+x ${quoted(near)}`)
  }
  for (const [key, file] of [
    ['auth.passwords', auth.passwords],
    ['auth.acl', auth.acl],
  ] as const) {
    // That it is missing is found by whoever reads it.
    if (file === null || !existsSync(file)) continue
    const fix = `chgrp ${account.gid} ${quoted(file)}, then chmod g+r; its folders need to be open to the account too`
    ask('r', file, 'not-permitted', key, `read ${file}`, fix)
  }
  for (const listener of listeners) {
    if (!listener.enabled || !listener.address.startsWith('unix:///')) continue
    const key = `listeners.${listener.name}.address`
    const folder = dirname(listener.address.slice('unix://'.length))
    if (start === 'on-demand') {
      const fault = isBelow(folder, runDir) ? findOwnedByOther(folder, key) : null
      if (fault !== null) faults.push(fault)
      continue
    }
    const near = nearestFolder(folder)
    // What is missing there is made for the account.
    if (isBelow(folder, runDir) && !isBelow(near, runDir)) continue
    const fix =
      folder === runDir
        ? `use a folder of its own, unix://${join(runDir, name)}/, which is made for the account`
        : `chown ${account.uid}:${account.gid} ${quoted(near)}, or choose another folder`
    ask('w', near, 'directory-not-writable', key, `make sockets in ${folder}`, fix)
  }

  const answers = await mayDo(
    account,
    asked.flatMap(({ right, path }) => [right, path]),
  )
  return [...faults, ...asked.filter((_, at) => answers[at] !== '1').map(({ fault }) => fault)]
}

/** The daemon, which is root, makes the sockets of an on-demand instance, and not in the folder of somebody else. */
function findOwnedByOther(folder: string, key: string): OperatorError | null {
  if (!existsSync(folder) || lstatSync(folder).uid === 0) return null
  return new OperatorError(
    'not-owned',
    `${folder} belongs to another account, and the daemon is to make sockets there`,
    {
      place: { key },
      fix: `chown root ${quoted(folder)}`,
    },
  )
}

function isBelow(folder: string, other: string): boolean {
  return folder.startsWith(`${other}/`)
}

/** An empty folder is given to the account; one with something in it is not ours to give away. */
function findForeign(folder: string, uid: number): string | null {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) return null
  const waiting = [folder]
  if (readdirSync(folder).length === 0) return null
  for (let seen = 0; waiting.length > 0 && seen < entriesLimit; seen++) {
    const path = waiting.pop()!
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (stats === undefined) continue
    if (stats.uid !== uid && !(path === folder && stats.isSymbolicLink())) return path
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() && (path === folder || stats.isDirectory())) {
      waiting.push(...readdirSync(path).map((name) => join(path, name)))
    }
  }
  return null
}

function nearestFolder(folder: string): string {
  let at = folder
  while (!existsSync(at) && at !== '/') at = dirname(at)
  return at
}

/** Asks the system itself, as that account: only it knows of access lists and of the folders above. */
function mayDo({ uid, gid }: { uid: number; gid: number }, asked: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn('/bin/sh', ['-c', script, 'sh', ...asked], {
      uid,
      gid,
      cwd: '/',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: askTimeLimitMs,
    })
    let answers = ''
    child.stdout.on('data', (text: Buffer) => {
      answers += text
    })
    // Without a shell nothing is known, and the start will tell.
    child.on('error', () => resolve('1'.repeat(asked.length / 2)))
    child.on('close', () => resolve(answers))
  })
}

function quoted(path: string): string {
  return /^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`
}
