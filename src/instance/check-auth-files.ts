// Reads the password and ACL file of a configuration as a start would, and says what is wrong with them.
import { readFileSync } from 'node:fs'
import { OperatorError } from '../base/errors.ts'
import type { AuthConfig } from '../config/instance-config.ts'
import { parseAclFile } from '../security/acl-file.ts'
import { parsePasswordFile } from '../security/password-file.ts'

export function checkAuthFiles(auth: Pick<AuthConfig, 'passwords' | 'acl'>): OperatorError[] {
  const findings: OperatorError[] = []
  for (const [key, file, parse] of [
    ['auth.passwords', auth.passwords, parsePasswordFile],
    ['auth.acl', auth.acl, parseAclFile],
  ] as const) {
    if (file === null) continue
    try {
      parse(readText(file, key), file)
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error
      findings.push(error)
    }
  }
  return findings
}

/** @throws OperatorError */
function readText(file: string, key: string): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'does not exist' : (error as Error).message
    const fix = key === 'auth.passwords' ? `make it with atoll passwd ${file} USER` : undefined
    throw new OperatorError('file-unreadable', `the file of ${key} cannot be read: ${reason}`, { place: { file }, fix })
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new OperatorError('syntax', `the file of ${key} is not UTF-8 text`, { place: { file } })
  }
}
