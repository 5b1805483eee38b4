// Tables for people: columns as wide as what stands in them, and as the terminal allows. Every cell is one line, whatever
// peers have chosen as names.
import { escapeText } from '../observe/log.ts'

export type Cell = string | number | boolean | null | undefined

const gap = '  '
const smallestColumn = 8

/** @param widthLimit characters of a line; null for no limit, as in a file or a pipe */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  widthLimit: number | null,
): string {
  const lines = [head, ...rows.map((row) => row.map(textOf))]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => [...line[column]].length)))
  if (widthLimit !== null) fit(widths, widthLimit - gap.length * (widths.length - 1))
  const isNumeric = head.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'))
  return lines
    .map(
      (line) =>
        line
          .map((text, column) => pad(text, widths[column], isNumeric[column]))
          .join(gap)
          .trimEnd() + '\n',
    )
    .join('')
}

/** Pairs, one on a line. */
export function formatPairs(pairs: readonly (readonly [name: string, value: Cell])[]): string {
  const width = Math.max(0, ...pairs.map(([name]) => name.length))
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${textOf(value)}`.trimEnd() + '\n').join('')
}

function textOf(cell: Cell): string {
  if (cell === null || cell === undefined || cell === '') return '-'
  return typeof cell === 'string' ? escapeText(cell) : String(cell)
}

/** Takes from the widest column, until all fit or none can give. */
function fit(widths: number[], limit: number): void {
  let total = widths.reduce((sum, width) => sum + width, 0)
  while (total > limit) {
    const widest = widths.indexOf(Math.max(...widths))
    if (widths[widest] <= smallestColumn) return
    widths[widest]--
    total--
  }
}

function pad(text: string, width: number, isNumeric: boolean): string {
  const characters = [...text]
  if (characters.length > width) return `${characters.slice(0, width - 1).join('')}…`
  const space = ' '.repeat(width - characters.length)
  return isNumeric ? space + text : text + space
}
