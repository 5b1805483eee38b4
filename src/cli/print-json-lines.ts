// Rows without end as JSON, one in each line, for as long as somebody reads them. Knows not where they come from.
import { safeJson } from '../admin/safe-json.ts'

/**
 * Waits for a slow reader, so that nothing piles up, and lets go of the rows when the reader has gone. Node takes a standard output
 * whose reader has gone for one that may yet be written to, and fails each write anew: only the event tells.
 * @param limit 0 for all
 */
export async function printJsonLines(rows: AsyncIterable<object>, limit: number): Promise<void> {
  const { stdout } = process
  let isGone = false
  let proceed = () => {}
  const onDrain = () => proceed()
  const onError = () => {
    isGone = true
    proceed()
  }
  stdout.on('drain', onDrain).on('error', onError)
  try {
    let count = 0
    for await (const row of rows) {
      if (!stdout.write(`${safeJson(row)}\n`)) {
        await new Promise<void>((resolve) => {
          proceed = resolve
        })
      }
      if (isGone || ++count === limit) return
    }
  } finally {
    stdout.off('drain', onDrain).off('error', onError)
  }
}
