// `atoll passwd`: adds, changes and deletes the users of a password file.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { escapeText } from '../observe/log.ts'
import { exitCodes } from './exit-codes.ts'

export function registerPasswd(program: Command): void {
  program
    .command('passwd')
    .description('set or delete a user of a password file; the password is asked for, or read from the standard input')
    .argument('<file>', 'password file; made with mode 0600 if there is none')
    .argument('<user>', 'user name')
    .argument('[password]', 'only with --batch; other users of this host can see it while the command runs')
    .option('-b, --batch', 'take the password from the command line')
    .option('-D, --delete', 'delete the user')
    .action(passwd)
}

async function passwd(
  file: string,
  user: string,
  password: string | undefined,
  options: { batch?: true; delete?: true },
  command: Command,
): Promise<void> {
  if (options.batch && options.delete) command.error('error: --batch and --delete exclude each other')
  if (options.batch && password === undefined) command.error("error: --batch needs the argument 'password'")
  if (!options.batch && password !== undefined) command.error('error: a password on the command line needs --batch')
  const path = resolve(file)
  const { deletePasswordFileUser, setPasswordFileUser } = await import('../security/password-file.ts')
  if (options.delete) {
    if (deletePasswordFileUser(path, user)) return
    process.stderr.write(`atoll: ${escapeText(`${path} has no user ${JSON.stringify(user)}`)}\n`)
    process.exitCode = exitCodes.failure
    return
  }
  const { PromptInterrupted, readPassword } = await import('./read-password.ts')
  try {
    const secret = password === undefined ? await readPassword(escapeText(user)) : Buffer.from(password)
    await setPasswordFileUser(path, user, secret)
  } catch (error) {
    if (!(error instanceof PromptInterrupted)) throw error
    process.exitCode = exitCodes.interrupted
  }
}
