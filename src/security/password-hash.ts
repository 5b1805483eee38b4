// One stored password: reading its line format, making a new one, and checking a password against it. Reads our own
// scrypt and the two formats of mosquitto_passwd. Knows no user and no file.
import { createHash, pbkdf2, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

export type PasswordHash = Readonly<
  { encoded: string; salt: Buffer; digest: Buffer } & (
    | { kind: 'scrypt'; costLog2: number; blockSize: number; parallelization: number }
    | { kind: 'sha512-pbkdf2'; iterations: number }
    | { kind: 'sha512' }
  )
>

/** 32 MiB and about 0.1 s per check. */
const costLog2 = 15
const blockSize = 8

// Bounds for what is read, so that a file can't make a check eat the host: 128 MiB, and seconds rather than minutes.
const scryptMemoryLimitBytes = 128 * 1024 * 1024
const scryptParallelizationLimit = 4
const iterationsLimit = 2_000_000
const saltLimitBytes = 128

const sha512Bytes = 64

const deriveScrypt = promisify<Buffer, Buffer, number, object, Buffer>(scrypt)
const derivePbkdf2 = promisify(pbkdf2)

/**
 * Reads what stands behind the user name in a password file.
 * @returns the hash, or a sentence (without the text itself, which may be a password) that says why it is none
 */
export function parsePasswordHash(encoded: string): PasswordHash | string {
  if (encoded === '') return 'the password hash is missing'
  if (!encoded.startsWith('$')) return 'this is not a password hash; plain text passwords are not read'
  const fields = encoded.split('$')
  switch (fields[1]) {
    case 'scrypt':
      return fields.length === 5 ? parseScrypt(encoded, fields) : 'a scrypt hash is $scrypt$ln=…,r=…,p=…$salt$hash'
    case '7':
      return fields.length === 5 ? parsePbkdf2(encoded, fields) : 'a $7$ hash is $7$iterations$salt$hash'
    case '6':
      return fields.length === 4 ? parseSha512(encoded, fields) : 'a $6$ hash is $6$salt$hash'
    default:
      return 'this kind of password hash is not known; $scrypt$, $7$ and $6$ are'
  }
}

/** A new hash for a password file: scrypt in PHC string form, with a salt of its own. */
export async function hashPassword(password: Buffer): Promise<string> {
  const salt = randomBytes(16)
  const digest = await deriveScrypt(password, salt, 32, scryptOptions(costLog2, blockSize, 1))
  return `$scrypt$ln=${costLog2},r=${blockSize},p=1$${toUnpadded(salt)}$${toUnpadded(digest)}`
}

/** Whether this is the password; the work is done on the thread pool and takes as long for a wrong one. */
export async function verifyPassword(hash: PasswordHash, password: Buffer): Promise<boolean> {
  return timingSafeEqual(await derive(hash, password), hash.digest)
}

async function derive(hash: PasswordHash, password: Buffer): Promise<Buffer> {
  const { salt, digest } = hash
  switch (hash.kind) {
    case 'scrypt': {
      const options = scryptOptions(hash.costLog2, hash.blockSize, hash.parallelization)
      return deriveScrypt(password, salt, digest.length, options)
    }
    case 'sha512-pbkdf2':
      return derivePbkdf2(password, salt, hash.iterations, digest.length, 'sha512')
    case 'sha512':
      return createHash('sha512').update(password).update(salt).digest()
  }
}

function scryptOptions(costLog2: number, r: number, p: number): object {
  // Node refuses at exactly 128 * N * r, so that a little more must be allowed.
  return { N: 2 ** costLog2, r, p, maxmem: 2 * scryptMemoryLimitBytes }
}

function parseScrypt(encoded: string, fields: string[]): PasswordHash | string {
  const match = /^ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})$/.exec(fields[2])
  if (match === null) return 'scrypt parameters are written as ln=15,r=8,p=1'
  const [costLog2, blockSize, parallelization] = match.slice(1).map(Number)
  if (costLog2 < 1 || blockSize < 1 || parallelization < 1) return 'scrypt parameters begin at 1'
  if (128 * blockSize * 2 ** costLog2 > scryptMemoryLimitBytes || parallelization > scryptParallelizationLimit) {
    return 'scrypt parameters are too costly: at most 128 MiB (as ln=17,r=8) and p=4'
  }
  const salt = fromBase64(fields[3], 8, saltLimitBytes)
  const digest = fromBase64(fields[4], 32, 64)
  if (salt === null) return 'the salt is damaged'
  if (digest === null) return 'the hash is damaged or cut short'
  return { kind: 'scrypt', encoded, salt, digest, costLog2, blockSize, parallelization }
}

function parsePbkdf2(encoded: string, fields: string[]): PasswordHash | string {
  const iterations = /^[1-9]\d{0,9}$/.test(fields[2]) ? Number(fields[2]) : 0
  if (iterations === 0 || iterations > iterationsLimit) return `iterations must be 1 to ${iterationsLimit}`
  const salt = fromBase64(fields[3], 1, saltLimitBytes)
  const digest = fromBase64(fields[4], sha512Bytes, sha512Bytes)
  if (salt === null) return 'the salt is damaged'
  if (digest === null) return 'the hash is damaged or cut short'
  return { kind: 'sha512-pbkdf2', encoded, salt, digest, iterations }
}

function parseSha512(encoded: string, fields: string[]): PasswordHash | string {
  const salt = fromBase64(fields[2], 1, saltLimitBytes)
  const digest = fromBase64(fields[3], sha512Bytes, sha512Bytes)
  if (salt === null) return 'the salt is damaged'
  if (digest === null) return 'the hash is damaged or cut short'
  return { kind: 'sha512', encoded, salt, digest }
}

/** Strict, since Node's own decoder skips what it does not know and a cut line would pass for a shorter hash. */
function fromBase64(text: string, leastBytes: number, mostBytes: number): Buffer | null {
  const decoded = Buffer.from(text, 'base64')
  if (decoded.length < leastBytes || decoded.length > mostBytes) return null
  return text === toUnpadded(decoded) || text === decoded.toString('base64') ? decoded : null
}

function toUnpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '')
}
