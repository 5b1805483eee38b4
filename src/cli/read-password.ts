// Asks for a password: on a terminal without echo and twice, else the standard input up to its end.
import type { ReadStream } from 'node:tty'
import { OperatorError } from '../base/errors.ts'

/** MQTT carries a password in a field of two length bytes. */
const passwordLimitBytes = 65_535

/** Ctrl-C at the prompt. */
export class PromptInterrupted extends Error {}

/**
 * @throws OperatorError when nothing usable is given
 * @throws PromptInterrupted
 */
export async function readPassword(username: string): Promise<Buffer> {
  if (!process.stdin.isTTY) return readPiped(process.stdin)
  const first = await prompt(process.stdin, `Password for ${username}: `)
  const second = await prompt(process.stdin, 'Again: ')
  if (first === second) return Buffer.from(first)
  throw new OperatorError('passwords-differ', 'the two passwords differ', { fix: 'try again' })
}

async function readPiped(input: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of input) {
    chunks.push(Buffer.from(chunk))
    bytes += chunk.length
    if (bytes > passwordLimitBytes + 2) throw tooLong()
  }
  const all = Buffer.concat(chunks)
  const end = all.at(-1) === 0x0a ? (all.at(-2) === 0x0d ? -2 : -1) : all.length
  const password = all.subarray(0, end)
  if (password.length > passwordLimitBytes) throw tooLong()
  return password
}

function prompt(input: ReadStream, question: string): Promise<string> {
  // The echo goes before the question comes: who types quickly is not shown either.
  input.setRawMode(true)
  input.setEncoding('utf8')
  process.stderr.write(question)
  return new Promise((resolve, reject) => {
    let typed: string[] = []
    const finish = (settle: () => void) => {
      input.off('data', take)
      input.setRawMode(false)
      input.pause()
      process.stderr.write('\n')
      settle()
    }
    const take = (text: string) => {
      for (const character of text) {
        if (character === '\r' || character === '\n') return finish(() => resolve(typed.join('')))
        if (character === '\u0003') return finish(() => reject(new PromptInterrupted()))
        if (character === '\u0004') {
          return finish(() => reject(new OperatorError('password-empty', 'no password was typed', {})))
        }
        if (character === '\u007f' || character === '\b') typed.pop()
        else if (character === '\u0015') typed = []
        else typed.push(character)
        if (typed.length > passwordLimitBytes) return finish(() => reject(tooLong()))
      }
    }
    input.on('data', take)
    input.resume()
  })
}

function tooLong(): OperatorError {
  return new OperatorError('password-too-long', `a password has at most ${passwordLimitBytes} bytes`)
}
