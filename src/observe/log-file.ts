// The log of an instance as a file: appends lines, turns the file over by size and age, can be reopened. Writes in the
// background, one write at a time; a disk that is full costs lines, which are counted and told, never the process.
import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../base/clock.ts'

export interface LogRotation {
  /** The file is turned over before it grows beyond this; 0 for never. */
  sizeBytes: number
  /** The file is turned over when it is older than this; 0 for never. */
  ageSeconds: number
  /** Older files that are kept, as `name.log.1` (the youngest) to `name.log.N`. */
  keptFiles: number
}

export const defaultLogRotation: LogRotation = { sizeBytes: 16 * 1024 * 1024, ageSeconds: 0, keptFiles: 5 }

/** Lines that wait to be written, in bytes; what comes on top of them is lost and counted. */
const waitingLimitBytes = 1024 * 1024
const fileMode = 0o640

export class LogFile {
  readonly path: string
  #rotation: LogRotation
  readonly #clock: Clock
  #handle: FileHandle | null = null
  #sizeBytes = 0
  #bornMs = 0
  #waiting: string[] = []
  #waitingBytes = 0
  #lostLines = 0
  #lostBecause = ''
  #isReopenWanted = false
  #writing: Promise<void> | null = null
  #isClosed = false

  /** Opens nothing yet: the file appears with the first line. */
  constructor(path: string, clock: Clock, rotation: LogRotation = defaultLogRotation) {
    this.path = path
    this.#clock = clock
    this.#rotation = rotation
  }

  /** Lines that did not reach the file and of which it does not tell yet. */
  get lostLines(): number {
    return this.#lostLines
  }

  /** Counts from the next line on. */
  setRotation(rotation: LogRotation): void {
    this.#rotation = rotation
  }

  /** @param line without the final newline */
  write(line: string): void {
    if (this.#isClosed) return
    if (this.#waitingBytes + line.length > waitingLimitBytes) {
      this.#lose(1, 'the disk was too slow')
      return
    }
    this.#waiting.push(line)
    this.#waitingBytes += line.length
    this.#begin()
  }

  /** The next line goes to a file that is opened anew at the path: for whoever has moved the old one away. */
  reopen(): void {
    this.#isReopenWanted = true
    if (this.#handle !== null) this.#begin()
  }

  /** Resolves when everything written so far is in the file, or lost. */
  async flush(): Promise<void> {
    while (this.#writing !== null) await this.#writing
  }

  async close(): Promise<void> {
    await this.flush()
    this.#isClosed = true
    await this.#closeHandle()
  }

  /** What still waits goes to the file at once. For a process that is about to end because of a bug. */
  flushSync(): void {
    if (this.#waiting.length === 0) return
    try {
      mkdirSync(dirname(this.path), { recursive: true })
      const descriptor = openSync(this.path, 'a', fileMode)
      writeSync(descriptor, `${this.#waiting.join('\n')}\n`)
      closeSync(descriptor)
    } catch {
      // There is nobody left to tell.
    }
    this.#waiting = []
    this.#waitingBytes = 0
  }

  #begin(): void {
    this.#writing ??= this.#work().finally(() => {
      this.#writing = null
      if (this.#waiting.length > 0) this.#begin()
    })
  }

  async #work(): Promise<void> {
    // Lines of one turn of the event loop become one write.
    await new Promise((resolve) => setImmediate(resolve))
    const lines = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    try {
      if (this.#isReopenWanted) await this.#closeHandle()
      this.#isReopenWanted = false
      if (lines.length === 0) return
      const text = `${this.#lostNotice()}${lines.join('\n')}\n`
      const bytes = Buffer.from(text)
      await this.#prepare(bytes.length)
      await this.#append(bytes)
      this.#lostLines = 0
    } catch (error) {
      this.#lose(lines.length, (error as Error).message)
      await this.#closeHandle()
    }
  }

  async #append(bytes: Buffer): Promise<void> {
    let written = 0
    while (written < bytes.length) {
      const { bytesWritten } = await this.#handle!.write(bytes, written)
      written += bytesWritten
      this.#sizeBytes += bytesWritten
    }
  }

  /** Makes sure that the right file is open for so many bytes more. */
  async #prepare(bytes: number): Promise<void> {
    if (this.#handle === null) await this.#open()
    const { sizeBytes, ageSeconds } = this.#rotation
    const isTooLarge = sizeBytes > 0 && this.#sizeBytes > 0 && this.#sizeBytes + bytes > sizeBytes
    const isTooOld = ageSeconds > 0 && this.#sizeBytes > 0 && this.#clock.wallMs() - this.#bornMs > ageSeconds * 1000
    if (!isTooLarge && !isTooOld) return
    await this.#closeHandle()
    await this.#turnOver()
    await this.#open()
  }

  async #open(): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true })
    this.#handle = await open(this.path, 'a', fileMode)
    const { size, birthtimeMs } = await this.#handle.stat()
    this.#sizeBytes = size
    // A file system that does not know when a file was made says 0.
    this.#bornMs = size === 0 || birthtimeMs === 0 ? this.#clock.wallMs() : birthtimeMs
  }

  async #turnOver(): Promise<void> {
    const { keptFiles } = this.#rotation
    if (keptFiles === 0) {
      await rm(this.path, { force: true })
      return
    }
    for (let number = keptFiles; number >= 1; number--) {
      const from = number === 1 ? this.path : `${this.path}.${number - 1}`
      await rename(from, `${this.path}.${number}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error
      })
    }
  }

  async #closeHandle(): Promise<void> {
    const handle = this.#handle
    this.#handle = null
    await handle?.close().catch(() => {})
  }

  #lose(lines: number, because: string): void {
    this.#lostLines += lines
    this.#lostBecause = because
  }

  #lostNotice(): string {
    if (this.#lostLines === 0) return ''
    return `${JSON.stringify({ level: 'error', message: `${this.#lostLines} lines were lost: ${this.#lostBecause}` })}\n`
  }
}
