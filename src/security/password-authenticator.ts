// Checks user name and password against the entries of a password file: off the main thread, a few at a time, and quickly
// for those who were right a moment ago. Knows no file, no clock, and no client that has no user name.
import { createHmac, randomBytes } from 'node:crypto'
import type { AuthenticationAnswer, Authenticator } from './authority.ts'
import type { PasswordEntries } from './password-file.ts'
import { type PasswordHash, parsePasswordHash, verifyPassword } from './password-hash.ts'

export interface PasswordAuthenticatorLimits {
  /** Checks that run at once; Node's thread pool has four threads, and the disk needs some too. */
  concurrency: number
  /** Checks that wait; one more client is told to come back later. */
  queue: number
  /** Successful checks that are remembered. */
  cache: number
}

export interface PasswordAuthenticator extends Authenticator {
  /** Clients turned away because too many checks were waiting. */
  readonly busyCount: number
  /** Puts other entries in force from the next question on, for checks already under way too. */
  update(entries: PasswordEntries): void
}

const defaultLimits: PasswordAuthenticatorLimits = { concurrency: 2, queue: 256, cache: 20_000 }

const badUserNameOrPassword = 0x86
const serverBusy = 0x89

// For an empty file, where no real entry can stand in for an unknown user. It is no one's: its answer is never used.
const standIn = parsePasswordHash(`$scrypt$ln=15,r=8,p=1$${'A'.repeat(22)}$${'A'.repeat(43)}`) as PasswordHash

export function createPasswordAuthenticator(
  initialEntries: PasswordEntries,
  limits: PasswordAuthenticatorLimits = defaultLimits,
): PasswordAuthenticator {
  const key = randomBytes(32)
  let entries = initialEntries
  let decoys = [...entries.values()]
  let busyCount = 0

  // Fingerprint of user and password → the line that they were right for. Nothing can be read back out of it, and an
  // entry is worth nothing once that user's line has changed or gone.
  const remembered = new Map<string, string>()
  // Fingerprint → the check under way, shared by all who ask the same in the meantime.
  const pending = new Map<string, Promise<boolean>>()
  const waiting: (() => void)[] = []
  let running = 0

  async function check(username: string, password: Buffer, fingerprint: string): Promise<boolean> {
    if (running >= limits.concurrency) await new Promise<void>((resolve) => waiting.push(resolve))
    else running++
    try {
      const hash = entries.get(username)
      const decoy = decoyFor(username)
      const isRight = await verifyPassword(hash ?? decoy, password)
      // The user may have been removed or changed while the check was running.
      if (hash === undefined || !isRight || entries.get(username)?.encoded !== hash.encoded) return false
      remember(fingerprint, hash.encoded)
      return true
    } finally {
      pending.delete(fingerprint)
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }

  /** An unknown user costs what some known one costs, always the same: the time it takes does not tell who exists. */
  function decoyFor(username: string): PasswordHash {
    if (decoys.length === 0) return standIn
    return decoys[createHmac('sha256', key).update(username).digest().readUInt32BE(0) % decoys.length]
  }

  function remember(fingerprint: string, encoded: string): void {
    remembered.delete(fingerprint)
    remembered.set(fingerprint, encoded)
    if (remembered.size <= limits.cache) return
    for (const oldest of remembered.keys()) {
      remembered.delete(oldest)
      break
    }
  }

  return {
    get busyCount() {
      return busyCount
    },

    update(newEntries) {
      entries = newEntries
      decoys = [...entries.values()]
      pending.clear() // who asks now is not answered from the old entries
    },

    authenticate({ username, password }) {
      if (username === null) return refuse(badUserNameOrPassword, 'no user name')
      if (password === null) return refuse(badUserNameOrPassword, 'no password')

      const fingerprint = fingerprintOf(key, username, password)
      const encoded = remembered.get(fingerprint)
      if (encoded !== undefined && entries.get(username)?.encoded === encoded) {
        remember(fingerprint, encoded)
        return { allowed: true }
      }

      let outcome = pending.get(fingerprint)
      if (outcome === undefined) {
        if (running >= limits.concurrency && waiting.length >= limits.queue) {
          busyCount++
          return refuse(serverBusy, 'too many passwords are being checked')
        }
        // Copied, since the caller's buffer may be a view of bytes that are reused before the check's turn comes.
        outcome = check(username, Buffer.from(password), fingerprint)
        pending.set(fingerprint, outcome)
      }
      return outcome.then(
        (isRight): AuthenticationAnswer =>
          isRight ? { allowed: true } : refuse(badUserNameOrPassword, 'wrong user name or password'),
      )
    },
  }
}

function refuse(reasonCode: number, reason: string): AuthenticationAnswer {
  return { allowed: false, reasonCode, reason }
}

function fingerprintOf(key: Buffer, username: string, password: Buffer): string {
  // The length keeps ('ab', 'c') apart from ('a', 'bc').
  return createHmac('sha256', key).update(`${username.length}:${username}`).update(password).digest('base64')
}
