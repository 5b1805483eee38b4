// The end of log files, and what is added to them, also when they are turned over meanwhile. Lines of several files begin
// with the name of the instance.
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { safeJson } from '../admin/safe-json.ts'
import { OperatorError } from '../base/errors.ts'
import { escapeText } from '../observe/log.ts'
import { printLine } from './admin-command.ts'

const pollMs = 200
const chunkBytes = 64 * 1024
const lineFeed = 10
/** A line of the log is shorter; what is longer is printed in parts. */
const lineLimitChars = 1024 * 1024

/** @throws OperatorError when an instance writes no file */
export async function printLogs(
  files: readonly { name: string; file: string | null }[],
  lastLines: number,
  isFollowing: boolean,
  isJson: boolean,
): Promise<void> {
  const tails = files.map(({ name, file }) => {
    if (file === null) {
      throw new OperatorError('no-log-file', `${name} logs to the standard output of the daemon`, {
        fix: 'look where that goes, as with journalctl',
      })
    }
    // The log has escaped what peers sent; a backslash stays as it is.
    const print = (line: string) =>
      isJson
        ? printLine(safeJson({ instance: name, line }))
        : printLine((files.length > 1 ? `${name} ` : '') + escapeText(line).replaceAll('\\\\', '\\'))
    return new Tail(file, print)
  })
  for (const tail of tails) tail.printLast(lastLines)
  let isRead = true
  process.stdout.once('error', () => {
    isRead = false
  })
  while (isFollowing && isRead) {
    await wait(pollMs)
    for (const tail of tails) tail.printNew()
  }
}

class Tail {
  readonly #file: string
  readonly #print: (line: string) => void
  #descriptor: number | null = null
  #position = 0
  #partial = ''
  #decoder = new TextDecoder()

  constructor(file: string, print: (line: string) => void) {
    this.#file = file
    this.#print = print
  }

  printLast(count: number): void {
    this.#open()
    if (this.#descriptor === null) return
    const { size } = fstatSync(this.#descriptor)
    // From the end backwards, so that a long log costs no more than what is shown of it.
    const chunks: Buffer[] = []
    let from = size
    for (let lineEnds = 0; from > 0 && lineEnds <= count; ) {
      const length = Math.min(chunkBytes, from)
      from -= length
      chunks.unshift(this.#read(from, length))
      lineEnds += chunks[0].filter((byte) => byte === lineFeed).length
    }
    this.#position = size
    const lines = Buffer.concat(chunks).toString().split('\n')
    this.#partial = lines.pop()!
    for (const line of count === 0 ? [] : lines.slice(-count)) this.#print(line)
  }

  printNew(): void {
    this.#open()
    if (this.#descriptor === null) return
    this.#drain()
    const now = existsSync(this.#file) ? statSync(this.#file) : null
    if (now === null) return
    const { ino, dev } = fstatSync(this.#descriptor)
    if (now.ino === ino && now.dev === dev) return
    // Turned over: the rest of the old one is read, the new one is read from its beginning.
    this.#drain()
    closeSync(this.#descriptor)
    this.#descriptor = null
    this.#position = 0
    this.#open()
    this.#drain()
  }

  #open(): void {
    if (this.#descriptor !== null || !existsSync(this.#file)) return
    try {
      this.#descriptor = openSync(this.#file, 'r')
    } catch (error) {
      throw new OperatorError('file-unreadable', (error as Error).message, { place: { file: this.#file } })
    }
  }

  #drain(): void {
    if (this.#descriptor === null) return
    const { size } = fstatSync(this.#descriptor)
    if (size < this.#position) this.#position = 0
    while (this.#position < size) {
      const bytes = this.#read(this.#position, Math.min(chunkBytes, size - this.#position))
      if (bytes.length === 0) return
      this.#position += bytes.length
      const lines = (this.#partial + this.#decoder.decode(bytes, { stream: true })).split('\n')
      this.#partial = lines.pop()!
      for (const line of lines) this.#print(line)
      if (this.#partial.length > lineLimitChars) {
        this.#print(this.#partial)
        this.#partial = ''
      }
    }
  }

  #read(position: number, length: number): Buffer {
    const bytes = Buffer.alloc(length)
    return bytes.subarray(0, readSync(this.#descriptor!, bytes, 0, length, position))
  }
}
