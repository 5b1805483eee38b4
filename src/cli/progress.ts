// How far long work has come, on a terminal; nothing anywhere else.

export interface ProgressLine {
  show(share: number): void
  /** Takes the line away. */
  end(): void
}

const barColumns = 30

export function createProgressLine(what: string): ProgressLine {
  let shown = -1
  return {
    show(share) {
      const percent = Math.floor(share * 100)
      if (!process.stderr.isTTY || percent === shown) return
      shown = percent
      const filled = Math.round(share * barColumns)
      process.stderr.write(`\r${what} [${'#'.repeat(filled)}${' '.repeat(barColumns - filled)}] ${percent} %`)
    },
    end() {
      if (shown >= 0) process.stderr.write('\r\x1b[K')
    },
  }
}
